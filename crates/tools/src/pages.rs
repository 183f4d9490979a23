//! Dumps, followed page by page to their end.

use rumpnet_proto::{GroupReport, InterfaceReport, Message, NeighborReport, Reply, Request, RouteReport};

use crate::{
    console::Console,
    failure::{Failure, unexpected_reply},
    task::Task,
};

impl<C: Console> Task<'_, C> {
    /// All interfaces, by index.
    pub(crate) async fn interfaces(&self, reset: bool) -> Result<Vec<InterfaceReport>, Failure> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let Reply::Interfaces { interfaces, next } =
                self.ask(Request::Interfaces { from, reset }).await?
            else {
                return Err(unexpected_reply());
            };
            all.extend(interfaces);
            match next {
                // A cursor that does not move on would never end.
                Some(next) if next > from => from = next,
                _ => return Ok(all),
            }
        }
    }

    /// One interface.
    pub(crate) async fn interface(&self, name: &str, reset: bool) -> Result<InterfaceReport, Failure> {
        match self.ask(Request::Interface { name: name.into(), reset }).await? {
            Reply::Interfaces { mut interfaces, .. } => interfaces.pop().ok_or_else(unexpected_reply),
            _ => Err(unexpected_reply()),
        }
    }

    /// All multicast groups, by interface and address.
    pub(crate) async fn groups(&self) -> Result<Vec<GroupReport>, Failure> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let Reply::Groups { groups, next } = self.ask(Request::Groups { after }).await? else {
                return Err(unexpected_reply());
            };
            all.extend(groups);
            match next {
                Some(_) if next != after => after = next,
                _ => return Ok(all),
            }
        }
    }

    /// All neighbours, by interface and address.
    pub(crate) async fn neighbors(&self) -> Result<Vec<NeighborReport>, Failure> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let Reply::Neighbors { neighbors, next } = self.ask(Request::Neighbors { after }).await? else {
                return Err(unexpected_reply());
            };
            all.extend(neighbors);
            match next {
                Some(_) if next != after => after = next,
                _ => return Ok(all),
            }
        }
    }

    /// All routes, by destination.
    pub(crate) async fn routes(&self) -> Result<Vec<RouteReport>, Failure> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let Reply::Routes { routes, next } = self.ask(Request::Routes { after }).await? else {
                return Err(unexpected_reply());
            };
            all.extend(routes);
            match next {
                Some(_) if next != after => after = next,
                _ => return Ok(all),
            }
        }
    }

    /// What the kernel has reported and still keeps.
    pub(crate) async fn messages(&self) -> Result<Vec<Message>, Failure> {
        let (mut all, mut since) = (Vec::new(), 0);
        loop {
            let Reply::Messages { messages, next } = self.ask(Request::Messages { since }).await? else {
                return Err(unexpected_reply());
            };
            if messages.is_empty() || next <= since {
                all.extend(messages);
                return Ok(all);
            }
            all.extend(messages);
            since = next;
        }
    }
}
