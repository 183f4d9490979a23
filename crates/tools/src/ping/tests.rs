//! ping as a whole, with a scripted kernel and a clock that moves only while ping waits.

use rumpnet_proto::EchoOptions;
use serde_json::json;

use super::*;
use crate::scripted::{Said, Script};

type Answer = Result<Reply, ControlError>;

const ECHO: u64 = 7;

fn options() -> EchoOptions {
    EchoOptions::to("10.0.0.1".parse().unwrap())
}

fn open() -> (Request, Answer) {
    let source = "10.0.0.2".parse().unwrap();
    (Request::EchoOpen(options()), Ok(Reply::Echo { echo: ECHO, source }))
}

fn send(sequence: u16) -> (Request, Answer) {
    (Request::EchoSend { echo: ECHO, sequence }, Ok(Reply::Done))
}

fn close() -> (Request, Answer) {
    (Request::EchoClose { echo: ECHO }, Ok(Reply::Done))
}

fn reply(sequence: u16, outcome: EchoOutcome) -> EchoReply {
    let from = "10.0.0.1".parse().unwrap();
    EchoReply {
        sequence,
        from,
        size: 64,
        ttl: 64,
        rtt_ns: Some(120_000 + 10_000 * u64::from(sequence)),
        outcome,
        route: Vec::new(),
        next_hop_mtu: None,
    }
}

/// What comes back to a call that waits `millis` at most.
fn receive(millis: u64, replies: Vec<EchoReply>) -> (Request, Answer) {
    let timeout_ns = millis * 1_000_000;
    (Request::EchoReceive { echo: ECHO, timeout_ns }, Ok(Reply::EchoReplies(replies)))
}

fn answered(sequence: u16) -> (Request, Answer) {
    receive(100, vec![reply(sequence, EchoOutcome::Reply)])
}

#[track_caller]
fn said(line: &str, calls: impl IntoIterator<Item = (Request, Answer)>) -> Said {
    Script::new(calls).said(&line.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn replies_and_statistics_read_as_netbsds_ping_prints_them() {
    let calls = [open(), send(0), answered(0), send(1), answered(1), send(2), answered(2), close()];
    let script = Script::new(calls);
    let said = script.said(&["ping", "-n", "-c", "3", "10.0.0.1"]);
    assert_eq!((said.status, said.err.as_str()), (Status::SUCCESS, ""));
    assert_eq!(
        said.out,
        "PING 10.0.0.1 (10.0.0.1): 56 data bytes\n\
         64 bytes from 10.0.0.1: icmp_seq=0 ttl=64 time=0.120000 ms\n\
         64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.130000 ms\n\
         64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=0.140000 ms\n\
         \n\
         ----10.0.0.1 PING Statistics----\n\
         3 packets transmitted, 3 packets received, 0.0% packet loss\n\
         round-trip min/avg/max/stddev = 0.120000/0.130000/0.140000/0.010000 ms\n"
    );
    assert_eq!(script.now(), Duration::from_secs(2), "a second between requests, none after the last reply");
}

#[test]
fn nobody_answering_is_exit_status_2() {
    let said = said("ping -c 1 -W 1 10.0.0.1", [open(), send(0), close()]);
    assert_eq!(said.status, Status::NO_ANSWER);
    assert!(said.out.ends_with(
        "\n----10.0.0.1 PING Statistics----\n1 packets transmitted, 0 packets received, 100.0% packet loss\n"
    ));
}

#[test]
fn the_last_replies_are_awaited_ten_seconds_or_twice_the_longest_time() {
    let script = Script::new([open(), send(0), close()]);
    script.said(&["ping", "-c", "1", "10.0.0.1"]);
    assert_eq!(script.now(), Duration::from_secs(10));
    let script = Script::new([open(), send(0), answered(0), send(1), close()]);
    script.said(&["ping", "-c", "2", "10.0.0.1"]);
    assert_eq!(script.now(), Duration::from_secs(2), "a second after the last request");
}

#[test]
fn a_deadline_ends_it_whatever_comes() {
    let script = Script::new([open(), send(0), send(1), send(2), close()]);
    let said = script.said(&["ping", "-i", "1", "-w", "2.5", "10.0.0.1"]);
    assert_eq!((said.status, script.now()), (Status::NO_ANSWER, Duration::from_millis(2500)));
    assert!(said.out.contains("3 packets transmitted, 0 packets received"), "{}", said.out);
}

#[test]
fn an_interrupt_prints_the_statistics() {
    let script = Script::new([open(), send(0), answered(0), send(1), close()]);
    script.interrupted_at.set(Some(Duration::from_millis(1500)));
    let said = script.said(&["ping", "10.0.0.1"]);
    assert_eq!(said.status, Status::SUCCESS);
    assert!(
        said.out.contains("2 packets transmitted, 1 packets received, 50.0% packet loss"),
        "{}",
        said.out
    );
}

#[test]
fn one_reply_is_enough_with_o() {
    let said = said("ping -o 10.0.0.1", [open(), send(0), answered(0), close()]);
    assert!(said.out.contains("1 packets transmitted, 1 packets received"), "{}", said.out);
}

#[test]
fn duplicates_corruption_and_errors_are_told_apart() {
    let came = vec![
        reply(0, EchoOutcome::Reply),
        reply(0, EchoOutcome::Duplicate),
        reply(1, EchoOutcome::Corrupted),
        EchoReply { rtt_ns: None, ..reply(9, EchoOutcome::Duplicate) },
        EchoReply {
            from: "10.0.0.254".parse().unwrap(),
            ..reply(2, EchoOutcome::Error { kind: 3, code: 1 })
        },
    ];
    let calls = [open(), send(0), send(1), send(2), receive(100, came), close()];
    let script = Script::new(calls);
    // Three requests at once: the clock of a script does not move while ping sends.
    let said = script.said(&["ping", "-c", "3", "-i", "0.000000001", "-W", "1", "10.0.0.1"]);
    let expected = [
        "64 bytes from 10.0.0.1: icmp_seq=0 ttl=64 time=0.120000 ms",
        "64 bytes from 10.0.0.1: icmp_seq=0 DUP! ttl=64 time=0.120000 ms",
        "64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.130000 ms\nwrong data: what came back is not what was sent",
        "64 bytes from 10.0.0.1: icmp_seq=9 DUP! ttl=64\n",
        "from 10.0.0.254: Destination Host Unreachable for icmp_seq=2",
        "3 packets transmitted, 2 packets received, +2 duplicates, +1 corrupted, +1 errors, 33.3% packet loss",
    ];
    for line in expected {
        assert!(said.out.contains(line), "{line}\n{}", said.out);
    }
}

#[test]
fn what_cannot_be_sent_is_said_and_counted_and_tried_again() {
    let down = ControlError::new(Operation::Echo, "", Errno::NetDown);
    let refused = (Request::EchoSend { echo: ECHO, sequence: 0 }, Err(down));
    let said = said("ping -c 2 10.0.0.1", [open(), refused, send(1), answered(1), close()]);
    assert_eq!((said.status, said.err.as_str()), (Status::SUCCESS, "ping: sendto: Network is down\n"));
    assert!(
        said.out.contains("2 packets transmitted, 1 packets received, 50.0% packet loss"),
        "{}",
        said.out
    );
}

#[test]
fn a_missing_route_is_said_at_each_request_until_there_is_one() {
    let unreachable = || {
        let error = ControlError::new(Operation::Echo, "10.0.0.1", Errno::HostUnreach);
        (Request::EchoOpen(options()), Err(error))
    };
    let said =
        said("ping -c 2 10.0.0.1", [unreachable(), unreachable(), open(), send(1), answered(1), close()]);
    assert_eq!(said.err, "ping: sendto: No route to host\n");
    assert_eq!(said.status, Status::SUCCESS);
    assert!(said.out.starts_with("PING 10.0.0.1 (10.0.0.1): 56 data bytes\n"), "{}", said.out);
    assert!(said.out.contains("2 packets transmitted, 1 packets received"), "{}", said.out);
}

#[test]
fn requests_that_were_never_sent_are_not_waited_for() {
    let down = || Err(ControlError::new(Operation::Echo, "", Errno::NetDown));
    let refused = |sequence| (Request::EchoSend { echo: ECHO, sequence }, down());
    let script = Script::new([open(), refused(0), refused(1), close()]);
    let said = script.said(&["ping", "-c", "2", "10.0.0.1"]);
    assert_eq!((said.status, script.now()), (Status::NO_ANSWER, Duration::from_secs(1)));
}

#[test]
fn a_redirect_does_not_end_a_request() {
    let redirect = reply(0, EchoOutcome::Error { kind: 5, code: 1 });
    let calls = [open(), send(0), receive(100, vec![redirect]), answered(0), close()];
    let said = said("ping -c 1 10.0.0.1", calls);
    assert!(
        said.out.contains("from 10.0.0.1: Redirect (change route) Host for icmp_seq=0\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("1 packets transmitted, 1 packets received, 0.0% packet loss"), "{}", said.out);
}

#[test]
fn what_will_never_work_ends_it_at_once() {
    let destination = "2001:db8::1".parse().unwrap();
    let error = ControlError::new(Operation::Echo, "2001:db8::1", Errno::AfNoSupport);
    let call = (Request::EchoOpen(EchoOptions { destination, ..options() }), Err(error));
    let said = said("ping 2001:db8::1", [call]);
    let expected = "ping: sendto 2001:db8::1: Address family not supported by protocol family\n";
    assert_eq!((said.status, said.err.as_str()), (Status::FAILURE, expected));
}

#[test]
fn a_server_that_goes_away_is_an_error() {
    let gone = ControlError::new(Operation::Server, "unix:///tmp/k", Errno::ConnReset);
    let call = (Request::EchoSend { echo: ECHO, sequence: 0 }, Err(gone));
    let said = said("ping -c 1 10.0.0.1", [open(), call, close()]);
    assert_eq!(said.status, Status::FAILURE);
    assert_eq!(said.err, "ping: rump client unix:///tmp/k: Connection reset by peer\n");
}

#[test]
fn a_flood_asks_at_each_reply_and_backs_over_its_dots() {
    let answered = |sequence| receive(10, vec![reply(sequence, EchoOutcome::Reply)]);
    let calls = [open(), send(0), answered(0), send(1), send(2), receive(100, vec![]), close()];
    let script = Script::new(calls);
    let said = script.said(&["ping", "-f", "-c", "3", "-W", "1", "10.0.0.1"]);
    assert!(said.out.contains("data bytes\n.\x08..\n----"), "{:?}", said.out);
    assert!(said.out.contains("3 packets transmitted, 1 packets received"), "{}", said.out);
}

#[test]
fn quiet_prints_only_the_frame() {
    let said = said("ping -q -c 1 10.0.0.1", [open(), send(0), answered(0), close()]);
    assert!(!said.out.contains("icmp_seq"), "{}", said.out);
    assert!(said.out.starts_with("PING ") && said.out.contains("round-trip"), "{}", said.out);
}

#[test]
fn a_recorded_route_is_shown_when_it_changes() {
    let routed = |sequence, route: &[[u8; 4]]| {
        let route = route.iter().copied().map(Ipv4Addr::from).collect();
        receive(100, vec![EchoReply { route, ..reply(sequence, EchoOutcome::Reply) }])
    };
    let (there, back) = ([10, 0, 1, 254], [10, 0, 0, 254]);
    let recording = EchoOptions { record_route: true, ..options() };
    let source = "10.0.0.2".parse().unwrap();
    let open = (Request::EchoOpen(recording), Ok(Reply::Echo { echo: ECHO, source }));
    let replies = [routed(0, &[there, back]), routed(1, &[there, back]), routed(2, &[back])];
    let calls = replies.into_iter().zip(0..).flat_map(|(reply, sequence)| [send(sequence), reply]);
    let said = said("ping -R -c 3 10.0.0.1", [open].into_iter().chain(calls).chain([close()]));
    let expected = "time=0.120000 ms\nRR: \t10.0.1.254\n\t10.0.0.254\n\
        64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.130000 ms\t(same route)\n\
        64 bytes from 10.0.0.1: icmp_seq=2 ttl=64 time=0.140000 ms\nRR: \t10.0.0.254\n";
    assert!(said.out.contains(expected), "{}", said.out);
}

#[test]
fn a_preload_is_sent_at_once_and_counts() {
    let came = vec![0, 1, 2].into_iter().map(|sequence| reply(sequence, EchoOutcome::Reply)).collect();
    let calls = [open(), send(0), send(1), send(2), receive(100, came), send(3), answered(3), close()];
    let script = Script::new(calls);
    let said = script.said(&["ping", "-l", "3", "-c", "4", "10.0.0.1"]);
    assert!(said.out.contains("4 packets transmitted, 4 packets received"), "{}", said.out);
    assert_eq!(script.now(), Duration::from_secs(1));
}

#[test]
fn each_reply_beeps_but_no_duplicate() {
    let came = vec![reply(0, EchoOutcome::Reply), reply(0, EchoOutcome::Duplicate)];
    let said = said("ping -a -c 1 10.0.0.1", [open(), send(0), receive(100, came), close()]);
    assert_eq!(said.err, "\x07");
}

#[test]
fn errors_can_be_left_out_and_are_counted_all_the_same() {
    let error = EchoReply { next_hop_mtu: Some(900), ..reply(0, EchoOutcome::Error { kind: 3, code: 4 }) };
    let calls = || [open(), send(0), receive(100, vec![error.clone()]), close()];
    let shown = said("ping -c 1 10.0.0.1", calls()).out;
    assert!(shown.contains("Fragmentation needed and DF set (next hop MTU 900) for icmp_seq=0\n"), "{shown}");
    let silent = said("ping -Q -c 1 10.0.0.1", calls()).out;
    assert!(!silent.contains("Fragmentation") && silent.contains("+1 errors"), "{silent}");
}

#[test]
fn a_call_that_does_not_wait_does_not_make_ping_spin() {
    let calls = [open(), send(0), receive(4, vec![]), receive(3, vec![]), close()];
    let script = Script::new(calls);
    script.said(&["ping", "-c", "1", "-W", "0.004", "10.0.0.1"]);
    assert_eq!(script.now(), Duration::from_millis(4));
}

#[test]
fn options_reach_the_kernel() {
    let options =
        EchoOptions { source: Some("10.0.0.2".parse().unwrap()), ttl: Some(3), size: 1000, ..options() };
    let source = "10.0.0.2".parse().unwrap();
    let open = (Request::EchoOpen(options), Ok(Reply::Echo { echo: ECHO, source }));
    let calls = [open, send(0), answered(0), close()];
    let said = said("ping -c 1 -I 10.0.0.2 -T 3 -s 1000 10.0.0.1", calls);
    assert!(said.out.starts_with("PING 10.0.0.1 (10.0.0.1): 1000 data bytes\n"), "{}", said.out);
}

#[test]
fn the_json_is_one_value_at_the_end() {
    let calls = [open(), send(0), answered(0), send(1), close()];
    let report = said("ping --json -c 2 -W 1 10.0.0.1", calls).json();
    let expected = [("transmitted", 2), ("received", 1), ("duplicates", 0), ("rtt_min_ns", 120_000)];
    expected.iter().for_each(|(name, number)| assert_eq!(report[name], json!(number), "{name}"));
    let reply = json!({
        "sequence": 0, "from": "10.0.0.1", "message_bytes": 64, "ttl": 64, "rtt_ns": 120_000,
        "outcome": "reply", "error": null, "route": [],
    });
    assert_eq!(report["replies"], json!([reply]));
    assert_eq!(report["source"], json!("10.0.0.2"));
}

#[test]
fn a_ping_has_the_members_of_the_guide() {
    let error = EchoReply {
        from: "10.0.0.254".parse().unwrap(),
        ..reply(1, EchoOutcome::Error { kind: 3, code: 1 })
    };
    let down = ControlError::new(Operation::Echo, "", Errno::NetDown);
    let refused = (Request::EchoSend { echo: ECHO, sequence: 2 }, Err(down));
    let came = receive(100, vec![error]);
    let calls = [open(), send(0), answered(0), send(1), came, refused, close()];
    crate::guide::assert_documented(&said("ping --json -c 3 10.0.0.1", calls).json(), "transmitted");
}
