//! Interfaces that stand on a bus: when they may have a link string, come up, and be pulled out (shmif(4)).

use rumpnet_proto::{
    AddressChange, AddressFlags, BusReport, ControlError, DropReason, Errno, InterfaceFlags, InterfaceReport,
    LinkState, Media, Operation, Reply, Request,
};
use rumpnet_stack::{Config, PortConfig, Stack, UdpSend, buffer::Received, time::Instant};
use rumpnet_wire::ethernet;

const NOW: Instant = Instant::ZERO;

/// A kernel with `bus0`, which has no string yet, and its port.
fn stack() -> (Stack, u32) {
    let mut stack = Stack::boot(Config { dad_count: 0, ..Config::default() }, [7; 16], NOW);
    let port = PortConfig::ethernet(ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]));
    let port = PortConfig { link_state: LinkState::Down, ..port };
    let number = stack.create_interface(NOW, "bus0", port).expect("room");
    (stack, number)
}

fn link_string(stack: &mut Stack, string: Option<&str>) -> Result<Reply, ControlError> {
    let string = string.map(String::from);
    stack.control(NOW, Request::SetLinkString { name: "bus0".into(), string })
}

fn flags(stack: &mut Stack, set: InterfaceFlags, clear: InterfaceFlags) -> Result<Reply, ControlError> {
    stack.control(NOW, Request::SetFlags { name: "bus0".into(), set, clear })
}

fn add_address(stack: &mut Stack) -> Result<Reply, ControlError> {
    let address = [10, 0, 0, 1].into();
    let change = AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: true };
    stack.control(NOW, Request::AddAddress { name: "bus0".into(), change })
}

fn media(stack: &mut Stack, media: Media) {
    stack.control(NOW, Request::SetMedia { name: "bus0".into(), media }).expect("a bus has media");
}

fn report(stack: &mut Stack) -> InterfaceReport {
    let request = Request::Interface { name: "bus0".into(), reset: false };
    let Ok(Reply::Interfaces { mut interfaces, .. }) = stack.control(NOW, request) else {
        panic!("a report")
    };
    interfaces.remove(0)
}

fn errno(answer: Result<Reply, ControlError>) -> Errno {
    answer.expect_err("refused").errno
}

#[test]
fn a_link_string_is_set_once_and_only_while_the_interface_is_down() {
    let (mut stack, _) = stack();
    assert_eq!(errno(link_string(&mut stack, None)), Errno::NoEnt);
    assert_eq!(errno(link_string(&mut stack, Some(""))), Errno::Inval);
    assert_eq!(errno(link_string(&mut stack, Some("mem:"))), Errno::Inval);
    assert_eq!(errno(link_string(&mut stack, Some(&"x".repeat(512)))), Errno::TooBig);
    link_string(&mut stack, Some(&"x".repeat(511))).expect("not too long");
    assert_eq!(errno(link_string(&mut stack, Some("mem:lan"))), Errno::Busy);
    link_string(&mut stack, None).expect("down");
    link_string(&mut stack, Some("mem:lan")).expect("none yet");
    flags(&mut stack, InterfaceFlags::UP, InterfaceFlags::empty()).expect("on a bus");
    let busy = link_string(&mut stack, None).expect_err("up");
    assert_eq!((busy.errno, busy.operation), (Errno::Busy, Operation::LinkString));
    let bus = BusReport { link_string: Some("mem:lan".into()), media: Media::Auto };
    assert_eq!(report(&mut stack).bus, Some(bus));
}

#[test]
fn without_a_bus_an_interface_does_not_come_up_whoever_asks() {
    let (mut stack, _) = stack();
    assert_eq!(errno(flags(&mut stack, InterfaceFlags::UP, InterfaceFlags::empty())), Errno::Nxio);
    assert_eq!(errno(add_address(&mut stack)), Errno::Nxio);
    let report = report(&mut stack);
    assert!(report.addresses.is_empty() && !report.flags.contains(InterfaceFlags::UP), "nothing has changed");
}

#[test]
fn other_interfaces_have_neither_a_link_string_nor_media() {
    let (mut stack, _) = stack();
    let name = || String::from("lo0");
    let string = Request::SetLinkString { name: name(), string: Some("mem:lan".into()) };
    assert_eq!(errno(stack.control(NOW, string)), Errno::NoTty);
    let media = Request::SetMedia { name: name(), media: Media::None };
    assert_eq!(errno(stack.control(NOW, media)), Errno::NoTty);
    assert_eq!(stack.may_set_link_string("bus9", None).map_err(|error| error.errno), Err(Errno::Nxio));
}

#[test]
fn both_names_make_interfaces_of_the_kind() {
    let (mut stack, _) = stack();
    let port = || PortConfig::ethernet(ethernet::Address([0xb2, 0x0a, 0, 0, 0, 2]));
    stack.create_interface(NOW, "shmif0", port()).expect("room");
    let Ok(Reply::Names(cloners)) = stack.control(NOW, Request::Cloners) else { panic!("no names") };
    assert_eq!(cloners, ["bus", "shmif", "virt", "tun", "lo"]);
    let request = Request::Interface { name: "shmif0".into(), reset: false };
    let Ok(Reply::Interfaces { interfaces, .. }) = stack.control(NOW, request) else { panic!("a report") };
    assert_eq!(interfaces[0].bus, Some(BusReport::default()));
}

#[test]
fn an_interface_that_is_pulled_out_has_no_carrier_and_neither_sends_nor_hears() {
    let (mut stack, port) = stack();
    link_string(&mut stack, Some("mem:lan")).expect("down");
    stack.set_link_state(NOW, port, LinkState::Up);
    add_address(&mut stack).expect("on a bus");
    media(&mut stack, Media::None);
    let unplugged = report(&mut stack);
    assert_eq!(unplugged.link_state, LinkState::Down);
    assert_eq!(unplugged.addresses[0].flags, AddressFlags::DETACHED);
    while stack.next_frame(port).is_some() {}
    let broadcast = ethernet::Header {
        destination: ethernet::Address::BROADCAST,
        source: ethernet::Address([2, 0, 0, 0, 0, 9]),
        ethertype: ethernet::EtherType::ARP,
    };
    let frame = [&broadcast.to_bytes()[..], &[0; 28]].concat();
    stack.receive(NOW, port, [Received::new(frame.into(), Default::default())]);
    let socket = stack.udp_open().expect("room");
    let payload = vec![7; 9].into();
    let to = Some(([10, 0, 0, 2], 9).into());
    let send = UdpSend { payload, segment: None, destination: to, source: None, info: Default::default() };
    let _refused = stack.udp_send(NOW, socket, [send]);
    assert!(stack.next_frame(port).is_none(), "nothing leaves");
    assert!(stack.drops(DropReason::LinkNoCarrier) >= 1);
    // The bus itself may go and come meanwhile; the plug is what counts.
    stack.set_link_state(NOW, port, LinkState::Down);
    stack.set_link_state(NOW, port, LinkState::Up);
    assert_eq!(report(&mut stack).link_state, LinkState::Down);
    media(&mut stack, Media::Auto);
    let plugged = report(&mut stack);
    assert_eq!((plugged.link_state, plugged.addresses[0].flags), (LinkState::Up, AddressFlags::empty()));
}
