//! traceroute as a whole, with a scripted kernel.

use rumpnet_proto::EchoOutcome;
use serde_json::json;

use super::*;
use crate::scripted::{Said, Script};

type Answer = Result<Reply, ControlError>;

const ECHO: u64 = 7;
const TIME_EXCEEDED: EchoOutcome = EchoOutcome::Error { kind: 11, code: 0 };

const fn unreachable(code: u8) -> EchoOutcome {
    EchoOutcome::Error { kind: 3, code }
}

fn options(ttl: u8) -> EchoOptions {
    let probe = Probe::Udp { port: 33_434 };
    EchoOptions { probe, ttl: Some(ttl), size: 12, ..EchoOptions::to("10.0.1.1".parse().unwrap()) }
}

fn opened(options: EchoOptions) -> (Request, Answer) {
    let source = "10.0.0.2".parse().unwrap();
    (Request::EchoOpen(options), Ok(Reply::Echo { echo: ECHO, source }))
}

fn close() -> (Request, Answer) {
    (Request::EchoClose { echo: ECHO }, Ok(Reply::Done))
}

fn send(sequence: u16) -> (Request, Answer) {
    (Request::EchoSend { echo: ECHO, sequence }, Ok(Reply::Done))
}

fn reply(sequence: u16, from: &str, outcome: EchoOutcome) -> EchoReply {
    let from = from.parse().unwrap();
    let rtt_ns = Some(120_000 + 10_000 * u64::from(sequence));
    EchoReply { sequence, from, size: 0, ttl: 63, rtt_ns, outcome, route: vec![], next_hop_mtu: None }
}

fn received(millis: u64, reply: EchoReply) -> (Request, Answer) {
    let timeout_ns = millis * 1_000_000;
    (Request::EchoReceive { echo: ECHO, timeout_ns }, Ok(Reply::EchoReplies(vec![reply])))
}

/// One hop of probes from a sequence number on, each with what came back.
fn hop(ttl: u8, first: u16, answers: &[(&str, EchoOutcome)]) -> Vec<(Request, Answer)> {
    let probes = answers.iter().zip(first..).flat_map(|((from, outcome), sequence)| {
        [send(sequence), received(100, reply(sequence, from, *outcome))]
    });
    [opened(options(ttl))].into_iter().chain(probes).chain([close()]).collect()
}

#[track_caller]
fn said(line: &str, calls: impl IntoIterator<Item = (Request, Answer)>) -> Said {
    Script::new(calls).said(&line.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn hops_read_as_netbsds_traceroute_prints_them() {
    let router = [("10.0.0.254", TIME_EXCEEDED); 3];
    let calls = [hop(1, 0, &router), hop(2, 3, &[("10.0.1.1", unreachable(3)); 3])].concat();
    let said = said("traceroute -m 30 10.0.1.1", calls);
    assert_eq!(said.err, "traceroute to 10.0.1.1 (10.0.1.1), 30 hops max, 40 byte packets\n");
    assert_eq!(
        said.out,
        " 1  10.0.0.254 (10.0.0.254)  0.120 ms  0.130 ms  0.140 ms\n 2  10.0.1.1 (10.0.1.1)  0.150 ms  0.160 ms  0.170 ms\n"
    );
    assert_eq!(said.status, Status::SUCCESS);
}

#[test]
fn several_routers_of_a_hop_have_lines_of_their_own_and_silence_is_a_star() {
    let calls = [
        vec![
            opened(options(1)),
            send(0),
            received(100, reply(0, "10.0.0.1", TIME_EXCEEDED)),
            send(1),
            send(2),
        ],
        vec![received(100, reply(2, "10.0.0.2", TIME_EXCEEDED)), close()],
    ];
    let script = Script::new(calls.concat());
    let said = script.said(&["traceroute", "-n", "-l", "-m", "1", "-w", "1", "10.0.1.1"]);
    assert_eq!(said.out, " 1  10.0.0.1  0.120 ms (63) *\n    10.0.0.2  0.140 ms (63)\n");
    assert_eq!(script.now(), Duration::from_secs(1));
}

#[test]
fn what_is_wrong_is_annotated_and_too_much_of_it_ends_the_trace() {
    for (code, sign) in [(0, "!N"), (1, "!H"), (4, "!F"), (5, "!S"), (13, "!X"), (10, "!<10>")] {
        let told = ("10.0.0.254", unreachable(code));
        let said = said("traceroute -n -m 9 10.0.1.1", hop(1, 0, &[told; 3]));
        let times = ["0.120", "0.130", "0.140"].map(|time| format!("  {time} ms {sign}")).concat();
        assert_eq!(said.out, format!(" 1  10.0.0.254{times}\n"));
    }
    let there = said("traceroute -n -m 9 10.0.1.1", hop(1, 0, &[("10.0.1.1", unreachable(2)); 3]));
    assert!(there.out.contains("ms !P"), "{}", there.out);
}

#[test]
fn an_answer_with_its_last_hop_is_remarked() {
    let last = EchoReply { ttl: 1, ..reply(0, "10.0.1.1", unreachable(3)) };
    let calls = [opened(options(1)), send(0), received(100, last), close()];
    let said = said("traceroute -n -m 1 -q 1 10.0.1.1", calls);
    assert_eq!(said.out, " 1  10.0.1.1  0.120 ms !\n");
}

#[test]
fn options_reach_the_kernel_and_the_kernels_time_to_live_is_the_last_hop() {
    let ttl = (Request::Sysctl { name: "net.inet.ip.ttl".into(), value: None }, Ok(Reply::Value(2)));
    let interface = Request::Interface { name: "virt0".into(), reset: false };
    let page = Reply::Interfaces { interfaces: vec![crate::scripted::virt0()], next: None };
    let wanted = EchoOptions {
        probe: Probe::Echo,
        source: Some("10.0.0.2".parse().unwrap()),
        size: 72,
        tos: 16,
        dont_fragment: true,
        direct: true,
        ..options(2)
    };
    let arrived = received(100, reply(0, "10.0.1.1", EchoOutcome::Reply));
    let calls = [ttl, (interface, Ok(page)), opened(wanted), send(0), arrived, close()];
    let said = said("traceroute -IFr -i virt0 -t 16 -q 1 -f 2 10.0.1.1 100", calls);
    assert_eq!(said.err, "traceroute to 10.0.1.1 (10.0.1.1) from 10.0.0.2, 2 hops max, 100 byte packets\n");
    assert_eq!(said.out, " 2  10.0.1.1 (10.0.1.1)  0.120 ms\n");
}

#[test]
fn probes_shrink_to_what_the_path_carries() {
    let sized = |size| EchoOptions { size, dont_fragment: true, ..options(1) };
    let too_long = Err(ControlError::new(Operation::Echo, "", Errno::MsgSize));
    let narrow = EchoReply { next_hop_mtu: Some(900), ..reply(1, "10.0.0.254", unreachable(4)) };
    let calls = [
        opened(sized(1972)),
        (Request::EchoSend { echo: ECHO, sequence: 0 }, too_long),
        close(),
        opened(sized(1464)),
        send(1),
        received(100, narrow),
        close(),
        opened(sized(872)),
        send(2),
        received(100, reply(2, "10.0.1.1", unreachable(3))),
        close(),
    ];
    let said = said("traceroute -P -n -m 1 -q 1 10.0.1.1 2000", calls);
    assert_eq!(
        said.out,
        " 1 \nmessage too big, trying new MTU = 1492\n\nfragmentation required and DF set, next hop MTU = 900\n 10.0.1.1  0.140 ms\n"
    );
}

#[test]
fn what_cannot_be_sent_is_said_and_nobody_waits_for_it() {
    let down = Err(ControlError::new(Operation::Echo, "", Errno::NetDown));
    let calls = [opened(options(1)), (Request::EchoSend { echo: ECHO, sequence: 0 }, down), close()];
    let script = Script::new(calls);
    let said = script.said(&["traceroute", "-m", "1", "-q", "1", "10.0.1.1"]);
    assert!(said.err.ends_with("traceroute: sendto: Network is down\n"), "{}", said.err);
    assert_eq!((said.out.as_str(), script.now()), (" 1  *\n", Duration::ZERO));
}

#[test]
fn without_a_route_there_is_nothing_to_trace() {
    let refused = Err(ControlError::new(Operation::Echo, "10.0.1.1", Errno::HostUnreach));
    let said = said("traceroute -m 1 10.0.1.1", [(Request::EchoOpen(options(1)), refused)]);
    assert_eq!(
        (said.status, said.err.as_str()),
        (Status::FAILURE, "traceroute: sendto 10.0.1.1: No route to host\n")
    );
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let script = Script::new([opened(options(1)), send(0), close()]);
    script.interrupted_at.set(Some(Duration::from_millis(250)));
    let said = script.said(&["traceroute", "-m", "9", "10.0.1.1"]);
    assert_eq!((said.out.as_str(), said.status), (" 1 \n", Status::SUCCESS));
}

#[test]
fn a_trace_has_the_members_of_the_guide() {
    let lost = vec![opened(options(2)), send(1), close()];
    let calls = [hop(1, 0, &[("10.0.0.254", TIME_EXCEEDED)]), lost].concat();
    let report = said("traceroute --json -m 2 -q 1 -w 1 10.0.1.1", calls).json();
    crate::guide::assert_documented(&report, "hops");
    assert_eq!(report["hops"][0]["probes"][0]["icmp_type"], json!(11));
    assert_eq!(report["hops"][1]["probes"][0]["from"], json!(null));
    assert_eq!((&report["reached"], &report["max_hops"]), (&json!(false), &json!(2)));
}
