//! `route monitor`: what it hears of a kernel, in the words of scenarios for BSD's routing socket.

use rumpnet_sim::{Host, World, scenario};

mod support;

use support::{Pair, Visited, ms, secs};

/// What is printed of the next so many events while `act` happens, and two seconds after it.
fn heard(world: &World, host: &Host, count: u32, act: impl FnOnce()) -> String {
    let running = host.start(&format!("route -n monitor -c {count}"));
    world.run_for(ms(1));
    act();
    world.run_for(secs(2));
    host.block_on(running).ok()
}

/// The titles of the next so many events.
fn titles(world: &World, host: &Host, count: u32, act: impl FnOnce()) -> Vec<String> {
    let text = heard(world, host, count, act);
    let title = |line: &str| line.split_once(':').map(|(title, _)| title.to_owned());
    text.lines().filter(|line| line.starts_with("RTM_")).filter_map(title).collect()
}

#[test]
fn a_route_that_is_added_changed_and_deleted_is_told_of_each_time() {
    scenario(|world| {
        let visited = Visited::new(world);
        let text = heard(world, &visited.a, 3, || {
            visited.a.sh("route add 192.168.0.0/24 10.0.0.2").ok();
            visited.a.sh("route change 192.168.0.0/24 10.0.0.254").ok();
            visited.a.sh("route delete 192.168.0.0/24").ok();
        });
        for expected in [
            "RTM_ADD: Add Route: len 168, pid 0, seq 0, errno 0, flags: <UP,GATEWAY,DONE,STATIC>\n",
            "RTM_CHANGE: Change Metrics, Flags or Gateway: len 168, ",
            "RTM_DELETE: Delete Route: len 168, pid 0, seq 0, errno 0, flags: <GATEWAY,DONE,STATIC>\n",
            "sockaddrs: <DST,GATEWAY,NETMASK>\n 192.168.0.0 10.0.0.2 255.255.255.0\n",
            " 192.168.0.0 10.0.0.254 255.255.255.0\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    });
}

#[test]
fn an_interface_is_told_of_from_its_arrival_to_its_departure() {
    scenario(|world| {
        let host = world.host("a");
        let arrived = titles(world, &host, 4, || {
            let _port = host.interface("virt0");
            host.sh("ifconfig virt0 10.0.0.2/24").ok();
        });
        assert_eq!(arrived, ["RTM_IFANNOUNCE", "RTM_IFINFO", "RTM_NEWADDR", "RTM_ADD"]);
        let text = heard(world, &host, 1, || {
            host.sh("ifconfig virt0 down").ok();
        });
        assert!(text.contains("RTM_IFINFO: iface status change: len 152, if# 2, carrier: "), "{text}");
        assert!(!text.contains("<UP,"), "{text}");
        let gone = titles(world, &host, 3, || {
            host.sh("ifconfig virt0 destroy").ok();
        });
        assert_eq!(gone, ["RTM_IFANNOUNCE", "RTM_DELADDR", "RTM_DELETE"]);
    });
}

#[test]
fn an_address_that_has_been_probed_is_told_of() {
    scenario(|world| {
        let visited = Visited::new(world);
        let text = heard(world, &visited.a, 2, || {
            visited.a.sh("ifconfig virt0 alias 10.0.0.77/24").ok();
            world.run_for(secs(10));
        });
        assert!(text.contains("RTM_NEWADDR: ") && text.contains("RTM_CHGADDR: "), "{text}");
        assert!(
            text.contains("sockaddrs: <NETMASK,IFP,IFA,BRD>\n 255.255.255.0 virt0 10.0.0.77 10.0.0.255\n"),
            "{text}"
        );
    });
}

#[test]
fn a_neighbour_is_told_of_when_it_answers_when_it_is_deleted_and_when_it_does_not_answer() {
    scenario(|world| {
        let pair = Pair::new(world);
        let text = heard(world, &pair.a, 2, || {
            support::ping(world, &pair.a, "10.0.0.2");
            pair.a.sh("arp -d 10.0.0.2").ok();
        });
        for expected in [
            "RTM_ADD: Add Route: len 160, pid 0, seq 0, errno 0, flags: <UP,HOST,DONE,LLINFO,CLONED>\n",
            "RTM_DELETE: Delete Route: len 160, pid 0, seq 0, errno 0, flags: <HOST,DONE,LLINFO,CLONED>\n",
            "sockaddrs: <DST,GATEWAY>\n 10.0.0.2 ",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        let text = heard(world, &pair.a, 1, || {
            pair.a.sh("ping -n -c 1 10.0.0.99");
            world.run_for(secs(5));
        });
        assert!(text.contains("RTM_MISS: Lookup failed on this address: len 160, "), "{text}");
        assert!(
            text.contains("flags: <DONE>\n") && text.contains("<DST,GATEWAY>\n 10.0.0.99 link#2\n"),
            "{text}"
        );
    });
}

#[test]
fn a_packet_without_a_route_is_told_of() {
    scenario(|world| {
        let visited = Visited::new(world);
        let text = heard(world, &visited.a, 1, || {
            let said = visited.a.sh("ping -n -c 1 10.99.0.1");
            assert!(said.err.contains("No route to host"), "{}", said.err);
        });
        assert!(text.contains("RTM_MISS: ") && text.contains("sockaddrs: <DST>\n 10.99.0.1\n"), "{text}");
    });
}

#[test]
fn a_reader_that_is_too_slow_is_told_how_much_it_missed() {
    use rumpnet_proto::{Reply, Request, RouteEvent};
    use rumpnet_stack::slab::Key;
    scenario(|world| {
        let host = world.host_with("small", rumpnet_stack::Config::tiny());
        let Ok(Reply::Monitor { monitor }) = host.control(Request::MonitorOpen) else { panic!("it opens") };
        for _ in 0..50 {
            host.sh("route add 192.0.2.1 127.0.0.1").ok();
            host.sh("route delete 192.0.2.1").ok();
        }
        let mut news = Vec::new();
        host.stack(|stack, _| stack.monitor_read(Key::from(monitor), &mut news));
        assert_eq!(news.len(), 64, "what the configuration keeps");
        host.sh("route add 192.0.2.1 127.0.0.1").ok();
        news.clear();
        host.stack(|stack, _| stack.monitor_read(Key::from(monitor), &mut news));
        assert_eq!((news.len(), &news[0].event), (2, &RouteEvent::Lost { events: 36 }));
        let Ok(Reply::MonitorEnded { overruns }) = host.control(Request::MonitorClose { monitor }) else {
            panic!("it ends")
        };
        assert_eq!(overruns, 36);
        assert!(host.control(Request::MonitorClose { monitor }).is_err());
    });
}
