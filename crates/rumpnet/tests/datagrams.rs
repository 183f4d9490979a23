//! Datagram sockets of every kind, asked what the host's own are asked: each option's default and range, each refusal, each answer.
//!
//! The host's side is the program `datagrams.py` beside this file. Both have the same interface and address. Where a kernel of ours answers otherwise by
//! intention, the table `DIFFERENCES` says so with both answers, and an answer that agrees after all fails the test.

use std::{collections::BTreeMap, net::SocketAddr, process::Command};

use rumpnet::{Errno, ErrorOrigin, Kernel, MtuDiscovery, SendInfo, SocketOption, UdpSocket, link::channel};
use rumpnet_host::namespace::enter_own_network;
use rumpnet_sockets::Net as _;
use rumpnet_stack::{Shutdown, SocketId, SocketSettings, UdpSend};

/// What was asked, and the answer.
type Answers = BTreeMap<String, String>;

/// A question, the host's answer, ours, and why.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    (
        "ping default reuseaddr",
        "1",
        "0",
        "an identifier is of one socket, so that nobody hears the replies to another's requests",
    ),
    ("ping bind taken", "ok", "E98", "the same"),
    ("raw send at the end", "4", "E32", "what was shut down is shut down, whatever wrote the header"),
];

#[derive(Clone, Copy)]
enum Kind {
    Udp,
    Raw,
    Whole,
    Ping,
}

use Kind::{Ping, Raw, Udp, Whole};

const KINDS: [Kind; 4] = [Udp, Raw, Whole, Ping];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Udp => "udp",
            Raw => "raw",
            Whole => "whole",
            Ping => "ping",
        }
    }

    /// Something that it may send.
    fn good(self) -> Vec<u8> {
        match self {
            Udp | Raw => b"data".to_vec(),
            Whole => [header(), b"data".to_vec()].concat(),
            Ping => ECHO.to_vec(),
        }
    }
}

const ECHO: &[u8] = b"\x08\0\0\0\0\0\0\x01data";

/// An IP header as a user writes it who leaves to the kernel what that may write.
fn header() -> Vec<u8> {
    [&[0x45, 0, 0, 0, 0, 0, 0, 0, 0, 0x59, 0, 0, 0, 0, 0, 0][..], &[127, 0, 0, 1]].concat()
}

struct Ours {
    kernel: Kernel,
    said: Answers,
}

/// A socket of ours; it is closed when it goes.
struct Open<'a>(&'a Kernel, SocketId);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.enter(|stack, _| stack.udp_close(self.1)).expect("open until now");
    }
}

fn at(address: [u8; 4], port: u16) -> SocketAddr {
    (address, port).into()
}

const LOCALHOST: [u8; 4] = [127, 0, 0, 1];

impl<'a> Open<'a> {
    fn new(kernel: &'a Kernel, kind: Kind) -> Self {
        let id = kernel.enter(|stack, _| match kind {
            Udp => stack.udp_open(),
            Raw => stack.raw_open(89),
            Whole => stack.raw_open(255),
            Ping => stack.icmp_open(),
        });
        Self(kernel, id.expect("room"))
    }

    fn set(&self, option: SocketOption) -> Result<(), Errno> {
        self.0.enter(|stack, _| stack.udp_set_option(self.1, option))
    }

    fn settings(&self) -> SocketSettings {
        self.0.enter(|stack, _| stack.udp_settings(self.1)).expect("open")
    }

    fn bind(&self, local: SocketAddr) -> Result<(), Errno> {
        self.0.enter(|stack, _| stack.udp_bind(self.1, local)).map(drop)
    }

    fn connect(&self, remote: SocketAddr) -> Result<(), Errno> {
        self.0.enter(|stack, _| stack.udp_connect(self.1, remote))
    }

    fn send(&self, payload: &[u8], destination: Option<SocketAddr>, info: SendInfo) -> Result<usize, Errno> {
        let send = UdpSend { payload: payload.to_vec().into(), destination, info, ..UdpSend::default() };
        self.0.enter(|stack, now| stack.udp_send(now, self.1, [send])).map(|_| payload.len())
    }

    fn send_to(&self, payload: &[u8], to: SocketAddr) -> Result<usize, Errno> {
        self.send(payload, Some(to), SendInfo::default())
    }

    fn receive(&self) -> Result<(Vec<u8>, SocketAddr), Errno> {
        let received = self.0.enter(|stack, _| stack.udp_receive(self.1, false))?;
        Ok((received.payload.to_bytes().to_vec(), received.source))
    }

    fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.0.enter(|stack, _| stack.udp_addresses(self.1)).expect("open")
    }

    fn shut_down(&self, how: Shutdown) -> Result<(), Errno> {
        self.0.enter(|stack, now| stack.udp_shutdown(now, self.1, how))
    }
}

/// The value of an option by the name that the host's program gives it, as a number.
fn option(settings: &SocketSettings, name: &str) -> u32 {
    match name {
        "broadcast" => settings.broadcast.into(),
        "ttl" => settings.ttl.into(),
        "tos" => settings.tos.into(),
        "mtu_discover" => match settings.mtu_discovery {
            MtuDiscovery::Dont => 0,
            MtuDiscovery::Want => 1,
            MtuDiscovery::Do => 2,
        },
        "recverr" => settings.receive_errors.into(),
        "reuseaddr" => settings.reuse_address.into(),
        "reuseport" => settings.reuse_port.into(),
        "dontroute" => settings.dont_route.into(),
        other => panic!("{other}"),
    }
}

fn set_option(name: &str, value: u8) -> SocketOption {
    match name {
        "broadcast" => SocketOption::Broadcast(value != 0),
        "ttl" => SocketOption::Ttl(value),
        "tos" => SocketOption::Tos(value),
        "mtu_discover" => SocketOption::MtuDiscovery(
            [MtuDiscovery::Dont, MtuDiscovery::Want, MtuDiscovery::Do][usize::from(value)],
        ),
        "recverr" => SocketOption::ReceiveErrors(value != 0),
        "reuseaddr" => SocketOption::ReuseAddress(value != 0),
        "reuseport" => SocketOption::ReusePort(value != 0),
        "dontroute" => SocketOption::DontRoute(value != 0),
        other => panic!("{other}"),
    }
}

const VALUES: &[(&str, &[u8])] = &[
    ("broadcast", &[1]),
    ("ttl", &[0, 1, 255]),
    ("tos", &[0, 16, 255]),
    ("mtu_discover", &[0, 1, 2]),
    ("recverr", &[1, 0]),
    ("reuseaddr", &[1]),
    ("reuseport", &[1]),
    ("dontroute", &[1, 0]),
];

/// What a socket of ours says in place of `ok` or a value: an error by the host's number.
fn said<T>(answer: Result<T, Errno>, show: impl FnOnce(T) -> String) -> String {
    match answer {
        Ok(value) => show(value),
        Err(errno) => {
            format!("E{}", Kernel::error(errno).raw_os_error().expect("every errno has the host's number"))
        }
    }
}

impl Ours {
    fn tell(&mut self, name: String, answer: Result<(), Errno>) {
        self.said.insert(name, said(answer, |()| "ok".into()));
    }

    fn count(&mut self, name: String, answer: Result<usize, Errno>) {
        self.said.insert(name, said(answer, |count| count.to_string()));
    }

    fn ask_options(&mut self, kind: Kind) {
        let kernel = self.kernel.clone();
        let socket = Open::new(&kernel, kind);
        let of = kind.name();
        for (name, _) in VALUES {
            let value = option(&socket.settings(), name).to_string();
            self.said.insert(format!("{of} default {name}"), value);
        }
        self.said.insert(format!("{of} protocol"), socket.settings().protocol.to_string());
        if let Some(included) = socket.settings().header_included {
            self.said.insert(format!("{of} default hdrincl"), u8::from(included).to_string());
        }
        for (name, values) in VALUES {
            for value in *values {
                self.tell(format!("{of} set {name} {value}"), socket.set(set_option(name, *value)));
                self.said.insert(format!("{of} then {name}"), option(&socket.settings(), name).to_string());
            }
        }
        self.tell(format!("{of} hdrincl"), socket.set(SocketOption::HeaderIncluded(true)));
        self.tell(format!("{of} icmp_filter"), socket.set(SocketOption::IcmpFilter(1)));
        let device = |index: u32| socket.set(SocketOption::Interface(index));
        self.tell(format!("{of} device none"), device(99));
        let index = kernel.enter(|stack, _| stack.interface_index("virt0")).expect("there");
        self.tell(format!("{of} device"), device(index));
        self.tell(format!("{of} device off"), device(0));
    }

    fn ask_calls(&mut self, kind: Kind) {
        let kernel = self.kernel.clone();
        let open = || Open::new(&kernel, kind);
        let (of, good) = (kind.name(), kind.good());
        let none = SendInfo::default();
        self.count(format!("{of} send to nobody"), open().send(&good, None, none));
        self.count(format!("{of} send to all"), open().send_to(&good, at([10, 0, 0, 255], 9)));
        self.tell(format!("{of} connect to all"), open().connect(at([10, 0, 0, 255], 9)));
        for (name, address) in
            [("foreign", [10, 0, 0, 77]), ("broadcast", [10, 0, 0, 255]), ("group", [224, 0, 0, 9])]
        {
            self.tell(format!("{of} bind {name}"), open().bind(at(address, 0)));
        }
        let socket = open();
        self.tell(format!("{of} bind"), socket.bind(at([10, 0, 0, 1], 4000)));
        self.tell(format!("{of} bind again"), socket.bind(at([10, 0, 0, 1], 4001)));
        self.tell(format!("{of} bind taken"), open().bind(at([10, 0, 0, 1], 4000)));
        drop(socket);
        let mut long = good.clone();
        long.resize(65_536, 0);
        self.count(format!("{of} send too long"), open().send_to(&long, at(LOCALHOST, 9)));
        let peer = open().addresses().1.map(drop).ok_or(Errno::NotConn);
        self.tell(format!("{of} peer of nobody"), peer);
        self.tell(format!("{of} shutdown alone"), open().shut_down(Shutdown::Both));
        let socket = open();
        socket.connect(at(LOCALHOST, 4009)).expect("reachable");
        self.tell(format!("{of} shutdown"), socket.shut_down(Shutdown::Both));
        self.count(format!("{of} recv at the end"), socket.receive().map(|(bytes, _)| bytes.len()));
        self.count(format!("{of} send at the end"), socket.send(&good, None, none));
        let info = |info: SendInfo| open().send(&good, Some(at(LOCALHOST, 9)), info).map(drop);
        let from = |address: [u8; 4]| SendInfo { source: Some(address.into()), ..none };
        self.tell(format!("{of} pktinfo foreign"), info(from([10, 0, 0, 77])));
        self.tell(format!("{of} pktinfo no interface"), info(SendInfo { interface: Some(999), ..none }));
        self.tell(format!("{of} pktinfo"), info(from(LOCALHOST)));
        self.tell(format!("{of} ttl 0"), info(SendInfo { ttl: Some(0), ..none }));
        self.tell(format!("{of} ttl 9"), info(SendInfo { ttl: Some(9), ..none }));
    }

    fn ask_formats(&mut self) {
        let kernel = self.kernel.clone();
        let raw = kernel.enter(|stack, _| stack.raw_open(0)).map(drop);
        self.tell("raw of no protocol".into(), raw);
        let icmp = kernel.enter(|stack, _| stack.raw_open(1)).expect("room");
        let socket = Open(&kernel, icmp);
        let filter = socket.settings().icmp_filter.expect("it is of ICMP");
        self.said.insert("raw filter of icmp".into(), filter.to_string());
        let whole = |bytes: &[u8], to| Open::new(&kernel, Whole).send_to(bytes, at(to, 0));
        self.count("whole short".into(), whole(&header()[..19], LOCALHOST));
        let long_header = [&[0x4f][..], &header()[1..]].concat();
        self.count("whole long header".into(), whole(&long_header, LOCALHOST));
        let beyond = [header(), vec![0; 1500]].concat();
        self.count("whole beyond mtu".into(), whole(&beyond, [10, 0, 0, 9]));
        let ping = |bytes: &[u8]| Open::new(&kernel, Ping).send_to(bytes, at(LOCALHOST, 0));
        self.count("ping reply".into(), ping(&[&[0][..], &ECHO[1..]].concat()));
        self.count("ping code".into(), ping(&[&[8, 1][..], &ECHO[2..]].concat()));
        self.count("ping short".into(), ping(&ECHO[..7]));
    }

    fn ask_exchanges(&mut self) {
        let kernel = self.kernel.clone();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let ping = Open::new(&kernel, Ping);
        ping.bind(at(LOCALHOST, 77)).expect("free");
        ping.send_to(ECHO, at(LOCALHOST, 0)).expect("sent");
        let (got, who) = ping.receive().expect("answered");
        let shown = hex(&[&got[..1], &got[4..]].concat());
        self.said.insert("ping answer".into(), format!("{shown} {} {}", who.ip(), who.port()));
        let listener = Open::new(&kernel, Raw);
        Open::new(&kernel, Raw).send_to(b"hello", at(LOCALHOST, 0)).expect("sent");
        let (got, who) = listener.receive().expect("heard");
        let shown = hex(&[&got[..4], &got[8..10], &got[12..]].concat());
        self.said.insert("raw answer".into(), format!("{shown} {} {}", who.ip(), got.len()));
        self.ask_refusals();
        self.ask_kept_errors();
        self.ask_datagrams();
    }

    fn ask_refusals(&mut self) {
        let kernel = self.kernel.clone();
        let client = Open::new(&kernel, Udp);
        client.bind(at(LOCALHOST, 4010)).expect("free");
        client.connect(at(LOCALHOST, 4011)).expect("reachable");
        let send = || client.send(b"?", None, SendInfo::default());
        self.count("refused send".into(), send());
        self.count("refused recv".into(), client.receive().map(|(bytes, _)| bytes.len()));
        let left = kernel.enter(|stack, _| stack.udp_take_error(client.1)).expect("open");
        self.said
            .insert("refused then".into(), if left.is_none() { "0".into() } else { format!("{left:?}") });
        send().expect("sent");
        self.count("refused send again".into(), send());
        self.count("send aside".into(), client.send_to(b"aside", at(LOCALHOST, 4010)));
    }

    fn ask_kept_errors(&mut self) {
        let kernel = self.kernel.clone();
        let client = Open::new(&kernel, Udp);
        client.set(SocketOption::ReceiveErrors(true)).expect("known");
        client.send_to(b"question", at(LOCALHOST, 4011)).expect("sent");
        self.count("kept recv".into(), client.receive().map(|(bytes, _)| bytes.len()));
        let take = || kernel.enter(|stack, _| stack.udp_receive_error(client.1));
        let number = |errno: Errno| Kernel::error(errno).raw_os_error().expect("the host's");
        let kept = take().expect("kept");
        let ErrorOrigin::Icmp { kind, code } = kept.origin else { panic!("{kept:?}") };
        let payload = String::from_utf8_lossy(&kept.payload).into_owned();
        let (offender, port) = (kept.offender.expect("it was sent"), kept.destination.port());
        let errno = number(kept.errno);
        self.said.insert(
            "kept".into(),
            format!("{payload} {errno} 2 {kind} {code} {} {offender} {port}", kept.info),
        );
        self.tell("kept no more".into(), take().map(drop));
        client.set(SocketOption::MtuDiscovery(MtuDiscovery::Do)).expect("known");
        self.count("kept too long".into(), client.send_to(&[0; 2000], at([10, 0, 0, 9], 9)));
        let local = take().expect("kept");
        assert_eq!(local.origin, ErrorOrigin::Local);
        self.said.insert("kept local".into(), format!("{} 1 {}", number(local.errno), local.info));
    }

    /// Through the socket types, whose callers have buffers that may be too short.
    fn ask_datagrams(&mut self) {
        let kernel = self.kernel.clone();
        let server = UdpSocket::bind(&kernel, "0.0.0.0:4020").expect("free");
        let client = UdpSocket::bind(&kernel, "127.0.0.1:4021").expect("free");
        client.send_to(b"longer than nine", "127.0.0.1:4020").expect("sent");
        client.send_to(b"", "127.0.0.1:4020").expect("sent");
        let mut buffer = [0; 9];
        let (len, meta) = server.peek_meta(&mut buffer).expect("there");
        self.said.insert("peeked".into(), if meta.len > len { "cut".into() } else { len.to_string() });
        let (len, meta) = server.recv_meta(&mut buffer).expect("there");
        let (text, cut) = (String::from_utf8_lossy(&buffer[..len]), meta.len > len);
        let cut = if cut { "True" } else { "False" };
        self.said.insert("cut".into(), format!("{text} {cut} {}", meta.destination.ip()));
        let (len, who) = server.recv_from(&mut buffer).expect("there");
        self.said.insert("empty".into(), format!("{len} {}", who.port()));
        for (name, local, peer) in [
            ("disconnected bound", at([10, 0, 0, 1], 4030), [10, 0, 0, 1]),
            ("disconnected port", at([0, 0, 0, 0], 4031), LOCALHOST),
        ] {
            let socket = UdpSocket::bind(&kernel, local).expect("free");
            socket.connect(at(peer, 4011)).expect("reachable");
            socket.disconnect().expect("open");
            self.said.insert(name.into(), socket.local_addr().expect("bound").to_string());
        }
    }
}

fn answers_of_ours() -> Answers {
    let kernel = Kernel::boot().expect("boots");
    let (one, _other) = channel::pair();
    kernel.attach("virt0", Box::new(one), None).expect("room");
    kernel.add_address("virt0", "10.0.0.1/24".parse().expect("a prefix")).expect("free");
    let mut ours = Ours { kernel, said: Answers::new() };
    for kind in KINDS {
        ours.ask_options(kind);
    }
    for kind in KINDS {
        ours.ask_calls(kind);
    }
    ours.ask_formats();
    ours.ask_exchanges();
    ours.said
}

fn ip(words: &str) {
    let ran =
        Command::new("ip").args(words.split_whitespace()).output().expect("ip is there (package iproute2)");
    assert!(ran.status.success(), "ip {words}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn answers_of_host() -> Answers {
    ip("tuntap add dev virt0 mode tap");
    ip("addr add 10.0.0.1/24 brd + dev virt0");
    ip("link set virt0 up");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/datagrams.py");
    let ran = Command::new("timeout").args(["60", "python3", program]).output();
    let ran = ran.expect("timeout and python3 are there (packages coreutils, python3)");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).expect("the program prints text");
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, said)| (name.into(), said.into()))
        .collect()
}

#[test]
fn sockets_of_a_kernel_say_what_the_hosts_say() {
    enter_own_network().expect("a namespace needs root or user namespaces");
    let (ours, host) = (answers_of_ours(), answers_of_host());
    let names: Vec<_> = host.keys().chain(ours.keys().filter(|name| !host.contains_key(*name))).collect();
    let mut wrong = Vec::new();
    for name in names {
        let pair = (host.get(name).map_or("-", String::as_str), ours.get(name).map_or("-", String::as_str));
        let known = DIFFERENCES.iter().find(|(question, ..)| question == name);
        let wanted = known.map_or(pair.0 == pair.1, |(_, host, ours, _)| (*host, *ours) == pair);
        if !wanted {
            wrong.push(format!("{name}: the host says {}, ours {}", pair.0, pair.1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(host.len() > 150, "only {} were asked", host.len());
}
