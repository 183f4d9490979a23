//! The memory of all socket buffers together: what they hold is counted here, and how much more one of them may hold is asked here.
//!
//! Nothing fails for want of memory: under pressure windows stop growing and are not offered again, writers wait, data that came before its
//! turn is given up first. What a single socket is guaranteed is its own business, as are the places where it asks.

/// What the buffers of all sockets together may hold, in bytes (Linux's tcp_mem). `low` ≤ `pressure` ≤ `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Below it pressure ends.
    pub low: u64,
    /// Above it pressure begins.
    pub pressure: u64,
    /// No buffer grows beyond what it is guaranteed when so much is held.
    pub max: u64,
}

impl MemoryLimits {
    /// The usual proportions below a greatest size.
    pub const fn up_to(max: u64) -> Self {
        Self { low: max / 2, pressure: max / 3 * 2, max }
    }
}

/// What is held.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    used: u64,
    /// The most that ever was.
    peak: u64,
    /// Sockets that hold something.
    holders: u32,
    pressed: bool,
}

impl Memory {
    /// What a socket holds was `charged` and is `held` now, in bytes. True if pressure has begun.
    pub(crate) fn recharge(&mut self, limits: &MemoryLimits, charged: &mut u32, held: usize) -> bool {
        let held = held.min(u32::MAX as usize) as u32;
        self.holders = self.holders + u32::from(*charged == 0) - u32::from(held == 0);
        if *charged == 0 && held == 0 {
            return false;
        }
        self.used = self.used + u64::from(held) - u64::from(*charged);
        self.peak = self.peak.max(self.used);
        *charged = held;
        self.judge(limits)
    }

    /// Whether there is pressure now, since what is held or the limits have changed; true if it has begun.
    pub(crate) fn judge(&mut self, limits: &MemoryLimits) -> bool {
        let before = self.pressed;
        self.pressed = self.used > limits.pressure || (before && self.used > limits.low);
        self.pressed && !before
    }

    /// The greatest size that one buffer may have beyond what it is guaranteed, in bytes: without pressure any, and under it what is left
    /// is shared by those that hold something. A power of two, so that those who wait are asked only when it is worth it.
    pub(crate) fn allowance(&self, limits: &MemoryLimits) -> u32 {
        if !self.pressed {
            return u32::MAX;
        }
        let share = limits.max.saturating_sub(self.used) / u64::from(self.holders.max(1));
        match u32::try_from(share) {
            Ok(0) => 0,
            Ok(share) => 1 << share.ilog2(),
            Err(_) => 1 << 31,
        }
    }

    /// Whether nothing is left for whoever has what he is guaranteed.
    pub(crate) const fn is_full(&self, limits: &MemoryLimits) -> bool {
        self.used >= limits.max
    }

    pub(crate) const fn used(&self) -> u64 {
        self.used
    }

    pub(crate) const fn peak(&self) -> u64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MemoryLimits = MemoryLimits { low: 50, pressure: 80, max: 100 };

    #[test]
    fn pressure_begins_above_one_limit_and_ends_at_another() {
        let (mut memory, mut charged) = (Memory::default(), 0);
        for (held, begins, pressed) in
            [(80, false, false), (81, true, true), (51, false, true), (50, false, false), (60, false, false)]
        {
            assert_eq!(memory.recharge(&LIMITS, &mut charged, held), begins, "{held}");
            assert_eq!(memory.allowance(&LIMITS) < u32::MAX, pressed, "{held}");
        }
        assert_eq!((memory.used(), memory.peak()), (60, 81));
    }

    #[test]
    fn under_pressure_those_who_hold_something_share_what_is_left() {
        let mut memory = Memory::default();
        let mut charged = [0; 3];
        memory.recharge(&LIMITS, &mut charged[0], 84);
        assert_eq!(memory.allowance(&LIMITS), 16);
        memory.recharge(&LIMITS, &mut charged[1], 3);
        assert_eq!(memory.allowance(&LIMITS), 4, "thirteen for two");
        memory.recharge(&LIMITS, &mut charged[2], 30);
        assert!(memory.is_full(&LIMITS));
        assert_eq!(memory.allowance(&LIMITS), 0);
        assert!(charged.iter_mut().all(|charged| !memory.recharge(&LIMITS, charged, 0)));
        assert_eq!((memory.used(), memory.holders), (0, 0));
    }
}
