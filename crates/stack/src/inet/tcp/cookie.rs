//! SYN cookies (RFC 4987 section 3.6): while too many handshakes are under way, the answer to a SYN holds all that is to be known of it, and nothing is kept.
//!
//! A cookie is our initial number: five bits of a clock that ticks every 64 s, three of an index into a table of segment sizes, and 24 of a keyed hash over
//! these, the addresses and the peer's number. It has no room for other options; but a peer with timestamps echoes our clock, in whose lowest six bits stand, as on
//! Linux, its window shift, whether it knows SACK, and whether it asked for ECN. A peer without timestamps does without these, too. Whether a listener answers so at
//! all is decided in `listen`.

use core::{hash::Hasher as _, net::SocketAddr};

use rumpnet_wire::tcp::Seq;
use siphasher::sip::SipHasher24;

use super::segment::SegmentOptions;
use crate::{random::Seed, time::Instant};

/// Seconds of a tick.
const TICK: u64 = 64;
/// Ticks after its own during which a cookie is good.
const LIFETIME: u32 = 1;
/// Segment sizes that a cookie can tell, the smallest first; a peer's is rounded down.
const SIZES: [u16; 8] = [64, 536, 1024, 1220, 1360, 1440, 1460, 8960];

/// Bits of a timestamp that tell of options.
const OPTION_BITS: u32 = 6;
/// The four bits of a window shift, of a peer that does not scale.
const NO_SCALE: u32 = 15;
const SACK: u32 = 1 << 4;
const ECN: u32 = 1 << 5;

/// What a timestamp tells of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) window_scale: Option<u8>,
    pub(super) sack_permitted: bool,
    pub(super) ecn: bool,
}

/// A clock not later than `clock`, and less than 128 ticks earlier, that tells of a SYN's options.
pub(super) fn mark(clock: u32, options: &SegmentOptions, ecn: bool) -> u32 {
    let scale = options.window_scale.map_or(NO_SCALE, |shift| u32::from(shift).min(14));
    let sack = if options.sack_permitted { SACK } else { 0 };
    let ecn = if ecn { ECN } else { 0 };
    let range = 1 << OPTION_BITS;
    let marked = clock & !(range - 1) | scale | sack | ecn;
    if marked & (range - 1) > clock & (range - 1) { marked.wrapping_sub(range) } else { marked }
}

/// What a marked clock tells.
pub(super) const fn recall(marked: u32) -> Told {
    let scale = marked & NO_SCALE;
    Told {
        window_scale: if scale == NO_SCALE { None } else { Some(scale as u8) },
        sack_permitted: marked & SACK != 0,
        ecn: marked & ECN != 0,
    }
}

/// What a cookie is about: our address, the peer's, and the number of its SYN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) sequence: Seq,
}

/// The initial number that answers a SYN with this MSS.
pub(super) fn bake(secret: &Seed, now: Instant, subject: &Subject, mss: u16) -> Seq {
    let index = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0) as u32;
    let tick = (now.as_secs() / TICK) as u32 & 31;
    Seq(tick << 27 | index << 24 | hash(secret, subject, tick << 3 | index))
}

/// The MSS that a good cookie tells.
pub(super) fn check(secret: &Seed, now: Instant, subject: &Subject, cookie: Seq) -> Option<u16> {
    let head = cookie.0 >> 24;
    let tick = (now.as_secs() / TICK) as u32;
    let age = tick.wrapping_sub(head >> 3) & 31;
    let good = age <= LIFETIME && hash(secret, subject, head) == cookie.0 & 0xff_ffff;
    good.then(|| SIZES[head as usize & 7])
}

/// 24 bits.
fn hash(secret: &Seed, subject: &Subject, head: u32) -> u32 {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write_u8(b'c');
    super::write_pair(&mut hasher, subject.local, subject.remote);
    hasher.write_u32(subject.sequence.0);
    hasher.write_u32(head);
    hasher.finish() as u32 & 0xff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Seed = [7; 16];

    fn subject(port: u16) -> Subject {
        Subject { local: ([10, 0, 0, 1], 80).into(), remote: ([10, 0, 0, 2], port).into(), sequence: Seq(5) }
    }

    #[test]
    fn a_cookie_tells_the_size_rounded_down_for_a_minute_or_two() {
        let baked = Instant::from_secs(64 * 100 + 63);
        for (mss, told) in [(10, 64), (536, 536), (1000, 536), (1460, 1460), (9000, 8960)] {
            let cookie = bake(&SECRET, baked, &subject(9), mss);
            for (seconds, good) in [(0, true), (1, true), (64, true), (65, false), (1000, false)] {
                let now = Instant::from_secs(64 * 100 + 63 + seconds);
                let told = Some(told).filter(|_| good);
                assert_eq!(check(&SECRET, now, &subject(9), cookie), told, "{mss} {seconds}");
            }
        }
    }

    #[test]
    fn a_clock_tells_of_options_and_is_never_late() {
        for window_scale in [None, Some(0), Some(7), Some(14)] {
            for (sack_permitted, ecn) in [(false, false), (true, false), (false, true), (true, true)] {
                let options = SegmentOptions { window_scale, sack_permitted, ..SegmentOptions::default() };
                for clock in [0, 1, 63, 64, 1_000_003, u32::MAX] {
                    let marked = mark(clock, &options, ecn);
                    assert_eq!(recall(marked), Told { window_scale, sack_permitted, ecn });
                    assert!(clock.wrapping_sub(marked) < 128, "{clock} {marked}");
                }
            }
        }
    }

    #[test]
    fn a_cookie_is_good_for_nobody_else_and_no_other_number() {
        let now = Instant::from_secs(1000);
        let cookie = bake(&SECRET, now, &subject(9), 1460);
        assert_eq!(check(&SECRET, now, &subject(10), cookie), None);
        assert_eq!(check(&SECRET, now, &Subject { sequence: Seq(6), ..subject(9) }, cookie), None);
        assert_eq!(check(&[8; 16], now, &subject(9), cookie), None);
        assert_eq!(check(&SECRET, now, &subject(9), cookie + 1), None);
    }
}
