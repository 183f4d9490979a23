//! Time as two plain numbers: [`Instant`], a point, and [`Duration`], a span, both in nanoseconds.
//!
//! The stack is told the time with every call; there is deliberately no `now()` here to be called.
//! An [`Instant`] counts from an origin that the caller chooses and keeps (boot, or zero in a simulation), so two
//! instants can be compared only if they come from the same clock. All arithmetic saturates: 2^64 ns are 584
//! years, and a deadline that far away may as well be the last one.
//!
//! Not here: wall-clock time, time zones, and anything that waits.

use core::fmt;
use core::num::NonZeroU64;
use core::ops::{Add, AddAssign, Div, Mul, Sub, SubAssign};

use serde::{Deserialize, Serialize};

const NANOS_PER_MICRO: u64 = 1_000;
const NANOS_PER_MILLI: u64 = 1_000_000;
const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A point in time: nanoseconds since an arbitrary origin.
///
/// It is kept as one more than it is, so that an optional one takes no more room: a connection has a dozen of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

/// A span of time in nanoseconds; never negative. It is kept as an [`Instant`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Duration(NonZeroU64);

impl Instant {
    /// The largest point in time: 2^64 - 2 ns, about 584 years.
    pub const MAX: Self = Self(NonZeroU64::MAX);

    /// A point in time of so many nanoseconds; saturates.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }
}

impl Default for Instant {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instant").field(&self.as_nanos()).finish()
    }
}

impl Duration {
    /// The largest span: 2^64 - 2 ns, about 584 years.
    pub const MAX: Self = Self(NonZeroU64::MAX);

    /// A span of so many nanoseconds; saturates.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }
}

impl Default for Duration {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Duration").field(&self.as_nanos()).finish()
    }
}

/// Constructors and readers common to both types, because both are a count of nanoseconds.
macro_rules! nanosecond_count {
    ($type:ident, $what:literal) => {
        impl $type {
            #[doc = concat!("The smallest ", $what, ": 0 ns.")]
            pub const ZERO: Self = Self::from_nanos(0);

            #[doc = concat!("A ", $what, " of so many microseconds; saturates.")]
            pub const fn from_micros(micros: u64) -> Self {
                Self::from_nanos(micros.saturating_mul(NANOS_PER_MICRO))
            }

            #[doc = concat!("A ", $what, " of so many milliseconds; saturates.")]
            pub const fn from_millis(millis: u64) -> Self {
                Self::from_nanos(millis.saturating_mul(NANOS_PER_MILLI))
            }

            #[doc = concat!("A ", $what, " of so many seconds; saturates.")]
            pub const fn from_secs(secs: u64) -> Self {
                Self::from_nanos(secs.saturating_mul(NANOS_PER_SEC))
            }

            /// Whole microseconds, rounded down.
            pub const fn as_micros(self) -> u64 {
                self.as_nanos() / NANOS_PER_MICRO
            }

            /// Whole milliseconds, rounded down.
            pub const fn as_millis(self) -> u64 {
                self.as_nanos() / NANOS_PER_MILLI
            }

            /// Whole seconds, rounded down.
            pub const fn as_secs(self) -> u64 {
                self.as_nanos() / NANOS_PER_SEC
            }

            /// The part below a second, in nanoseconds: 0 to 999,999,999.
            pub const fn subsec_nanos(self) -> u32 {
                (self.as_nanos() % NANOS_PER_SEC) as u32
            }
        }

        impl fmt::Display for $type {
            /// Seconds with six decimals, rounded down: `1.234567s`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{:06}s", self.as_secs(), u64::from(self.subsec_nanos()) / NANOS_PER_MICRO)
            }
        }

        impl Add<Duration> for $type {
            type Output = Self;

            fn add(self, rhs: Duration) -> Self {
                Self::from_nanos(self.as_nanos().saturating_add(rhs.as_nanos()))
            }
        }

        impl AddAssign<Duration> for $type {
            fn add_assign(&mut self, rhs: Duration) {
                *self = *self + rhs;
            }
        }

        impl Sub<Duration> for $type {
            type Output = Self;

            fn sub(self, rhs: Duration) -> Self {
                Self::from_nanos(self.as_nanos().saturating_sub(rhs.as_nanos()))
            }
        }

        impl SubAssign<Duration> for $type {
            fn sub_assign(&mut self, rhs: Duration) {
                *self = *self - rhs;
            }
        }
    };
}

nanosecond_count!(Instant, "point in time");
nanosecond_count!(Duration, "span");

impl Instant {
    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.as_nanos().saturating_sub(earlier.as_nanos()))
    }

    /// How long after `earlier` this is, or `None` if it is before it.
    pub const fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        match self.as_nanos().checked_sub(earlier.as_nanos()) {
            Some(nanos) => Some(Duration::from_nanos(nanos)),
            None => None,
        }
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Saturates: an instant minus a later one is [`Duration::ZERO`].
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl Duration {
    /// Whether this is the empty span.
    pub const fn is_zero(self) -> bool {
        self.as_nanos() == 0
    }

    /// This span less `rhs`, or zero.
    pub const fn saturating_sub(self, rhs: Self) -> Self {
        Self::from_nanos(self.as_nanos().saturating_sub(rhs.as_nanos()))
    }
}

impl Mul<u32> for Duration {
    type Output = Self;

    fn mul(self, rhs: u32) -> Self {
        Self::from_nanos(self.as_nanos().saturating_mul(u64::from(rhs)))
    }
}

impl Div<u32> for Duration {
    type Output = Self;

    /// Rounds down. Panics when `rhs` is zero, as every integer division does.
    fn div(self, rhs: u32) -> Self {
        Self::from_nanos(self.as_nanos() / u64::from(rhs))
    }
}

impl From<core::time::Duration> for Duration {
    /// Saturates at [`Duration::MAX`]: the standard span reaches further than 64 bits of nanoseconds.
    fn from(span: core::time::Duration) -> Self {
        Self::from_nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for core::time::Duration {
    fn from(span: Duration) -> Self {
        Self::from_nanos(span.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn units_convert_both_ways_and_round_down() {
        let span = Duration::from_nanos(1_999_999_999);
        assert_eq!((span.as_micros(), span.as_millis(), span.as_secs()), (1_999_999, 1_999, 1));
        assert_eq!(span.subsec_nanos(), 999_999_999);
        assert_eq!(Duration::from_secs(2), Duration::from_millis(2_000));
        assert_eq!(Instant::from_millis(3), Instant::from_micros(3_000));
        assert_eq!(Instant::from_micros(3), Instant::from_nanos(3_000));
    }

    #[test]
    fn an_earlier_instant_minus_a_later_one_is_zero() {
        let (earlier, later) = (Instant::from_secs(1), Instant::from_secs(3));
        assert_eq!(later - earlier, Duration::from_secs(2));
        assert_eq!(earlier - later, Duration::ZERO);
        assert_eq!(earlier.checked_duration_since(later), None);
        assert_eq!(later.checked_duration_since(earlier), Some(Duration::from_secs(2)));
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::MAX + Duration::from_nanos(1), Instant::MAX);
        assert_eq!(Instant::ZERO - Duration::from_nanos(1), Instant::ZERO);
        assert_eq!(Duration::from_secs(u64::MAX), Duration::MAX);
        assert_eq!(Duration::MAX * 2, Duration::MAX);
        assert_eq!(Duration::ZERO.saturating_sub(Duration::MAX), Duration::ZERO);
        assert_eq!(Duration::from(core::time::Duration::MAX), Duration::MAX);
    }

    #[test]
    fn display_is_seconds_with_six_decimals_rounded_down() {
        assert_eq!(format!("{}", Instant::from_nanos(1_234_567_999)), "1.234567s");
        assert_eq!(format!("{}", Duration::from_micros(5)), "0.000005s");
        assert_eq!(format!("{}", Instant::ZERO), "0.000000s");
    }

    #[test]
    fn an_optional_instant_takes_no_more_room_than_one() {
        assert_eq!(size_of::<Option<Instant>>(), size_of::<Instant>());
        assert_eq!(Instant::from_nanos(u64::MAX), Instant::MAX);
        assert_eq!(
            (Instant::default(), format!("{:?}", Instant::ZERO)),
            (Instant::ZERO, "Instant(0)".into())
        );
    }

    #[test]
    fn assignment_operators_agree_with_the_binary_ones() {
        let mut at = Instant::from_secs(1);
        at += Duration::from_secs(2);
        at -= Duration::from_millis(500);
        assert_eq!(at, Instant::from_millis(2_500));
        assert_eq!(Duration::from_secs(3) / 2, Duration::from_millis(1_500));
        assert!(Duration::default().is_zero());
    }

    proptest! {
        #[test]
        fn adding_a_span_and_taking_the_difference_gives_the_span_back(origin: u32, nanos: u32) {
            let (origin, span) = (Instant::from_nanos(origin.into()), Duration::from_nanos(nanos.into()));
            prop_assert_eq!((origin + span) - origin, span);
            prop_assert_eq!((origin + span) - span, origin);
        }

        #[test]
        fn the_standard_span_survives_the_round_trip(nanos: u64) {
            let span = core::time::Duration::from_nanos(nanos);
            prop_assert_eq!(core::time::Duration::from(Duration::from(span)), span);
        }
    }
}
