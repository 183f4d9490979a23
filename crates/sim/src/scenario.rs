//! Scenarios: tests that are run twice, because a world that differs from itself has broken the first law.

use std::panic::Location;

use crate::{World, trace::Trace};

/// Runs a scenario twice, in two worlds of the same seed, and compares every frame, message and output with its time.
///
/// The seed follows from the name of the test, so that tests differ and stay the same; `RUMPNET_SEED` overrules it. Where tests
/// run on the main thread, which has another name, it follows from the place of the call.
///
/// ```
/// rumpnet_sim::scenario(|world| {
///     let host = world.host("a");
///     assert_eq!(host.sysctl("net.inet.ip.ttl", None).unwrap(), 64);
/// });
/// ```
///
/// # Panics
///
/// If the scenario does, or if its two runs differ.
#[track_caller]
pub fn scenario(scenario: impl Fn(&World)) {
    let (thread, place) = (std::thread::current(), Location::caller().to_string());
    let test = thread.name().filter(|name| *name != "main");
    assert_deterministic(seed_of(test.unwrap_or(&place)), scenario);
}

/// As [`scenario`], with a seed of the caller's choice.
///
/// # Panics
///
/// If the scenario does, or if its two runs differ.
pub fn assert_deterministic(seed: u64, scenario: impl Fn(&World)) {
    let (seed, first) = trace_of(seed, &scenario);
    let (_, again) = trace_of(seed, &scenario);
    if let Some((entry, time)) = first.parting(&again) {
        panic!("two runs of one scenario with the seed {seed} part at entry {entry} of the trace, at {time}");
    }
}

/// Runs a scenario in a world that ends with it; returns the seed in force, and the trace.
fn trace_of(seed: u64, scenario: impl Fn(&World)) -> (u64, Trace) {
    let world = World::new(seed);
    scenario(&world);
    (world.seed(), world.shared.with(|core| core::mem::replace(&mut core.trace, Trace::new())))
}

/// FNV-1a (Fowler, Noll, Vo): a number for a name.
fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    #[should_panic(expected = "part at entry")]
    fn a_scenario_that_differs_from_itself_is_found() {
        let runs = Cell::new(0_u8);
        assert_deterministic(1, |world| {
            runs.set(runs.get() + 1);
            let cable = world.cable();
            let (one, _other) = (world.stranger(&cable), world.stranger(&cable));
            one.send(vec![runs.get(); 60]);
        });
    }
}
