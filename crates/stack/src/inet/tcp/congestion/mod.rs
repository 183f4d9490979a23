//! Congestion control: how many bytes may be under way. Loss recovery tells what happened; an algorithm answers with a window.
//!
//! One small interface, [`Algorithm`], and two implementations: [`NewReno`] (RFC 5681, RFC 6582) and [`Cubic`] (RFC 9438) with
//! HyStart++ (RFC 9406). The window is in bytes. What is done *during* recovery, proportional rate reduction, is not here.

mod cubic;
mod hystart;
mod new_reno;

use crate::time::{Duration, Instant};

pub(crate) use cubic::Cubic;
pub(crate) use new_reno::NewReno;

/// Segments that a connection may begin with (RFC 6928).
const INITIAL_SEGMENTS: u32 = 10;

/// The slow-start threshold before any congestion: no limit.
const UNLIMITED: u32 = u32::MAX;

/// An acknowledgment of new data, as an algorithm sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    pub(crate) now: Instant,
    /// Bytes newly acknowledged.
    pub(crate) bytes: u32,
    /// The sender's maximum segment size.
    pub(crate) mss: u32,
    /// The latest round-trip time, if this acknowledgment gave one.
    pub(crate) rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub(crate) srtt: Duration,
    /// Whether the window was what limited the sender (RFC 7661): one that is not used does not grow.
    pub(crate) limited: bool,
    /// A round trip has passed since the last acknowledgment that said so.
    pub(crate) round: bool,
}

/// What both algorithms have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) cwnd: u32,
    pub(crate) ssthresh: u32,
}

impl Window {
    pub(crate) const fn initial(mss: u32) -> Self {
        Self { cwnd: INITIAL_SEGMENTS * mss, ssthresh: UNLIMITED }
    }

    pub(crate) const fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }
}

/// The algorithm of a connection (TCP_CONGESTION).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Algorithm {
    NewReno(NewReno),
    Cubic(Cubic),
}

impl Algorithm {
    /// The algorithm of that name; none is called otherwise.
    pub(crate) fn named(name: &str, mss: u32) -> Option<Self> {
        match name {
            "reno" => Some(Self::NewReno(NewReno::new(mss))),
            "cubic" => Some(Self::Cubic(Cubic::new(mss))),
            _ => None,
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NewReno(_) => "reno",
            Self::Cubic(_) => "cubic",
        }
    }

    pub(crate) const fn window(&self) -> Window {
        match self {
            Self::NewReno(reno) => reno.window,
            Self::Cubic(cubic) => cubic.window,
        }
    }

    pub(crate) const fn window_mut(&mut self) -> &mut Window {
        match self {
            Self::NewReno(reno) => &mut reno.window,
            Self::Cubic(cubic) => &mut cubic.window,
        }
    }

    /// New data was acknowledged outside of recovery.
    pub(crate) fn on_acked(&mut self, acked: &Acked) {
        match self {
            Self::NewReno(reno) => reno.on_acked(acked),
            Self::Cubic(cubic) => cubic.on_acked(acked),
        }
    }

    /// Congestion: a loss was found, or the path marked it. Sets ssthresh; `in_flight` is what was under way.
    pub(crate) fn on_congestion(&mut self, now: Instant, in_flight: u32, mss: u32) {
        match self {
            Self::NewReno(reno) => reno.on_congestion(in_flight, mss),
            Self::Cubic(cubic) => cubic.on_congestion(now, mss),
        }
    }

    /// The retransmission time-out has expired: one segment, and slow start anew (RFC 5681 section 3.1).
    pub(crate) fn on_timeout(&mut self, now: Instant, in_flight: u32, mss: u32) {
        self.on_congestion(now, in_flight, mss);
        self.window_mut().cwnd = mss;
    }

    /// Nothing was sent for a retransmission time-out: the restart window (RFC 5681 section 4.1).
    pub(crate) fn on_idle(&mut self, mss: u32) {
        let window = self.window_mut();
        window.cwnd = window.cwnd.min(INITIAL_SEGMENTS * mss);
    }
}
