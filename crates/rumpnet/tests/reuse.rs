//! SO_REUSEADDR and SO_REUSEPORT: every row of the table, asked of the host's own sockets and of a kernel's, and flows shared by listeners.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    os::fd::OwnedFd,
};

use rumpnet::{Kernel, SocketOption, TcpListener, TcpSocket, TcpStream, UdpSocket};
use rumpnet_host::namespace::enter_own_network;
use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket, sockopt};

const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ALL: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// SO_REUSEADDR and SO_REUSEPORT.
type Reuse = (bool, bool);

const REUSES: [Reuse; 4] = [(false, false), (true, false), (false, true), (true, true)];

/// What the first socket has come to when the second is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Bound,
    Listening,
    /// It listens only once the second is bound, but before that one does.
    ListeningBetween,
    /// It has a peer, and its listener is gone.
    Connected,
    /// It closed first, and its listener is gone.
    TimeWait,
}

/// What the second one is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Fine,
    NotBound,
    NotListening,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    first: (Ipv4Addr, Reuse),
    before: Before,
    second: (Ipv4Addr, Reuse),
}

fn rows(befores: &[Before]) -> Vec<Row> {
    let mut rows = Vec::new();
    for &before in befores {
        for first in [A, ALL].into_iter().flat_map(|at| REUSES.map(|reuse| (at, reuse))) {
            let seconds = [A, B, ALL].into_iter().flat_map(|at| REUSES.map(|reuse| (at, reuse)));
            rows.extend(seconds.map(|second| Row { first, before, second }));
        }
    }
    rows
}

/// Any error but the one that the table speaks of ends the test.
fn told(result: io::Result<()>, refusal: Told) -> Told {
    match result {
        Ok(()) => Told::Fine,
        Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => refusal,
        Err(error) => panic!("{error}"),
    }
}

fn host_socket(kind: SocketType, reuse: Reuse) -> OwnedFd {
    let socket = socket(AddressFamily::INET, kind, None).expect("room");
    sockopt::set_socket_reuseaddr(&socket, reuse.0).expect("known");
    sockopt::set_socket_reuseport(&socket, reuse.1).expect("known");
    socket
}

fn port_of(socket: &OwnedFd) -> u16 {
    SocketAddrV4::try_from(getsockname(socket).expect("bound")).expect("IPv4").port()
}

fn tcp_on_host(row: &Row) -> Told {
    let first = host_socket(SocketType::STREAM, row.first.1);
    bind(&first, &SocketAddrV4::new(row.first.0, 0)).expect("any port");
    let port = port_of(&first);
    let mut kept = Vec::new();
    if !matches!(row.before, Before::Bound | Before::ListeningBetween) {
        listen(&first, 8).expect("alone");
    }
    if matches!(row.before, Before::Connected | Before::TimeWait) {
        let listener = std::net::TcpListener::from(first);
        let client = std::net::TcpStream::connect((A, port)).expect("answered");
        let server = listener.accept().expect("a connection").0;
        keep(row, (client, server), &mut kept);
    } else {
        kept.push(first);
    }
    let second = host_socket(SocketType::STREAM, row.second.1);
    let bound = bind(&second, &SocketAddrV4::new(row.second.0, port));
    match told(bound.map_err(Into::into), Told::NotBound) {
        Told::Fine => {
            if row.before == Before::ListeningBetween {
                listen(&kept[0], 8).expect("the first of the two");
            }
            told(listen(&second, 8).map_err(Into::into), Told::NotListening)
        }
        refused => refused,
    }
}

/// Keeps both ends of a connection, or closes them, the server first.
fn keep(row: &Row, ends: (std::net::TcpStream, std::net::TcpStream), kept: &mut Vec<OwnedFd>) {
    let (mut client, server) = ends;
    if row.before == Before::Connected {
        return kept.extend([client.into(), server.into()]);
    }
    drop(server);
    assert_eq!(client.read(&mut [0]).expect("the end"), 0);
}

fn tcp_on_kernel(kernel: &Kernel, row: &Row) -> Told {
    let open = |reuse: Reuse| {
        let socket = TcpSocket::new(kernel).expect("room");
        socket.set_reuseaddr(reuse.0).expect("known");
        socket.set_reuseport(reuse.1).expect("known");
        assert_eq!((socket.reuseaddr().expect("open"), socket.reuseport().expect("open")), reuse);
        socket
    };
    let first = open(row.first.1);
    first.bind(SocketAddr::from((row.first.0, 0))).expect("any port");
    let port = first.local_addr().expect("bound").port();
    let (mut bound, mut listening, mut connected) = (None, None, None);
    if matches!(row.before, Before::Bound | Before::ListeningBetween) {
        bound = Some(first);
    } else {
        listening = Some(first.listen_blocking(8).expect("alone"));
    }
    if matches!(row.before, Before::Connected | Before::TimeWait) {
        let listener = listening.take().expect("it listens");
        let mut client = TcpStream::connect(kernel, SocketAddr::from((A, port))).expect("answered");
        let server = listener.accept().expect("a connection").0;
        if row.before == Before::Connected {
            connected = Some((client, server));
        } else {
            drop(server);
            assert_eq!(client.read(&mut [0]).expect("the end"), 0);
        }
    }
    let second = open(row.second.1);
    let told = match told(second.bind(SocketAddr::from((row.second.0, port))), Told::NotBound) {
        Told::Fine => {
            let between = bound.take_if(|_| row.before == Before::ListeningBetween);
            listening =
                between.map(|first| first.listen_blocking(8).expect("the first of the two")).or(listening);
            told(second.listen_blocking(8).map(drop), Told::NotListening)
        }
        refused => refused,
    };
    drop((bound, listening, connected));
    told
}

fn udp_on_host(row: &Row) -> Told {
    let first = host_socket(SocketType::DGRAM, row.first.1);
    bind(&first, &SocketAddrV4::new(row.first.0, 0)).expect("any port");
    let port = port_of(&first);
    if row.before == Before::Connected {
        connect(&first, &SocketAddrV4::new(A, 9)).expect("reachable");
    }
    let second = host_socket(SocketType::DGRAM, row.second.1);
    told(bind(&second, &SocketAddrV4::new(row.second.0, port)).map_err(Into::into), Told::NotBound)
}

fn udp_on_kernel(kernel: &Kernel, row: &Row) -> Told {
    let open = |(at, (address, port)): (Ipv4Addr, Reuse), number: u16| {
        let options = [SocketOption::ReuseAddress(address), SocketOption::ReusePort(port)];
        UdpSocket::bind_with(kernel, SocketAddr::from((at, number)), &options)
    };
    let first = open(row.first, 0).expect("any port");
    let port = first.local_addr().expect("bound").port();
    if row.before == Before::Connected {
        first.connect(SocketAddr::from((A, 9))).expect("reachable");
    }
    told(open(row.second, port).map(drop), Told::NotBound)
}

#[test]
fn a_kernel_tells_of_every_pair_of_sockets_what_the_host_tells() {
    enter_own_network().expect("a namespace needs root or user namespaces");
    let kernel = Kernel::boot().expect("boots");
    let mut tally = BTreeMap::new();
    let befores =
        [Before::Bound, Before::Listening, Before::ListeningBetween, Before::Connected, Before::TimeWait];
    for row in rows(&befores) {
        let (host, ours) = (tcp_on_host(&row), tcp_on_kernel(&kernel, &row));
        assert_eq!(ours, host, "TCP: {row:?}");
        *tally.entry(format!("TCP {host:?}")).or_insert(0) += 1;
    }
    for row in rows(&[Before::Bound, Before::Connected]) {
        let (host, ours) = (udp_on_host(&row), udp_on_kernel(&kernel, &row));
        assert_eq!(ours, host, "UDP: {row:?}");
        *tally.entry(format!("UDP {host:?}")).or_insert(0) += 1;
    }
    assert_eq!(tally.values().sum::<u32>(), 672, "{tally:?}");
    assert_eq!(tally.len(), 5, "every answer is given: {tally:?}");
}

#[test]
fn listeners_of_one_port_share_its_flows_and_the_rest_go_on_when_one_leaves() {
    let kernel = Kernel::boot().expect("boots");
    let at = SocketAddr::from((A, 80));
    let listen = || {
        let socket = TcpSocket::new(&kernel).expect("room");
        socket.set_reuseport(true).expect("known");
        socket.bind(at).expect("shared");
        socket.listen_blocking(128).expect("shared")
    };
    let mut listeners: Vec<TcpListener> = (0..4).map(|_| listen()).collect();
    let accepted = |listener: &TcpListener| {
        listener.set_nonblocking(true).expect("always");
        std::iter::from_fn(|| listener.accept().ok()).count()
    };
    let clients: Vec<_> = (0..100).map(|_| TcpStream::connect(&kernel, at).expect("answered")).collect();
    let shares: Vec<_> = listeners.iter().map(accepted).collect();
    assert_eq!(shares.iter().sum::<usize>(), 100);
    assert!(shares.iter().all(|share| (5..60).contains(share)), "{shares:?}");
    drop(clients);
    // What waits at one that leaves is reset; later flows are the others'.
    let clients: Vec<_> = (0..40).map(|_| TcpStream::connect(&kernel, at).expect("answered")).collect();
    drop(listeners.pop());
    let reset = clients.iter().filter(|client| client.peer_addr().is_ok() && is_reset(client)).count();
    let waiting: usize = listeners.iter().map(accepted).sum();
    assert_eq!((reset + waiting, reset > 0), (40, true));
    let later: Vec<_> = (0..40).map(|_| TcpStream::connect(&kernel, at).expect("answered")).collect();
    assert_eq!(listeners.iter().map(accepted).sum::<usize>(), later.len());
}

/// Whether a write after the peer's reset fails.
fn is_reset(mut client: &TcpStream) -> bool {
    client.set_nonblocking(true).expect("always");
    let read = client.read(&mut [0]);
    matches!(read, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
        || client.write(b"x").is_err()
}

#[test]
fn datagram_sockets_of_one_port_share_by_flow_or_the_last_hears() {
    let kernel = Kernel::boot().expect("boots");
    let heard = |socket: &UdpSocket| {
        socket.set_nonblocking(true).expect("always");
        std::iter::from_fn(|| socket.recv_from(&mut [0; 9]).ok()).count()
    };
    for (option, shared, port) in
        [(SocketOption::ReusePort(true), true, 53), (SocketOption::ReuseAddress(true), false, 54)]
    {
        let at = SocketAddr::new(IpAddr::V4(A), port);
        let sockets: Vec<_> =
            (0..3).map(|_| UdpSocket::bind_with(&kernel, at, &[option]).expect("together")).collect();
        for _ in 0..60 {
            UdpSocket::bind(&kernel, "127.0.0.1:0").expect("free").send_to(b"?", at).expect("sent");
        }
        let shares: Vec<_> = sockets.iter().map(heard).collect();
        assert_eq!(shares.iter().sum::<usize>(), 60);
        assert_eq!(shares.iter().all(|share| *share > 5), shared, "{shares:?}");
        assert!(shared || shares[2] == 60, "{shares:?}");
    }
    // The more specific one hears.
    let option = [SocketOption::ReuseAddress(true)];
    let exact = UdpSocket::bind_with(&kernel, "127.0.0.1:55", &option).expect("free");
    let all = UdpSocket::bind_with(&kernel, "0.0.0.0:55", &option).expect("together");
    let client = UdpSocket::bind(&kernel, "127.0.0.1:0").expect("free");
    client.send_to(b"?", "127.0.0.1:55").expect("sent");
    client.send_to(b"?", "127.0.0.2:55").expect("sent");
    assert_eq!((heard(&exact), heard(&all)), (1, 1));
}
