//! Words to plans.

use super::*;

#[track_caller]
fn plan(words: &str) -> Plan {
    parse(&words.split_whitespace().collect::<Vec<_>>())
        .unwrap_or_else(|failure| panic!("{words}: {failure:?}"))
}

#[track_caller]
fn refusal(words: &str) -> String {
    match parse(&words.split_whitespace().collect::<Vec<_>>()) {
        Err(Failure::Usage { message, .. } | Failure::Refused(message)) => message,
        other => panic!("{words}: {other:?}"),
    }
}

fn added(words: &str) -> Addition {
    match plan(words).address {
        Some(AddressStep::Add(addition)) => addition,
        other => panic!("{words}: {other:?}"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn nothing_or_a_family_alone_is_a_question() {
    assert!(plan("").is_empty());
    assert!(plan("inet").is_empty());
    assert_eq!(plan("inet").family, Some(Family::Inet));
    assert!(!plan("up").is_empty());
    assert!(!plan("trailers").is_empty());
}

#[test]
fn an_address_may_carry_its_mask_in_any_form() {
    let plain = Addition {
        address: ip("10.0.0.2"),
        prefix_len: Some(24),
        mask_or_peer: None,
        broadcast: None,
        alias: false,
    };
    for words in [
        "10.0.0.2/24",
        "inet 10.0.0.2/24",
        "inet 10.0.0.2 netmask 255.255.255.0",
        "netmask 0xffffff00 10.0.0.2",
        "10.0.0.2 prefixlen 24",
        "10.0.0.2/24 netmask 255.255.255.0",
    ] {
        assert_eq!(added(words), plain, "{words}");
    }
    assert_eq!(added("10.0.0.2"), Addition { prefix_len: None, ..plain.clone() });
    assert_eq!(added("inet 10.0.0.2/24 alias"), Addition { alias: true, ..plain });
}

#[test]
fn three_addresses_are_address_mask_or_peer_and_broadcast() {
    let addition = added("10.0.0.2 255.255.255.0 10.0.0.127");
    assert_eq!((addition.address, addition.mask_or_peer), (ip("10.0.0.2"), Some(ip("255.255.255.0"))));
    assert_eq!(addition.broadcast, Some(ip("10.0.0.127")));
    assert_eq!(added("10.0.0.2 0xffff0000").mask_or_peer, Some(ip("255.255.0.0")));
    assert_eq!(added("10.0.0.2/24 broadcast 10.0.0.127").broadcast, Some(ip("10.0.0.127")));
    assert!(refusal("10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5").contains("10.0.0.5"));
}

#[test]
fn an_address_is_deleted_by_either_word_and_the_first_without_one() {
    for words in ["inet 10.0.0.4 -alias", "10.0.0.4 delete", "delete 10.0.0.4", "10.0.0.4/24 -alias"] {
        assert_eq!(plan(words).address, Some(AddressStep::Delete(Some(ip("10.0.0.4")))), "{words}");
    }
    assert_eq!(plan("inet delete").address, Some(AddressStep::Delete(None)));
    assert_eq!(plan("-alias").address, Some(AddressStep::Delete(None)));
}

#[test]
fn link_addresses_are_added_used_and_deleted() {
    let address = "02:00:00:00:00:99".parse().unwrap();
    let words = "link 02:00:00:00:00:99";
    assert_eq!(plan(words).address, Some(AddressStep::AddLink { address, active: false }));
    let active = plan(&format!("{words} active"));
    assert_eq!(active.address, Some(AddressStep::AddLink { address, active: true }));
    let delete = plan(&format!("{words} delete"));
    assert_eq!(delete.address, Some(AddressStep::DeleteLink(address)));
    assert!(refusal("link active").contains("missing"));
    assert!(refusal("link 02:00:00:00:00:99 netmask 255.0.0.0").contains("without mask"));
    assert!(refusal("link 10.0.0.2").contains("10.0.0.2"));
}

#[test]
fn a_birth_takes_the_link_address_and_the_hosts_end_with_it() {
    let plan = plan("create hostend tap7 link 02:00:00:00:00:99 active mtu 1400");
    let options = CreateOptions {
        link_address: Some("02:00:00:00:00:99".parse().unwrap()),
        host_end: Some("tap7".into()),
    };
    assert_eq!((plan.create, plan.address, plan.steps), (Some(options), None, vec![Step::Mtu(1400)]));
    assert!(refusal("hostend tap7").contains("only with create"));
}

#[test]
fn flags_mtu_and_metric_keep_the_order_of_the_words() {
    let flag = |flag, set| Step::Flag(flag, set);
    let expected = [
        flag(InterfaceFlags::UP, true),
        flag(InterfaceFlags::NOARP, true),
        Step::Mtu(1400),
        flag(InterfaceFlags::NOARP, false),
        flag(InterfaceFlags::LINK0, false),
        flag(InterfaceFlags::DEBUG, true),
        Step::Metric(3),
        flag(InterfaceFlags::UP, false),
    ];
    assert_eq!(plan("up -arp mtu 1400 arp -link0 debug metric 3 down").steps, expected);
}

#[test]
fn capabilities_toggle_and_of_two_words_the_last_counts() {
    let toggled = plan("tso4 -ip4csum udp4csum-tx");
    assert_eq!(toggled.enable, Capabilities::TSO4 | Capabilities::UDP4CSUM_TX);
    assert_eq!(toggled.disable, Capabilities::IP4CSUM_RX | Capabilities::IP4CSUM_TX);
    let last = plan("-ip4csum ip4csum-rx");
    let expected = (Capabilities::IP4CSUM_RX, Capabilities::IP4CSUM_TX);
    assert_eq!((last.enable, last.disable), expected);
}

#[test]
fn an_mtu_is_judged_by_the_kernel_unless_it_is_no_number() {
    assert_eq!(plan("mtu 0").steps, [Step::Mtu(0)]);
    assert_eq!(plan("mtu 65536").steps, [Step::Mtu(65_536)]);
    assert_eq!(plan("mtu -1").steps, [Step::Mtu(u32::MAX)]);
    for words in ["mtu abc", "mtu 99999999999", "metric x", "metric -1"] {
        assert!(refusal(words).contains("not a number"), "{words}");
    }
    assert_eq!(refusal("mtu"), "mtu: BYTES is missing");
}

#[test]
fn prefixes_and_masks_that_cannot_be_are_refused_in_netbsds_words() {
    let long = "paddr_match: prefixlen_to_mask(2, 33): Invalid argument";
    assert_eq!(refusal("inet 10.0.0.2/33"), long);
    assert_eq!(refusal("inet 10.0.0.2 prefixlen 33"), long);
    assert_eq!(refusal("inet6 2001:db8::1/129"), "paddr_match: prefixlen_to_mask(24, 129): Invalid argument");
    assert!(refusal("inet 10.0.0.2/-1").contains("-1"));
    assert!(refusal("inet 10.0.0.2/x").contains("prefix length x"));
    assert!(refusal("inet 10.0.0.2 netmask 255.0.255.0").contains("holes"));
    assert!(refusal("inet 10.0.0.2 netmask bogus").contains("bogus"));
    assert!(refusal("10.0.0.2/24 netmask 255.255.0.0").contains("two masks: /24 and /16"));
    assert!(refusal("10.0.0.2 netmask 255.255.0.0 prefixlen 24").contains("two masks: /16 and /24"));
}

#[test]
fn words_that_mean_nothing_are_named() {
    for word in ["bogusverb", "300.1.2.3", "promisc", "description", "host.example", "-mtu", "--up", ""] {
        let failure = parse(&["up", word]).unwrap_err();
        let Failure::Usage { message, .. } = failure else { panic!("{failure:?}") };
        assert_eq!(message, format!("{word}: neither a parameter nor an address"));
    }
}

#[test]
fn words_that_contradict_each_other_are_refused() {
    assert!(refusal("down destroy").contains("destroy"));
    assert!(refusal("create destroy").contains("destroy"));
    assert!(refusal("inet inet6").contains("one family"));
    assert!(refusal("inet netmask 255.0.0.0").contains("missing"));
    assert!(refusal("inet alias").contains("missing"));
    assert!(refusal("inet6 delete").contains("missing"));
    assert!(refusal("10.0.0.2 active").contains("only with link"));
    assert!(refusal("inet6 10.0.0.2").contains("10.0.0.2: not an address"));
    assert!(refusal("inet 2001:db8::1").contains("2001:db8::1: not an address"));
}

#[test]
fn what_no_interface_has_is_remembered_with_netbsds_refusal() {
    for (words, text) in [
        ("mediaopt foo", "SIOCGIFMEDIA: Inappropriate ioctl for device"),
        ("vlan 3 vlanif virt0", "valid only with vlan(4) interfaces"),
        ("tunnel 1.1.1.1 2.2.2.2", "SIOCSLIFPHYADDR: Inappropriate ioctl for device"),
        ("ssid x", "SIOCS80211NWID: Inappropriate ioctl for device"),
        ("vhid 3 pass secret", "SIOCGVH: Inappropriate ioctl for device"),
    ] {
        assert_eq!(plan(words).absent, Some(text), "{words}");
    }
    assert_eq!(refusal("linkstr"), "linkstr: STRING is missing");
}
