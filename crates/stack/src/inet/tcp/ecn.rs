//! Explicit congestion notification (RFC 3168 section 6.1): agreed on with the SYNs; marks that routers set are echoed to the sender, and echoes
//! are answered with a smaller window, once a round trip.
//!
//! Whether we ask, and whether a peer that asks is agreed with, is [`crate::Config::tcp_ecn`]; as on Linux we agree, but do not ask. Retransmissions, bare acknowledgments and probes are not marked as
//! capable.

use rumpnet_wire::{
    ip::Ecn,
    tcp::{Flags, Seq},
};

use super::{connection::Connection, output::Transmission, segment::Segment};
use crate::{config::EcnMode, time::Instant};

/// What a connection knows of marks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// Both sides take part.
    pub(super) agreed: bool,
    /// A mark came in: said in every acknowledgment until the sender says that it has heard.
    echo: bool,
    /// The window was reduced: said in the next segment of new data.
    reduced: bool,
    /// The last acknowledgment echoed a mark.
    heard: bool,
    /// Echoes before this are of the congestion that was answered already.
    answered: Option<Seq>,
}

impl Connection {
    /// The bits by which a SYN asks, and a SYN-ACK agrees; not in a repeated SYN, which an old router may have dropped for them (section 6.1.1.1).
    pub(super) fn ecn_setup_flags(&self, asks: bool) -> Flags {
        if asks && self.settings.ecn == EcnMode::Ask && self.board.is_empty() {
            Flags::ECE | Flags::CWR
        } else if !asks && self.marks.agreed {
            Flags::ECE
        } else {
            Flags::NONE
        }
    }

    /// Whether a peer's SYN asks for it.
    pub(super) fn agree_on_ecn(&mut self, syn: &Segment) {
        let asks = syn.has(Flags::ECE | Flags::CWR) && !syn.has(Flags::ACK);
        self.marks.agreed = asks && self.settings.ecn != EcnMode::Off;
    }

    /// Whether the answer to our SYN agrees.
    pub(super) fn hear_ecn_answer(&mut self, answer: &Segment) {
        let agrees = answer.has(Flags::ECE) && !answer.has(Flags::CWR);
        self.marks.agreed = self.settings.ecn == EcnMode::Ask && agrees;
    }

    /// A segment with data came in: its mark is echoed from now on, until its sender says that it has reduced its window (section 6.1.3).
    pub(super) fn receive_mark(&mut self, segment: &Segment) {
        if !self.marks.agreed {
            return;
        }
        if segment.has(Flags::CWR) {
            self.marks.echo = false;
        }
        if segment.ecn == Ecn::CongestionExperienced {
            self.marks.echo = true;
            self.note_mark();
            self.owe_now();
        }
    }

    /// An acknowledgment came in: an echo is answered as a loss would be, but nothing is sent again (section 6.1.2).
    pub(super) fn receive_echo(&mut self, now: Instant, segment: &Segment, in_flight: u32) {
        self.marks.heard = self.marks.agreed && segment.has(Flags::ECE);
        let fresh = self.marks.answered.is_none_or(|end| segment.acknowledgment.is_after(end));
        let reduces = self.marks.heard && fresh && matches!(self.phase, super::recovery::Phase::Open);
        if self.marks.heard {
            self.note_echo(reduces);
        }
        if reduces {
            self.congestion.on_congestion(now, in_flight, self.mss);
            // What routers have said is not taken back.
            self.undo = None;
            self.note_reduction();
        }
    }

    /// The window was reduced, for whatever reason.
    pub(super) const fn note_reduction(&mut self) {
        self.marks.reduced = self.marks.agreed;
        self.marks.answered = Some(self.snd_nxt);
    }

    /// Whether the last acknowledgment was one at which a window does not grow.
    pub(super) const fn heard_echo(&self) -> bool {
        self.marks.heard
    }

    /// The bits of a segment that is about to be sent.
    pub(super) fn ecn_flags(&mut self, transmission: Transmission) -> Flags {
        let mut flags = if self.marks.echo { Flags::ECE } else { Flags::NONE };
        if carries_new_data(transmission) && core::mem::take(&mut self.marks.reduced) {
            flags |= Flags::CWR;
        }
        flags
    }

    /// The type of service of a segment, its lower bits ours alone.
    pub(super) const fn type_of_service(&self, transmission: Transmission) -> u8 {
        let mark =
            if self.marks.agreed && carries_new_data(transmission) { Ecn::Capable0 } else { Ecn::NotCapable };
        mark.applied_to(self.settings.tos)
    }
}

const fn carries_new_data(transmission: Transmission) -> bool {
    matches!(transmission, Transmission::Data { again: false, len: 1.., .. })
}
