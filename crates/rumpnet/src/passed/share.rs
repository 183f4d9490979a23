//! A client's share: its sockets, what they may hold, and its place in the reactor's queue.
//!
//! The reactor serves shares in turn, and a share its sockets, so that a client with a thousand busy sockets gets no more of it than one
//! with a single one.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rumpnet_host::unix::pair::{Pair, set_send_buffer};
use rumpnet_proto::{Counter, Errno};
use rumpnet_sockets::Net as _;

use super::{Joint, QUANTUM};
use crate::{Kernel, server::Limits};

/// What a socket's pair may hold each way while its client has that much left, in octets.
const AMPLE: usize = 1024 * 1024;
/// What it may hold if not.
const SCANT: usize = 32 * 1024;
/// Sockets served in one turn of a share.
const SERVED: usize = 16;

/// Numbers of sockets are given once in a process, so that one which is gone is nobody else's.
static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A client's share.
pub(crate) struct Share {
    owned: Mutex<Owned>,
    ready: Mutex<VecDeque<Arc<Joint>>>,
    /// Whether it waits for its turn already.
    rung: AtomicBool,
}

#[derive(Default)]
struct Owned {
    /// By their numbers. One that ended with an error stays until its client has asked for it, or goes.
    joints: BTreeMap<u64, Arc<Joint>>,
    /// Sockets open, and the octets that their pairs may hold.
    sockets: usize,
    octets: usize,
    /// Listeners that have a connection to pass on and no socket left for it.
    starved: Vec<Weak<Joint>>,
    limits: Limits,
    /// The client has gone; its descriptors may have been passed on.
    orphaned: bool,
}

/// What a socket was allowed; given back when it ends.
pub(crate) struct Allowance {
    share: Option<Arc<Share>>,
    octets: usize,
}

impl Share {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let owned = Owned { limits: limits.clone(), ..Owned::default() };
        Arc::new(Self { owned: Mutex::new(owned), ready: Mutex::default(), rung: AtomicBool::new(false) })
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<Arc<Joint>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_number(&self) -> u64 {
        LAST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Room for one more socket. EMFILE, ENOBUFS; a refusal is counted.
    pub(super) fn allow(self: &Arc<Self>, kernel: &Kernel) -> Result<Allowance, Errno> {
        let allowed = self.owned().allow();
        match allowed {
            Ok(octets) => {
                kernel.enter(|stack, _| stack.count(Counter::PassedSockets));
                Ok(Allowance { share: Some(Arc::clone(self)), octets })
            }
            Err(errno) => {
                kernel.enter(|stack, _| stack.count(Counter::PassedSocketsRefused));
                Err(errno)
            }
        }
    }

    pub(super) fn adopt(&self, joint: &Arc<Joint>) {
        let mut owned = self.owned();
        owned.joints.insert(joint.number, Arc::clone(joint));
        let orphaned = owned.orphaned;
        drop(owned);
        if orphaned {
            // Its client went while it was opened.
            joint.let_go();
        }
    }

    /// A client's socket by its number. EBADF.
    pub(crate) fn joint(&self, number: u64) -> Result<Arc<Joint>, Errno> {
        self.owned().joints.get(&number).cloned().ok_or(Errno::BadF)
    }

    /// A listener waits until a socket of the share ends.
    pub(super) fn starve(&self, listener: &Weak<Joint>) {
        self.owned().starved.push(listener.clone());
    }

    /// A socket has ended; whether with an error that its client may ask for.
    pub(super) fn on_ended(&self, joint: &Joint, has_failed: bool, allowance: &mut Allowance) {
        allowance.give_back();
        let mut owned = self.owned();
        if !has_failed || owned.orphaned {
            owned.joints.remove(&joint.number);
        }
        owned.forget_old_failures();
    }

    /// Forgets a socket that has ended.
    pub(crate) fn forget(&self, number: u64) {
        self.owned().joints.remove(&number);
    }

    /// Its client has gone. What is connected or listens goes on for as long as somebody holds its descriptor.
    pub(crate) fn orphan(&self) {
        let joints: Vec<_> = {
            let mut owned = self.owned();
            owned.orphaned = true;
            owned.joints.values().cloned().collect()
        };
        for joint in joints {
            joint.let_go();
            if joint.is_over() {
                self.forget(joint.number);
            }
        }
    }

    /// Closes everything: the server ends.
    pub(crate) fn close_all(&self) {
        let joints = std::mem::take(&mut self.owned().joints);
        joints.values().for_each(|joint| joint.close());
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_spent(&self) -> bool {
        let owned = self.owned();
        owned.orphaned && owned.joints.is_empty()
    }

    pub(super) fn push(&self, joint: Arc<Joint>) {
        self.ready().push_back(joint);
    }

    /// Whether it was not rung yet.
    pub(crate) fn set_rung(&self) -> bool {
        !self.rung.swap(true, Ordering::AcqRel)
    }

    /// Its turn, on the reactor's thread; whether there is more to do.
    pub(crate) fn turn(&self) -> bool {
        self.rung.store(false, Ordering::Release);
        let mut moved = 0;
        for _ in 0..SERVED {
            let next = self.ready().pop_front();
            let Some(joint) = next else { return false };
            let turn = joint.turn();
            moved += turn.moved;
            if turn.again {
                joint.ring();
            }
            if moved >= QUANTUM {
                break;
            }
        }
        !self.ready().is_empty()
    }
}

impl Owned {
    /// The octets of a new socket's pair, each way.
    fn allow(&mut self) -> Result<usize, Errno> {
        if self.sockets >= self.limits.sockets {
            return Err(Errno::MFile);
        }
        let left = self.limits.socket_octets.saturating_sub(self.octets);
        let octets = match left {
            left if left >= 2 * AMPLE => AMPLE,
            left if left >= 2 * SCANT => SCANT,
            _ => return Err(Errno::NoBufs),
        };
        self.sockets += 1;
        self.octets += 2 * octets;
        Ok(octets)
    }

    /// Of those who failed and were never asked why, as many are kept as sockets may be open; the oldest go.
    fn forget_old_failures(&mut self) {
        while self.joints.len() > self.sockets + self.limits.sockets {
            let oldest =
                self.joints.iter().find(|(_, joint)| joint.token_is_gone()).map(|(number, _)| *number);
            match oldest {
                Some(number) => drop(self.joints.remove(&number)),
                None => return,
            }
        }
    }
}

impl Allowance {
    /// Lets an end hold what it may.
    pub(super) fn give(&self, end: impl AsFd) -> io::Result<()> {
        set_send_buffer(end, self.octets)
    }

    /// Lets both ends hold what they may.
    pub(super) fn give_buffers(&self, pair: &Pair) -> io::Result<()> {
        self.give(&pair.ours)?;
        self.give(&pair.theirs)
    }

    fn give_back(&mut self) {
        let Some(share) = self.share.take() else { return };
        let starved = {
            let mut owned = share.owned();
            owned.sockets -= 1;
            owned.octets -= 2 * self.octets;
            std::mem::take(&mut owned.starved)
        };
        starved.iter().filter_map(Weak::upgrade).for_each(|listener| listener.ring());
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.give_back();
    }
}
