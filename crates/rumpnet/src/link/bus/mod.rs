//! `bus<n>`, also known as `shmif<n>`: a link that joins a bus when it is given a link string, and leaves it without.
//!
//! `mem:NAME` is a [`hub`] of this process. The interface exists before it is on any bus; it has a carrier while it is on one.

mod hub;

use std::{
    io,
    sync::{
        OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use rumpnet_proto::{LinkKind, LinkState};
use rumpnet_stack::{
    Offloads,
    buffer::{Frame, Received},
};

use super::{Link, LinkProperties, Signal};
use crate::{pool::Pool, reactor::Doorbell};

/// The greatest MTU on a bus, in bytes: as of any Ethernet here.
const MAX_MTU: u32 = 65_521;

/// What a link string begins with that names a hub of this process.
const IN_MEMORY: &str = "mem:";

/// The link of an interface that stands on a bus.
#[derive(Default)]
pub(crate) struct BusLink {
    doorbell: OnceLock<Doorbell>,
    up: AtomicBool,
    joined: RwLock<Option<hub::Member>>,
}

impl BusLink {
    fn joined(&self) -> RwLockReadGuard<'_, Option<hub::Member>> {
        self.joined.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, string: &str) -> io::Result<hub::Member> {
        let Some(name) = string.strip_prefix(IN_MEMORY) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let doorbell = self.doorbell.get().ok_or(io::ErrorKind::NotConnected)?;
        Ok(hub::Hub::named(name).join(doorbell.clone()))
    }
}

impl Link for BusLink {
    fn properties(&self) -> LinkProperties {
        LinkProperties {
            kind: LinkKind::Ethernet,
            offloads: Offloads::ALL,
            mtu: 1500,
            max_mtu: MAX_MTU,
            host_end: None,
        }
    }

    fn signal(&self) -> Signal<'_> {
        Signal::Doorbell
    }

    fn is_slow_to_close(&self) -> bool {
        false
    }

    fn set_doorbell(&self, doorbell: Doorbell) {
        // A link is given its doorbell once.
        let _once = self.doorbell.set(doorbell);
    }

    fn state(&self) -> LinkState {
        if self.joined().is_some() { LinkState::Up } else { LinkState::Down }
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        match &*self.joined() {
            Some(member) => member.send(frame),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn receive(&self, _pool: &Pool, limit: usize, out: &mut Vec<Received>) -> io::Result<()> {
        if let Some(member) = &*self.joined() {
            member.receive(limit, out);
        }
        Ok(())
    }

    fn set_up(&self, up: bool) -> io::Result<()> {
        self.up.store(up, Ordering::Release);
        if let Some(member) = &*self.joined() {
            member.set_listening(up);
        }
        Ok(())
    }

    fn set_link_string(&self, string: Option<&str>) -> io::Result<()> {
        let mut joined = self.joined.write().unwrap_or_else(PoisonError::into_inner);
        match string {
            Some(_) if joined.is_some() => return Err(io::ErrorKind::ResourceBusy.into()),
            Some(string) => {
                let member = joined.insert(self.join(string)?);
                member.set_listening(self.up.load(Ordering::Acquire));
            }
            None => *joined = None,
        }
        Ok(())
    }
}
