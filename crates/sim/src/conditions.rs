//! What a cable does to frames that cross it: how long they take, and what may befall them.

use std::time::Duration;

/// The conditions on a cable, for what one end sends.
///
/// Probabilities are between 0 and 1, and are drawn for each frame as it crosses: a super-frame is one, unless the cable's
/// [offloads](crate::Cable::set_offloads) make the ends cut it first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// How long a frame takes to the other ends.
    pub latency: Duration,
    /// The most that a frame may take longer than that; frames still arrive in order.
    pub jitter: Duration,
    /// Bits per second; none for a cable on which sending takes no time.
    ///
    /// The sending interface waits for the end of each frame, and what comes meanwhile stays in its own queue, unless
    /// [`Self::queue`] says otherwise.
    pub bandwidth: Option<u64>,
    /// Frames that wait in the cable, as in a modem or a switch, while an earlier one is being sent; more are dropped.
    pub queue: Option<u32>,
    /// The probability that a frame is lost.
    pub loss: f64,
    /// The probability that a frame arrives twice.
    pub duplication: f64,
    /// The probability that a frame is held back for [`Self::reordering_delay`], so that later ones overtake it.
    pub reordering: f64,
    /// How long a frame is held back that is to be overtaken.
    pub reordering_delay: Duration,
    /// The probability that one bit of a frame is flipped. As this befalls what is really on a wire, the ends of such a cable do
    /// without offloads.
    pub corruption: f64,
    /// The longest packet that crosses, without its Ethernet header; longer ones are dropped.
    pub mtu: Option<u32>,
}

impl Conditions {
    /// A cable on which nothing is lost and everything arrives at once.
    pub const PERFECT: Self = Self {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        bandwidth: None,
        queue: None,
        loss: 0.0,
        duplication: 0.0,
        reordering: 0.0,
        reordering_delay: Duration::from_millis(1),
        corruption: 0.0,
        mtu: None,
    };

    /// How long so many bytes take to be sent.
    pub fn sending_time(&self, bytes: usize) -> Duration {
        let Some(bandwidth) = self.bandwidth else { return Duration::ZERO };
        let nanos = bytes as u128 * 8 * 1_000_000_000 / u128::from(bandwidth.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether the sender waits until a frame has been sent before it gives the next.
    pub(crate) const fn hold_back_the_sender(&self) -> bool {
        self.bandwidth.is_some() && self.queue.is_none()
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Self::PERFECT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_its_bits_over_the_bandwidth() {
        let slow = Conditions { bandwidth: Some(8_000), ..Conditions::PERFECT };
        assert_eq!(slow.sending_time(1500), Duration::from_millis(1500));
        assert_eq!(Conditions::PERFECT.sending_time(1500), Duration::ZERO);
    }
}
