//! The state of a cable: its ends, what befalls a frame, and the counts of it.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use bytes::Bytes;
use rumpnet_stack::{
    Offloads,
    buffer::{Checksum, Offload, Received},
    time::Instant,
};
use rumpnet_wire::ethernet;

use super::rule::Rule;
use crate::{Conditions, random::Random};

/// What has happened on a cable, in frames; a super-frame counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CableCounters {
    /// Given to the cable by an end.
    pub sent: u64,
    /// Given to an end by the cable.
    pub delivered: u64,
    /// Lost because the cable was cut, wholly or in their direction.
    pub cut: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped because they were longer than the cable's MTU.
    pub oversize: u64,
    /// Dropped because the cable's queue was full.
    pub queue_full: u64,
    /// Dropped by a rule.
    pub ruled_out: u64,
    /// Replaced by a rule.
    pub replaced: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Held back so that later ones overtook them.
    pub reordered: u64,
    /// Delivered with a bit flipped.
    pub corrupted: u64,
}

/// Who is at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plug {
    /// Nobody, any more.
    Nothing,
    /// An interface.
    Port { host: usize, port: u32 },
    /// A stranger, by number.
    Stranger(usize),
}

/// One end of a cable.
pub(crate) struct End {
    pub(crate) plug: Plug,
    /// `host/interface`, or the stranger's name.
    pub(crate) label: Rc<str>,
    pub(crate) ethernet: bool,
    pub(crate) up: bool,
    pub(crate) conditions: Conditions,
    /// What it can do by itself.
    pub(crate) offloads: Offloads,
    /// What it sends is lost.
    pub(crate) is_mute: bool,
    /// Whether a frame of it is being sent, and the next must wait.
    pub(crate) is_sending: bool,
    /// Whether its port waits for that.
    pub(crate) is_waited_for: bool,
    /// Its number in the recording.
    pub(crate) recorded: u32,
    /// When the last frame will have been sent.
    free_at: Instant,
    /// When those frames will have been sent that are not yet.
    departures: VecDeque<Instant>,
    last_arrival: Instant,
}

/// A cable.
pub(crate) struct CableState {
    pub(crate) name: String,
    pub(crate) ends: Vec<End>,
    pub(crate) conditions: Conditions,
    pub(crate) offloads: Offloads,
    /// What the ends may leave to each other now.
    pub(crate) negotiated: Offloads,
    /// Whether it is a bus, whose members have a carrier though nobody else is there.
    pub(crate) is_bus: bool,
    pub(crate) is_cut: bool,
    /// How often it has been cut; what was under way then is lost.
    pub(crate) cuts: u32,
    pub(crate) rules: Vec<Rule>,
    /// Interfaces that will be plugged in when they are created.
    pub(crate) awaited: Vec<(usize, String)>,
    pub(crate) counters: CableCounters,
    random: Random,
}

/// What the rules of a cable made of a frame.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) drop: bool,
    pub(crate) delay: Duration,
    pub(crate) replacement: Option<Vec<Bytes>>,
}

/// What became of a frame.
pub(crate) struct Sent {
    pub(crate) original: Received,
    /// When its end can send the next.
    pub(crate) free_at: Instant,
    pub(crate) arrivals: Vec<(Instant, Received)>,
    /// What befell it, if it was not simply delivered.
    pub(crate) note: Option<&'static str>,
}

impl End {
    pub(crate) fn new(plug: Plug, label: String, ethernet: bool, up: bool, recorded: u32) -> Self {
        Self {
            plug,
            label: label.into(),
            ethernet,
            up,
            conditions: Conditions::PERFECT,
            offloads: if matches!(plug, Plug::Stranger(_)) { Offloads::NONE } else { Offloads::ALL },
            is_mute: false,
            is_sending: false,
            is_waited_for: false,
            recorded,
            free_at: Instant::ZERO,
            departures: VecDeque::new(),
            last_arrival: Instant::ZERO,
        }
    }

    /// There was nothing to send.
    pub(crate) const fn rest(&mut self) {
        (self.is_sending, self.is_waited_for) = (false, false);
    }

    /// When so many bytes will have been sent; none if the cable's queue is full.
    fn transmit(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        while self.departures.front().is_some_and(|departure| *departure <= now) {
            self.departures.pop_front();
        }
        // The first of them is being sent; the others wait.
        let waiting = self.departures.len().saturating_sub(1) as u32;
        if self.conditions.queue.is_some_and(|limit| !self.departures.is_empty() && waiting >= limit) {
            return None;
        }
        let free_at = self.free_at.max(now) + self.conditions.sending_time(bytes).into();
        self.free_at = free_at;
        if free_at > now && self.conditions.queue.is_some() {
            self.departures.push_back(free_at);
        }
        Some(free_at)
    }
}

impl CableState {
    pub(crate) const fn new(name: String, random: Random) -> Self {
        Self {
            name,
            ends: Vec::new(),
            conditions: Conditions::PERFECT,
            offloads: Offloads::ALL,
            negotiated: Offloads::ALL,
            is_bus: false,
            is_cut: false,
            cuts: 0,
            rules: Vec::new(),
            awaited: Vec::new(),
            counters: ZERO,
            random,
        }
    }

    pub(crate) fn add_end(&mut self, end: End) -> usize {
        assert!(
            self.ends.first().is_none_or(|first| first.ethernet == end.ethernet),
            "{} carries {}, but {} does not",
            self.name,
            if end.ethernet { "IP packets" } else { "Ethernet frames" },
            end.label,
        );
        self.ends.push(End { conditions: self.conditions, ..end });
        self.ends.len() - 1
    }

    /// Whether anybody is at another end than this.
    pub(crate) fn has_carrier(&self, end: usize) -> bool {
        let others = self.ends.iter().enumerate().filter(|(other, _)| *other != end);
        let anybody = |(_, other): (usize, &End)| other.plug != Plug::Nothing && other.up;
        !self.is_cut && (self.is_bus || others.into_iter().any(anybody))
    }

    /// Lets all ends agree on what they and the cable can do.
    pub(crate) fn negotiate(&mut self) -> Offloads {
        self.negotiated = self.determine_offloads();
        self.negotiated
    }

    fn determine_offloads(&self) -> Offloads {
        if self.ends.iter().any(|end| end.conditions.corruption > 0.0) {
            return Offloads::NONE;
        }
        let present = self.ends.iter().filter(|end| end.plug != Plug::Nothing);
        let all = present.fold(self.offloads, |all, end| intersection(all, end.offloads));
        // A super-frame leaves its checksums undone as well.
        if all.checksum { all } else { Offloads::NONE }
    }

    /// The ends that hear this one.
    pub(crate) fn targets(&self, from: usize) -> Vec<usize> {
        let others = self.ends.iter().enumerate().filter(|(end, _)| *end != from);
        others.filter(|(_, end)| end.plug != Plug::Nothing).map(|(end, _)| end).collect()
    }

    /// What becomes of a frame that an end sends.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        from: usize,
        frame: Received,
        headers: usize,
        verdicts: Verdicts,
    ) -> Sent {
        self.counters.sent += 1;
        let frame = if self.negotiated.checksum { frame } else { unverified(frame) };
        let end = &mut self.ends[from];
        let (packet_len, wire_len) = measure(&frame, headers, end.ethernet);
        let sent_at = end.transmit(now, wire_len);
        let free_at = sent_at.unwrap_or(end.free_at).max(now);
        let mut sent = Sent { original: frame, free_at, arrivals: Vec::new(), note: None };
        let conditions = self.ends[from].conditions;
        let counters = &mut self.counters;
        sent.note = if self.is_cut || self.ends[from].is_mute {
            counters.cut += 1;
            Some("lost: the cable is cut")
        } else if conditions.mtu.is_some_and(|mtu| packet_len > mtu as usize) {
            counters.oversize += 1;
            Some("dropped: longer than the MTU of the cable")
        } else if sent_at.is_none() {
            counters.queue_full += 1;
            Some("dropped: the queue of the cable is full")
        } else if verdicts.drop {
            counters.ruled_out += 1;
            Some("dropped by a rule")
        } else if self.random.happens(conditions.loss) {
            counters.lost += 1;
            Some("lost by chance")
        } else {
            None
        };
        if sent.note.is_none() {
            self.carry(from, &mut sent, verdicts);
        }
        sent
    }

    /// A frame that is not lost: when it arrives, how often, and how intact.
    fn carry(&mut self, from: usize, sent: &mut Sent, verdicts: Verdicts) {
        let delay = verdicts.delay;
        let frames = match verdicts.replacement {
            None => vec![sent.original.clone()],
            Some(others) => {
                self.counters.replaced += 1;
                sent.note = Some("replaced by a rule");
                others.into_iter().map(|bytes| Received::new(bytes, Offload::default())).collect()
            }
        };
        for mut frame in frames {
            let conditions = self.ends[from].conditions;
            if self.random.happens(conditions.corruption) {
                self.counters.corrupted += 1;
                sent.note = Some("delivered with a bit flipped");
                frame = with_a_bit_flipped(&frame, &mut self.random);
            }
            let at = self.arrival(from, sent, delay);
            if self.random.happens(conditions.duplication) {
                self.counters.duplicated += 1;
                sent.note = Some("delivered twice");
                sent.arrivals.push((at, frame.clone()));
            }
            sent.arrivals.push((at, frame));
        }
    }

    fn arrival(&mut self, from: usize, sent: &mut Sent, delay: Duration) -> Instant {
        let Conditions { latency, jitter, reordering, reordering_delay, .. } = self.ends[from].conditions;
        let at = sent.free_at + latency.into() + self.random.span(jitter).into();
        if self.random.happens(reordering) {
            self.counters.reordered += 1;
            sent.note = Some("held back to be overtaken");
            return at + (reordering_delay + delay).into();
        }
        let end = &mut self.ends[from];
        let at = at.max(end.last_arrival);
        end.last_arrival = at;
        at + delay.into()
    }
}

const ZERO: CableCounters = CableCounters {
    sent: 0,
    delivered: 0,
    cut: 0,
    lost: 0,
    oversize: 0,
    queue_full: 0,
    ruled_out: 0,
    replaced: 0,
    duplicated: 0,
    reordered: 0,
    corrupted: 0,
};

const fn intersection(one: Offloads, other: Offloads) -> Offloads {
    Offloads {
        checksum: one.checksum && other.checksum,
        tso4: one.tso4 && other.tso4,
        tso6: one.tso6 && other.tso6,
        uso4: one.uso4 && other.uso4,
        uso6: one.uso6 && other.uso6,
    }
}

/// The longest packet that a frame stands for, without its link header, and the bytes of all of them on a wire.
fn measure(frame: &Received, headers: usize, ethernet: bool) -> (usize, usize) {
    let link = if ethernet { ethernet::Header::LEN } else { 0 };
    let len = frame.len();
    match frame.offload.gso {
        None => (len.saturating_sub(link), len),
        Some(gso) => {
            let (payload, size) = (len.saturating_sub(headers), usize::from(gso.size).max(1));
            let segments = payload.div_ceil(size).max(1);
            ((headers + payload.min(size)).saturating_sub(link), len + (segments - 1) * headers)
        }
    }
}

/// A wire does not carry anybody's word that a checksum is right.
fn unverified(mut frame: Received) -> Received {
    if frame.offload.checksum == Checksum::Verified {
        frame.offload.checksum = Checksum::Unverified;
    }
    frame
}

fn with_a_bit_flipped(frame: &Received, random: &mut Random) -> Received {
    let mut bytes: Vec<u8> = frame.whole().collect::<Vec<_>>().concat();
    if !bytes.is_empty() {
        let bit = random.below(bytes.len() as u64 * 8);
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
    Received::new(bytes.into(), frame.offload)
}

#[cfg(test)]
mod tests {
    use rumpnet_stack::buffer::{Gso, GsoKind};

    use super::*;

    #[test]
    fn a_super_frame_is_as_long_as_its_segments() {
        let gso = Some(Gso { kind: GsoKind::Udp, size: 100, ecn: false, fixed_identification: false });
        let offload = Offload { gso, ..Offload::default() };
        let train = Received::new(vec![0; 42 + 250].into(), offload);
        assert_eq!(measure(&train, 42, true), (128, 42 * 3 + 250));
        let plain = Received::new(vec![0; 60].into(), Offload::default());
        assert_eq!(measure(&plain, 42, true), (46, 60));
    }

    #[test]
    fn exactly_one_bit_is_flipped() {
        let frame = Received::new(vec![0; 60].into(), Offload::default());
        let mut random = Random::new(1);
        for _ in 0..100 {
            let ones: u32 =
                with_a_bit_flipped(&frame, &mut random).bytes().iter().map(|b| b.count_ones()).sum();
            assert_eq!(ones, 1);
        }
    }
}
