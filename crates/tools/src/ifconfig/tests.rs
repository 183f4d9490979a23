//! ifconfig as a whole, with a scripted kernel; the refusals are those of NetBSD's transcripts.

use rumpnet_proto::{
    AddressChange, BusReport, Capabilities, ControlError, CreateOptions, Errno, Media, Operation,
};
use serde_json::json;

use super::*;
use crate::scripted::{Said, Script, address, lo0, virt0};

type Answer = Result<Reply, ControlError>;

const DONE: Answer = Ok(Reply::Done);

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[track_caller]
fn said(line: &str, calls: impl IntoIterator<Item = (Request, Answer)>) -> Said {
    Script::new(calls).said(&words(line))
}

/// What a line says that succeeds.
#[track_caller]
fn shown(line: &str, calls: impl IntoIterator<Item = (Request, Answer)>) -> String {
    let said = said(line, calls);
    assert_eq!((said.status, said.err.as_str()), (Status::SUCCESS, ""), "{line}");
    said.out
}

/// The first line of the complaint of a line that fails.
#[track_caller]
fn refused(line: &str, calls: impl IntoIterator<Item = (Request, Answer)>) -> String {
    let said = said(line, calls);
    assert_eq!((said.status, said.out.as_str()), (Status::FAILURE, ""), "{line}");
    said.err.lines().next().expect("a complaint").to_owned()
}

fn page(interfaces: Vec<InterfaceReport>, next: Option<u32>) -> Answer {
    Ok(Reply::Interfaces { interfaces, next })
}

fn dump(from: u32) -> Request {
    Request::Interfaces { from, reset: false }
}

fn all() -> [(Request, Answer); 1] {
    [(dump(0), page(vec![lo0(), virt0()], None))]
}

fn ask_virt0() -> (Request, Answer) {
    (Request::Interface { name: "virt0".into(), reset: false }, page(vec![virt0()], None))
}

fn refusal(operation: Operation, errno: Errno) -> Answer {
    Err(ControlError::new(operation, "virt0", errno))
}

fn create(options: CreateOptions) -> Request {
    Request::CreateInterface { name: "virt0".into(), options }
}

fn add(text: &str, prefix_len: Option<u8>) -> AddressChange {
    AddressChange { address: text.parse().unwrap(), prefix_len, broadcast: None, peer: None, alias: false }
}

fn add_to(name: &str, change: AddressChange) -> Request {
    Request::AddAddress { name: name.into(), change }
}

fn flags(set: InterfaceFlags, clear: InterfaceFlags) -> Request {
    Request::SetFlags { name: "virt0".into(), set, clear }
}

#[test]
fn all_interfaces_are_shown_page_after_page() {
    let pages = || [(dump(0), page(vec![lo0()], Some(2))), (dump(2), page(vec![virt0()], None))];
    let text = shown("ifconfig", pages());
    assert!(text.starts_with("lo0: flags=0x8049<") && text.contains("\nvirt0: flags=0x8843<"), "{text}");
    assert_eq!(shown("ifconfig -a", pages()), text);
    assert_eq!(shown("ifconfig -l", pages()), "lo0 virt0\n");
}

#[test]
fn a_cursor_that_stands_still_ends_the_dump() {
    assert_eq!(shown("ifconfig -l", [(dump(0), page(vec![lo0()], Some(0)))]), "lo0\n");
}

#[test]
fn names_are_filtered_by_what_the_interfaces_are() {
    let mut down = virt0();
    down.flags -= InterfaceFlags::UP;
    down.link_state = LinkState::Down;
    for (options, names) in
        [("-lu", "lo0"), ("-ld", "virt0"), ("-lb", "virt0"), ("-l -s", "lo0"), ("-l -u -b", "")]
    {
        let calls = [(dump(0), page(vec![lo0(), down.clone()], None))];
        assert_eq!(shown(&format!("ifconfig {options}"), calls), format!("{names}\n"), "{options}");
    }
    let calls = [(dump(0), page(vec![lo0(), down], None))];
    assert!(!shown("ifconfig -au", calls).contains("virt0"));
}

#[test]
fn a_family_after_all_limits_what_is_shown() {
    assert!(!shown("ifconfig -a inet6", all()).contains("inet "));
    assert!(refused("ifconfig -a bogus", []).contains("bogus"));
}

#[test]
fn cloners_are_named_on_one_line() {
    let names = ["bus", "virt", "lo"].map(String::from).to_vec();
    assert_eq!(shown("ifconfig -C", [(Request::Cloners, Ok(Reply::Names(names)))]), "bus virt lo\n");
}

#[test]
fn options_that_exclude_each_other_are_a_usage_error() {
    for options in
        ["-l -C", "-l -a", "-C -w 1", "-l -w 1", "-l -v", "-l -m", "-C -z", "-w 1 -a", "-l -L", "-W 3"]
    {
        let said = said(&format!("ifconfig {options}"), []);
        assert_eq!(said.status, Status::FAILURE, "{options}");
        assert!(said.err.contains("Usage: ifconfig"), "{options}: {}", said.err);
    }
    for options in ["-u", "-d", "-b", "-Z", "-l virt0", "-C virt0", "-w 1 virt0"] {
        let said = said(&format!("ifconfig {options}"), []);
        assert_eq!((said.status, said.out.as_str()), (Status::FAILURE, ""), "{options}");
        assert!(said.err.contains("Usage: ifconfig"), "{options}: {}", said.err);
    }
}

#[test]
fn one_interface_is_shown_and_an_unknown_one_is_named() {
    let text = shown("ifconfig virt0", [ask_virt0()]);
    assert!(
        text.starts_with("virt0: flags=0x8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500\n"),
        "{text}"
    );
    assert!(!text.contains("input:"));
    assert!(shown("ifconfig -v virt0", [ask_virt0()]).contains("\tinput: 0 packets, 0 bytes\n"));
    assert!(!shown("ifconfig virt0 inet6", [ask_virt0()]).contains("inet "));
    let absent = Request::Interface { name: "virt9".into(), reset: false };
    let error = Err(ControlError::new(Operation::InterfaceStatus, "virt9", Errno::Nxio));
    let expected = "ifconfig: SIOCGIFFLAGS virt9: Device not configured";
    assert_eq!(refused("ifconfig virt9", [(absent, error)]), expected);
}

#[test]
fn counters_are_shown_and_zeroed_with_z() {
    let reset = (Request::Interface { name: "virt0".into(), reset: true }, page(vec![virt0()], None));
    assert!(shown("ifconfig -z virt0", [reset]).contains("\tinput: 0 packets"));
    let reset = (Request::Interfaces { from: 0, reset: true }, page(vec![lo0()], None));
    assert!(shown("ifconfig -az", [reset]).contains("\toutput: 0 packets"));
}

#[test]
fn s_tells_by_its_exit_status_alone_whether_the_link_is_there() {
    for (state, status) in [
        (LinkState::Up, Status::SUCCESS),
        (LinkState::Unknown, Status::SUCCESS),
        (LinkState::Down, Status::FAILURE),
    ] {
        let mut report = virt0();
        report.link_state = state;
        let call = (Request::Interface { name: "virt0".into(), reset: false }, page(vec![report], None));
        let said = said("ifconfig -s virt0", [call]);
        assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (status, "", ""), "{state:?}");
    }
}

#[test]
fn without_media_and_names_their_options_change_nothing() {
    let plain = shown("ifconfig virt0", [ask_virt0()]);
    for option in ["-m", "-N", "-n", "-L"] {
        assert_eq!(shown(&format!("ifconfig {option} virt0"), [ask_virt0()]), plain, "{option}");
    }
}

#[test]
fn a_is_accepted_with_a_warning() {
    let said = said("ifconfig -A -l", all());
    assert_eq!((said.out.as_str(), said.err.as_str()), ("lo0 virt0\n", "ifconfig: -A is deprecated\n"));
}

#[test]
fn interfaces_are_created_and_destroyed() {
    assert_eq!(shown("ifconfig virt0 create", [(create(CreateOptions::default()), DONE)]), "");
    let up = flags(InterfaceFlags::UP, InterfaceFlags::empty());
    assert_eq!(shown("ifconfig virt0 create up", [(create(CreateOptions::default()), DONE), (up, DONE)]), "");
    let destroy = Request::DestroyInterface { name: "virt0".into() };
    assert_eq!(shown("ifconfig virt0 destroy", [(destroy, DONE)]), "");
}

#[test]
fn what_follows_a_birth_means_the_interface_by_its_canonical_name() {
    let create = Request::CreateInterface { name: "virt00".into(), options: CreateOptions::default() };
    let address = add_to("virt0", add("10.0.0.2", Some(24)));
    assert_eq!(shown("ifconfig virt00 create 10.0.0.2/24", [(create, DONE), (address, DONE)]), "");
}

#[test]
fn refused_births_and_deaths_are_one_line_each() {
    let create = || create(CreateOptions::default());
    for (errno, text) in [
        (Errno::Exist, "File exists"),
        (Errno::Inval, "Invalid argument"),
        (Errno::Perm, "Operation not permitted"),
        (Errno::NoEnt, "No such file or directory"),
        (Errno::MFile, "Too many open files"),
    ] {
        let line = refused("ifconfig virt0 create", [(create(), refusal(Operation::CreateInterface, errno))]);
        assert_eq!(line, format!("ifconfig: SIOCIFCREATE: {text}"));
    }
    let busy = ControlError::new(Operation::CreateInterface, "virt0", Errno::Busy);
    let busy = Err(busy.with_hint("tap0 is held by process 7 (rump)"));
    let line = refused("ifconfig virt0 create", [(create(), busy)]);
    assert_eq!(line, "ifconfig: SIOCIFCREATE: Device busy (tap0 is held by process 7 (rump))");
    let destroy = Request::DestroyInterface { name: "virt0".into() };
    let line =
        refused("ifconfig virt0 destroy", [(destroy, refusal(Operation::DestroyInterface, Errno::Nxio))]);
    assert_eq!(line, "ifconfig: SIOCIFDESTROY: Device not configured");
}

#[test]
fn a_mistake_anywhere_asks_nothing_of_the_kernel() {
    for line in [
        "ifconfig virt0 create bogusverb",
        "ifconfig virt0 up mtu abc",
        "ifconfig virt0 mtu 1400 inet 300.1.2.3",
        "ifconfig virt0 down destroy",
        "ifconfig virt0 up linkstr",
        "ifconfig virt0 up 10.0.0.2/33",
        "ifconfig virt0 up 10.0.0.2 netmask 255.0.255.0",
        "ifconfig averyveryverylongname0 create",
    ] {
        assert!(refused(line, []).starts_with("ifconfig: "), "{line}");
    }
}

#[test]
fn an_address_is_added_with_its_mask() {
    let request = add_to("virt0", add("10.0.0.2", Some(24)));
    assert_eq!(shown("ifconfig virt0 inet 10.0.0.2/24", [(request.clone(), DONE)]), "");
    let up = flags(InterfaceFlags::UP, InterfaceFlags::empty());
    let calls = [(up, DONE), (request, DONE)];
    assert_eq!(shown("ifconfig virt0 inet 10.0.0.2 netmask 255.255.255.0 up", calls), "", "flags come first");
    let alias = AddressChange { alias: true, ..add("10.0.0.3", Some(32)) };
    let calls = [(add_to("virt0", alias), DONE)];
    assert_eq!(shown("ifconfig virt0 inet 10.0.0.3 netmask 255.255.255.255 alias", calls), "");
}

#[test]
fn without_a_mask_it_says_which_one_was_taken() {
    let mut taken = virt0();
    taken.addresses = vec![address("10.0.0.9", 8, Some("10.255.255.255"))];
    let calls = || {
        let ask = Request::Interface { name: "virt0".into(), reset: false };
        [(add_to("virt0", add("10.0.0.9", None)), DONE), (ask, page(vec![taken.clone()], None))]
    };
    let note = "10.0.0.9: no mask given, took that of its class: 255.0.0.0 (/8)";
    let said = Script::new(calls()).said(&words("ifconfig virt0 10.0.0.9"));
    assert_eq!((said.status, said.err), (Status::SUCCESS, format!("ifconfig: {note}\n")));
    let report = Script::new(calls()).said(&words("ifconfig --json virt0 10.0.0.9")).json();
    assert_eq!(report["notes"], json!([note]));
}

#[test]
fn the_second_address_is_a_mask_on_a_broadcast_link_and_the_far_end_elsewhere() {
    let broadcast = Some("10.0.0.127".parse().unwrap());
    let change = AddressChange { broadcast, ..add("10.0.0.2", Some(24)) };
    let calls = [ask_virt0(), (add_to("virt0", change.clone()), DONE)];
    assert_eq!(shown("ifconfig virt0 10.0.0.2 255.255.255.0 10.0.0.127", calls), "");
    let calls = [ask_virt0(), (add_to("virt0", change), DONE)];
    assert_eq!(shown("ifconfig virt0 10.0.0.2/24 broadcast 10.0.0.127", calls), "");
    let peer = Some("10.0.0.1".parse().unwrap());
    let change = AddressChange { peer, ..add("10.0.0.2", Some(32)) };
    let ask = || (Request::Interface { name: "tun0".into(), reset: false }, page(vec![lo0()], None));
    let calls = [ask(), (add_to("tun0", change), DONE)];
    assert_eq!(shown("ifconfig tun0 10.0.0.2/32 10.0.0.1", calls), "");
    let line = refused("ifconfig tun0 10.0.0.2/24 broadcast 10.0.0.255", [ask()]);
    assert_eq!(line, "ifconfig: not a broadcast interface");
    assert!(refused("ifconfig virt0 10.0.0.2 255.0.255.0", [ask_virt0()]).contains("holes"));
    assert!(refused("ifconfig virt0 10.0.0.2/24 255.255.0.0", [ask_virt0()]).contains("another length"));
}

#[test]
fn addresses_are_deleted_and_absent_ones_are_refused_as_netbsd_does() {
    let delete = |address: Option<&str>| Request::DeleteAddress {
        name: "virt0".into(),
        address: address.map(|a| a.parse().unwrap()),
    };
    assert_eq!(shown("ifconfig virt0 inet 10.0.0.4 -alias", [(delete(Some("10.0.0.4")), DONE)]), "");
    let gone = refusal(Operation::DeleteAddress, Errno::AddrNotAvail);
    let line = refused("ifconfig virt0 inet 9.9.9.9 delete", [(delete(Some("9.9.9.9")), gone)]);
    assert_eq!(line, "ifconfig: SIOCDIFADDR: Can't assign requested address");
    let none = refusal(Operation::PrimaryAddress, Errno::AddrNotAvail);
    let line = refused("ifconfig virt0 inet delete", [(delete(None), none)]);
    assert_eq!(line, "ifconfig: SIOCGIFADDR: Can't assign requested address");
}

#[test]
fn link_addresses_are_added_made_active_and_deleted() {
    let (name, address) = ("virt0".to_owned(), "02:00:00:00:00:99".parse().unwrap());
    let request = |active| Request::AddLinkAddress { name: name.clone(), address, active };
    assert_eq!(shown("ifconfig virt0 link 02:00:00:00:00:99", [(request(false), DONE)]), "");
    assert_eq!(shown("ifconfig virt0 link 02:00:00:00:00:99 active", [(request(true), DONE)]), "");
    let delete = Request::DeleteLinkAddress { name: name.clone(), address };
    let busy = refusal(Operation::DeleteLinkAddress, Errno::Busy);
    let line = refused("ifconfig virt0 link 02:00:00:00:00:99 delete", [(delete, busy)]);
    assert_eq!(line, "ifconfig: SIOCDLIFADDR: Device busy");
    let options = CreateOptions { link_address: Some(address), host_end: Some("tap7".into()) };
    let line = "ifconfig virt0 create hostend tap7 link 02:00:00:00:00:99 active";
    assert_eq!(shown(line, [(create(options), DONE)]), "");
}

#[test]
fn flags_mtu_metric_and_capabilities_reach_the_kernel() {
    let none = InterfaceFlags::empty();
    let name = || "virt0".to_owned();
    let calls = [
        (flags(InterfaceFlags::NOARP, none), DONE),
        (Request::SetMtu { name: name(), mtu: 1400 }, DONE),
        (Request::SetMetric { name: name(), metric: 3 }, DONE),
        (flags(none, InterfaceFlags::UP), DONE),
        (
            Request::SetCapabilities {
                name: name(),
                enable: Capabilities::TSO4,
                disable: Capabilities::IP4CSUM_RX | Capabilities::IP4CSUM_TX,
            },
            DONE,
        ),
    ];
    assert_eq!(shown("ifconfig virt0 tso4 -arp mtu 1400 metric 3 -ip4csum down", calls), "");
}

#[test]
fn a_refused_mtu_metric_or_capability_is_an_error_and_stops_what_follows() {
    let mtu = |mtu| Request::SetMtu { name: "virt0".into(), mtu };
    for (word, number) in [("0", 0), ("67", 67), ("65522", 65_522), ("65536", 65_536), ("-1", u32::MAX)] {
        let call = (mtu(number), refusal(Operation::SetMtu, Errno::Inval));
        let line = refused(&format!("ifconfig virt0 mtu {word} up"), [call]);
        assert_eq!(line, "ifconfig: SIOCSIFMTU: Invalid argument", "{word}");
    }
    let metric = Request::SetMetric { name: "virt0".into(), metric: 1 };
    let line = refused("ifconfig virt0 metric 1", [(metric, refusal(Operation::SetMetric, Errno::Perm))]);
    assert_eq!(line, "ifconfig: SIOCSIFMETRIC: Operation not permitted");
    let (enable, disable) = (Capabilities::TSO4, Capabilities::empty());
    let request = Request::SetCapabilities { name: "virt0".into(), enable, disable };
    let call = (request, refusal(Operation::SetCapabilities, Errno::Inval));
    assert_eq!(refused("ifconfig virt0 tso4", [call]), "ifconfig: SIOCSIFCAP: Invalid argument");
    let up = flags(InterfaceFlags::UP, InterfaceFlags::empty());
    let line = refused("ifconfig virt0 up", [(up, refusal(Operation::SetFlags, Errno::Nxio))]);
    assert_eq!(line, "ifconfig: SIOCSIFFLAGS virt0: Device not configured");
}

#[test]
fn what_no_interface_has_is_refused_before_anything_is_done() {
    for (line, text) in [
        ("ifconfig virt0 up media autoselect", "SIOCGIFMEDIA: Inappropriate ioctl for device"),
        ("ifconfig virt0 up linkstr foo", "SIOCSLINKSTR: Inappropriate ioctl for device"),
        ("ifconfig virt0 -linkstr", "SIOCSLINKSTR: Inappropriate ioctl for device"),
        ("ifconfig virt0 mediaopt full-duplex", "SIOCGIFMEDIA: Inappropriate ioctl for device"),
        ("ifconfig virt0 vlan 3 vlanif virt1", "valid only with vlan(4) interfaces"),
        ("ifconfig virt0 ssid x", "SIOCS80211NWID: Inappropriate ioctl for device"),
        ("ifconfig virt0 tunnel 1.1.1.1 2.2.2.2", "SIOCSLIFPHYADDR: Inappropriate ioctl for device"),
    ] {
        assert_eq!(refused(line, [ask_virt0()]), format!("ifconfig: {text}"), "{line}");
    }
    assert!(refused("ifconfig virt0 create media autoselect", []).contains("SIOCGIFMEDIA"));
}

fn bus0(link_string: Option<&str>, media: Media) -> Answer {
    let bus = Some(BusReport { link_string: link_string.map(String::from), media });
    let name = "bus0".parse().unwrap();
    let link_state = if media == Media::None { LinkState::Down } else { LinkState::Up };
    page(
        vec![InterfaceReport { name, bus, link_state, host_end: None, host_drops: Some(1), ..virt0() }],
        None,
    )
}

fn ask_bus0() -> Request {
    Request::Interface { name: "bus0".into(), reset: false }
}

fn set_link_string(string: Option<&str>) -> Request {
    Request::SetLinkString { name: "bus0".into(), string: string.map(String::from) }
}

#[test]
fn a_bus_is_joined_before_the_address_and_left_again() {
    let name = || "bus0".into();
    let change = AddressChange {
        address: [10, 0, 0, 1].into(),
        prefix_len: Some(24),
        broadcast: None,
        peer: None,
        alias: false,
    };
    let calls = [
        (Request::CreateInterface { name: name(), options: CreateOptions::default() }, DONE),
        (set_link_string(Some("mem:lan")), DONE),
        (Request::SetMedia { name: name(), media: Media::None }, DONE),
        (Request::AddAddress { name: name(), change }, DONE),
    ];
    assert_eq!(shown("ifconfig bus0 create 10.0.0.1/24 media none linkstr mem:lan", calls), "");
    let calls = [(ask_bus0(), bus0(Some("mem:lan"), Media::Auto)), (set_link_string(None), DONE)];
    assert_eq!(shown("ifconfig bus0 -linkstr", calls), "");
    let refused_while_up = refusal(Operation::LinkString, Errno::Busy);
    let calls = [(ask_bus0(), bus0(None, Media::Auto)), (set_link_string(Some("/x")), refused_while_up)];
    assert_eq!(refused("ifconfig bus0 linkstr /x", calls), "ifconfig: SIOCSLINKSTR: Device busy");
    assert!(refused("ifconfig bus0 media 10baseT", []).contains("unknown Ethernet media subtype: 10baseT"));
}

#[test]
fn a_bus_shows_its_string_its_media_and_what_was_overrun() {
    let text = shown("ifconfig -v bus0", [(ask_bus0(), bus0(Some("/tmp/lan"), Media::Auto))]);
    assert!(text.contains("\tlinkstr: /tmp/lan\n\tmedia: Ethernet autoselect\n\tstatus: active\n"), "{text}");
    assert!(text.contains("\tbus: 1 packet overrun\n"), "{text}");
    let text = shown("ifconfig -m bus0", [(ask_bus0(), bus0(None, Media::None))]);
    assert!(
        text.contains("\tmedia: Ethernet none\n\tstatus: no carrier\n\tsupported Ethernet media:"),
        "{text}"
    );
    assert!(!text.contains("linkstr") && !text.contains("overrun"), "{text}");
    let json = said("ifconfig --json bus0", [(ask_bus0(), bus0(Some("mem:x"), Media::Auto))]).json();
    assert_eq!(json["interfaces"][0]["bus"], serde_json::json!({ "link_string": "mem:x", "media": "auto" }));
}

#[test]
fn trailers_are_noted_and_ignored() {
    let said = said("ifconfig virt0 trailers", []);
    let note = "ifconfig: Note: trailers are no longer sent, but always received\n";
    assert_eq!((said.status, said.err.as_str()), (Status::SUCCESS, note));
}

fn with_flags(flags: AddressFlags) -> Answer {
    let mut report = virt0();
    report.addresses[0].flags = flags;
    page(vec![report], None)
}

#[test]
fn waiting_ends_when_no_address_is_tentative() {
    let calls = [
        (dump(0), with_flags(AddressFlags::TENTATIVE)),
        (dump(0), with_flags(AddressFlags::TENTATIVE)),
        (dump(0), with_flags(AddressFlags::DETACHED)),
    ];
    let script = Script::new(calls);
    let said = script.said(&words("ifconfig -w 0"));
    assert_eq!((said.status, said.err.as_str()), (Status::SUCCESS, ""));
    assert_eq!(script.now(), POLL * 2);
}

#[test]
fn waiting_has_an_end_and_says_so() {
    let calls = (0..101).map(|_| (dump(0), with_flags(AddressFlags::TENTATIVE)));
    assert_eq!(refused("ifconfig -w 1", calls), "ifconfig: timed out");
    assert_eq!(refused("ifconfig -w soon", []), "ifconfig: soon: not a number");
    assert_eq!(refused("ifconfig -w 1 -W -3", []), "ifconfig: -3: not a number");
}

#[test]
fn detached_addresses_are_given_their_time_too() {
    let calls = (0..101).map(|_| (dump(0), with_flags(AddressFlags::DETACHED)));
    let script = Script::new(calls);
    assert_eq!(script.said(&words("ifconfig -w 5 -W 1")).status, Status::SUCCESS);
    assert_eq!(script.now(), Duration::from_secs(1));
}

#[test]
fn an_interrupt_ends_the_waiting() {
    let script = Script::new([(dump(0), with_flags(AddressFlags::TENTATIVE))]);
    script.interrupted_at.set(Some(Duration::ZERO));
    assert_eq!(script.said(&words("ifconfig -w 0")).status, Status::FAILURE);
}

#[test]
fn the_json_has_what_the_guide_says() {
    let mut report = virt0();
    report.counters.input_packets = 12;
    report.drops = vec![(rumpnet_proto::DropReason::LinkRunt, 2)];
    let call = (Request::Interface { name: "virt0".into(), reset: false }, page(vec![report], None));
    let report = said("ifconfig --json -v virt0", [call]).json();
    assert_eq!(report.pointer("/interfaces/0/input/packets"), Some(&json!(12)));
    let interface = &report["interfaces"][0];
    assert_eq!(interface["flags"], json!(["UP", "BROADCAST", "RUNNING", "SIMPLEX", "MULTICAST"]));
    assert_eq!((&interface["flags_value"], &interface["mtu_bytes"]), (&json!(0x8843), &json!(1500)));
    assert_eq!(interface["link_address"], json!("b2:0a:5c:7d:01:9e"));
    let address = json!({
        "family": "inet", "address": "10.0.0.2", "prefix_bits": 24, "broadcast": "10.0.0.255", "peer": null,
        "flags_value": 0, "flags": [],
    });
    assert_eq!(interface["addresses"], json!([address]));
    let drops = json!([{"reason": "LinkRunt", "text": "frame shorter than its link header", "packets": 2}]);
    assert_eq!(interface["drops"], drops);
}

#[test]
fn errors_are_json_with_operation_object_and_errno() {
    let absent = Request::Interface { name: "virt0".into(), reset: false };
    let report =
        said("ifconfig --json virt0", [(absent, refusal(Operation::InterfaceStatus, Errno::Nxio))]).json();
    let error = json!({
        "message": "Device not configured", "operation": "SIOCGIFFLAGS", "object": "virt0", "errno": "ENXIO",
        "hint": null,
    });
    assert_eq!(report["error"], error);
}

#[test]
fn a_closed_reader_ends_it_without_a_word() {
    let script = Script::new(all());
    script.closed.set(true);
    let said = script.said(&words("ifconfig -a"));
    assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (Status::FAILURE, "", ""));
}
