//! A lab of two thousand hosts: what each costs, in memory, threads and CPU time. Alone in its process, which it measures.

use std::{fs, thread, time::Duration};

use rumpnet::{Lab, proto::topology::Topology};

/// Bytes that a host may cost.
const HOST_BYTES: u64 = 64 * 1024;

const HOSTS: u64 = 2000;

fn topology() -> Topology {
    let text = format!(
        "[bus.lan]\ncount = 40\nprefix = \"10.0.0.0/24\"\n[host.pc]\ncount = {HOSTS}\nbus0 = {{ bus = \"lan\" }}\n"
    );
    rumpnet_sim::topology::parse("big.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn a_host_at_rest_costs_a_little_memory_and_neither_a_thread_nor_cpu_time() {
    let before = resident_bytes();
    let lab = Lab::up(topology()).expect("it comes up");
    // New addresses are announced twice, with two seconds in between; then a second goes by in which nothing is to be done.
    let mut seconds = (0..20).map(|_| {
        let before = cpu_time();
        thread::sleep(Duration::from_secs(1));
        cpu_time() - before
    });
    assert!(seconds.any(|used| used < Duration::from_millis(5)), "there is always something to do");
    let each = (resident_bytes() - before) / HOSTS;
    assert!(each <= HOST_BYTES, "{each} bytes each");
    // This one, that of the test, and the reactor.
    assert!(threads() <= 3, "{} threads", threads());
    drop(lab);
    assert!(threads() <= 3, "{} threads when it goes", threads());
}

/// What this process has used of CPUs.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("every process has one");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is always there");
    let kib: u64 = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number of kB");
    kib * 1024
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("every process has one").count()
}
