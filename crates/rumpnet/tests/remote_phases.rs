//! What poll, read, write and SO_ERROR say on a passed descriptor in each phase, beside a socket of the host's in the same phase, and what the
//! library says. The table is docs/notes/passed-sockets.md, and each of its rows is measured here.

mod remote_world;

use std::{
    io,
    net::{SocketAddr, TcpListener as HostListener, TcpStream as HostStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::Duration,
};

use remote_world::{HOSTS, Site, eventually, ip};
use rumpnet::{
    Interest, TcpOption,
    proto::NeighborChange,
    remote::{self, Tcp, TcpHandle, TcpWait},
};
use rumpnet_host::unix::pair;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, sockopt},
};

const TABLE: &str = include_str!("../../../docs/notes/passed-sockets.md");
/// An address at which frames are taken and nobody answers.
const SILENT: &str = "10.0.0.9:80";

/// A socket of the host's and one of a client's in the same phase, with what keeps them in it.
struct Case {
    host: Option<OwnedFd>,
    ours: Tcp,
    _kept: Kept,
}

/// The far ends.
type Kept = (Vec<HostStream>, Vec<Tcp>);

type Make = fn(&Site, &remote::Kernel) -> Case;

const PHASES: &[(&str, Make)] = &[
    ("unbound", unbound),
    ("connecting", connecting),
    ("refused", refused),
    ("timed out", timed_out),
    ("listening", listening),
    ("listening, one waits", listening_with_one),
    ("established", established),
    ("the peer has ended", peer_ended),
    ("we have ended", we_ended),
    ("both have ended", both_ended),
    ("reset", reset),
];

fn address(text: &str) -> SocketAddr {
    text.parse().expect("a literal")
}

fn unbound(_: &Site, client: &remote::Kernel) -> Case {
    unbound_of(client)
}

fn unbound_of(client: &remote::Kernel) -> Case {
    let host = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a descriptor");
    Case { host: Some(host), ours: Tcp::open(client).expect("room"), _kept: Kept::default() }
}

/// Sockets of both that have begun to connect.
fn begun(client: &remote::Kernel, hosts_peer: &str, our_peer: &str) -> Case {
    let case = unbound_of(client);
    let host = case.host.as_ref().expect("it is there");
    rustix::io::ioctl_fionbio(host, true).expect("open");
    // It is refused at once, or begins.
    let _begun = rustix::net::connect(host, &address(hosts_peer));
    case.ours.set_option(TcpOption::SynCount(1)).expect("unconnected");
    case.ours.connect(address(our_peer)).expect("there is a route");
    case
}

fn connecting(_: &Site, client: &remote::Kernel) -> Case {
    begun(client, SILENT, SILENT)
}

/// Waits until both know what their handshakes came to.
fn settled(case: Case) -> Case {
    let host = case.host.as_ref().expect("it is there").as_fd();
    pair::wait(host, false, true, Some(remote_world::PATIENCE)).expect("open");
    case.ours.wait(Interest::Writable, Some(remote_world::PATIENCE)).expect("it is over in time");
    case
}

fn refused(_: &Site, client: &remote::Kernel) -> Case {
    settled(begun(client, "10.0.0.2:1", "10.0.0.1:1"))
}

fn timed_out(_: &Site, client: &remote::Kernel) -> Case {
    settled(begun(client, SILENT, SILENT))
}

fn listening(_: &Site, client: &remote::Kernel) -> Case {
    let listener = HostListener::bind((HOSTS, 0)).expect("free");
    let ours = Tcp::open(client).expect("room");
    ours.bind(address("10.0.0.2:0")).expect("free");
    ours.listen(8).expect("bound");
    Case { host: Some(listener.into()), ours, _kept: Kept::default() }
}

fn listening_with_one(_: &Site, client: &remote::Kernel) -> Case {
    let listener = HostListener::bind((HOSTS, 0)).expect("free");
    let ours = Tcp::open(client).expect("room");
    ours.bind(address("10.0.0.2:0")).expect("free");
    ours.listen(8).expect("bound");
    let (to_host, to_us) = (listener.local_addr().expect("bound"), ours.local_addr().expect("bound"));
    let streams = vec![
        HostStream::connect(to_us).expect("we listen"),
        HostStream::connect(to_host).expect("it listens"),
    ];
    ours.wait(Interest::Readable, Some(remote_world::PATIENCE)).expect("one waits");
    Case { host: Some(listener.into()), ours, _kept: (streams, Vec::new()) }
}

/// Connections of both, each with its far end.
fn joined(client: &remote::Kernel) -> (HostStream, Tcp, HostStream, Tcp) {
    let listener = HostListener::bind((HOSTS, 0)).expect("free");
    let to_host = listener.local_addr().expect("bound");
    let ours = Tcp::open(client).expect("room");
    ours.connect(to_host).expect("there is a route");
    ours.wait(Interest::Writable, Some(remote_world::PATIENCE)).expect("it is over in time");
    ours.connected().expect("it listens");
    let ours_far = listener.accept().expect("one waits").0;
    let far_listener = Tcp::open(client).expect("room");
    far_listener.bind(address("10.0.0.2:0")).expect("free");
    far_listener.listen(8).expect("bound");
    let host = HostStream::connect(far_listener.local_addr().expect("bound")).expect("we listen");
    far_listener.wait(Interest::Readable, Some(remote_world::PATIENCE)).expect("one waits");
    let host_far = far_listener.accept().expect("one waits").0;
    (host, host_far, ours_far, ours)
}

fn established(_: &Site, client: &remote::Kernel) -> Case {
    let (host, host_far, ours_far, ours) = joined(client);
    let kept = (vec![ours_far], vec![host_far]);
    Case { host: Some(host.into()), ours, _kept: kept }
}

/// Waits until a descriptor's poll has a bit.
fn await_bit(fd: BorrowedFd<'_>, bit: PollFlags) {
    eventually("poll says so", || flags(fd).contains(bit));
}

fn peer_ended(_: &Site, client: &remote::Kernel) -> Case {
    let (host, host_far, ours_far, ours) = joined(client);
    host_far.shut_down(std::net::Shutdown::Write).expect("connected");
    ours_far.shutdown(std::net::Shutdown::Write).expect("connected");
    await_bit(host.as_fd(), PollFlags::RDHUP);
    await_bit(ours.as_fd(), PollFlags::RDHUP);
    let kept = (vec![ours_far], vec![host_far]);
    Case { host: Some(host.into()), ours, _kept: kept }
}

fn we_ended(_: &Site, client: &remote::Kernel) -> Case {
    let (host, host_far, ours_far, ours) = joined(client);
    host.shutdown(std::net::Shutdown::Write).expect("connected");
    ours.shut_down(std::net::Shutdown::Write).expect("connected");
    let kept = (vec![ours_far], vec![host_far]);
    Case { host: Some(host.into()), ours, _kept: kept }
}

fn both_ended(site: &Site, client: &remote::Kernel) -> Case {
    let case = peer_ended(site, client);
    let host = HostStream::from(case.host.expect("it is there"));
    host.shutdown(std::net::Shutdown::Write).expect("connected");
    case.ours.shut_down(std::net::Shutdown::Write).expect("connected");
    await_bit(host.as_fd(), PollFlags::HUP);
    await_bit(case.ours.as_fd(), PollFlags::HUP);
    Case { host: Some(host.into()), ..case }
}

fn reset(_: &Site, client: &remote::Kernel) -> Case {
    let (host, host_far, ours_far, ours) = joined(client);
    host_far.set_option(TcpOption::Linger(Some(rumpnet::time::Duration::ZERO))).expect("open");
    sockopt::set_socket_linger(&ours_far, Some(Duration::ZERO)).expect("open");
    drop((host_far, ours_far));
    await_bit(host.as_fd(), PollFlags::HUP);
    await_bit(ours.as_fd(), PollFlags::HUP);
    Case { host: Some(host.into()), ours, _kept: Kept::default() }
}

fn flags(fd: BorrowedFd<'_>) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("open");
    polled[0].revents()
}

fn polled(fd: BorrowedFd<'_>) -> String {
    let seen = flags(fd);
    let names = [
        (PollFlags::IN, "IN"),
        (PollFlags::OUT, "OUT"),
        (PollFlags::RDHUP, "RDHUP"),
        (PollFlags::HUP, "HUP"),
        (PollFlags::ERR, "ERR"),
    ];
    let set: Vec<_> = names.iter().filter(|(bit, _)| seen.contains(*bit)).map(|(_, name)| *name).collect();
    if set.is_empty() { "–".to_owned() } else { set.join(" ") }
}

fn said<T: std::fmt::Display>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => match error.raw_os_error() {
            Some(number) => errno_name(number).to_owned(),
            None => format!("{:?}", error.kind()),
        },
    }
}

fn errno_name(number: i32) -> &'static str {
    match number {
        libc::EAGAIN => "EAGAIN",
        libc::EPIPE => "EPIPE",
        libc::ENOTCONN => "ENOTCONN",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ECONNRESET => "ECONNRESET",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::EINVAL => "EINVAL",
        _ => "another",
    }
}

/// What a question is answered on a bare descriptor: poll, read, write, SO_ERROR.
fn answer(fd: BorrowedFd<'_>, question: usize) -> String {
    match question {
        0 => polled(fd),
        1 => said(recv(fd, &mut [0; 16], RecvFlags::DONTWAIT).map(|(len, _)| len).map_err(Into::into)),
        2 => said(send(fd, b"x", SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map_err(Into::into)),
        _ => match pair::take_error(fd).expect("open") {
            None => "0".to_owned(),
            Some(error) => said::<u8>(Err(error)),
        },
    }
}

/// What the library answers to the same questions; to poll it has nothing to add.
fn answer_of_library(ours: &Tcp, question: usize) -> String {
    match question {
        1 => said(ours.receive(&mut [0; 16])),
        2 => said(ours.send(b"x")),
        3 => match ours.take_error() {
            Ok(None) => "0".to_owned(),
            Ok(Some(error)) | Err(error) => said::<u8>(Err(error)),
        },
        _ => String::new(),
    }
}

/// The row of a phase: each question is asked of sockets that nobody has asked before.
fn row(site: &Site, client: &remote::Kernel, name: &str, make: Make) -> String {
    let ask = |question: usize| {
        let case = make(site, client);
        let host = case.host.as_ref().map_or_else(|| "–".to_owned(), |host| answer(host.as_fd(), question));
        let bare = answer(case.ours.as_fd(), question);
        let library =
            if question == 0 { String::new() } else { answer_of_library(&make(site, client).ours, question) };
        (host, bare, library)
    };
    let answers = thread::scope(|scope| {
        let asked = [0, 1, 2, 3].map(|question| scope.spawn(move || ask(question)));
        asked.map(|thread| thread.join().expect("no panic"))
    });
    let column = |pick: fn(&(String, String, String)) -> &String| {
        answers.iter().map(pick).filter(|said| !said.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    };
    format!(
        "| {name} | {} | {} | {} |",
        column(|said| &said.0),
        column(|said| &said.1),
        column(|said| &said.2)
    )
}

fn site() -> Site {
    let site = Site::new();
    // Frames to the silent address are taken by who has nothing to do with it, both ways.
    let link = std::fs::read_to_string("/sys/class/net/tap0/address").unwrap_or_default();
    let host_mac = link.trim().parse().or_else(|_| hosts_own_mac().parse()).expect("an address");
    let change = NeighborChange {
        address: "10.0.0.9".parse().expect("an address"),
        link_address: host_mac,
        temporary: false,
        published: false,
    };
    site.kernel.add_neighbor(change).expect("on the link");
    let ours = site.kernel.interface("virt0").expect("there").link_address.expect("Ethernet");
    ip(&format!("neigh replace 10.0.0.9 lladdr {ours} dev tap0"));
    std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").expect("these tests need root");
    site
}

/// As `ip link` says it, where sysfs is that of another namespace.
fn hosts_own_mac() -> String {
    let shown = std::process::Command::new("ip").args(["-o", "link", "show", "tap0"]).output();
    let text = String::from_utf8_lossy(&shown.expect("ip is there").stdout).into_owned();
    text.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
}

#[test]
fn each_phase_says_what_the_table_says_on_a_descriptor_as_on_a_socket_of_the_host() {
    let site = site();
    let client = site.client();
    let rows: Vec<_> = PHASES.iter().map(|(name, make)| row(&site, &client, name, *make)).collect();
    let missing: Vec<_> = rows.iter().filter(|row| !TABLE.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "the table lacks:\n{missing:#?}\nof what was measured:\n{}", rows.join("\n"));
}

#[test]
fn with_its_server_gone_a_descriptor_is_at_its_end_and_the_library_says_not_connected() {
    let measure = |question: usize| {
        let mut site = site();
        let client = site.client();
        let cases = [established(&site, &client), established(&site, &client)];
        drop(site.server.take());
        await_bit(cases[0].ours.as_fd(), PollFlags::HUP);
        let bare = answer(cases[0].ours.as_fd(), question);
        (bare, answer_of_library(&cases[1].ours, question))
    };
    let answers = thread::scope(|scope| {
        let asked = [0, 1, 2, 3].map(|question| scope.spawn(move || measure(question)));
        asked.map(|thread| thread.join().expect("no panic"))
    });
    let bare: Vec<_> = answers.iter().map(|said| said.0.clone()).collect();
    let library: Vec<_> = answers[1..].iter().map(|said| said.1.clone()).collect();
    let row = format!("| the server is gone | – | {} | {} |", bare.join(", "), library.join(", "));
    assert!(TABLE.contains(&row), "the table lacks: {row}");
}
