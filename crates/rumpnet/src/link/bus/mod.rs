//! `bus<n>`, also known as `shmif<n>`: a link that joins a bus when it is given a link string, and leaves it without.
//!
//! `mem:NAME` is a [`hub`] of this process, anything else the path of a [`file`](mod@file). The interface exists before it is on any
//! bus; it has a carrier while it is on one.

mod file;
mod hub;

use std::{
    collections::VecDeque,
    io,
    path::Path,
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
    joined: RwLock<Option<Bus>>,
}

/// A bus that was joined.
enum Bus {
    Hub(hub::Member),
    File(file::FileBus),
}

impl Bus {
    fn set_listening(&self, listening: bool) {
        match self {
            Self::Hub(member) => member.set_listening(listening),
            Self::File(bus) => bus.set_listening(listening),
        }
    }
}

impl BusLink {
    fn joined(&self) -> RwLockReadGuard<'_, Option<Bus>> {
        self.joined.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, string: &str) -> io::Result<Bus> {
        let doorbell = self.doorbell.get().ok_or(io::ErrorKind::NotConnected)?.clone();
        match string.strip_prefix(IN_MEMORY) {
            Some(name) => Ok(Bus::Hub(hub::Hub::named(name).join(doorbell))),
            None => file::FileBus::attach(Path::new(string), doorbell).map(Bus::File),
        }
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
        match &*self.joined() {
            Some(Bus::Hub(_)) => LinkState::Up,
            Some(Bus::File(bus)) if bus.is_well() => LinkState::Up,
            _ => LinkState::Down,
        }
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        match &*self.joined() {
            Some(Bus::Hub(member)) => member.send(frame),
            Some(Bus::File(bus)) => bus.send([frame]).map(drop),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn send_some(&self, frames: &VecDeque<Frame>) -> io::Result<usize> {
        match (&*self.joined(), frames.front()) {
            (Some(Bus::File(bus)), _) => bus.send(frames),
            (_, Some(frame)) => self.send(frame).map(|()| 1),
            (_, None) => Ok(0),
        }
    }

    fn receive(&self, pool: &Pool, limit: usize, out: &mut Vec<Received>) -> io::Result<()> {
        match &*self.joined() {
            Some(Bus::Hub(member)) => member.receive(limit, out),
            Some(Bus::File(bus)) => bus.receive(pool, limit, out),
            None => {}
        }
        Ok(())
    }

    fn set_up(&self, up: bool) -> io::Result<()> {
        self.up.store(up, Ordering::Release);
        if let Some(bus) = &*self.joined() {
            bus.set_listening(up);
        }
        Ok(())
    }

    fn set_link_string(&self, string: Option<&str>) -> io::Result<()> {
        let mut joined = self.joined.write().unwrap_or_else(PoisonError::into_inner);
        match string {
            Some(_) if joined.is_some() => return Err(io::ErrorKind::ResourceBusy.into()),
            Some(string) => {
                let bus = joined.insert(self.join(string)?);
                bus.set_listening(self.up.load(Ordering::Acquire));
            }
            None => {
                let left = joined.take();
                // Its thread may be about to look at this link.
                drop(joined);
                drop(left);
            }
        }
        Ok(())
    }

    fn far_drops(&self) -> Option<u64> {
        match &*self.joined() {
            Some(Bus::File(bus)) => Some(bus.overruns()),
            _ => None,
        }
    }
}
