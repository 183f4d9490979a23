//! Recovery from loss: its phases, and how fast data may leave while it lasts (proportional rate reduction, RFC 9937).

use rumpnet_wire::tcp::Seq;

/// In what phase a connection is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    /// Nothing is missing.
    Open,
    /// A loss was found by what arrived after it; until `recover` is acknowledged.
    Recovery { recover: Seq, prr: Prr },
    /// The retransmission time-out expired; until `recover` is acknowledged.
    Loss { recover: Seq, doubt: Option<Doubt> },
}

/// A time-out that may have been spurious: how far the test of it is (F-RTO, RFC 5682 section 2.1), the window to return to is [`super::undo`]'s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    /// Two new segments were sent on the first acknowledgment; the second one decides.
    pub(crate) probed: bool,
}

/// The account of one recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prr {
    /// Bytes in flight when recovery began.
    recover_fs: u32,
    /// Bytes delivered since.
    delivered: u32,
    /// Bytes sent since.
    out: u32,
    ssthresh: u32,
    /// Bytes that may be under way now.
    cwnd: u32,
}

impl Prr {
    pub(crate) fn begin(in_flight: u32, ssthresh: u32, mss: u32) -> Self {
        // The first retransmission leaves at once (section 6.2).
        Self { recover_fs: in_flight.max(mss), delivered: 0, out: 0, ssthresh, cwnd: in_flight + mss }
    }

    /// An acknowledgment came during recovery; `safe` if it moved `snd_una` and told of no further loss.
    pub(crate) fn on_acked(&mut self, delivered: u32, in_flight: u32, mss: u32, safe: bool) {
        self.delivered = self.delivered.saturating_add(delivered);
        let allowed = if in_flight > self.ssthresh {
            let share = u64::from(self.delivered) * u64::from(self.ssthresh);
            let target = share.div_ceil(u64::from(self.recover_fs)).min(u64::from(u32::MAX)) as u32;
            target.saturating_sub(self.out)
        } else {
            let conserved = self.delivered.saturating_sub(self.out).max(delivered);
            let limit = if safe { conserved.saturating_add(mss) } else { conserved };
            limit.min(self.ssthresh.saturating_sub(in_flight))
        };
        let forced = if self.out == 0 { mss } else { 0 };
        self.cwnd = in_flight.saturating_add(allowed.max(forced));
    }

    pub(crate) const fn on_sent(&mut self, bytes: u32) {
        self.out = self.out.saturating_add(bytes);
    }

    pub(crate) const fn cwnd(&self) -> u32 {
        self.cwnd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    #[test]
    fn twenty_segments_in_flight_come_down_to_half_while_one_leaves_for_every_two_delivered() {
        let mut prr = Prr::begin(20 * MSS, 10 * MSS, MSS);
        let (mut in_flight, mut sent) = (19 * MSS, 0);
        for _ in 0..19 {
            in_flight -= MSS;
            prr.on_acked(MSS, in_flight, MSS, false);
            while in_flight + MSS <= prr.cwnd() {
                prr.on_sent(MSS);
                in_flight += MSS;
                sent += 1;
            }
        }
        assert_eq!((sent, in_flight), (10, 10 * MSS));
    }

    #[test]
    fn after_heavy_losses_it_grows_back_to_the_threshold_by_slow_start() {
        // Twenty in flight, of which fifteen were lost.
        let mut prr = Prr::begin(20 * MSS, 10 * MSS, MSS);
        prr.on_acked(MSS, 4 * MSS, MSS, true);
        assert_eq!(prr.cwnd(), 6 * MSS);
        prr.on_sent(2 * MSS);
        prr.on_acked(MSS, 5 * MSS, MSS, false);
        assert_eq!(prr.cwnd(), 6 * MSS);
    }
}
