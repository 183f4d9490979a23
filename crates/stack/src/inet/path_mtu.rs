//! What ICMP has told of the MTU of paths (RFC 1191 section 6.3, RFC 8201 section 5.3), for all transports: what is sent to the same destination
//! fits it from then on.
//!
//! An entry is believed for ten minutes after it was told last (net.inet.ip.mtudisctimeout); then the path may have become wider, and whoever sends
//! finds out by using all that the link carries.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;

use rumpnet_proto::Counter;
use serde::{Deserialize, Serialize};

use super::Inet;
use crate::{
    context::Context,
    time::{Duration, Instant},
};

/// The least path MTU that is believed, against those who would make us send crumbs (as Linux has it).
pub(crate) const MIN_PATH_MTU: u32 = 552;
/// MTUs of real links, for routers that do not name theirs (RFC 1191 section 7).
const PLATEAUS: [u32; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 576];

/// What a socket makes of the MTU of its paths (IP_MTU_DISCOVER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MtuDiscovery {
    /// IP_PMTUDISC_WANT: what fits the known path is sent with DF, what does not is fragmented here.
    Want,
    /// IP_PMTUDISC_DO: DF at all times; what does not fit the known path is refused with EMSGSIZE.
    Do,
    /// IP_PMTUDISC_DONT: no DF.
    Dont,
}

/// MTUs that are narrower than the link, by destination.
#[derive(Debug, Default)]
pub(crate) struct PathMtus {
    known: BTreeMap<IpAddr, (u32, Instant)>,
    /// The same by the time at which they end, so that the oldest is found without a walk.
    ends: BTreeSet<(Instant, IpAddr)>,
}

impl PathMtus {
    /// The MTU of a path, if it is known to be narrow, and until when that is believed.
    #[inline]
    pub(crate) fn find(&self, now: Instant, destination: IpAddr) -> Option<(u32, Instant)> {
        if self.known.is_empty() {
            return None;
        }
        self.known.get(&destination).copied().filter(|(_, until)| *until > now)
    }

    /// The MTU of a path over a link of `link` bytes.
    #[inline]
    pub(crate) fn determine(&self, now: Instant, destination: IpAddr, link: u32) -> u32 {
        self.find(now, destination).map_or(link, |(mtu, _)| mtu.min(link))
    }

    /// A path was found to be so narrow. True if one was forgotten for want of room: the one whose time ends first.
    fn learn(&mut self, now: Instant, destination: IpAddr, (mtu, until): (u32, Instant), limit: u32) -> bool {
        if limit == 0 {
            return true;
        }
        if let Some((_, ended)) = self.known.insert(destination, (mtu, until)) {
            self.ends.remove(&(ended, destination));
        }
        let mut evicted = false;
        if self.known.len() > limit as usize
            && let Some((end, oldest)) = self.ends.pop_first()
        {
            self.known.remove(&oldest);
            evicted = end > now;
        }
        self.ends.insert((until, destination));
        evicted
    }
}

impl Inet {
    /// The MTU of a path over a link of `link` bytes, as far as it is asked for (net.inet.ip.mtudisc).
    #[inline]
    pub(crate) fn path_mtu(&self, cx: &Context, destination: IpAddr, link: u32) -> u32 {
        if cx.config.mtu_discovery { self.path_mtus.determine(cx.now, destination, link) } else { link }
    }

    /// ICMP has told of a path's MTU. Until when it is believed.
    pub(crate) fn learn_path_mtu(&mut self, cx: &mut Context, destination: IpAddr, mtu: u32) -> Instant {
        let until = cx.now + Duration::from_secs(cx.config.mtu_discovery_lifetime.into());
        cx.count(Counter::IpPathMtuLearned);
        if self.path_mtus.learn(cx.now, destination, (mtu, until), cx.config.path_mtus) {
            cx.count(Counter::IpPathMtuEvicted);
        }
        until
    }
}

/// The MTU that an error tells of when a packet of `len` bytes did not fit: `told`, or if that is nothing the next plateau.
pub(crate) fn determine_told(told: u16, len: u32) -> u32 {
    let plateau = || PLATEAUS.into_iter().find(|mtu| *mtu < len).unwrap_or(MIN_PATH_MTU);
    if told == 0 { plateau() } else { told.into() }.max(MIN_PATH_MTU)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(paths: &mut PathMtus, second: u64, destination: IpAddr, limit: u32) -> bool {
        let now = Instant::from_secs(second);
        paths.learn(now, destination, (1200, now + Duration::from_secs(600)), limit)
    }

    #[test]
    fn a_path_is_narrow_for_ten_minutes_and_no_wider_than_its_link() {
        let mut paths = PathMtus::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!(!learn(&mut paths, 0, one, 1));
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
            assert_eq!(learn(&mut paths, last.into(), address(last), 2), last == 3);
        }
        let found = [1, 2, 3].map(|last| paths.determine(Instant::from_secs(9), address(last), 1500));
        assert_eq!(found, [1500, 1200, 1200]);
        // What is told again is young again; what has had its time is not missed.
        assert!(!learn(&mut paths, 10, address(2), 2));
        assert!(learn(&mut paths, 11, address(4), 2));
        assert!(paths.find(Instant::from_secs(12), address(3)).is_none());
        assert!(!learn(&mut paths, 700, address(5), 2));
        assert_eq!((paths.known.len(), paths.ends.len()), (2, 2));
    }

    #[test]
    fn a_router_that_names_no_mtu_means_the_next_plateau_and_crumbs_are_not_believed() {
        assert_eq!(
            [(0, 1500), (0, 576), (1200, 1500), (68, 1500)].map(|(told, len)| determine_told(told, len)),
            [1492, 552, 1200, 552]
        );
    }
}
