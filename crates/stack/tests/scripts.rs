//! TCP by scripts in packetdrill's format: each file under `tests/scripts/tcp` is written from the text of an RFC, which its first lines name, and says
//! segment by segment and to the millisecond what must be sent. They are run in virtual time, and none may be skipped.

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
fn icmp_errors_are_believed_as_scripts_say() {
    run("icmp");
}

#[test]
fn congestion_marks_are_echoed_and_answered_as_scripts_say() {
    run("ecn");
}
