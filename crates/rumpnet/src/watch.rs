//! Following the host's interfaces: a tap that goes down, comes back or is deleted under a running kernel.
//!
//! One rtnetlink socket hears of every interface of a network namespace; all ports of that namespace share it. What it says
//! is told to the link, and the kernel follows: once per change, never per packet.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use rumpnet_host::{
    machine,
    netlink::{HostLink, LinkMonitor, LinkNews, Netlink},
};

use crate::{port::Port, reactor::Reactor};

/// The watches of a reactor, by network namespace.
#[derive(Default)]
pub(crate) struct Watches(BTreeMap<u64, Weak<Watch>>);

/// The interfaces of one network namespace, for as long as a port of it lives.
pub(crate) struct Watch {
    reactor: Weak<Reactor>,
    /// The reactor's token of it.
    token: OnceLock<usize>,
    /// What is polled; a copy of the monitor's own descriptor.
    fd: std::os::fd::OwnedFd,
    monitor: Mutex<LinkMonitor>,
    /// Opened in the namespace, too, since the reactor's thread may be in another.
    netlink: Mutex<Netlink>,
    ports: Mutex<BTreeMap<u32, Vec<Weak<Port>>>>,
}

impl Watches {
    /// The watch of the calling thread's namespace, and whether it has just been made.
    pub(crate) fn of_this_namespace(&mut self, reactor: &Weak<Reactor>) -> io::Result<(Arc<Watch>, bool)> {
        let namespace = machine::network_namespace();
        if let Some(watch) = self.0.get(&namespace).and_then(Weak::upgrade) {
            return Ok((watch, false));
        }
        let monitor = LinkMonitor::open()?;
        let fd = monitor.as_fd().try_clone_to_owned()?;
        let watch = Arc::new(Watch {
            reactor: reactor.clone(),
            token: OnceLock::new(),
            fd,
            monitor: Mutex::new(monitor),
            netlink: Mutex::new(Netlink::open()?),
            ports: Mutex::default(),
        });
        self.0.retain(|_, watch| watch.strong_count() > 0);
        self.0.insert(namespace, Arc::downgrade(&watch));
        Ok((watch, true))
    }
}

impl Watch {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The reactor polls it under this token.
    pub(crate) fn set_token(&self, token: usize) {
        // It is registered once, by the one who made it.
        let _once = self.token.set(token);
    }

    /// Tells `port` of interface number `index` from now on, and how it is now.
    pub(crate) fn follow(&self, index: u32, port: &Arc<Port>) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let followers = ports.entry(index).or_default();
        followers.retain(|follower| follower.strong_count() > 0);
        followers.push(Arc::downgrade(port));
    }

    /// Takes the news and passes them on.
    pub(crate) fn receive(&self) {
        let news = self.monitor.lock().unwrap_or_else(PoisonError::into_inner).receive();
        for item in news.unwrap_or_default() {
            match item {
                LinkNews::Changed(link) => self.tell(link.index, Some(&link)),
                LinkNews::Deleted(link) => {
                    self.tell(link.index, None);
                    self.ports.lock().unwrap_or_else(PoisonError::into_inner).remove(&link.index);
                }
                LinkNews::Lost => self.ask_again(),
            }
        }
    }

    /// More happened than the socket could hold: the state of everything is asked for.
    fn ask_again(&self) {
        let Ok(links) = self.netlink.lock().unwrap_or_else(PoisonError::into_inner).links() else { return };
        let links: BTreeMap<u32, HostLink> = links.into_iter().map(|link| (link.index, link)).collect();
        let followed: Vec<u32> =
            self.ports.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        followed.into_iter().for_each(|index| self.tell(index, links.get(&index)));
    }

    fn tell(&self, index: u32, link: Option<&HostLink>) {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let followers: Vec<_> = ports.get(&index).into_iter().flatten().filter_map(Weak::upgrade).collect();
        drop(ports);
        for port in followers {
            port.link().on_host_link(link);
            if let Some(kernel) = port.kernel.upgrade() {
                kernel.follow_link(&port);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let (Some(reactor), Some(token)) = (self.reactor.upgrade(), self.token.get()) {
            reactor.forget_watch(self.fd.as_fd(), *token);
        }
    }
}
