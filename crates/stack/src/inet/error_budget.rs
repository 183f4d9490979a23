//! How many ICMP errors may be sent: so many a second to all, and fewer to one peer, who else would use up what belongs to all
//! (RFC 1812 section 4.3.2.8).

use alloc::boxed::Box;
use core::{hash::BuildHasher as _, net::Ipv4Addr};

use crate::{
    random::{PeerTableHasher, Random},
    time::{Duration, Instant},
};

/// Peers told apart; those that fall together share what one may have.
const PEERS: usize = 256;

/// A second's errors.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    since: Instant,
    sent: u32,
}

impl Second {
    fn may_send(&mut self, now: Instant, limit: u32) -> bool {
        if now - self.since >= Duration::from_secs(1) {
            *self = Self { since: now, sent: 0 };
        }
        self.sent = self.sent.saturating_add(1);
        self.sent <= limit
    }
}

/// How many errors may still be sent in this second.
pub(super) struct ErrorBudget {
    all: Second,
    peers: Box<[Second]>,
    hasher: PeerTableHasher,
}

impl ErrorBudget {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            all: Second::default(),
            peers: Box::default(),
            hasher: PeerTableHasher::new(random.next_seed()),
        }
    }

    /// Whether an error may be sent to `peer`, which then counts.
    pub(super) fn may_send(&mut self, now: Instant, peer: Ipv4Addr, (all, each): (u32, u32)) -> bool {
        if self.peers.is_empty() {
            // Most kernels never send an error.
            self.peers = alloc::vec![Second::default(); PEERS].into();
        }
        let place = self.hasher.hash_one(peer) as usize % PEERS;
        self.peers[place].may_send(now, each) && self.all.may_send(now, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn one_peer_does_not_use_up_what_belongs_to_all() {
        let mut budget = ErrorBudget::new(&mut Random::new([1; 16]));
        let sent = |budget: &mut ErrorBudget, peer| {
            (0..100).filter(|_| budget.may_send(Instant::ZERO, peer, (50, 20))).count()
        };
        assert_eq!(sent(&mut budget, A), 20);
        let others = (1..=9).map(|number| sent(&mut budget, Ipv4Addr::new(10, 0, number, 1)));
        assert_eq!(others.sum::<usize>(), 30, "and all of them have no more than there is");
        assert!(budget.may_send(Instant::from_secs(1), A, (50, 20)), "a second later there is more");
    }
}
