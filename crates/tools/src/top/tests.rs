//! top against a scripted kernel: rates over the kernel's own time, the layouts, keys and sizes.

use rumpnet_proto::{
    Counter, DropReason, InterfaceCounters, InterfaceReport, KernelInfo, Reply, Request, SocketReport,
    Transport,
};
use serde_json::json;

use crate::{
    Status,
    guide::assert_documented,
    scripted::{Script, lo0, virt0},
};

/// What a kernel of that age answers to one sample.
fn answers(
    seconds: u64,
    input_bytes: u64,
    dropped: u64,
) -> Vec<(Request, Result<Reply, rumpnet_proto::ControlError>)> {
    let kernel =
        KernelInfo { name: "k".into(), version: "0".into(), pid: 1, uptime_ns: seconds * 1_000_000_000 };
    let counters =
        InterfaceCounters { input_bytes, input_packets: input_bytes / 100, ..InterfaceCounters::default() };
    let drops = vec![(DropReason::LinkRunt, dropped)];
    let busy = InterfaceReport { counters, drops: drops.clone(), ..virt0() };
    let socket = SocketReport {
        transport: Transport::Udp,
        local: None,
        remote: None,
        receive_queue: 0,
        send_queue: 0,
        receive_drops: 0,
        state: None,
        connection: None,
    };
    let interfaces = Reply::Interfaces { interfaces: vec![lo0(), busy], next: None };
    let counters = vec![(Counter::IcmpEchoReplies, 1)];
    vec![
        (Request::Kernel, Ok(Reply::Kernel(kernel))),
        (Request::Interfaces { from: 0, reset: false }, Ok(interfaces)),
        (Request::Sockets { after: None }, Ok(Reply::Sockets { sockets: vec![socket], next: None })),
        (Request::Statistics, Ok(Reply::Statistics { counters, drops })),
    ]
}

/// Ten seconds after boot, and four seconds later.
fn script() -> Script {
    Script::new([answers(10, 10_000, 20), answers(14, 60_000, 28)].concat())
}

#[test]
fn samples_follow_each_other_with_rates_over_the_kernels_own_time() {
    let said = script().said(&["top", "-b", "-n", "2", "-d", "3"]);
    assert_eq!((said.status, said.err.as_str()), (Status::SUCCESS, ""));
    let (first, second) = said.out.split_once("\n\ntop - ").expect("two samples");
    assert!(first.starts_with("top - k, up 00:00:10, averages since then\n"), "{first}");
    assert!(
        first.contains(
            "Sockets: 0 TCP connected, 0 listening, 0 other, 1 UDP, 0 raw; drops: 2 a second, 20 in all\n"
        ),
        "{first}"
    );
    assert!(
        first.contains(
            "virt0           up          8.00k         0        10         0         0         2\n"
        ),
        "{first}"
    );
    assert!(second.starts_with("k, up 00:00:14\n"), "{second}");
    assert!(
        second.contains(
            "virt0           up           100k         0       125         0         0         2\n"
        ),
        "50,000 bytes in four seconds: {second}"
    );
    assert!(second.contains("        2           28 frame shorter than its link header\n"), "{second}");
}

#[test]
fn the_json_is_a_line_a_sample_and_has_the_members_of_the_guide() {
    let said = script().said(&["top", "--json", "-n", "2"]);
    let lines: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).expect("a value a line")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["version"], &lines[1]["span_ns"]), (&json!(1), &json!(4_000_000_000u64)));
    assert_eq!(lines[1]["interfaces"][1]["input_bits_per_second"], json!(100_000.0));
    assert_eq!(
        lines[1]["drops"][0],
        json!({"reason": "LinkRunt", "text": "frame shorter than its link header", "packets": 28, "packets_per_second": 2.0})
    );
    let mut documented = lines[1].clone();
    // A connection is in the guide's example, and there is none here.
    documented["connections"] = json!([{
        "local": null, "remote": null, "state": "", "input_bits_per_second": 0, "output_bits_per_second": 0,
        "retransmitted_per_second": 0, "rtt_ns": null, "receive_queue_bytes": 0, "send_queue_bytes": 0,
    }]);
    assert_documented(&documented, "span_ns");
}

#[test]
fn counters_that_were_reset_begin_at_nothing() {
    let calls = [answers(10, 10_000, 20), answers(14, 4_000, 0)].concat();
    let said = Script::new(calls).said(&["top", "-b", "-n", "2"]);
    let (_, second) = said.out.split_once("\n\ntop - ").expect("two samples");
    assert!(second.contains("virt0           up          8.00k"), "4,000 bytes in four seconds: {second}");
}

#[test]
fn a_screen_is_drawn_to_its_size_until_q_is_pressed() {
    let script = Script::new(answers(10, 10_000, 20));
    script.screen.set(Some((40, 6)));
    script.keys.borrow_mut().extend(['q']);
    let said = script.said(&["top"]);
    assert_eq!(said.status, Status::SUCCESS);
    let drawn = said.out.strip_prefix("\x1b[?1049h\x1b[?25l\x1b[H").expect("another screen");
    let drawn = drawn.strip_suffix("\x1b[J\x1b[?25h\x1b[?1049l").expect("and back");
    let lines: Vec<_> = drawn.split("\r\n").collect();
    assert_eq!(lines.len(), 6, "{drawn:?}");
    let plain = |line: &str| line.replace("\x1b[7m", "").replace("\x1b[0m", "").replace("\x1b[K", "");
    assert!(lines.iter().all(|line| plain(line).chars().count() <= 40), "{lines:?}");
    assert_eq!(plain(lines[0]), "top - k, up 00:00:10, averages since the");
}

#[test]
fn another_size_is_drawn_at_once_and_any_key_makes_the_next_sample() {
    let script = script();
    script.screen.set(Some((80, 24)));
    script.sizes.borrow_mut().extend([(80, 24), (80, 24), (20, 5), (20, 5)]);
    script.keys.borrow_mut().extend(['\0', ' ', 'q']);
    let said = script.said(&["top"]);
    assert_eq!(
        said.out.matches("\x1b[H").count(),
        3,
        "both sizes of the first sample, and the second: {:?}",
        said.out
    );
    assert!(said.out.contains("up 00:00:14"), "{:?}", said.out);
}

#[test]
fn it_ends_with_an_interrupt_and_needs_a_terminal_or_b() {
    let script = Script::new(answers(10, 0, 0));
    script.interrupted_at.set(Some(core::time::Duration::from_millis(500)));
    let said = script.said(&["top", "-b"]);
    assert_eq!((said.status, said.out.matches("top - ").count()), (Status::SUCCESS, 1));
    let refused = Script::default().said(&["top"]);
    assert_eq!(refused.err, "top: no terminal to draw on; -b prints without one\n");
    for words in [["top", "-d", "0"], ["top", "-n", "0"], ["top", "-d", "soon"]] {
        assert_eq!(Script::default().said(&words).status, Status::FAILURE, "{words:?}");
    }
}
