//! TCP by scripts in packetdrill's format: each file under `tests/scripts/tcp` is written from the text of an RFC, which its first lines name, and says
//! segment by segment and to the millisecond what must be sent. They are run in virtual time against the world that the packetdrill tool drives, and none
//! may be skipped.

#[path = "scripts/assertion.rs"]
mod assertion;
#[path = "scripts/calls.rs"]
mod calls;
#[path = "scripts/cursor.rs"]
mod cursor;
#[path = "scripts/packet.rs"]
mod packet;
#[path = "scripts/parse.rs"]
mod parse;
#[path = "scripts/wire.rs"]
mod wire;
#[path = "scripts/world.rs"]
mod world;

use std::{fs, path::PathBuf};

/// Where the scripts of a topic are.
fn folder(topic: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts/tcp").join(topic)
}

/// Runs all scripts of a topic, and tells of each that fails.
fn run(topic: &str) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder(topic))
        .expect("a folder of scripts")
        .map(|entry| entry.expect("an entry of it").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pkt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no script is about {topic}");
    let mut failures = String::new();
    for path in &paths {
        let text = fs::read_to_string(path).expect("a script");
        if let Err((line, reason)) = parse::script(&text).and_then(|script| world::run(&script)) {
            let name = path.file_name().unwrap_or_default().display();
            failures += &format!("{topic}/{name}:{line}: {reason}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn handshakes_go_as_scripts_say() {
    run("handshake");
}

#[test]
fn options_are_offered_and_answered_as_scripts_say() {
    run("options");
}

#[test]
fn timestamps_and_paws_are_as_scripts_say() {
    run("timestamps");
}

#[test]
fn data_and_acknowledgments_flow_as_scripts_say() {
    run("data");
}

#[test]
fn small_segments_wait_as_scripts_say() {
    run("nagle");
}

#[test]
fn connections_close_in_every_order_as_scripts_say() {
    run("close");
}

#[test]
fn time_wait_lasts_and_gives_way_as_scripts_say() {
    run("time_wait");
}

#[test]
fn resets_are_believed_as_scripts_say() {
    run("reset");
}

#[test]
fn selective_acknowledgments_are_sent_as_scripts_say() {
    run("sack");
}

#[test]
fn losses_are_repaired_as_scripts_say() {
    run("recovery");
}

#[test]
fn peers_without_sack_are_served_as_scripts_say() {
    run("newreno");
}

#[test]
fn tails_are_probed_as_scripts_say() {
    run("tlp");
}

#[test]
fn timeouts_come_and_double_as_scripts_say() {
    run("rto");
}

#[test]
fn spurious_timeouts_are_found_as_scripts_say() {
    run("frto");
}

#[test]
fn needless_reductions_are_taken_back_as_scripts_say() {
    run("undo");
}

#[test]
fn idle_connections_restart_as_scripts_say() {
    run("idle");
}

#[test]
fn closed_windows_are_probed_as_scripts_say() {
    run("zero_window");
}

#[test]
fn silly_windows_are_avoided_as_scripts_say() {
    run("silly_window");
}

#[test]
fn silent_peers_are_probed_as_scripts_say() {
    run("keepalive");
}

#[test]
fn patience_ends_as_scripts_say() {
    run("user_timeout");
}

#[test]
fn options_of_sockets_do_as_scripts_say() {
    run("socket_options");
}

#[test]
fn icmp_errors_are_believed_as_scripts_say() {
    run("icmp");
}

#[test]
fn urgent_data_is_marked_read_and_sent_as_scripts_say() {
    run("urgent");
}

#[test]
fn congestion_marks_are_echoed_and_answered_as_scripts_say() {
    run("ecn");
}

/// What running a script by its text comes to.
fn outcome(text: &str) -> Result<(), (usize, String)> {
    parse::script(text).and_then(|script| world::run(&script))
}

const SYN: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n\
     +0 connect(3, ..., ...) = -1 EINPROGRESS (x)\n";

#[test]
fn a_segment_that_is_not_the_expected_one_is_named_with_its_line() {
    let cases = [
        ("+0 > S 0:0(0) <mss 1459,sackOK,TS val 1 ecr 0,nop,wscale 8>", "the options are wrong"),
        ("+0 > S. 0:0(0) ack 1 <...>", "the flags are wrong"),
        ("+0 > S 0:0(0) win 1 <...>", "the window is wrong"),
        ("+.5 > S 0:0(0) <...>", "the time is wrong"),
        ("+0 > [ect0] S 0:0(0) <...>", "the ECN mark is wrong"),
        ("+0 > S 0:0(0)", "the options are wrong"),
    ];
    for (line, reason) in cases {
        let (number, told) = outcome(&format!("{SYN}{line}\n")).expect_err("it does not hold");
        assert_eq!(number, 4, "{line}");
        assert!(told.contains(line) && told.contains(reason), "{told}");
        assert!(told.contains("S 0:0(0) win 65535 <mss 1460,sackOK,"), "{told}");
    }
}

#[test]
fn segments_that_no_line_expects_and_those_that_never_come_are_faults() {
    let (_, told) = outcome(SYN).expect_err("the SYN is not in the script");
    assert!(told.contains("which no line expects"), "{told}");
    let late = format!("{SYN}+0 > S 0:0(0) <...>\n2 socket(..., SOCK_STREAM, IPPROTO_TCP) = 4\n");
    let (number, told) = outcome(&late).expect_err("nor is the one that repeats it");
    assert!(number == 5 && told.contains("at 1.000000, which no line expects"), "{told}");
    let none = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+1 > S 0:0(0) <...>\n";
    let (_, told) = outcome(none).expect_err("nothing is sent");
    assert!(told.contains("nothing until 1.002000"), "{told}");
}

#[test]
fn calls_and_assertions_that_do_not_hold_are_faults() {
    for (line, reason) in [
        ("0 listen(3, 1) = 0", "EBADF"),
        ("0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n//: +0 assert sockets == 2", "is 1, not == 2"),
        (
            "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n//: +1 assert TcpReceived == 1 and sockets == 1",
            "is 0, not == 1",
        ),
        ("0 %{ assert tcpi_state == TCP_LISTEN }%", "no connection is open"),
        (
            "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n0...1 accept(3, ..., ...) = 4",
            "the end of `0...1 accept",
        ),
    ] {
        let (_, told) = outcome(line).expect_err("it does not hold");
        assert!(told.contains(reason), "{line}: {told}");
    }
}

#[test]
fn lines_that_make_no_sense_are_told() {
    for line in
        ["0 > X 0:0(0)", "0 < . 1:5(1) ack 1", "0 < . 1:1(0)", "0 frob(3) = 0", "x > S 0:0(0)", "--speed=9"]
    {
        assert!(outcome(line).is_err(), "{line}");
    }
}

#[test]
fn what_the_tool_refuses_is_refused() {
    let open = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n";
    for (line, reason) in [
        ("+0...+.1 connect(3, ..., ...) = 0", "a time expected"),
        ("+0~.1 > S 0:0(0) <...>", "`+` expected"),
        ("+0~+.1 < S 0:0(0)", "only what is sent has a range"),
        ("* < S 0:0(0)", "only what is sent has a range"),
        ("+1. < S 0:0(0)", "needs a digit"),
        ("+0 < .F 1:1(0) ack 1", "the `.` comes last"),
        ("+0 < S 0:0(0) <...>", "for what is sent"),
        ("+0 < S 0:0(0) <mss 1> more", "what is `more`"),
        ("+0 < . 4294967290:4(10) ack 1", "is not 4"),
        ("+0 < icmp time_exceeded exceed_ttl [1:1(0)]", "expected before"),
        ("+0 < icmp unreachable host_unreachable mtu 9 [1:1(0)]", "goes with"),
        ("+0 read(3, ..., 9) = -1 ENOTCONN", "expected before"),
        ("+0 %{ assert sockets == 1 }%", "the tool has no value"),
        ("+0 connect(3, ..., ...) = -1 EINPROGRESS (x)", "a call that waits"),
        ("--mtu=1000", "the only option"),
        ("--so_flags=\"speed=9\"", "no flag is called"),
    ] {
        let (_, told) = outcome(&format!("{open}{line}\n")).expect_err(line);
        assert!(told.contains(reason), "{line}: {told}");
    }
    let (_, told) = outcome("1 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3").expect_err("time begins at 0");
    assert!(told.contains("the first event must be at 0"), "{told}");
}
