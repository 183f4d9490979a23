//! A thousand kernels on hundreds of hubs, at rest: alone in its process, whose CPU time it counts.

use std::{net::Ipv4Addr, thread, time::Duration};

use rumpnet::{
    Config, Kernel,
    proto::{CreateOptions, EchoOptions, EchoOutcome, Reply, Request},
};

/// A kernel with `bus0` on a bus; without conflict detection, whose timers would not let it rest for some seconds.
fn member(bus: &str, address: &str) -> Kernel {
    let config = Config { dad_count: 0, ..Config::tiny() };
    let kernel = Kernel::builder().config(config).boot().expect("boots");
    kernel.create_with("bus0", &CreateOptions::default()).expect("room");
    kernel.set_link_string("bus0", Some(bus)).expect("a bus");
    kernel.add_address("bus0", address.parse().expect("a prefix")).expect("free");
    kernel
}

fn ping(kernel: &Kernel, destination: Ipv4Addr) -> Vec<EchoOutcome> {
    let options = EchoOptions::to(destination.into());
    let Ok(Reply::Echo { echo, .. }) = kernel.control(Request::EchoOpen(options)) else {
        panic!("no session")
    };
    kernel.control(Request::EchoSend { echo, sequence: 7 }).expect("sent");
    let timeout_ns = Duration::from_secs(20).as_nanos() as u64;
    let received = kernel.control(Request::EchoReceive { echo, timeout_ns });
    let Ok(Reply::EchoReplies(replies)) = received else { panic!("no answer: {received:?}") };
    kernel.control(Request::EchoClose { echo }).expect("open until now");
    replies.iter().map(|reply| reply.outcome).collect()
}

#[test]
fn a_thousand_members_on_hundreds_of_hubs_rest_when_nothing_is_said() {
    let members: Vec<Kernel> = (0..1000u32)
        .map(|number| {
            let (hub, place) = (number / 4, number % 4 + 1);
            member(&format!("mem:rest{hub}"), &format!("10.0.0.{place}/24"))
        })
        .collect();
    for kernel in members.iter().step_by(100) {
        assert_eq!(ping(kernel, [10, 0, 0, 2].into()), [EchoOutcome::Reply]);
    }
    // New addresses are announced for a few seconds; then a second goes by in which nothing is to be done.
    let mut seconds = (0..20).map(|_| {
        let before = cpu_time();
        thread::sleep(Duration::from_secs(1));
        cpu_time() - before
    });
    assert!(seconds.any(|used| used < Duration::from_millis(5)), "there is always something to do");
}

/// What this process has used of CPUs.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
