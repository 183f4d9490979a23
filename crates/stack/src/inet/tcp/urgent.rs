//! Urgent data (RFC 9293 section 3.8.5), with the meaning that Linux and the BSDs give it (RFC 6093): the pointer is of the byte after the
//! last urgent one, and that byte is taken out of the stream unless the user wants it in line (SO_OOBINLINE).
//!
//! A connection has one mark at most: a later one takes the place of one that was not read. Nothing is kept but the mark's number; the byte
//! stays where it came until it is read or passed, so that a connection without urgent data pays for it with one look.

use rumpnet_proto::{Counter, Errno};
use rumpnet_wire::tcp::{Flags, Seq};

use super::{
    Tcp,
    connection::{Connection, State},
    reassembly::Reassembly,
    segment::Segment,
};
use crate::{context::Context, slab::Key};

/// Where the peer's urgent data ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the last urgent byte.
    pub(super) at: Seq,
    /// Whether the user has read it out of band.
    taken: bool,
}

impl Connection {
    /// The number of the next byte that a read would give.
    fn copied(&self) -> Seq {
        let fin = self.fin_at.is_some_and(|fin| self.rcv_nxt.is_after(fin));
        self.rcv_nxt - (self.received.len() as u32 + u32::from(fin))
    }

    /// Bytes before the mark that are still to be read; none without a mark.
    pub(super) fn urgent_ahead(&self) -> Option<u32> {
        self.urgent.map(|mark| mark.at - self.copied())
    }

    /// Bytes that a read would give now or later, the urgent one not among them if it is not in line.
    pub(super) fn readable_len(&self) -> usize {
        let hidden = self.urgent.is_some() && self.urgent_ahead() == Some(0) && !self.settings.urgent_inline;
        self.received.len().saturating_sub(usize::from(hidden))
    }

    /// Whether something came that the user has not read, in whatever way.
    pub(super) fn has_unread(&self) -> bool {
        self.received.len() > 0 && (self.readable_len() > 0 || self.has_urgent())
    }

    /// A segment with the flag URG has come in (section 3.10.7.4, step 6). What points before what was received is old, and what points
    /// before the present mark is no news.
    pub(super) fn receive_urgent_pointer(&mut self, segment: &Segment) {
        if self.read_shut || !matches!(self.state, State::Established | State::FinWait1 | State::FinWait2) {
            return;
        }
        let at = segment.sequence + u32::from(segment.urgent.saturating_sub(1));
        let known = self.urgent.is_some_and(|mark| at.is_at_or_before(mark.at));
        if known || at.is_before(self.rcv_nxt) {
            return;
        }
        // A reader that stands at the old byte shall not get it as a byte of the stream now.
        if self.urgent_ahead() == Some(0) && !self.settings.urgent_inline && self.received.len() > 0 {
            self.skip_received();
        }
        self.urgent = Some(Mark { at, taken: false });
    }

    /// How much of `limit` a read may give: up to the mark, or from behind it on.
    fn reach(&self, limit: usize) -> usize {
        match self.urgent_ahead() {
            Some(ahead) if ahead > 0 => limit.min(ahead as usize),
            _ => limit,
        }
    }

    /// Before a read: what of it stays before the mark. One that begins at the mark leaves it behind.
    pub(super) fn pass_mark(&mut self, limit: usize) -> usize {
        if self.urgent_ahead() == Some(0) && self.received.len() > 0 && limit > 0 {
            if !self.settings.urgent_inline {
                self.skip_received();
            }
            self.urgent = None;
        }
        self.reach(limit)
    }

    /// The same for a look without taking: how many bytes are passed over, and how many may be seen.
    pub(super) fn look_past_mark(&self, limit: usize) -> (usize, usize) {
        let hidden = self.received.len() - self.readable_len();
        (hidden, self.reach(limit))
    }

    /// The byte out of band is not part of the stream.
    fn skip_received(&mut self) {
        let _byte = self.received.take(1);
    }

    /// The urgent byte, if it has come.
    fn urgent_byte(&self) -> Option<u8> {
        let ahead = self.urgent_ahead()? as usize;
        if ahead < self.received.len() {
            return byte_of(self.received.iter(), ahead);
        }
        let at = self.urgent?.at;
        self.reassembly.as_ref()?.byte(at)
    }

    /// Whether an urgent byte waits to be read out of band.
    pub(super) fn has_urgent(&self) -> bool {
        // Every segment asks: slices are not gone through for it, of which there may be as many as bytes.
        self.urgent.is_some_and(|mark| {
            let early = |ranges: &Reassembly| ranges.payload_at(mark.at).is_some();
            let came = self.received.len() > (mark.at - self.copied()) as usize;
            !mark.taken && (came || self.reassembly.as_deref().is_some_and(early))
        })
    }

    /// recv(2) with MSG_OOB.
    fn take_urgent(&mut self, keep: bool) -> Result<Option<u8>, Errno> {
        let Some(mark) = self.urgent.filter(|mark| !mark.taken && !self.settings.urgent_inline) else {
            return Err(Errno::Inval);
        };
        if self.state == State::Closed && self.fin_at.is_none() {
            return Err(Errno::NotConn);
        }
        match self.urgent_byte() {
            Some(byte) => {
                self.urgent = Some(Mark { taken: mark.taken || !keep, ..mark });
                Ok(Some(byte))
            }
            None if self.is_at_end() || self.state == State::Closed => Ok(None),
            None => Err(Errno::Again),
        }
    }

    /// What was given to be sent so far is urgent.
    pub(super) fn mark_urgent(&mut self) {
        self.snd_up = Some(self.queue_end());
    }

    /// The flag and the pointer of a segment that begins at `sequence`: of what is further than it can say, as much as it can.
    pub(super) fn urgent_pointer(&self, sequence: Seq) -> (Flags, u16) {
        let Some(end) = self.snd_up.filter(|end| end.is_after(sequence)) else { return (Flags::NONE, 0) };
        match u16::try_from(end - sequence) {
            Ok(distance) => (Flags::URG, distance),
            Err(_) if (sequence + u32::from(u16::MAX)).is_after(self.snd_nxt) => (Flags::URG, u16::MAX),
            Err(_) => (Flags::NONE, 0),
        }
    }

    /// Urgent data was acknowledged, all or some.
    pub(super) fn forget_sent_mark(&mut self) {
        self.snd_up = self.snd_up.filter(|end| end.is_after(self.snd_una));
    }
}

/// The byte at `place` of a queue.
fn byte_of<'a>(mut slices: impl Iterator<Item = &'a bytes::Bytes>, mut place: usize) -> Option<u8> {
    slices.find_map(|slice| {
        let byte = slice.get(place).copied();
        place = place.saturating_sub(slice.len());
        byte
    })
}

impl Reassembly {
    /// The byte of a number, if it came before its turn.
    fn byte(&self, at: Seq) -> Option<u8> {
        let (payload, place) = self.payload_at(at)?;
        byte_of(payload.slices().iter(), place)
    }
}

impl Tcp {
    /// recv(2) with MSG_OOB, and MSG_PEEK to `keep` it. It never waits: EINVAL if nothing urgent was announced, if it was read already, or
    /// if urgent data comes in line; EAGAIN if the byte is still on its way; none if the stream has ended before it.
    pub(crate) fn receive_urgent(&mut self, key: Key, keep: bool) -> Result<Option<u8>, Errno> {
        self.connection_for_io(key)?.take_urgent(keep)
    }

    /// Bytes that are to be read before the urgent one, 0 at the mark (sockatmark(3)); none without a mark. ENOTCONN.
    pub(crate) fn urgent_ahead(&self, key: Key) -> Result<Option<u32>, Errno> {
        Ok(self.connection(key).ok_or(Errno::NotConn)?.urgent_ahead())
    }

    /// A segment with the flag URG was judged: what has become of the mark.
    pub(super) fn count_urgent(&self, cx: &mut Context, key: Key, before: Option<Mark>) {
        let Some(now) = self.connection(key).and_then(|connection| connection.urgent) else { return };
        if before.is_none_or(|mark| mark.at != now.at) {
            cx.count(Counter::TcpUrgentReceived);
            if before.is_some_and(|mark| !mark.taken) {
                cx.count(Counter::TcpUrgentDisplaced);
            }
        }
    }
}
