//! The host's interfaces, addresses and routes, each test in a network namespace of its own. Needs root.

mod world;

use std::net::IpAddr;

use rumpnet_host::{
    Tap, TapOptions,
    interface::Control,
    netlink::{LinkMonitor, LinkNews, Netlink},
};
use rustix::{event::PollFlags, io::Errno};
use world::{alone, is_ready, run};

#[test]
fn a_tap_is_listed_with_owner_and_kind() {
    alone();
    let tap = Tap::open(&TapOptions::new("tap5")).unwrap();
    tap.set_owner(1000).unwrap();
    tap.set_group(100).unwrap();
    tap.set_persistent(true).unwrap();
    let link = Netlink::open().unwrap().link("tap5").unwrap();
    assert_eq!((link.index, link.name.as_str()), (tap.index().unwrap(), "tap5"));
    assert_eq!(link.kind.as_deref(), Some("tun"));
    assert!(link.is_up && link.has_carrier);
    assert_eq!((link.mtu, link.queue_len), (1500, tap.queue_len().unwrap()));
    assert_eq!(link.link_address, tap.link_address().unwrap());
    let tun = link.tun.unwrap();
    assert!(tun.is_tap && tun.is_persistent && tun.has_header && !tun.is_multi_queue);
    assert_eq!((tun.owner, tun.group), (Some(1000), Some(100)));
    assert!(Netlink::open().unwrap().links().unwrap().contains(&link));
}

#[test]
fn a_link_that_is_not_there_is_enodev() {
    alone();
    assert_eq!(Netlink::open().unwrap().link("tap9"), Err(Errno::NODEV));
    assert_eq!(Netlink::open().unwrap().delete_link(999), Err(Errno::NODEV));
}

#[test]
fn more_links_than_one_buffer_holds_come_in_one_dump() {
    alone();
    let mut netlink = Netlink::open().unwrap();
    (0..60).for_each(|n| netlink.create_pair(&format!("a{n}"), &format!("b{n}")).unwrap());
    let links = netlink.links().unwrap();
    assert_eq!(links.iter().filter(|link| link.kind.as_deref() == Some("veth")).count(), 120);
}

#[test]
fn a_bridge_is_made_by_its_kind_alone() {
    alone();
    let mut netlink = Netlink::open().unwrap();
    netlink.create_link("br0", "bridge").unwrap();
    assert_eq!(netlink.link("br0").unwrap().kind.as_deref(), Some("bridge"));
    assert_eq!(netlink.create_link("br1", "nonsense"), Err(Errno::OPNOTSUPP));
}

#[test]
fn the_length_of_a_queue_is_changed() {
    alone();
    let mut netlink = Netlink::open().unwrap();
    let (tap, other) =
        (Tap::open(&TapOptions::new("tap5")).unwrap(), Tap::open(&TapOptions::new("tap6")).unwrap());
    let before = other.queue_len().unwrap();
    netlink.set_queue_len(tap.index().unwrap(), 77).unwrap();
    assert_eq!((tap.queue_len().unwrap(), other.queue_len().unwrap()), (77, before));
    assert!(tap.is_up().unwrap());
    assert_eq!(netlink.set_queue_len(9999, 77), Err(Errno::NODEV));
}

#[test]
fn addresses_are_added_found_and_taken_away_with_their_routes() {
    alone();
    let tap = Tap::open(&TapOptions::new("tap0")).unwrap();
    let index = tap.index().unwrap();
    let mut netlink = Netlink::open().unwrap();
    let (four, six): (IpAddr, IpAddr) = ("10.1.2.3".parse().unwrap(), "fd00::1".parse().unwrap());
    netlink.add_address(index, four, 24).unwrap();
    netlink.add_address(index, six, 64).unwrap();
    assert_eq!(netlink.add_address(index, four, 24), Err(Errno::EXIST));
    let has = |netlink: &mut Netlink, address, prefix_len| {
        let mut all = netlink.addresses().unwrap().into_iter();
        all.any(|found| (found.index, found.address, found.prefix_len) == (index, address, prefix_len))
    };
    assert!(has(&mut netlink, four, 24) && has(&mut netlink, six, 64));
    let routes = netlink.routes().unwrap();
    for (destination, prefix_len) in [("10.1.2.0", 24), ("fd00::", 64)] {
        let destination: IpAddr = destination.parse().unwrap();
        assert!(
            routes.iter().any(|route| (route.destination, route.prefix_len) == (destination, prefix_len)
                && route.index == Some(index)
                && route.table == 254)
        );
    }
    let shown = run("ip", &["-o", "address", "show", "tap0"]);
    assert!(shown.contains("10.1.2.3/24 brd 10.1.2.255"), "{shown}");
    netlink.delete_address(index, four, 24).unwrap();
    assert!(!has(&mut netlink, four, 24));
    assert_eq!(netlink.delete_address(index, four, 24), Err(Errno::ADDRNOTAVAIL));
}

#[test]
fn default_and_refusing_routes_are_seen_and_local_ones_are_not() {
    alone();
    let tap = Tap::open(&TapOptions::new("tap0")).unwrap();
    Netlink::open().unwrap().add_address(tap.index().unwrap(), "10.0.0.1".parse().unwrap(), 24).unwrap();
    run("ip", &["route", "add", "default", "via", "10.0.0.9"]);
    run("ip", &["route", "add", "blackhole", "192.0.2.0/24", "table", "1000"]);
    let routes = Netlink::open().unwrap().routes().unwrap();
    let default = routes.iter().find(|route| route.prefix_len == 0).unwrap();
    assert_eq!(default.gateway, Some("10.0.0.9".parse().unwrap()));
    let hole = routes.iter().find(|route| route.table == 1000).unwrap();
    assert_eq!((hole.destination, hole.prefix_len), ("192.0.2.0".parse().unwrap(), 24));
    assert!(!routes.iter().any(|route| route.prefix_len == 32 && route.destination.is_ipv4()));
}

#[test]
fn a_pair_is_made_and_deleted_as_one() {
    alone();
    let (mut netlink, control) = (Netlink::open().unwrap(), Control::open().unwrap());
    netlink.create_pair("left", "right").unwrap();
    assert_eq!(netlink.create_pair("left", "other"), Err(Errno::EXIST));
    control.set_up("left", true).unwrap();
    assert!(!netlink.link("left").unwrap().has_carrier);
    control.set_up("right", true).unwrap();
    assert!(netlink.link("left").unwrap().has_carrier);
    let right = netlink.link("right").unwrap();
    assert_eq!(right.kind.as_deref(), Some("veth"));
    netlink.delete_link(right.index).unwrap();
    assert_eq!(netlink.link("left"), Err(Errno::NODEV));
}

#[test]
fn the_monitor_sees_a_tap_go_down_come_up_and_be_deleted() {
    alone();
    let mut monitor = LinkMonitor::open().unwrap();
    let tap = Tap::open(&TapOptions::new("tap0")).unwrap();
    let index = tap.index().unwrap();
    assert!(is_ready(&monitor, PollFlags::IN));
    let mut last = || monitor.receive().unwrap().into_iter().rfind(|news| index_of(news) == Some(index));
    assert!(matches!(last(), Some(LinkNews::Changed(link)) if link.is_up && link.has_carrier));
    assert_eq!(last(), None);
    run("ip", &["link", "set", "tap0", "down"]);
    assert!(matches!(last(), Some(LinkNews::Changed(link)) if !link.is_up && !link.has_carrier));
    run("ip", &["link", "set", "tap0", "up"]);
    assert!(matches!(last(), Some(LinkNews::Changed(link)) if link.is_up));
    run("ip", &["link", "delete", "tap0"]);
    assert!(matches!(last(), Some(LinkNews::Deleted(link)) if link.name == "tap0"));
}

#[test]
fn a_monitor_that_nobody_reads_says_that_news_were_lost() {
    alone();
    let (mut monitor, control) = (LinkMonitor::open().unwrap(), Control::open().unwrap());
    let _tap = Tap::open(&TapOptions::new("tap0")).unwrap();
    (0..1000).for_each(|n| control.set_mtu("tap0", 1000 + n % 2).unwrap());
    assert!(monitor.receive().unwrap().contains(&LinkNews::Lost));
    control.set_mtu("tap0", 900).unwrap();
    assert!(matches!(monitor.receive().unwrap().last(), Some(LinkNews::Changed(link)) if link.mtu == 900));
}

fn index_of(news: &LinkNews) -> Option<u32> {
    match news {
        LinkNews::Changed(link) | LinkNews::Deleted(link) => Some(link.index),
        LinkNews::Lost => None,
    }
}
