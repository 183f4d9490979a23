//! arp as a whole, with a scripted kernel; layout and refusals are those of NetBSD's transcripts.

use rumpnet_proto::{ControlError, Errno, Operation};
use serde_json::json;

use super::*;
use crate::scripted::{Said, Script};

type Answer = Result<Reply, ControlError>;

#[track_caller]
fn said(line: &str, calls: impl IntoIterator<Item = (Request, Answer)>) -> Said {
    Script::new(calls).said(&line.split_whitespace().collect::<Vec<_>>())
}

fn neighbor(address: &str, link_address: Option<&str>, state: NeighborState) -> NeighborReport {
    NeighborReport {
        address: address.parse().unwrap(),
        link_address: link_address.map(|link| link.parse().unwrap()),
        interface: "virt0".parse().unwrap(),
        state,
        published: false,
        expires_in_ns: None,
        waiting: 0,
    }
}

fn learned() -> NeighborReport {
    let expires_in_ns = Some(1_199_999_999_999);
    NeighborReport {
        expires_in_ns,
        ..neighbor("10.0.0.1", Some("72:c4:a3:dd:7c:4c"), NeighborState::Reachable)
    }
}

fn set_by_hand() -> NeighborReport {
    neighbor("10.0.0.50", Some("02:11:22:33:44:55"), NeighborState::Permanent)
}

fn pages() -> [(Request, Answer); 2] {
    let incomplete = NeighborReport { waiting: 3, ..neighbor("10.0.0.9", None, NeighborState::Incomplete) };
    let published = NeighborReport { published: true, ..set_by_hand() };
    let other_family = neighbor("fe80::1", Some("72:c4:a3:dd:7c:4c"), NeighborState::Stale);
    let next = Some((2, learned().address));
    let first = Reply::Neighbors { neighbors: vec![learned()], next };
    let second = Reply::Neighbors { neighbors: vec![incomplete, published, other_family], next: None };
    [(Request::Neighbors { after: None }, Ok(first)), (Request::Neighbors { after: next }, Ok(second))]
}

fn change() -> NeighborChange {
    NeighborChange {
        address: "10.0.0.50".parse().unwrap(),
        link_address: "02:11:22:33:44:55".parse().unwrap(),
        temporary: false,
        published: false,
    }
}

#[test]
fn every_page_is_shown_as_netbsds_arp_shows_it() {
    let all = "? (10.0.0.1) at 72:c4:a3:dd:7c:4c on virt0\n\
               ? (10.0.0.9) at (incomplete) on virt0\n\
               ? (10.0.0.50) at 02:11:22:33:44:55 on virt0 permanent published\n";
    for line in ["arp -a", "arp -n -a", "arp -an"] {
        assert_eq!(said(line, pages()).out, all, "{line}");
    }
    let verbose = said("arp -av", pages()).out;
    assert!(verbose.contains("on virt0 [reachable, 1199 s left]\n"), "{verbose}");
    assert!(verbose.contains("(incomplete) on virt0 [incomplete, 3 packets waiting]\n"), "{verbose}");
}

#[test]
fn one_neighbour_is_shown_and_an_unknown_one_is_no_entry() {
    assert_eq!(said("arp 10.0.0.1", pages()).out, "? (10.0.0.1) at 72:c4:a3:dd:7c:4c on virt0\n");
    let unknown = said("arp 10.0.0.77", pages());
    let expected = (Status::FAILURE, "arp: 10.0.0.77 (10.0.0.77) -- no entry\n");
    assert_eq!((unknown.status, unknown.err.as_str()), expected);
}

#[test]
fn a_neighbour_is_set_by_hand() {
    for (how, temporary, published) in
        [("", false, false), ("temp", true, false), ("pub", false, true), ("temp pub proxy", true, true)]
    {
        let call =
            (Request::AddNeighbor(NeighborChange { temporary, published, ..change() }), Ok(Reply::Done));
        let said = said(&format!("arp -s 10.0.0.50 02:11:22:33:44:55 {how}"), [call]);
        assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (Status::SUCCESS, "", ""), "{how}");
    }
}

#[test]
fn what_cannot_be_set_is_refused_in_netbsds_words() {
    let refused = |errno| Err(ControlError::new(Operation::Neighbor, "10.0.0.50", errno));
    let off_net =
        said("arp -s 10.0.0.50 02:11:22:33:44:55", [(Request::AddNeighbor(change()), refused(Errno::Srch))]);
    assert_eq!(
        (off_net.status, off_net.err.as_str()),
        (Status::FAILURE, "arp: writing to routing socket: No such process\n")
    );
    let junk = said("arp -s 10.0.0.51 junk", []);
    assert_eq!(
        (junk.status, junk.err.as_str()),
        (Status::FAILURE, "arp: invalid link-level address 'junk'\n")
    );
    let delete = Request::DeleteNeighbor { address: "10.0.0.50".parse().unwrap() };
    let absent = said("arp -d 10.0.0.50", [(delete, refused(Errno::NoEnt))]);
    let expected = (Status::FAILURE, "arp: writing to routing socket: No such file or directory\n");
    assert_eq!((absent.status, absent.err.as_str()), expected);
}

#[test]
fn a_neighbour_is_deleted_and_with_v_it_says_so() {
    let call = || (Request::DeleteNeighbor { address: "10.0.0.50".parse().unwrap() }, Ok(Reply::Done));
    assert_eq!(said("arp -d 10.0.0.50", [call()]).out, "");
    assert_eq!(said("arp -vd 10.0.0.50", [call()]).out, "10.0.0.50 (10.0.0.50) deleted\n");
    assert_eq!(said("arp -d 10.0.0.50 proxy", [call()]).status, Status::SUCCESS);
}

#[test]
fn all_are_deleted_page_after_page() {
    let flush = |count| (Request::FlushNeighbors { permanent: true }, Ok(Reply::Value(count)));
    assert_eq!(said("arp -d -a", [flush(64), flush(7), flush(0)]).out, "");
    assert_eq!(said("arp -adv", [flush(7), flush(0)]).out, "7 entries deleted\n");
    let report = said("arp -d -a --json", [flush(64), flush(7), flush(0)]).json();
    assert_eq!(report["deleted_neighbors"], json!(71));
}

#[test]
fn files_are_refused_with_the_reason() {
    let said = said("arp -f table", []);
    assert_eq!(said.err, "arp: table: the tools open no files; use -s for each entry\n");
}

#[test]
fn words_that_make_no_sense_are_refused() {
    for line in [
        "arp",
        "arp -d",
        "arp -s 10.0.0.1",
        "arp -s 10.0.0.1 02:11:22:33:44:55 proxy",
        "arp -s 10.0.0.1 02:11:22:33:44:55 blackhole",
        "arp -a 10.0.0.1",
        "arp 10.0.0.1 10.0.0.2",
        "arp example.org",
        "arp fe80::1",
        "arp -a -s",
    ] {
        let said = said(line, []);
        assert_eq!((said.status, said.out.as_str()), (Status::FAILURE, ""), "{line}");
        assert!(said.err.starts_with("arp: "), "{line}: {}", said.err);
    }
}

#[test]
fn the_json_has_states_and_times_in_nanoseconds() {
    let report = said("arp -a --json", pages()).json();
    let first = json!({
        "address": "10.0.0.1", "link_address": "72:c4:a3:dd:7c:4c", "interface": "virt0", "state": "reachable",
        "published": false, "expires_in_ns": 1_199_999_999_999u64, "waiting_packets": 0,
    });
    assert_eq!(report["neighbors"][0], first);
    assert_eq!(report["neighbors"][1]["link_address"], json!(null));
}
