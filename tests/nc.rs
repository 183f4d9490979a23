//! `rump nc` beside netcat-openbsd: the same words get the same texts, exit statuses and ends, and each talks to the other.

mod support;

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    thread,
};

use support::{Namespace, Said, Server, eventually, require};

/// The kernel's address and the host's.
const OURS: &str = "10.0.0.2";
const HOSTS: &str = "10.0.0.1";

fn up(namespace: &Namespace) -> Server<'_> {
    require("nc.openbsd", "netcat-openbsd");
    let server = Server::start(namespace, &[]);
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt0 inet 10.0.0.2/24").ok();
    namespace.sh("ip addr add 10.0.0.1/24 dev tap0").ok();
    server
}

/// One netcat of the two: whose address it has, and how it is called.
struct Netcat<'a> {
    namespace: &'a Namespace,
    server: Option<&'a Server<'a>>,
}

impl Netcat<'_> {
    fn command(&self, words: &str) -> Command {
        let mut command = self.namespace.command("timeout");
        command.arg("30");
        match self.server {
            Some(server) => {
                command.arg(env!("CARGO_BIN_EXE_rump")).arg("--server").arg(server.url()).arg("nc")
            }
            None => command.args(["nc.openbsd", "-n"]),
        };
        command.args(words.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, words: &str) -> Child {
        self.command(words).spawn().expect("timeout is there (package coreutils)")
    }

    /// Runs it with something on its standard input, which then ends.
    fn run(&self, words: &str, input: &[u8]) -> Said {
        let mut child = self.start(words);
        // One that takes no input may be gone already.
        let _unread = child.stdin.take().expect("piped").write_all(input);
        child.wait_with_output().expect("it ran").into()
    }

    /// Starts one that listens at a port, and waits until it does.
    fn listen(&self, words: &str, port: u16) -> Child {
        let child = self.start(words);
        eventually("it listens", || match self.server {
            Some(server) => server.rump("netstat -an").ok().contains(&format!(".{port} ")),
            None => self.namespace.sh("ss -Hlntu").ok().contains(&format!(":{port} ")),
        });
        child
    }
}

/// Both, and each with the other's address as its peer's.
fn both<'a>(namespace: &'a Namespace, server: &'a Server<'a>) -> [(Netcat<'a>, &'static str); 2] {
    [(Netcat { namespace, server: Some(server) }, HOSTS), (Netcat { namespace, server: None }, OURS)]
}

/// What was said, with the addresses of both sides made the same.
fn alike(said: &Said) -> (i32, String, String) {
    (
        said.status,
        said.out.clone(),
        said.err.replace(HOSTS, "PEER").replace(OURS, "PEER").replace("nc.openbsd: ", "nc: "),
    )
}

/// Asks both the same, `PEER` being the other's address, and holds them to the same answer.
fn assert_alike(namespace: &Namespace, server: &Server<'_>, words: &str, input: &[u8]) -> Said {
    let [ours, theirs] =
        both(namespace, server).map(|(netcat, peer)| netcat.run(&words.replace("PEER", peer), input));
    assert_eq!(alike(&ours), alike(&theirs), "{words}");
    ours
}

#[test]
fn refusals_are_told_in_the_same_words() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    for words in [
        "-v PEER 1",
        "PEER 1",
        "-vz PEER 1-2",
        "-v -w 2 PEER 1",
        "PEER abc",
        "PEER 99999",
        "PEER 0",
        "PEER",
        "-l",
        "nohost 80",
        "-w x PEER 1",
        "-q x PEER 1",
        "-lz 1234",
        "-v -s 10.77.0.1 PEER 1",
        "-p 4444 -vz PEER 1",
        "-lv 10.1.2.3 4000",
        "-uvz PEER 1",
    ] {
        assert_eq!(assert_alike(&namespace, &server, words, b"").status, 1, "{words}");
    }
    // Somebody who is not there, and is not answered for.
    namespace.sh("ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev tap0").ok();
    server.rump("arp -s 10.0.0.9 02:00:00:00:00:09").ok();
    assert_eq!(assert_alike(&namespace, &server, "-v -w 1 10.0.0.9 80", b"").status, 1);
}

#[test]
fn a_file_goes_each_way_by_tcp_and_its_end_ends_both() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let data: Vec<u8> = (0..3_000_000u32).map(|place| (place * 31 + place / 251) as u8).collect();
    for [(listener, _), (client, peer)] in [both(&namespace, &server), {
        let [a, b] = both(&namespace, &server);
        [b, a]
    }] {
        let mut listening = listener.listen("-l -v 4000", 4000);
        drop(listening.stdin.take());
        let mut out = listening.stdout.take().expect("piped");
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            out.read_to_end(&mut all).expect("open");
            all
        });
        let said = client.run(&format!("-N -v {peer} 4000"), &data);
        assert_eq!(said.status, 0, "{}", said.err);
        assert_eq!(said.err, format!("Connection to {peer} 4000 port [tcp/*] succeeded!\n"));
        let served: Said = listening.wait_with_output().expect("it ran").into();
        assert!(reader.join().expect("no panic") == data, "byte for byte");
        assert_eq!(served.status, 0);
        let [first, second] =
            [served.err.lines().next(), served.err.lines().nth(1)].map(Option::unwrap_or_default);
        assert_eq!(first, "Listening on 0.0.0.0 4000");
        assert!(second.starts_with("Connection received on 10.0.0."), "{second}");
    }
}

#[test]
fn what_a_server_says_and_its_end_reach_the_client() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    for [(listener, _), (client, peer)] in [both(&namespace, &server), {
        let [a, b] = both(&namespace, &server);
        [b, a]
    }] {
        let mut listening = listener.listen("-lN 4001", 4001);
        listening.stdin.take().expect("piped").write_all(b"from the server").expect("it reads");
        let said = client.run(&format!("{peer} 4001"), b"");
        assert_eq!((said.status, said.out.as_str()), (0, "from the server"));
        assert_eq!(listening.wait_with_output().expect("it ran").status.code(), Some(0));
    }
}

#[test]
fn it_ends_after_its_time_of_silence_or_after_the_end_of_its_input() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    for [(listener, _), (client, peer)] in [both(&namespace, &server), {
        let [a, b] = both(&namespace, &server);
        [b, a]
    }] {
        for words in ["-q 0", "-q 1", "-w 1"] {
            let listening = listener.listen("-l 4002", 4002);
            let said = client.run(&format!("{words} {peer} 4002"), b"data");
            assert_eq!((said.status, said.out.as_str()), (0, ""), "{words}");
            let served: Said = listening.wait_with_output().expect("it ran").into();
            assert_eq!((served.status, served.out.as_str()), (0, "data"), "{words}");
        }
        // The same of a server.
        let listening = listener.listen("-l -w 1 4003", 4003);
        let mut connected = client.start(&format!("{peer} 4003"));
        assert_eq!(listening.wait_with_output().expect("it ran").status.code(), Some(0));
        drop(connected.stdin.take());
        assert_eq!(connected.wait().expect("it ran").code(), Some(0));
    }
}

#[test]
fn datagrams_go_each_way_and_the_first_sender_is_the_peer() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    for [(listener, _), (client, peer)] in [both(&namespace, &server), {
        let [a, b] = both(&namespace, &server);
        [b, a]
    }] {
        let mut listening = listener.listen("-u -l -v -W 1 4004", 4004);
        listening.stdin.take().expect("piped").write_all(b"and back\n").expect("it reads");
        let said = client.run(&format!("-u -W 1 {peer} 4004"), b"there\n");
        assert_eq!((said.status, said.out.as_str()), (0, "and back\n"));
        let served: Said = listening.wait_with_output().expect("it ran").into();
        assert_eq!((served.status, served.out.as_str()), (0, "there\n"));
        assert!(
            served.err.starts_with("Bound on 0.0.0.0 4004\nConnection received on 10.0.0."),
            "{}",
            served.err
        );
        let mut listening = listener.listen("-u -l 4005", 4005);
        let said = client.run(&format!("-u -v -z -w 1 {peer} 4005"), b"");
        assert_eq!(
            (said.status, said.err),
            (0, format!("Connection to {peer} 4005 port [udp/*] succeeded!\n"))
        );
        listening.kill().expect("it runs");
        listening.wait().expect("it ran");
    }
}

#[test]
fn a_server_that_is_kept_takes_one_client_after_the_other() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let [(ours, _), (theirs, peer)] = both(&namespace, &server);
    let mut listening = ours.listen("-l -k -d 4006", 4006);
    let mut out = listening.stdout.take().expect("piped");
    for word in ["one", "two", "three"] {
        assert_eq!(theirs.run(&format!("-N {peer} 4006"), word.as_bytes()).status, 0);
        let mut came = vec![0; word.len()];
        out.read_exact(&mut came).expect("it is passed on");
        assert_eq!(came, word.as_bytes());
    }
    listening.kill().expect("it runs");
    listening.wait().expect("it ran");
}

#[test]
fn a_link_named_rump_nc_is_the_same_and_without_a_server_it_says_so() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let directory = support::Directory::new();
    let place = directory.path().display().to_string();
    namespace.rump(&format!("links {place}")).ok();
    let url = server.url();
    let said = namespace.sh(&format!("RUMP_SERVER={url} {place}/rump.nc -v {HOSTS} 1"));
    assert_eq!(said.refused(), format!("nc: connect to {HOSTS} port 1 (tcp) failed: Connection refused\n"));
    let said = namespace.sh(&format!("{place}/rump.nc --server {url} -v {HOSTS} 1"));
    assert_eq!(said.status, 1);
    let said = namespace.sh(&format!("{place}/rump.nc --server unix://{place}/nobody {HOSTS} 1"));
    assert!(said.refused().contains("no server there"));
}
