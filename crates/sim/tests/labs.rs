//! Labs of files in virtual time: the examples, all their checks, and what becomes of checks that fail.

use std::{fs, time::Duration};

use rumpnet_sim::{World, proto::topology::Topology, scenario, topology::parse};

/// An example of the tree.
fn example(name: &str) -> Topology {
    let path = format!("{}/../../examples/labs/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    parse(&format!("{name}.toml"), &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// A lab of this text.
fn lab(text: &str) -> Topology {
    parse("lab.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[test]
fn a_host_behind_a_slow_uplink_is_as_far_as_the_file_says() {
    let office = example("office");
    scenario(|world| {
        let lab = world.build(&office).expect("it can be built");
        lab.assert_checks(world);
        let said = lab.host("pc1").sh("ping -c 1 10.0.0.80").ok();
        assert!(said.contains("time=40."), "twice 20 ms: {said}");
        assert!(lab.bus("lan").counters().delivered > 0);
    });
}

#[test]
fn every_pair_of_a_hundred_hosts_behind_ten_routers_answers() {
    let begun = cpu_time();
    let (world, lab) = World::from_topology(&example("campus")).expect("it can be built");
    let judged = lab.check(&world);
    assert_eq!(judged.len(), 100 * 99 + 100 * 10);
    let missed: Vec<_> = judged.iter().filter_map(|judged| judged.complaint()).collect();
    assert!(missed.is_empty(), "{} failed, the first: {}", missed.len(), missed[0]);
    // That of this thread, which does nothing but this, so that other work of the machine is not in it.
    let taken = cpu_time() - begun;
    assert!(taken < Duration::from_secs(10), "{taken:?}");
}

/// What this thread has used of a CPU (proc_pid_schedstat(5)).
fn cpu_time() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").expect("every thread has one");
    let nanos = told.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("the time on a CPU comes first"))
}

const PAIR: &str = r#"
    bus.lan.prefix = "10.0.0.0/24"
    host.a.bus0.bus = "lan"
    host.b.bus0.bus = "lan"
"#;

#[test]
fn a_check_that_does_not_hold_says_what_its_tool_said() {
    let text = format!(
        "{PAIR}
        [[check]]
        name = \"b is not there\"
        host = \"a\"
        run = \"ping -c 1 {{b}}\"
        status = 2
        [[check]]
        host = \"a\"
        run = \"ifconfig bus0\"
        output = \"inet 10.0.0.1/24\"
        absent = \"10.0.0.9\""
    );
    let (world, lab) = World::from_topology(&lab(&text)).expect("it can be built");
    let judged = lab.check(&world);
    let complaint = judged[0].complaint().expect("b is there");
    assert!(complaint.starts_with("a: b is not there: exit status 0\nPING 10.0.0.2"), "{complaint}");
    assert!(judged[1].complaint().is_none(), "{judged:?}");
}

#[test]
fn a_check_ends_when_its_time_is_over_and_one_that_may_be_retried_goes_on_until_then() {
    let text = format!(
        "{PAIR}
        [[check]]
        host = \"a\"
        run = \"ping 10.0.0.2\"
        limit = \"3500 ms\"
        [[check]]
        host = \"b\"
        run = \"arp 10.0.0.1\"
        retry = true"
    );
    let (world, lab) = World::from_topology(&lab(&text)).expect("it can be built");
    let judged = lab.check(&world);
    let complaint = judged[0].complaint().expect("it never ends");
    assert!(complaint.contains("not at its end within 3500 ms"), "{complaint}");
    assert!(complaint.contains("4 packets received"), "what it said until then: {complaint}");
    assert!(judged[1].complaint().is_none(), "b learns of a from its pings: {judged:?}");
}

#[test]
fn what_a_kernel_refuses_is_told_with_host_and_line() {
    let mut plan = lab(PAIR);
    plan.hosts[1].sysctls.push(("net.inet.ip.tll".to_owned(), 3));
    let refused = World::from_topology(&plan).err().expect("there is no such variable").to_string();
    assert!(refused.starts_with("lab.toml:4: host `b`: "), "{refused}");
    assert!(refused.contains("net.inet.ip.tll"), "{refused}");
}
