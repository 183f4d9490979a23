//! Hosts on buses: `bus<n>` and its link string, as NetBSD's tests of shmif use them.

mod support;

use rumpnet_sim::{Host, World, proto::DropReason, scenario};
use support::{ping, secs};

/// Puts `bus<unit>` of a host on a bus, with an address.
fn join(host: &Host, unit: usize, bus: &str, address: &str) {
    host.sh(&format!("ifconfig bus{unit} create")).ok();
    host.sh(&format!("ifconfig bus{unit} linkstr {bus}")).ok();
    host.sh(&format!("ifconfig bus{unit} {address}")).ok();
}

fn answers(world: &World, from: &Host, to: &str) -> bool {
    !ping(world, from, to).is_empty()
}

#[test]
fn eight_kernels_on_four_networks_all_ping_all() {
    // NetBSD's rump/rumpnet/t_shmif, crossping.
    scenario(|world| {
        let hosts: Vec<Host> = (1..=8).map(|number| world.host(&format!("host{number}"))).collect();
        for (number, host) in (1..).zip(&hosts) {
            for network in 0..4 {
                join(host, network, &format!("bus{network}"), &format!("10.0.{network}.{number}/24"));
            }
        }
        world.run_for(secs(20));
        for (number, from) in (1..).zip(&hosts) {
            for network in 0..4 {
                for to in (1..=8).filter(|to| *to != number) {
                    let address = format!("10.0.{network}.{to}");
                    assert!(answers(world, from, &address), "{from:?} to {address}");
                }
            }
        }
    });
}

#[test]
fn what_is_said_on_a_bus_is_heard_by_all_others_and_by_nobody_elsewhere() {
    scenario(|world| {
        let hosts: Vec<Host> = ["a", "b", "c", "d"].iter().map(|name| world.host(name)).collect();
        for (number, host) in (1..).zip(&hosts) {
            let bus = if number < 4 { "mem:one" } else { "mem:other" };
            join(host, 0, bus, &format!("10.0.0.{number}/24"));
        }
        world.run_for(secs(20));
        let own: Vec<u64> = hosts.iter().map(|host| host.drops(DropReason::LinkSourceOurs)).collect();
        assert_eq!(own, [0; 4], "nobody hears itself");
        assert!(answers(world, &hosts[0], "10.0.0.2") && answers(world, &hosts[2], "10.0.0.1"));
        assert!(hosts[2].drops(DropReason::LinkNotForUs) > 0, "a hub has no secrets");
        assert!(!answers(world, &hosts[0], "10.0.0.4"));
        assert_eq!(world.bus("mem:other").counters().delivered, 0);
    });
}

#[test]
fn a_loop_of_routers_on_buses_ends_with_the_time_to_live() {
    scenario(|world| {
        let (a, b) = (world.host("a"), world.host("b"));
        for (host, number, other) in [(&a, 1, 2), (&b, 2, 1)] {
            join(host, 0, "mem:loop", &format!("10.0.0.{number}/24"));
            host.sysctl("net.inet.ip.forwarding", Some(1)).expect("a variable");
            host.sysctl("net.inet.ip.redirect", Some(0)).expect("a variable");
            host.sh(&format!("route add 192.0.2.0/24 10.0.0.{other}")).ok();
        }
        let sender = world.host("sender");
        join(&sender, 0, "mem:loop", "10.0.0.3/24");
        sender.sh("route add default 10.0.0.1").ok();
        world.run_for(secs(20));
        let replies = ping(world, &sender, "192.0.2.7");
        assert_eq!(replies.len(), 1, "time exceeded");
        assert_eq!(a.drops(DropReason::Ipv4TtlExceeded) + b.drops(DropReason::Ipv4TtlExceeded), 1);
    });
}

#[test]
fn a_bus_is_left_and_another_one_joined() {
    scenario(|world| {
        let (a, b) = (world.host("a"), world.host("b"));
        join(&a, 0, "mem:one", "10.0.0.1/24");
        join(&b, 0, "mem:two", "10.0.0.2/24");
        assert!(a.sh("ifconfig bus0 linkstr mem:two").err.contains("Device busy"));
        assert!(!answers(world, &a, "10.0.0.2"));
        a.sh("ifconfig bus0 down").ok();
        a.sh("ifconfig bus0 -linkstr").ok();
        assert!(a.sh("ifconfig bus0 up").err.contains("Device not configured"));
        a.sh("ifconfig bus0 linkstr mem:two up").ok();
        world.run_for(secs(20));
        assert!(answers(world, &a, "10.0.0.2"));
        let shown = a.sh("ifconfig bus0").ok();
        assert!(
            shown.contains("\tlinkstr: mem:two\n\tmedia: Ethernet autoselect\n\tstatus: active\n"),
            "{shown}"
        );
        a.sh("ifconfig bus0 destroy").ok();
        a.sh("ifconfig shmif7 create").ok();
        assert!(a.sh("ifconfig shmif7").ok().contains("status: no carrier"));
    });
}

#[test]
fn media_pulls_an_interface_out_and_plugs_it_in() {
    // NetBSD's net/if_shmif, shmif_linkstate.
    scenario(|world| {
        let (a, b) = (world.host("a"), world.host("b"));
        join(&a, 0, "mem:lan", "10.0.0.1/24");
        join(&b, 0, "mem:lan", "10.0.0.2/24");
        world.run_for(secs(20));
        a.sh("ifconfig bus0 media none").ok();
        let shown = a.sh("ifconfig bus0").ok();
        assert!(shown.contains("status: no carrier") && shown.contains("DETACHED"), "{shown}");
        assert!(!answers(world, &b, "10.0.0.1"));
        a.sh("ifconfig bus0 media auto").ok();
        world.run_for(secs(20));
        let shown = a.sh("ifconfig bus0").ok();
        assert!(shown.contains("status: active") && !shown.contains("DETACHED"), "{shown}");
        assert!(answers(world, &b, "10.0.0.1"));
    });
}
