//! Buses in files between processes: servers that meet there, what is left of them, and those that are killed over it.

mod support;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rumpnet_tools::captures;
use support::{Directory, Namespace, Said, Server, eventually, require};

/// A server on a bus, which needs nothing of the host.
fn member<'a>(namespace: &'a Namespace, bus: &Path, number: u8) -> Server<'a> {
    let server = Server::start(namespace, &[]);
    server.rump("ifconfig bus0 create").ok();
    server.rump(&format!("ifconfig bus0 linkstr {}", bus.display())).ok();
    server.rump(&format!("ifconfig bus0 10.0.0.{number}/24")).ok();
    server
}

/// Runs a program of ours by a name that it may be called by.
fn named(directory: &Directory, line: &str) -> Said {
    let rump = env!("CARGO_BIN_EXE_rump");
    let links = directory.path().join("links");
    let made = Command::new(rump).arg("links").arg(&links).status().expect("rump was built");
    assert!(made.success());
    let mut words = line.split_whitespace();
    let program = links.join(words.next().expect("a program"));
    Command::new(program).args(words).current_dir(directory.path()).output().expect("it was linked").into()
}

/// Runs `rump` in a directory.
fn rump(directory: &Directory, line: &str) -> Said {
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_rump")]).args(line.split_whitespace());
    command.current_dir(directory.path()).output().expect("timeout is there (package coreutils)").into()
}

/// A field of each packet of a capture that passes a filter, as tshark reads them.
fn tshark(path: &Path, filter: &str, field: &str) -> Vec<String> {
    require("tshark", "tshark");
    let said: Said = Command::new("tshark")
        .arg("-r")
        .arg(path)
        .args(["-Y", filter, "-T", "fields", "-e", field])
        .output()
        .expect("it is there")
        .into();
    said.ok().lines().map(str::to_owned).collect()
}

/// A classic capture of so many frames that nobody is to hear, each full of its own octet.
fn capture(directory: &Directory, name: &str, frames: u32) {
    let mut file = captures::classic_header(65_535).to_vec();
    for number in 0..frames {
        let len = 60 + number % 1400;
        let mut frame = vec![number as u8; len as usize];
        frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 0x66, 0x88, 0xb5]);
        file.extend(captures::classic_record(1_700_000_000_000_000_000 + u64::from(number) * 1000, len));
        file.extend(frame);
    }
    std::fs::write(directory.path().join(name), file).expect("a writable directory");
}

#[test]
fn servers_of_three_processes_meet_on_a_file_and_a_capture_sees_it() {
    let (directory, namespaces) = (Directory::new(), [Namespace::new(), Namespace::new(), Namespace::new()]);
    let bus = directory.path().join("lan");
    let servers: Vec<_> = (1..).zip(&namespaces).map(|(number, home)| member(home, &bus, number)).collect();
    for from in &servers {
        for number in 1..=3 {
            from.rump(&format!("ping -c 2 -i 0.05 10.0.0.{number}")).ok();
        }
    }
    let shown = servers[0].rump("ifconfig -v bus0").ok();
    assert!(shown.contains(&format!(
        "\tlinkstr: {}\n\tmedia: Ethernet autoselect\n\tstatus: active\n",
        bus.display()
    )));
    assert!(shown.contains("\tbus: 0 packets overrun\n"), "{shown}");
    let path = directory.path().join("capture.pcapng");
    let seen = std::thread::scope(|scope| {
        let seen = scope.spawn(|| servers[1].rump(&format!("tcpdump -i bus0 -c 4 -w {}", path.display())));
        eventually("the capture has begun", || path.exists());
        servers[0].rump("ping -c 4 -i 0.05 10.0.0.2").ok();
        seen.join().expect("no panic")
    });
    assert_eq!(seen.status, 0, "{}", seen.err);
    assert!(tshark(&path, "icmp", "ip.src").contains(&"10.0.0.1".to_owned()));
}

#[test]
fn a_relative_path_means_what_it_means_where_the_tool_runs() {
    let (directory, namespace) = (Directory::new(), Namespace::new());
    let server = Server::start(&namespace, &[]);
    let ask = |line: &str| rump(&directory, &format!("--server {} {line}", server.url()));
    ask("ifconfig shmif0 create linkstr here/lan").refused();
    ask("ifconfig shmif0 linkstr lan").ok();
    assert!(directory.path().join("lan").exists());
    let shown = server.rump("ifconfig shmif0").ok();
    assert!(shown.contains(&format!("\tlinkstr: {}/lan\n", directory.path().display())), "{shown}");
}

#[test]
fn what_a_bus_has_kept_is_read_when_all_its_servers_were_killed() {
    let (directory, namespace) = (Directory::new(), Namespace::new());
    let bus = directory.path().join("lan");
    let (mut one, mut two) = (member(&namespace, &bus, 1), member(&namespace, &bus, 2));
    one.rump("ping -c 3 -i 0.05 10.0.0.2").ok();
    one.kill();
    two.kill();
    let said = rump(&directory, "bus dump -w kept.pcapng lan");
    assert_eq!(said.status, 0, "{}", said.err);
    assert!(said.err.contains(" frames written, 0 overrun\n"), "{}", said.err);
    let kept = directory.path().join("kept.pcapng");
    assert_eq!(tshark(&kept, "icmp.type == 8", "ip.src"), ["10.0.0.1"; 3]);
    assert_eq!(tshark(&kept, "icmp.type == 0", "ip.src"), ["10.0.0.2"; 3]);
    assert!(tshark(&kept, "_ws.malformed", "frame.number").is_empty());
    let names = tshark(&kept, "icmp", "frame.interface_name");
    assert!(
        names.contains(&"lan#0".to_owned()) && names.contains(&"lan#1".to_owned()),
        "who sent it: {names:?}"
    );
    let times = tshark(&kept, "icmp", "frame.time_epoch");
    // The same times again, from the other program and in the other format.
    let said = named(&directory, "shmif_dumpbus -p kept.pcap lan").ok();
    assert!(said.starts_with("bus version 1, generation: 0, firstoff: 0x1000, lastoff: 0x"), "{said}");
    assert!(said.contains("\npacket 0, offset 0x1000, length 0x"), "{said}");
    let classic = tshark(&directory.path().join("kept.pcap"), "icmp", "frame.time_epoch");
    let micros = |times: &[String]| {
        let micros =
            |time: &String| time.split_once('.').map(|(seconds, part)| format!("{seconds}.{part:.6}"));
        times.iter().map(|time| micros(time).expect("seconds and their parts")).collect::<Vec<_>>()
    };
    assert_eq!(micros(&classic), micros(&times));
    assert_eq!(named(&directory, "shmif_dumpbus -h lan").ok().lines().count(), 1);
}

#[test]
fn a_dump_that_follows_shows_what_comes() {
    let directory = Directory::new();
    capture(&directory, "one.pcap", 1);
    rump(&directory, "bus inject lan one.pcap").ok();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rump"))
        .args(["bus", "dump", "-f", "-w", "out.pcapng", "lan"])
        .current_dir(directory.path())
        .spawn()
        .expect("rump was built");
    let out = directory.path().join("out.pcapng");
    let seen = || {
        let file = std::fs::read(&out).unwrap_or_default();
        captures::packets(&file).map_or(0, |packets| packets.flatten().count())
    };
    eventually("what was kept is seen", || seen() == 1);
    capture(&directory, "more.pcap", 500);
    rump(&directory, "bus inject lan more.pcap").ok();
    eventually("what comes is seen", || seen() == 501);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn a_capture_goes_onto_a_bus_and_comes_back_as_it_was() {
    let directory = Directory::new();
    capture(&directory, "in.pcap", 700);
    assert_eq!(named(&directory, "shmif_pcapin in.pcap lan").ok(), "700 frames put on lan\n");
    named(&directory, "shmif_dumpbus -p out.pcap lan").ok();
    let read = |name: &str| std::fs::read(directory.path().join(name)).expect("it was written");
    let (before, after) = (read("in.pcap"), read("out.pcap"));
    let packets = |file: &[u8]| -> Vec<(u64, Vec<u8>)> {
        let packets = captures::packets(file).expect("a capture");
        packets
            .map(|packet| packet.expect("whole"))
            .map(|packet| (packet.time_ns, packet.data.to_vec()))
            .collect()
    };
    assert_eq!(packets(&after), packets(&before), "with their times");
    // pcapng goes in as well, and then the bus says when it came.
    rump(&directory, "bus dump -w out.pcapng lan").ok();
    rump(&directory, "bus inject other out.pcapng").ok();
    rump(&directory, "bus dump -w other.pcapng other").ok();
    let other = packets(&read("other.pcapng"));
    assert!(other.iter().map(|(_, data)| data).eq(packets(&before).iter().map(|(_, data)| data)));
    assert!(other.iter().all(|(time_ns, _)| *time_ns > 1_750_000_000_000_000_000));
}

#[test]
fn a_kernel_hears_what_is_injected() {
    let (directory, namespace) = (Directory::new(), Namespace::new());
    let server = member(&namespace, &directory.path().join("lan"), 1);
    capture(&directory, "in.pcap", 58);
    let before = server.interface("bus0")["interfaces"][0]["input"]["packets"].as_u64().expect("a number");
    rump(&directory, "bus inject lan in.pcap").ok();
    eventually("it has come in", || {
        server.interface("bus0")["interfaces"][0]["input"]["packets"].as_u64() == Some(before + 58)
    });
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let directory = Directory::new();
    std::fs::write(directory.path().join("letter"), b"dear all").expect("a writable directory");
    let said = |line: &str| rump(&directory, line).refused();
    assert_eq!(said("bus dump -w x letter"), "rump bus dump: letter: the file is no bus (ENOEXEC)\n");
    assert_eq!(
        said("bus dump -w x absent"),
        "rump bus dump: absent: No such file or directory (os error 2)\n"
    );
    assert!(said("bus dump -w x mem:lan").contains("private to its process"));
    assert_eq!(
        said("bus inject lan letter"),
        "rump bus inject: letter: neither pcap nor pcapng (at octet 0)\n"
    );
    let mut raw = captures::classic_header(65_535).to_vec();
    raw[20] = 101;
    raw.extend(captures::classic_record(0, 3));
    raw.extend(b"abc");
    std::fs::write(directory.path().join("raw"), raw).expect("a writable directory");
    let reason = said("bus inject lan raw");
    assert_eq!(reason, "rump bus inject: raw: packet 1: its link type is 101, and not Ethernet (1)\n");
    assert!(!directory.path().join("lan").exists(), "nothing was made for what cannot go there");
    let refused = named(&directory, "shmif_dumpbus letter").refused();
    assert_eq!(refused, "shmif_dumpbus: letter: the file is no bus (ENOEXEC)\n");
}

#[test]
fn a_bus_is_its_owners_alone_until_he_says_otherwise() {
    let directory = Directory::new();
    capture(&directory, "in.pcap", 1);
    rump(&directory, "bus inject lan in.pcap").ok();
    let nobody = |words: &str| -> Said {
        let line = format!(
            "exec setpriv --reuid 65534 --regid 65534 --clear-groups {} {words}",
            env!("CARGO_BIN_EXE_rump")
        );
        Command::new("sh")
            .args(["-c", &line])
            .current_dir(directory.path())
            .output()
            .expect("sh is there")
            .into()
    };
    let refused = nobody("bus dump -w - lan | cat");
    assert!(refused.err.contains("lan: Permission denied"), "{}", refused.err);
    Command::new("chmod").arg("644").arg(directory.path().join("lan")).status().expect("chmod is there");
    let dumped = nobody("bus dump -w - lan | wc -c");
    assert!(dumped.err.contains("1 frames written"), "{}", dumped.err);
    let refused = nobody("bus inject lan in.pcap").refused();
    assert!(refused.contains("lan: Permission denied"), "reading is no right to write: {refused}");
}

/// Random numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn members_that_are_killed_while_they_send_hold_nobody_up_and_spoil_nothing() {
    let (directory, namespace) = (Directory::new(), Namespace::new());
    let bus = directory.path().join("lan");
    let (one, _two) = (member(&namespace, &bus, 1), member(&namespace, &bus, 2));
    capture(&directory, "storm.pcap", 20_000);
    let mut random = Random(7);
    let inject = || -> Child {
        Command::new(env!("CARGO_BIN_EXE_rump"))
            .args(["bus", "inject", "lan", "storm.pcap"])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("rump was built")
    };
    let mut killed = 0;
    for _ in 0..40 {
        let mut crowd: Vec<Child> = (0..3).map(|_| inject()).collect();
        for child in &mut crowd {
            std::thread::sleep(Duration::from_micros(10_000 + random.below(30_000)));
            child.kill().expect("it is ours");
            killed += usize::from(!child.wait().expect("it ends").success());
        }
    }
    assert!(killed > 60, "they were killed while they sent: {killed}");
    one.rump("ping -c 3 -i 0.05 10.0.0.2").ok();
    let report = &one.interface("bus0")["interfaces"][0];
    assert!(
        report["drops"].as_array().expect("a list").iter().all(|drop| drop["reason"] != "LinkRunt"),
        "{report}"
    );
    // Every frame that was kept is one that somebody sent, whole.
    rump(&directory, "bus dump -w kept.pcapng lan").ok();
    let file = std::fs::read(directory.path().join("kept.pcapng")).expect("it was written");
    let mut whole = 0;
    for packet in captures::packets(&file).expect("a capture") {
        let data = packet.expect("ours").data;
        if data[12..14] == [0x88, 0xb5] {
            assert!(data[14..].iter().all(|octet| *octet == data[14]), "a torn frame");
            whole += 1;
        }
    }
    assert!(whole > 1000, "{whole}");
}
