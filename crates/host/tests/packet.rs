//! The packet socket on a veth pair, each test in a network namespace of its own. Needs root.

mod world;

use std::io::IoSlice;

use rumpnet_host::{
    FrameDevice, Framing, IoFailure, Operation, PacketOptions, PacketSocket, interface::Control,
    netlink::Netlink,
};
use rustix::io::Errno;
use world::{alone, frames, without_privilege};

fn options() -> PacketOptions {
    PacketOptions { name: "virt0".into(), peer: Some("tap0".into()), up: true, mtu: Some(1400) }
}

fn open() -> FrameDevice {
    PacketSocket::open(&options()).expect("these tests run as root").into()
}

#[test]
fn super_frames_pass_in_either_direction() {
    alone();
    let device = open();
    frames::address(&device);
    frames::assert_that_the_host_takes_a_super_frame(&device);
    frames::assert_that_the_host_gives_a_super_frame(&device);
}

#[test]
fn the_header_of_this_kernel_has_twelve_octets_and_the_ends_the_mtu_asked_for() {
    alone();
    let packet = PacketSocket::open(&options()).unwrap();
    assert_eq!(packet.framing(), Framing::Twelve);
    let mut netlink = Netlink::open().unwrap();
    for end in ["virt0", "tap0"] {
        let link = netlink.link(end).unwrap();
        assert!(link.is_up && link.mtu == 1400, "{link:?}");
    }
    packet.set_mtu(9000).unwrap();
    assert_eq!((netlink.link("tap0").unwrap().mtu, packet.mtu().unwrap()), (9000, 9000));
}

#[test]
fn a_pair_that_we_made_goes_with_us_and_one_that_was_there_stays() {
    alone();
    let control = Control::open().unwrap();
    let ours = PacketSocket::open(&options()).unwrap();
    assert!(!ours.existed_before());
    let theirs = PacketSocket::open(&options()).unwrap();
    assert!(theirs.existed_before());
    drop(theirs);
    assert!(control.exists("tap0").unwrap());
    let _fd = ours.into_fd();
    assert!(!control.exists("tap0").unwrap() && !control.exists("virt0").unwrap());
}

#[test]
fn an_interface_that_was_there_is_left_as_it_was_found() {
    alone();
    Netlink::open().unwrap().create_pair("one", "two").unwrap();
    let control = Control::open().unwrap();
    for up in [true, false] {
        control.set_up("one", up).unwrap();
        let options = PacketOptions { name: "one".into(), peer: None, up: true, mtu: None };
        let packet = PacketSocket::open(&options).unwrap();
        packet.set_carrier(!up).unwrap();
        packet.set_mtu(1300).unwrap();
        assert_eq!(control.mtu("one"), Ok(1300));
        drop(packet);
        assert_eq!((control.is_up("one"), control.mtu("one")), (Ok(up), Ok(1500)));
    }
}

#[test]
fn the_host_sees_the_carrier_that_we_show() {
    alone();
    let device = open();
    let carrier = || Netlink::open().unwrap().link("tap0").unwrap().has_carrier;
    assert!(carrier());
    device.set_carrier(false).unwrap();
    assert!(!carrier());
    device.set_carrier(true).unwrap();
    assert!(carrier());
    frames::address(&device);
    frames::assert_that_the_host_takes_a_super_frame(&device);
    frames::assert_that_the_host_gives_a_super_frame(&device);
}

#[test]
fn vlan_tags_pass_in_either_direction() {
    alone();
    let ours = open();
    let theirs = FrameDevice::from(
        PacketSocket::open(&PacketOptions { name: "tap0".into(), peer: None, up: true, mtu: None }).unwrap(),
    );
    let frame: Vec<u8> = [&[0xff; 6][..], &[0xb2; 6], &[0x81, 0, 0x60, 5, 0x88, 0xb5], &[7; 50]].concat();
    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        from.writev(&[IoSlice::new(&[0; 12]), IoSlice::new(&frame)]).unwrap();
        assert_eq!(frames::next(to, &[0x81, 0]), frame);
    }
}

#[test]
fn frames_that_the_host_cannot_take_are_told_apart() {
    alone();
    let device = open();
    let write = |len: usize| device.writev(&[IoSlice::new(&[0; 12]), IoSlice::new(&vec![0; len])]);
    assert_eq!(write(10), Err(IoFailure::Refused));
    assert_eq!(write(5000), Err(IoFailure::Refused));
    assert_eq!(write(60), Ok(72));
    device.set_carrier(false).unwrap();
    assert_eq!(device.read(&mut [0; 2000]), Err(IoFailure::Down));
    assert_eq!(write(60), Err(IoFailure::Down));
    let mut netlink = Netlink::open().unwrap();
    let index = netlink.link("tap0").unwrap().index;
    netlink.delete_link(index).unwrap();
    assert_eq!(write(60), Err(IoFailure::Gone));
}

#[test]
fn who_may_not_is_told_so_with_what_helps() {
    alone();
    without_privilege();
    let error = PacketSocket::open(&options()).unwrap_err();
    assert_eq!((error.operation, error.errno), (Operation::OpenPacketSocket, libc::EPERM));
    assert!(error.hint.unwrap().contains("CAP_NET_RAW"));
}

#[test]
fn an_end_that_is_not_there_and_may_not_be_made_is_enodev() {
    alone();
    let error = PacketSocket::open(&PacketOptions { peer: None, ..options() }).unwrap_err();
    assert_eq!(error.errno, Errno::NODEV.raw_os_error());
}
