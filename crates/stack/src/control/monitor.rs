//! Monitors of routes: begun, ended, and told of what a call has changed.

use rumpnet_proto::{Change, ControlError, Errno, LinkName, Operation, Reply, RouteEvent, RouteOrigin};

use super::refuse;
use crate::{Stack, slab::Key};

impl Stack {
    /// EMFILE if too many are open.
    pub(super) fn open_monitor(&mut self) -> Result<Reply, ControlError> {
        let opened = self.cx.monitors.open().ok_or(Errno::MFile);
        let monitor = opened.map_err(refuse(Operation::Monitor, ""))?;
        self.watch_tables();
        Ok(Reply::Monitor { monitor: monitor.into() })
    }

    /// EBADF if there is no such monitor.
    pub(super) fn close_monitor(&mut self, monitor: u64) -> Result<Reply, ControlError> {
        let closed = self.cx.monitors.close(Key::from(monitor)).ok_or(Errno::BadF);
        let overruns = closed.map_err(refuse(Operation::Monitor, ""))?;
        self.watch_tables();
        Ok(Reply::MonitorEnded { overruns })
    }

    /// Tables note their changes as long as there is a monitor.
    fn watch_tables(&mut self) {
        let watched = self.cx.monitors.are_open();
        self.inet.addresses.journal.watch(watched);
        self.inet.routes.journal.watch(watched);
        self.inet.neighbors.journal.watch(watched);
    }

    /// Tells monitors what has changed in the tables: addresses first, then the routes and neighbours that come and go with them.
    pub(crate) fn tell_changes(&mut self) {
        for (change, index, address) in self.inet.addresses.journal.take() {
            if let Some(link) = self.link_name(index) {
                self.cx.tell(|| RouteEvent::Address { change, address, link });
            }
        }
        for (change, destination, route) in self.inet.routes.journal.take() {
            // What redirects make is told where they are obeyed.
            let told = change == Change::Added && route.origin == RouteOrigin::Redirect;
            if let Some(link) = self.link_name(route.hop.interface).filter(|_| !told) {
                let route = route.report(destination, route.hop, link.name, self.cx.now);
                self.cx.tell(|| RouteEvent::Route { change, route, index: link.index });
            }
        }
        for (change, (index, address), listing) in self.inet.neighbors.journal.take() {
            if let Some(link) = self.link_name(index) {
                let neighbor = self.neighbor_report(link.name, address, &listing);
                self.cx.tell(|| RouteEvent::Neighbor { change, neighbor, index });
            }
        }
    }

    /// An interface, or one that is gone and of which something is still being forgotten.
    fn link_name(&self, index: u32) -> Option<LinkName> {
        let present = self.link.interfaces.by_index(index).map(|interface| interface.name);
        let name = present.or_else(|| self.departed.get(&index).copied())?;
        Some(LinkName { name, index })
    }

    /// Tells monitors of the flags and the carrier of an interface.
    pub(super) fn tell_of_link(&mut self, index: u32) {
        let Some(interface) = self.link.interfaces.by_index(index) else { return };
        let link = LinkName { name: interface.name, index };
        let (flags, state) = (interface.flags, interface.link_state);
        self.cx.tell(|| RouteEvent::Link { link, flags, state });
    }
}
