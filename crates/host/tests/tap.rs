//! The tap against the host's own kernel, each test in a network namespace of its own. Needs root and `/dev/net/tun`.

mod world;

use std::{
    io::IoSlice,
    os::fd::{AsFd, AsRawFd},
};

use rumpnet_host::{
    FrameDevice, Framing, Granted, HEADER_LEN, HostError, IoFailure, Layer, Operation, Tap, TapOptions,
    holder::holders, interface::Control, netlink::Netlink,
};
use rustix::{event::PollFlags, io::dup};
use world::{USER, alone, frames, is_ready, node, own_nodes, raw_tap, run, without_privilege};

fn open(name: &str) -> Result<Tap, HostError> {
    Tap::open(&TapOptions::new(name))
}

/// One that is there already, as it is.
fn open_existing(name: &str) -> Tap {
    Tap::open(&TapOptions { create: false, up: false, ..TapOptions::new(name) }).expect("it is there")
}

/// Writes a frame of so many octets.
fn write(tap: &Tap, len: usize) -> Result<usize, IoFailure> {
    tap.writev(&[IoSlice::new(&[0; HEADER_LEN]), IoSlice::new(&vec![0; len])])
}

#[test]
fn this_kernel_grants_every_offload_behind_a_header_of_twelve() {
    alone();
    let tap = open("tap0").unwrap();
    let all = Granted { checksum: true, tso4: true, tso6: true, tso_ecn: true, uso4: true, uso6: true };
    assert_eq!(tap.granted(), all);
    assert_eq!((tap.framing(), tap.layer()), (Framing::Twelve, Layer::Ethernet));
    assert!(tap.is_up().unwrap() && !tap.existed_before() && !tap.is_multi_queue());
}

#[test]
fn super_frames_pass_in_either_direction() {
    alone();
    let device = FrameDevice::from(open("tap0").unwrap());
    frames::address(&device);
    frames::assert_that_the_host_takes_a_super_frame(&device);
    frames::assert_that_the_host_gives_a_super_frame(&device);
}

#[test]
fn a_new_tap_takes_the_queue_and_mtu_asked_for_and_goes_with_its_descriptor() {
    alone();
    let options = TapOptions { queue_len: Some(4000), mtu: Some(9000), up: false, ..TapOptions::new("tap3") };
    let tap = Tap::open(&options).unwrap();
    assert_eq!((tap.queue_len().unwrap(), tap.mtu().unwrap()), (4000, 9000));
    assert!(!tap.is_up().unwrap());
    let control = Control::open().unwrap();
    let fd = tap.into_fd();
    assert!(control.exists("tap3").unwrap());
    drop(fd);
    assert!(!control.exists("tap3").unwrap());
}

#[test]
fn a_tap_that_was_there_is_left_as_it_was_found() {
    alone();
    run("ip", &["tuntap", "add", "dev", "tap0", "mode", "tap"]);
    run("ip", &["link", "set", "tap0", "mtu", "1400", "txqueuelen", "77"]);
    let found = run("ip", &["-d", "link", "show", "tap0"]);
    let tap =
        Tap::open(&TapOptions { queue_len: Some(500), mtu: Some(500), ..TapOptions::new("tap0") }).unwrap();
    assert!(tap.existed_before() && tap.is_up().unwrap());
    // What is asked for at the opening is for new ones alone.
    assert_eq!((tap.mtu().unwrap(), tap.queue_len().unwrap()), (1400, 77));
    tap.set_mtu(9000).unwrap();
    tap.set_mtu(9001).unwrap();
    tap.set_queue_len(5000).unwrap();
    drop(tap);
    let link = Netlink::open().unwrap().link("tap0").unwrap();
    assert_eq!((link.is_up, link.mtu, link.queue_len), (false, 1400, 77), "{found}");
    // The next holder gets the header that the driver starts with, and no super-frames.
    let next = raw_tap(Some(("tap0", libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR)));
    assert_eq!(world::header_len(&next), 10);
    run("ip", &["link", "set", "tap0", "up"]);
    let features = run("ip", &["-d", "link", "show", "tap0"]);
    assert!(features.contains("persist on"), "{features}");
}

#[test]
fn a_tap_that_was_there_and_up_stays_up() {
    alone();
    run("ip", &["tuntap", "add", "dev", "tap0", "mode", "tap"]);
    run("ip", &["link", "set", "tap0", "up"]);
    drop(open("tap0").unwrap());
    assert!(Netlink::open().unwrap().link("tap0").unwrap().is_up);
}

#[test]
fn one_that_is_made_persistent_stays_and_the_other_way_round() {
    alone();
    let control = Control::open().unwrap();
    let tap = open("tap0").unwrap();
    tap.set_persistent(true).unwrap();
    drop(tap);
    let tap = open("tap0").unwrap();
    assert!(tap.existed_before());
    tap.set_persistent(false).unwrap();
    drop(tap);
    assert!(!control.exists("tap0").unwrap());
}

#[test]
fn the_host_sees_the_carrier_that_we_show() {
    alone();
    let tap = open("tap0").unwrap();
    let carrier = || Netlink::open().unwrap().link("tap0").unwrap().has_carrier;
    assert!(carrier());
    tap.set_carrier(false).unwrap();
    assert!(!carrier());
    assert!(run("ip", &["link", "show", "tap0"]).contains("NO-CARRIER"));
    tap.set_carrier(true).unwrap();
    assert!(carrier());
}

#[test]
fn a_tun_carries_packets_without_ethernet_headers() {
    alone();
    let tun = Tap::open(&TapOptions { layer: Layer::Ip, ..TapOptions::new("tun0") }).unwrap();
    assert!(tun.granted().tso4);
    Netlink::open().unwrap().add_address(tun.index().unwrap(), "10.0.0.1".parse().unwrap(), 24).unwrap();
    let socket = std::net::UdpSocket::bind("10.0.0.1:0").unwrap();
    socket.send_to(b"hello", "10.0.0.2:9").unwrap();
    let mut buffer = [0; 2000];
    let packet =
        std::iter::from_fn(|| tun.read(&mut buffer).ok().map(|len| buffer[HEADER_LEN..len].to_vec()))
            .find(|packet| packet[0] == 0x45)
            .unwrap();
    assert_eq!((packet.len(), &packet[28..]), (33, &b"hello"[..]));
    let adopted = Tap::adopt(tun.into_fd()).unwrap();
    assert_eq!((adopted.layer(), adopted.name()), (Layer::Ip, "tun0"));
}

#[test]
fn frames_that_nobody_reads_are_counted_by_the_host() {
    alone();
    let tap = Tap::open(&TapOptions { queue_len: Some(10), ..TapOptions::new("tap0") }).unwrap();
    let device = FrameDevice::from(tap);
    frames::address(&device);
    let FrameDevice::Tap(tap) = device else { panic!("it is a tap") };
    let before = tap.tx_dropped().unwrap();
    let socket = std::net::UdpSocket::bind("10.0.0.1:0").unwrap();
    for _ in 0..100 {
        let _full = socket.send_to(b"x", "10.0.0.2:9");
    }
    assert!(tap.tx_dropped().unwrap() >= before + 90);
}

// The table of states, spec 2.2: down, up, deleted; short frames.

#[test]
fn a_tap_that_is_down_reads_nothing_and_refuses_every_write() {
    alone();
    let tap = Tap::open(&TapOptions { up: false, ..TapOptions::new("tap0") }).unwrap();
    assert_eq!(tap.read(&mut [0; 2000]), Err(IoFailure::WouldBlock));
    assert_eq!(write(&tap, 60), Err(IoFailure::Down));
    assert!(!is_ready(&tap, PollFlags::IN | PollFlags::OUT | PollFlags::ERR));
    tap.set_up(true).unwrap();
    assert_eq!(write(&tap, 60), Ok(72));
    assert!(is_ready(&tap, PollFlags::OUT));
}

#[test]
fn a_tap_that_is_deleted_is_gone_for_every_call() {
    alone();
    let tap = open("tap0").unwrap();
    run("ip", &["link", "delete", "tap0"]);
    assert_eq!(tap.read(&mut [0; 2000]), Err(IoFailure::Gone));
    assert_eq!(write(&tap, 60), Err(IoFailure::Gone));
    assert!(is_ready(&tap, PollFlags::ERR));
    assert_eq!(tap.is_up().unwrap_err().errno, libc::ENODEV);
    assert_eq!(tap.set_carrier(true).unwrap_err().errno, libc::EBADFD);
    assert_eq!(tap.tx_dropped().unwrap_err().errno, libc::ENODEV);
}

#[test]
fn a_deleted_tap_made_anew_is_attached_again_by_the_same_descriptor() {
    alone();
    let tap = open("tap0").unwrap();
    assert_eq!(tap.attach_again().unwrap_err().errno, libc::EEXIST);
    run("ip", &["link", "delete", "tap0"]);
    assert_eq!(tap.attach_again().unwrap_err().errno, libc::ENXIO);
    run("ip", &["link", "add", "tap0", "type", "bridge"]);
    assert_eq!(tap.attach_again().unwrap_err().errno, libc::EINVAL);
    run("ip", &["link", "delete", "tap0"]);
    run("ip", &["tuntap", "add", "tap0", "mode", "tap"]);
    let number = tap.as_fd().as_raw_fd();
    tap.attach_again().unwrap();
    assert_eq!(tap.as_fd().as_raw_fd(), number);
    tap.set_up(true).unwrap();
    assert_eq!(write(&tap, 60), Ok(72));
    drop(tap);
    // It was made by somebody else, who finds it as it was.
    assert!(!open_existing("tap0").is_up().unwrap());
}

#[test]
fn a_renamed_tap_is_still_ours_and_one_of_its_old_name_is_not() {
    alone();
    let tap = open("tap0").unwrap();
    run("ip", &["link", "set", "tap0", "down"]);
    run("ip", &["link", "set", "tap0", "name", "moved"]);
    run("ip", &["link", "add", "tap0", "type", "bridge"]);
    tap.set_mtu(1400).unwrap();
    assert_eq!(Netlink::open().unwrap().link("moved").unwrap().mtu, 1400);
    assert_eq!(Netlink::open().unwrap().link("tap0").unwrap().mtu, 1500);
}

#[test]
fn frames_shorter_than_an_ethernet_header_are_refused_and_long_ones_are_not() {
    alone();
    let tap = open("tap0").unwrap();
    assert_eq!(write(&tap, 13), Err(IoFailure::Refused));
    assert_eq!(write(&tap, 14), Ok(26));
    assert_eq!(write(&tap, 65_549), Ok(65_561));
    assert_eq!(tap.writev(&[IoSlice::new(&[0; 5])]), Err(IoFailure::Refused));
    // A header that lies: a checksum that starts past the end.
    let mut lie = [0; HEADER_LEN];
    (lie[0], lie[7]) = (1, 0xff);
    assert_eq!(tap.writev(&[IoSlice::new(&lie), IoSlice::new(&[0; 60])]), Err(IoFailure::Refused));
}

#[test]
fn the_mtu_is_bounded_by_the_host() {
    alone();
    let tap = open("tap0").unwrap();
    for mtu in [68, 65_521] {
        tap.set_mtu(mtu).unwrap();
        assert_eq!(tap.mtu().unwrap(), mtu);
    }
    for mtu in [67, 65_522, u32::MAX] {
        let error = tap.set_mtu(mtu).unwrap_err();
        assert_eq!((error.operation, error.errno), (Operation::SetMtu, libc::EINVAL), "{mtu}");
    }
}

// The table of attaching, spec 2.2, row by row.

#[test]
fn a_descriptor_that_is_not_attached_is_not_adopted() {
    alone();
    let error = Tap::adopt(raw_tap(None)).unwrap_err();
    assert_eq!((error.operation, error.errno), (Operation::Adopt, libc::EBADFD));
    assert!(error.hint.unwrap().contains("/dev/net/tun"));
    let null = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(Tap::adopt(null.into()).unwrap_err().errno, libc::ENOTTY);
    assert_eq!(Tap::inherited(-1).unwrap_err().errno, libc::EBADF);
}

#[test]
fn a_name_that_is_empty_or_a_template_is_filled_in() {
    alone();
    let (first, second) = (open("").unwrap(), open("").unwrap());
    assert_eq!((first.name(), second.name()), ("tap0", "tap1"));
    assert_eq!(open("foo%d").unwrap().name(), "foo0");
}

#[test]
fn a_busy_tap_names_its_holder() {
    alone();
    let _held = open("tap77").unwrap();
    let error = open("tap77").unwrap_err();
    assert_eq!((error.operation, error.errno), (Operation::Attach, libc::EBUSY));
    let pid = format!("pid {}", std::process::id());
    assert!(error.to_string().contains(&pid), "{error}");
    assert!(holders("tap77").iter().any(|holder| holder.pid == std::process::id()));
    assert!(holders("tap7").iter().all(|holder| holder.pid != std::process::id()));
}

#[test]
fn a_name_that_belongs_to_another_kind_of_interface_is_einval() {
    alone();
    let mut netlink = Netlink::open().unwrap();
    netlink.create_link("br0", "bridge").unwrap();
    netlink.create_pair("veth0", "veth1").unwrap();
    let tun = Tap::open(&TapOptions { layer: Layer::Ip, ..TapOptions::new("tun0") }).unwrap();
    let _tap = open("tap0").unwrap();
    for name in ["br0", "veth0", "lo", tun.name()] {
        let error = open(name).unwrap_err();
        assert_eq!((error.operation, error.errno), (Operation::Attach, libc::EINVAL), "{name}");
        assert!(error.hint.unwrap().contains("no tap"));
    }
    let error = Tap::open(&TapOptions { layer: Layer::Ip, ..TapOptions::new("tap0") }).unwrap_err();
    assert_eq!(error.errno, libc::EINVAL);
}

#[test]
fn a_malformed_name_is_einval_and_never_cut_short() {
    alone();
    for name in ["a/b", "a b", "..", ".", "seventeen-letters", "nul\0"] {
        let error = open(name).unwrap_err();
        assert_eq!(error.errno, libc::EINVAL, "{name}");
    }
    assert_eq!(Netlink::open().unwrap().links().unwrap().iter().filter(|link| link.tun.is_some()).count(), 0);
    assert_eq!(open("fifteen-letters").unwrap().name(), "fifteen-letters");
}

#[test]
fn one_that_may_not_be_made_is_enxio_and_says_how() {
    alone();
    for name in ["tap0", "", "tap%d"] {
        let error = Tap::open(&TapOptions { create: false, ..TapOptions::new(name) }).unwrap_err();
        assert_eq!(error.errno, libc::ENXIO, "{name}");
        assert!(error.hint.unwrap().contains("rump host tap create tap0 --owner 0 --up"));
    }
}

#[test]
fn a_tun_that_may_not_be_made_is_made_as_it_says() {
    alone();
    let options = TapOptions { layer: Layer::Ip, create: false, ..TapOptions::new("tun0") };
    let hint = Tap::open(&options).unwrap_err().hint.unwrap();
    run("sh", &["-c", hint.strip_suffix(" (as root)").unwrap()]);
    assert_eq!(Tap::open(&options).unwrap().layer(), Layer::Ip);
}

#[test]
fn a_queue_of_a_multi_queue_tap_is_attached_as_one() {
    alone();
    run("ip", &["tuntap", "add", "dev", "tap0", "mode", "tap", "multi_queue"]);
    let (first, second) = (open("tap0").unwrap(), open("tap0").unwrap());
    assert!(first.is_multi_queue() && second.is_multi_queue() && second.granted().tso4);
    assert!(!open("tap1").unwrap().is_multi_queue());
    let link = || Netlink::open().unwrap().link("tap0").unwrap();
    assert_eq!(link().tun.unwrap().queues, 2);
    // The one who leaves first takes nothing from the other.
    drop(first);
    assert!(link().is_up);
    assert_eq!(write(&second, 60), Ok(72));
    let fd = second.into_fd();
    assert_eq!(world::header_len(&fd), 12);
    // A program that another test starts in this moment has a copy of the first one's descriptor until it runs.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while link().tun.unwrap().queues != 1 {
        assert!(std::time::Instant::now() < end, "the queue of the one who left is still there");
        std::thread::yield_now();
    }
}

#[test]
fn an_ordinary_user_gets_only_what_is_his_or_nobodys() {
    alone();
    own_nodes();
    node("666");
    run("ip", &["tuntap", "add", "dev", "his", "mode", "tap", "user", &USER.to_string()]);
    run("ip", &["tuntap", "add", "dev", "roots", "mode", "tap", "user", "0"]);
    run("ip", &["tuntap", "add", "dev", "nobodys", "mode", "tap"]);
    run("ip", &["link", "set", "his", "up"]);
    run("ip", &["link", "set", "nobodys", "up"]);
    without_privilege();
    for name in ["his", "nobodys"] {
        let tap = open(name).unwrap();
        assert!(tap.granted().tso4 && tap.existed_before(), "{name}");
        let error = tap.set_mtu(9000).unwrap_err();
        assert_eq!((error.operation, error.errno), (Operation::SetMtu, libc::EPERM));
    }
    for name in ["roots", "absent"] {
        let error = open(name).unwrap_err();
        assert_eq!((error.operation, error.errno), (Operation::Attach, libc::EPERM), "{name}");
        assert!(error.hint.unwrap().contains(&format!("rump host tap create {name} --owner {USER} --up")));
    }
}

#[test]
fn a_tap_that_is_down_and_may_not_be_raised_says_who_can() {
    alone();
    own_nodes();
    node("666");
    run("ip", &["tuntap", "add", "dev", "his", "mode", "tap", "user", &USER.to_string()]);
    without_privilege();
    let error = open("his").unwrap_err();
    assert_eq!((error.operation, error.errno), (Operation::SetUp, libc::EPERM));
    assert!(error.hint.unwrap().contains("ip link set his up"));
}

#[test]
fn a_node_that_is_missing_or_closed_to_us_says_what_helps() {
    alone();
    own_nodes();
    let error = open("tap0").unwrap_err();
    assert_eq!((error.operation, error.errno), (Operation::OpenNode, libc::ENOENT));
    assert!(error.hint.unwrap().contains("modprobe tun"));
    node("600");
    without_privilege();
    let error = open("tap0").unwrap_err();
    assert_eq!((error.operation, error.errno), (Operation::OpenNode, libc::EACCES));
    assert!(error.hint.unwrap().contains("chmod 666 /dev/net/tun"));
}

#[test]
fn an_inherited_tap_is_known_by_its_descriptor() {
    alone();
    let fd = raw_tap(Some(("tap4", libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR)));
    let tap = Tap::adopt(dup(&fd).unwrap()).unwrap();
    assert_eq!((tap.name(), tap.layer(), tap.framing()), ("tap4", Layer::Ethernet, Framing::Twelve));
    assert!(tap.granted().tso4 && tap.existed_before());
    assert_eq!(tap.read(&mut [0; 2000]), Err(IoFailure::WouldBlock));
    let device = FrameDevice::from(tap);
    device.set_up(true).unwrap();
    frames::address(&device);
    frames::assert_that_the_host_takes_a_super_frame(&device);
    drop(device);
    let link = Netlink::open().unwrap().link("tap4").unwrap();
    assert!(!link.is_up);
}

#[test]
fn a_tap_of_another_network_is_reached_there_and_not_mistaken_for_a_namesake() {
    alone();
    let fd = raw_tap(Some(("tap4", libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR)));
    let there = Control::open().unwrap();
    alone();
    let _namesake = open("tap4").unwrap();
    let tap = Tap::adopt(dup(&fd).unwrap()).unwrap();
    assert!(tap.is_elsewhere());
    assert_eq!(tap.tx_dropped().unwrap_err().errno, libc::ENODEV);
    tap.set_mtu(1234).unwrap();
    tap.set_up(true).unwrap();
    assert_eq!((there.mtu("tap4").unwrap(), there.is_up("tap4").unwrap()), (1234, true));
    assert_eq!(Control::open().unwrap().mtu("tap4").unwrap(), 1500);
    drop(tap);
    assert_eq!((there.mtu("tap4").unwrap(), there.is_up("tap4").unwrap()), (1500, false));
    without_privilege();
    let tap = Tap::adopt(fd).unwrap();
    assert!(tap.is_elsewhere());
    let error = tap.mtu().unwrap_err();
    assert_eq!((error.operation, error.errno), (Operation::Find, libc::ENODEV));
    assert!(error.hint.unwrap().contains("network namespace"));
    assert_eq!(tap.read(&mut [0; 2000]), Err(IoFailure::WouldBlock));
}

#[test]
fn a_tap_of_our_own_network_is_known_as_such_without_privilege() {
    alone();
    let fd = raw_tap(Some(("tap4", libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR)));
    without_privilege();
    let tap = Tap::adopt(fd).unwrap();
    assert!(!tap.is_elsewhere() && tap.granted().tso4);
    assert_eq!(tap.mtu().unwrap(), 1500);
}

#[test]
fn an_inherited_tap_without_a_header_looks_as_if_it_had_one() {
    alone();
    let tap = Tap::adopt(raw_tap(Some(("tap4", libc::IFF_TAP | libc::IFF_NO_PI)))).unwrap();
    assert_eq!((tap.framing(), tap.granted()), (Framing::Bare, Granted::default()));
    let device = FrameDevice::from(tap);
    device.set_up(true).unwrap();
    frames::address(&device);
    frames::assert_that_a_plain_frame_passes_in_either_direction(&device);
}

#[test]
fn an_inherited_tap_with_packet_information_is_refused() {
    alone();
    let error = Tap::adopt(raw_tap(Some(("tap4", libc::IFF_TAP)))).unwrap_err();
    assert_eq!(
        (error.operation, error.errno, error.object.as_str()),
        (Operation::Adopt, libc::EINVAL, "tap4")
    );
    assert!(error.hint.unwrap().contains("IFF_NO_PI"));
}
