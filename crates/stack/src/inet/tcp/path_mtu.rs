//! What ICMP has told of the MTU of paths (RFC 1191 section 6.3, RFC 8201 section 5.3): a new connection to the same destination begins with it.
//!
//! An entry is believed for ten minutes after it was told last; then the path may have become wider, and the next connection finds out by using
//! all that the link carries. Connections that live keep what they know.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use crate::time::{Duration, Instant};

/// How long an entry is believed (RFC 1191 section 6.3).
const LIFETIME: Duration = Duration::from_secs(600);

/// MTUs that are narrower than the link, by destination.
#[derive(Debug, Default)]
pub(super) struct PathMtus {
    known: BTreeMap<IpAddr, (u32, Instant)>,
}

impl PathMtus {
    /// The MTU of a path over a link of `link` bytes.
    pub(super) fn determine(&self, now: Instant, destination: IpAddr, link: u32) -> u32 {
        match self.known.get(&destination) {
            Some((mtu, until)) if *until > now => link.min(*mtu),
            _ => link,
        }
    }

    /// A path was found to be so narrow. True if one was forgotten for want of room: the one whose time ends first.
    pub(super) fn learn(&mut self, now: Instant, destination: IpAddr, mtu: u32, limit: u32) -> bool {
        if limit == 0 {
            return true;
        }
        let full = self.known.len() >= limit as usize && !self.known.contains_key(&destination);
        let oldest = self.known.iter().min_by_key(|(_, (_, until))| *until).map(|(known, _)| *known);
        let victim = oldest.filter(|_| full);
        let evicted =
            victim.and_then(|victim| self.known.remove(&victim)).is_some_and(|(_, until)| until > now);
        self.known.insert(destination, (mtu, now + LIFETIME));
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_narrow_for_ten_minutes_and_no_wider_than_its_link() {
        let mut paths = PathMtus::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!(!paths.learn(Instant::ZERO, one, 1200, 1));
        assert_eq!(paths.determine(Instant::from_secs(599), one, 1500), 1200);
        assert_eq!(paths.determine(Instant::from_secs(599), one, 576), 576);
        assert_eq!(paths.determine(Instant::from_secs(599), other, 1500), 1500);
        assert_eq!(paths.determine(Instant::from_secs(600), one, 1500), 1500);
    }

    #[test]
    fn of_more_destinations_than_the_limit_the_oldest_is_forgotten() {
        let mut paths = PathMtus::default();
        let address = |last| IpAddr::from([10, 0, 0, last]);
        for last in 1..=3 {
            assert_eq!(paths.learn(Instant::from_secs(last.into()), address(last), 1200, 2), last == 3);
        }
        let found = [1, 2, 3].map(|last| paths.determine(Instant::from_secs(9), address(last), 1500));
        assert_eq!(found, [1500, 1200, 1200]);
    }
}
