//! What routes share, and what they weigh.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use rumpnet_proto::RouteOrigin;

use super::*;

fn routes() -> Routes {
    Routes::new(&mut Random::new([3; 16]))
}

const fn net(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x1400_0000 + (number << 8)))
}

fn by(interface: u32, gateway: u8) -> Route {
    let gateway = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, gateway)));
    Route::by(Hop { interface, gateway }, RouteOrigin::Static)
}

/// The destinations that are left, by their numbers.
fn left(routes: &Routes) -> Vec<u32> {
    let number = |network| match network {
        IpAddr::V4(address) => (Ipv4Addr::to_bits(address) - 0x1400_0000) >> 8,
        IpAddr::V6(_) => u32::MAX,
    };
    routes.list_after(None).map(|found| number(found.network)).collect()
}

#[test]
fn routes_that_lead_to_one_router_are_kept_once() {
    let mut routes = routes();
    (0..1000).for_each(|number| routes.insert(net(number), 24, by(2, (number % 4) as u8)));
    assert_eq!((routes.len(), routes.shared.len(), routes.places.len()), (1000, 4, 4));
    assert_eq!(routes.lookup(net(6)), Some(&by(2, 2)));
    for number in 0..1000 {
        assert_eq!(routes.remove(net(number), 24), Some(by(2, (number % 4) as u8)));
    }
    assert!(routes.shared.is_empty() && routes.places.is_empty() && routes.by_interface.is_empty());
}

#[test]
fn a_route_that_changes_leaves_those_alone_that_it_was_like() {
    let mut routes = routes();
    (0..3).for_each(|number| routes.insert(net(number), 24, by(2, 1)));
    routes.insert(net(1), 24, by(3, 9));
    let second = Hop { interface: 2, gateway: Some(net(7)) };
    assert_eq!(routes.add_hop(net(2), 24, second), Ok(()));
    assert_eq!(routes.add_hop(net(2), 24, second), Err(Errno::Exist));
    assert_eq!(routes.add_hop(net(5), 24, second), Err(Errno::Srch));
    let hops = |number| routes.lookup(net(number)).map(|route| route.hops().to_vec());
    assert_eq!(hops(0), Some([by(2, 1).hop].to_vec()));
    assert_eq!(hops(1), Some([by(3, 9).hop].to_vec()));
    assert_eq!(hops(2), Some([by(2, 1).hop, second].to_vec()));
}

#[test]
fn what_leads_to_an_interface_that_is_gone_goes_in_slices_and_the_rest_stays() {
    let mut routes = routes();
    (0..200).for_each(|number| routes.insert(net(number), 24, by(2 + number % 2, 1)));
    assert_eq!(routes.add_hop(net(0), 24, by(3, 1).hop), Ok(()));
    let mut calls = 0;
    while routes.remove_some_of_gone(2, |interface| interface == 2) {
        calls += 1;
    }
    assert!(calls >= 100, "one a call: {calls}");
    let expected: Vec<u32> = [0].into_iter().chain((0..200).filter(|number| number % 2 == 1)).collect();
    assert_eq!(left(&routes), expected);
    assert!(!routes.remove_some_of_gone(4, |_| true), "nothing leads there");
    assert_eq!(routes.len(), 101);
}

#[test]
fn interfaces_that_go_together_cost_one_walk() {
    let mut routes = routes();
    (0..640).for_each(|number| routes.insert(net(number), 24, by(2 + number % 64, 1)));
    let mut calls = 0;
    for interface in 2..66 {
        while routes.remove_some_of_gone(interface, |_| true) {
            calls += 1;
        }
    }
    assert_eq!(routes.len(), 0);
    assert!(calls <= 640 + 2, "{calls}");
}

#[test]
fn what_was_looked_up_ahead_is_forgotten_when_any_route_changes() {
    let mut routes = routes();
    let ask = Ipv4Addr::from_bits(0x1400_0105);
    let gateway = |routes: &Routes| routes.lookup(ask.into()).map(|route| route.hop);
    routes.insert(net(0), 16, by(2, 1));
    routes.look_ahead(&[ask, Ipv4Addr::UNSPECIFIED]);
    assert_eq!(gateway(&routes), Some(by(2, 1).hop));
    routes.insert(net(1), 24, by(2, 7));
    assert_eq!(gateway(&routes), Some(by(2, 7).hop), "a longer prefix");
    routes.look_ahead(&[ask]);
    routes.insert(net(1), 24, by(3, 9));
    assert_eq!(gateway(&routes), Some(by(3, 9).hop), "a change");
    routes.look_ahead(&[ask]);
    assert_eq!(routes.add_hop(net(1), 24, by(2, 4).hop), Ok(()));
    assert_eq!(routes.lookup(ask.into()).map(|route| route.hops().len()), Some(2));
    routes.look_ahead(&[ask]);
    assert!(routes.remove_hops(net(1), 24, |_| true));
    assert_eq!(gateway(&routes), Some(by(2, 1).hop));
    routes.look_ahead(&[ask]);
    routes.remove(net(0), 16);
    assert_eq!(gateway(&routes), None);
    assert!(routes.lookup(Ipv4Addr::UNSPECIFIED.into()).is_none());
}

#[test]
fn ten_routes_with_all_that_they_lead_to_weigh_less_than_two_kilobytes() {
    let mut routes = routes();
    routes.insert(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, by(2, 1));
    (0..9).for_each(|number| routes.insert(net(number * 77), 24, by(2 + number % 3, 1)));
    let bytes = routes.bytes();
    assert!(bytes < 2048, "{bytes} bytes");
}
