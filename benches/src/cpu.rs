//! How busy all CPUs of the machine have been, kernel threads and interrupts included.
//!
//! What is taken is the time that was not idle, which the host's kernel measures, where it only samples what else a CPU does.

use std::time::Instant;

use crate::Failure;

/// Ticks of a second in procfs (USER_HZ).
const TICKS: f64 = 100.0;

/// Seconds for which the CPUs were busy since some point of the past; only differences mean anything.
pub(crate) fn busy_seconds() -> Result<f64, Failure> {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let elapsed = EPOCH.get_or_init(Instant::now).elapsed().as_secs_f64();
    let (cpus, idle) = read_idle(&std::fs::read_to_string("/proc/stat")?).ok_or("procfs has no CPUs")?;
    Ok(f64::from(cpus) * elapsed - idle as f64 / TICKS)
}

/// CPUs, and the ticks for which they were idle, waited for devices or were taken away by a hypervisor (proc_stat(5)).
fn read_idle(text: &str) -> Option<(u32, u64)> {
    let (mut cpus, mut idle) = (0, 0);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        if name.len() < 4 || !name.starts_with("cpu") {
            continue;
        }
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        cpus += 1;
        idle += ticks.get(3)? + ticks.get(4)? + ticks.get(7)?;
    }
    (cpus > 0).then_some((cpus, idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_cpu_of_ours_did_is_idle() {
        let text =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 5 1 2 100 10 0 3 7 0 0\ncpu1 5 1 2 200 20 0 3 8 0 0\nintr 5\n";
        assert_eq!(read_idle(text), Some((2, 345)));
        assert_eq!(read_idle("intr 5\n"), None);
    }

    #[test]
    fn a_loop_of_a_tenth_of_a_second_is_seen() {
        let before = busy_seconds().expect("procfs");
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < 0.1 {}
        assert!(busy_seconds().expect("procfs") - before > 0.05);
    }
}
