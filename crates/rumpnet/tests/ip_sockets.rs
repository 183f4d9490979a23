//! Raw IP, ICMP and packet sockets of a kernel on a tap, against the host's own stack, each test in a network namespace of its own.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::{Command, Output},
    time::Duration,
};

use rumpnet::{
    Captured, ErrorOrigin, IcmpSocket, Kernel, PacketOption, PacketSocket, RawSocket, SocketOption,
    UdpSocket,
    bpf::{Instruction, Program},
    wire::{checksum, icmpv4::Message, ipv4},
};
use rumpnet_host::namespace::enter_own_network;

const PATIENCE: Duration = Duration::from_secs(20);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Runs ip(8) in this thread's namespace.
#[track_caller]
fn ip(words: &str) {
    let ran =
        Command::new("ip").args(words.split_whitespace()).output().expect("ip is there (package iproute2)");
    assert!(ran.status.success(), "ip {words}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Runs a Python program in this thread's namespace.
#[track_caller]
fn python(program: &str) -> String {
    let ran: Output = Command::new("timeout")
        .args(["60", "python3", "-c", program])
        .output()
        .expect("timeout and python3 are there (packages coreutils, python3)");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("the program prints text")
}

/// A kernel of 10.0.0.2 on `virt0`, whose other end is the host's of 10.0.0.1.
fn kernel() -> Kernel {
    enter_own_network().expect("these tests need root");
    let kernel = Kernel::boot().expect("boots");
    kernel.create("virt0").expect("these tests need root");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    ip("addr add 10.0.0.1/24 dev tap0");
    kernel
}

fn echo(sequence: u16, data: &[u8]) -> Vec<u8> {
    let message = Message::EchoRequest { identifier: 0, sequence };
    let mut sum = checksum::Sum::new();
    sum.add(data);
    [&message.to_bytes(sum)[..], data].concat()
}

#[test]
fn linux_pings_us_while_raw_sockets_listen_and_each_of_them_hears_it_all() {
    let kernel = kernel();
    let sockets = [1, 1].map(|protocol| RawSocket::open(&kernel, protocol).expect("room"));
    let program = "
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
s.settimeout(20)
def sum(b):
    t = 0
    for i in range(0, len(b), 2): t += b[i] << 8 | b[i + 1]
    while t >> 16: t = (t & 0xffff) + (t >> 16)
    return t ^ 0xffff
for n in range(10):
    m = struct.pack('!BBHHH', 8, 0, 0, 77, n) + b'data'
    m = m[:2] + struct.pack('!H', sum(m)) + m[4:]
    s.sendto(m, ('10.0.0.2', 0))
    while True:
        got = s.recv(999)
        if got[20] == 0 and got[24:28] == struct.pack('!HH', 77, n): break
    assert sum(got[20:]) == 0
print('answered')";
    assert_eq!(python(program).trim(), "answered");
    for socket in sockets {
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        for sequence in 0..10_u8 {
            let mut buffer = [0; 99];
            let (len, from) = socket.recv_from(&mut buffer).expect("a copy");
            let (header, message) = ipv4::Header::parse(&buffer[..len]).expect("the IP header comes first");
            assert_eq!((from, header.source), (HOST, Ipv4Addr::new(10, 0, 0, 1)));
            assert_eq!((message[0], message[7], &message[8..]), (8, sequence, &b"data"[..]));
        }
    }
}

#[test]
fn a_raw_packet_of_ours_is_what_a_raw_socket_of_linux_reads_and_the_reverse() {
    let kernel = kernel();
    let (plain, whole) =
        (RawSocket::open(&kernel, 89).expect("room"), RawSocket::open(&kernel, 255).expect("room"));
    plain.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let answering = std::thread::spawn(move || {
        // A thread begins in the namespace of the one that made it.
        python(
            "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
s.settimeout(20)
s.sendto(b'ready', ('10.0.0.2', 0))
for _ in range(3):
    got, who = s.recvfrom(9999)
    print(len(got), got[1], got[8], who[0], got[20:25].decode())",
        )
    });
    let mut buffer = [0; 99];
    let (len, from) = plain.recv_from(&mut buffer).expect("it is ready");
    assert_eq!((&buffer[20..len], from), (&b"ready"[..], HOST));
    plain.set_option(SocketOption::Tos(0x10)).expect("possible");
    plain.set_option(SocketOption::Ttl(9)).expect("possible");
    plain.send_to(b"plain", HOST).expect("sent");
    plain.send_to(&[&b"long "[..], &[7; 4995]].concat(), HOST).expect("sent in fragments");
    let written = ipv4::Header {
        ttl: 33,
        tos: 0x20,
        source: Ipv4Addr::new(10, 0, 0, 99),
        ..ipv4::Header::new(
            Ipv4Addr::UNSPECIFIED,
            Ipv4Addr::new(10, 0, 0, 1),
            rumpnet::wire::ip::Protocol(89),
            5,
        )
    };
    let mut packet = vec![0; 20];
    written.emit(&mut packet).expect("room");
    packet.extend_from_slice(b"whole");
    whole.send_to(&packet, HOST).expect("sent");
    let said = answering.join().expect("the host heard them");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["25 16 9 10.0.0.2 plain", "5020 16 9 10.0.0.2 long ", "25 32 33 10.0.0.99 whole"]
    );
}

#[test]
fn icmp_sockets_ping_linux_side_by_side_and_hear_its_refusals() {
    let kernel = kernel();
    let sockets = [(); 3].map(|()| IcmpSocket::open(&kernel).expect("room"));
    for (number, socket) in (0..).zip(&sockets) {
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        socket.send_to(&echo(number, b"data of mine"), HOST).expect("sent");
    }
    for (number, socket) in (0..).zip(&sockets) {
        let mut buffer = [0; 99];
        let (len, meta) = socket.recv_meta(&mut buffer).expect("answered");
        let (message, data) = Message::parse(&buffer[..len]).expect("a good message");
        let identifier = socket.local_addr().expect("bound").port();
        assert_eq!(message, Message::EchoReply { identifier, sequence: number });
        assert_eq!((data, meta.source.ip(), meta.ttl), (&b"data of mine"[..], HOST, 64));
    }
    // The host forwards nothing, but a router of it says that time has run out.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("these tests need root");
    ip("link add elsewhere type veth peer name there");
    ip("addr add 192.0.2.1/24 dev elsewhere");
    ip("link set elsewhere up");
    kernel
        .add_route("192.0.2.0/24".parse().expect("a prefix"), rumpnet::proto::NextHop::Gateway(HOST))
        .expect("free");
    let socket = &sockets[0];
    socket.set_option(SocketOption::ReceiveErrors(true)).expect("known");
    socket.set_option(SocketOption::Ttl(1)).expect("possible");
    socket.send_to(&echo(9, b"far away"), "192.0.2.9".parse().expect("literal")).expect("sent");
    let error = socket.recv(&mut [0; 9]).expect_err("time ran out");
    assert_eq!(error.raw_os_error(), Some(libc::EHOSTUNREACH));
    let told = socket.recv_error().expect("kept");
    assert_eq!((told.origin, told.offender), (ErrorOrigin::Icmp { kind: 11, code: 0 }, Some(HOST)));
    assert_eq!(&told.payload[8..], b"far away");
}

#[test]
fn errors_of_linux_about_datagrams_are_kept_with_their_causes() {
    let kernel = kernel();
    let socket = UdpSocket::bind(&kernel, "0.0.0.0:0").expect("free");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket.set_option(SocketOption::ReceiveErrors(true)).expect("known");
    socket.send_to(b"anybody?", "10.0.0.1:9").expect("sent");
    let refused = socket.recv(&mut [0; 9]).expect_err("nobody listens");
    assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
    let told = socket.recv_error().expect("kept");
    assert_eq!((told.origin, told.offender), (ErrorOrigin::Icmp { kind: 3, code: 3 }, Some(HOST)));
    assert_eq!(
        (&told.payload[..], told.destination),
        (&b"anybody?"[..], "10.0.0.1:9".parse().expect("literal"))
    );
}

#[test]
fn a_packet_socket_hears_linux_through_a_program_and_answers_on_the_link() {
    let kernel = kernel();
    let socket = PacketSocket::open(&kernel).expect("room");
    socket.attach("virt0").expect("there");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    // Frames of protocol 0x88b5, which is for experiments, and nothing else.
    let insn = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let program =
        [insn(0x28, 0, 0, 12), insn(0x15, 0, 1, 0x88b5), insn(0x06, 0, 0, u32::MAX), insn(0x06, 0, 0, 0)];
    socket.set_filter(Some(Program::new(&program).expect("good"))).expect("open");
    socket.set_option(PacketOption::Promiscuous(true)).expect("attached");
    let asking = std::thread::spawn(move || {
        python(
            "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
s.bind(('tap0', 0x88b5))
s.settimeout(20)
s.send(bytes([2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 9]) + b'\\x88\\xb5' + b'question' + bytes(40))
got = s.recv(999)
print(got[:6].hex(), got[6:12].hex(), got[14:20].decode(), len(got))",
        )
    });
    let mut heard: Vec<Captured> = Vec::new();
    socket.recv(&mut heard).expect("a frame");
    assert_eq!(
        (&heard[0].bytes[14..22], heard[0].original_len),
        (&b"question"[..], 62),
        "for another station"
    );
    let answer = [&heard[0].bytes[6..12], &[0; 6], b"\x88\xb5answer"].concat();
    socket.send(&answer).expect("up");
    let ours = kernel
        .interface("virt0")
        .expect("there")
        .link_address
        .expect("Ethernet")
        .to_string()
        .replace(':', "");
    let said = asking.join().expect("the host was answered");
    assert_eq!(said.trim(), format!("020000000009 {ours} answer 20"));
    let statistics = socket.statistics().expect("open");
    assert!(statistics.captured >= 1 && statistics.dropped == 0, "{statistics:?}");
}

#[test]
fn datagrams_go_by_the_source_that_a_call_names_and_tell_linux_where_to_answer() {
    let kernel = kernel();
    kernel.add_address("virt0", "10.0.0.3/24".parse().expect("a prefix")).expect("free");
    let server = UdpSocket::bind(&kernel, "0.0.0.0:7").expect("free");
    server.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let asking = std::thread::spawn(move || {
        python(
            "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
for to in '10.0.0.3', '10.0.0.2':
    s.sendto(b'?', (to, 7))
    print(s.recvfrom(9)[1][0])",
        )
    });
    for _ in 0..2 {
        let (_, meta) = server.recv_meta(&mut [0; 9]).expect("a question");
        // Answered from the address that was asked, as a program does with IP_PKTINFO.
        let info = rumpnet::SendInfo { source: Some(meta.destination.ip()), ..Default::default() };
        server.send_info(b"!", Some(meta.source), info).expect("sent");
    }
    assert_eq!(asking.join().expect("answered").lines().collect::<Vec<_>>(), ["10.0.0.3", "10.0.0.2"]);
}
