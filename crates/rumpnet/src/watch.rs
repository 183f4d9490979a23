//! Following the host's interfaces: a tap that goes down, comes back or is deleted under a running kernel.
//!
//! One rtnetlink socket hears of every interface of a network namespace; all ports of that namespace share it. What it says
//! is told to the link, and the kernel follows: once per change, never per packet.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread,
};

use rumpnet_host::{
    machine,
    netlink::{HostLink, LinkMonitor, LinkNews, Netlink},
};

use rumpnet_proto::LinkState;

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
    followers: Mutex<Followers>,
    /// The number of the namespace.
    namespace: u64,
}

/// Who wants to hear of which interface.
#[derive(Default)]
struct Followers {
    by_index: BTreeMap<u32, Vec<Weak<Port>>>,
    /// By the name that the interface had when it was opened, under which it may be made anew once it is deleted.
    by_name: BTreeMap<String, Vec<Weak<Port>>>,
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
            followers: Mutex::default(),
            namespace,
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

    /// Tells `port` of interface number `index` from now on, and of what is made under its link's name.
    pub(crate) fn follow(&self, index: u32, port: &Arc<Port>) {
        let name = port.link().properties().host_end;
        let mut followers = self.followers();
        followers.by_index.entry(index).or_default().push(port.this.clone());
        if let Some(name) = name {
            followers.by_name.entry(name).or_default().push(port.this.clone());
        }
    }

    /// The link of a port stands on another interface than before.
    fn follow_instead(&self, before: Option<u32>, port: &Port) {
        let mut followers = self.followers();
        if let Some(former) = before.and_then(|index| followers.by_index.get_mut(&index)) {
            former.retain(|follower| !follower.ptr_eq(&port.this));
        }
        if let Some(index) = port.link().host_index() {
            followers.by_index.entry(index).or_default().push(port.this.clone());
        }
        followers.by_index.retain(|_, of_index| !of_index.is_empty());
    }

    /// A port goes, which nobody can reach any more.
    pub(crate) fn unfollow(&self, index: Option<u32>, name: Option<&str>) {
        let mut followers = self.followers();
        if let Some(index) = index {
            prune(&mut followers.by_index, &index);
        }
        if let Some(name) = name {
            prune(&mut followers.by_name, &name.to_owned());
        }
    }

    /// Takes the news and passes them on.
    pub(crate) fn receive(self: &Arc<Self>) {
        let news = self.monitor.lock().unwrap_or_else(PoisonError::into_inner).receive();
        let mut is_complete = true;
        for item in news.unwrap_or_default() {
            match item {
                LinkNews::Changed(link) => self.on_link(&link),
                // It may have gone to another network namespace only, and come back as what it was.
                LinkNews::Deleted(link) => drop(self.tell(link.index, None)),
                LinkNews::Lost => is_complete = false,
            }
        }
        // That news were lost is told before those that are older than the loss.
        if !is_complete {
            self.ask_again();
        }
    }

    fn on_link(self: &Arc<Self>, link: &HostLink) {
        if self.tell(link.index, Some(link)) {
            return;
        }
        // The lock is given back first: a port that goes meanwhile asks for it.
        let namesakes = alive(self.followers().by_name.get(&link.name));
        for port in namesakes.into_iter().filter(|port| port.link().state() == LinkState::Down) {
            self.attach_again(port);
        }
    }

    /// More happened than the socket could hold: the state of everything is asked for.
    fn ask_again(self: &Arc<Self>) {
        let Ok(links) = self.links() else { return };
        let followed: Vec<u32> = self.followers().by_index.keys().copied().collect();
        followed.iter().filter(|index| !links.contains_key(index)).for_each(|index| {
            self.tell(*index, None);
        });
        links.values().for_each(|link| self.on_link(link));
    }

    /// All interfaces of the namespace as they are now, by index.
    pub(crate) fn links(&self) -> io::Result<BTreeMap<u32, HostLink>> {
        let links = self.netlink.lock().unwrap_or_else(PoisonError::into_inner).links()?;
        Ok(links.into_iter().map(|link| (link.index, link)).collect())
    }

    /// Tells those who follow an interface; false if nobody does.
    fn tell(&self, index: u32, link: Option<&HostLink>) -> bool {
        let followers = alive(self.followers().by_index.get(&index));
        for port in &followers {
            port.link().on_host_link(link);
            if let Some(kernel) = port.kernel.upgrade() {
                kernel.follow_link(port);
            }
        }
        !followers.is_empty()
    }

    /// Somebody has made an interface of the name that a port's link had: if the link's own is gone, it takes the new one.
    ///
    /// On a thread of its own, since the host may take long. What it refuses, because its maker still holds the new one, is tried
    /// again at the next news of it.
    fn attach_again(self: &Arc<Self>, port: Arc<Port>) {
        let watch = Arc::clone(self);
        let name = format!("rumpnet-attach-{}", port.number);
        let again = thread::Builder::new().name(name).stack_size(64 * 1024).spawn(move || {
            // Threads may be in several network namespaces, and this one is in that of the reactor.
            let before = port.link().host_index();
            if machine::network_namespace() != watch.namespace || port.link().attach_again().is_err() {
                return;
            }
            watch.follow_instead(before, &port);
            if let Some(kernel) = port.kernel.upgrade() {
                kernel.on_attached_again(&port);
            }
        });
        // The host has no thread for us now, and it is not this interface that is to be saved first.
        let _later = again;
    }

    fn followers(&self) -> MutexGuard<'_, Followers> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn alive(ports: Option<&Vec<Weak<Port>>>) -> Vec<Arc<Port>> {
    ports.into_iter().flatten().filter_map(Weak::upgrade).collect()
}

/// Forgets the ports of an entry that are gone, and the entry if none is left.
fn prune<K: Ord>(ports: &mut BTreeMap<K, Vec<Weak<Port>>>, key: &K) {
    if let Some(of_key) = ports.get_mut(key) {
        of_key.retain(|port| port.strong_count() > 0);
        if of_key.is_empty() {
            ports.remove(key);
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
