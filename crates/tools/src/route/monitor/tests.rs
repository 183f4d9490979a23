//! What `route monitor` prints of each event.

use rumpnet_proto::{AddressFlags, RouteKind, RouteOrigin};

use super::*;
use crate::scripted::{Script, address};

fn link() -> LinkName {
    LinkName { name: "virt0".parse().unwrap(), index: 2 }
}

fn route(destination: &str, len: u8, gateway: Option<&str>, origin: RouteOrigin) -> RouteReport {
    RouteReport {
        destination: (destination.parse().unwrap(), len),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        interface: link().name,
        kind: RouteKind::Forward,
        origin,
        mtu: None,
        hop_count: 0,
        expires: None,
    }
}

fn neighbor(state: NeighborState) -> NeighborReport {
    NeighborReport {
        address: "10.0.0.1".parse().unwrap(),
        link_address: Some("b2:0a:5c:7d:01:9e".parse().unwrap()),
        interface: link().name,
        state,
        published: false,
        expires_in_ns: None,
        waiting: 0,
    }
}

/// The lines of an event after the first.
fn told(event: RouteEvent) -> String {
    let text = text(&RouteNews { time_ns: 1, event }, Duration::from_secs(951_782_400));
    let (first, rest) = text.split_once('\n').unwrap();
    let len = rest.split("len ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    assert_eq!(first, format!("got message of size {len} on Tue Feb 29 00:00:00 2000"));
    rest.into()
}

#[test]
fn a_route_is_told_of_as_netbsds_route_prints_it() {
    let by_router = route("192.168.0.0", 24, Some("10.0.0.1"), RouteOrigin::Static);
    let event = RouteEvent::Route { change: Change::Added, route: by_router.clone(), index: 2 };
    assert_eq!(
        told(event),
        "RTM_ADD: Add Route: len 168, pid 0, seq 0, errno 0, flags: <UP,GATEWAY,DONE,STATIC>\n\
         locks: none inits: none\n\
         sockaddrs: <DST,GATEWAY,NETMASK>\n 192.168.0.0 10.0.0.1 255.255.255.0\n"
    );
    let event = RouteEvent::Route { change: Change::Deleted, route: by_router, index: 2 };
    assert!(told(event).contains(
        "RTM_DELETE: Delete Route: len 168, pid 0, seq 0, errno 0, flags: <GATEWAY,DONE,STATIC>\n"
    ));
    let connected = route("10.0.0.0", 24, None, RouteOrigin::Connected);
    let event = RouteEvent::Route { change: Change::Changed, route: connected, index: 2 };
    let text = told(event);
    assert!(text.starts_with("RTM_CHANGE: Change Metrics, Flags or Gateway: len 176, "), "{text}");
    assert!(text.ends_with("flags: <UP,DONE,CONNECTED>\nlocks: none inits: none\nsockaddrs: <DST,GATEWAY,NETMASK>\n 10.0.0.0 link#2 255.255.255.0\n"), "{text}");
    let default = route("0.0.0.0", 0, Some("10.0.0.1"), RouteOrigin::Static);
    let event = RouteEvent::Route { change: Change::Added, route: default, index: 2 };
    assert!(told(event).ends_with(" default 10.0.0.1 0.0.0.0\n"));
}

#[test]
fn neighbours_misses_and_redirects_are_told_of_as_routes() {
    let event = |change, state| RouteEvent::Neighbor { change, neighbor: neighbor(state), index: 2 };
    assert_eq!(
        told(event(Change::Added, NeighborState::Reachable)),
        "RTM_ADD: Add Route: len 160, pid 0, seq 0, errno 0, flags: <UP,HOST,DONE,LLINFO,CLONED>\n\
         locks: none inits: none\nsockaddrs: <DST,GATEWAY>\n 10.0.0.1 b2:0a:5c:7d:01:9e\n"
    );
    assert!(
        told(event(Change::Deleted, NeighborState::Stale)).contains("flags: <HOST,DONE,LLINFO,CLONED>\n")
    );
    assert!(told(event(Change::Added, NeighborState::Permanent)).contains("LLINFO,STATIC,CLONED>\n"));
    let destination = "10.0.0.99".parse().unwrap();
    assert_eq!(
        told(RouteEvent::Miss { destination, link: Some(link()) }),
        "RTM_MISS: Lookup failed on this address: len 160, pid 0, seq 0, errno 0, flags: <DONE>\n\
         locks: none inits: none\nsockaddrs: <DST,GATEWAY>\n 10.0.0.99 link#2\n"
    );
    let text = told(RouteEvent::Miss { destination, link: None });
    assert!(text.ends_with("sockaddrs: <DST>\n 10.0.0.99\n"), "{text}");
    let learned = route("192.0.2.9", 32, Some("10.0.0.7"), RouteOrigin::Redirect);
    let author = "10.0.0.1".parse().unwrap();
    let text = told(RouteEvent::Redirect { route: learned, index: 2, author });
    assert!(text.contains("RTM_REDIRECT: Told to use different route: len 168, "), "{text}");
    assert!(text.contains("flags: <UP,GATEWAY,HOST,DYNAMIC,DONE>\n"), "{text}");
    assert!(text.ends_with("sockaddrs: <DST,GATEWAY,AUTHOR>\n 192.0.2.9 10.0.0.7 10.0.0.1\n"), "{text}");
}

#[test]
fn addresses_and_interfaces_are_told_of() {
    let address = || address("10.0.0.2", 24, Some("10.0.0.255"));
    let event = |change| RouteEvent::Address { change, address: address(), link: link() };
    assert_eq!(
        told(event(Change::Added)),
        "RTM_NEWADDR: address being added to iface: len 96, pid 0, metric 0, flags: none\n\
         sockaddrs: <NETMASK,IFP,IFA,BRD>\n 255.255.255.0 virt0 10.0.0.2 10.0.0.255\n"
    );
    assert!(
        told(event(Change::Deleted)).starts_with("RTM_DELADDR: address being removed from iface: len 96, ")
    );
    assert!(
        told(event(Change::Changed)).starts_with("RTM_CHGADDR: address being changed on iface: len 96, ")
    );
    let flags = InterfaceFlags::UP | InterfaceFlags::RUNNING;
    let event = |state| RouteEvent::Link { link: link(), flags, state };
    assert_eq!(
        told(event(LinkState::Down)),
        "RTM_IFINFO: iface status change: len 152, if# 2, carrier: no carrier, flags: <UP,RUNNING>\n"
    );
    assert!(told(event(LinkState::Up)).contains("carrier: active, "));
    assert!(told(event(LinkState::Unknown)).contains("carrier: unknown, "));
    let arrived = told(RouteEvent::Arrival { link: link() });
    assert_eq!(arrived, "RTM_IFANNOUNCE: iface arrival/departure: len 24, if# 2, what: arrival\n");
    assert!(told(RouteEvent::Departure { link: link() }).ends_with("what: departure\n"));
    assert!(told(RouteEvent::Lost { events: 7 }).contains("7 events lost"));
}

#[test]
fn as_many_events_are_printed_as_are_asked_for() {
    let script = || {
        let script = Script::default();
        let news = |time_ns| RouteNews { time_ns, event: RouteEvent::Arrival { link: link() } };
        script.expect_news([news(1), news(2), news(3)]);
        script
    };
    let said = script().said(&["route", "-n", "monitor", "-c", "2"]);
    assert_eq!((said.status, said.out.lines().count()), (Status::SUCCESS, 4));
    assert_eq!(script().said(&["route", "monitor"]).out.lines().count(), 6);
    for words in
        [&["route", "monitor", "-c", "0"][..], &["route", "monitor", "-c"], &["route", "monitor", "-x"]]
    {
        let said = Script::default().said(words);
        assert_eq!((said.status, said.out.as_str()), (Status::FAILURE, ""), "{words:?}");
    }
    let closed = script();
    closed.closed.set(true);
    assert_eq!(closed.said(&["route", "monitor"]).status, Status::FAILURE, "nobody reads");
}

#[test]
fn every_event_is_a_line_of_json_as_documented() {
    let tentative =
        AddressReport { flags: AddressFlags::TENTATIVE, ..address("10.0.0.2", 24, Some("10.0.0.255")) };
    let author = "10.0.0.1".parse().unwrap();
    let destination = "10.0.0.99".parse().unwrap();
    let events = [
        RouteEvent::Redirect {
            route: route("192.0.2.9", 32, Some("10.0.0.7"), RouteOrigin::Redirect),
            index: 2,
            author,
        },
        RouteEvent::Miss { destination, link: Some(link()) },
        RouteEvent::Neighbor {
            change: Change::Added,
            neighbor: neighbor(NeighborState::Reachable),
            index: 2,
        },
        RouteEvent::Address { change: Change::Changed, address: tentative, link: link() },
        RouteEvent::Link { link: link(), flags: InterfaceFlags::UP, state: LinkState::Up },
        RouteEvent::Departure { link: link() },
        RouteEvent::Lost { events: 7 },
    ];
    let keys = ["author", "destination", "neighbor", "address", "link_state", "interface", "lost_events"];
    let names = ["redirect", "miss", "neighbor_added", "address_changed", "link", "departure", "lost"];
    for ((event, key), name) in events.into_iter().zip(keys).zip(names) {
        let line = line(&RouteNews { time_ns: 9, event });
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["version"], &value["time_ns"], &value["event"]),
            (&1.into(), &9.into(), &name.into())
        );
        assert!(value.get(key).is_some(), "{value}");
        crate::guide::assert_line_documented(&value);
    }
}
