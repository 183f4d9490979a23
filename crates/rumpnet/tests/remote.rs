//! Sockets of a kernel in another process: streams and listeners against the host's own stack, each test in a network of its own.

mod remote_world;

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener as HostListener, TcpStream as HostStream},
    os::fd::AsFd,
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use remote_world::{HOSTS, PATIENCE, Site, eventually};
use rumpnet::{
    TcpOption,
    proto::{Counter, Request},
    remote::{self, TcpListener, TcpSocket, TcpStream},
    server::Limits,
};
use rumpnet_sockets::{WaitStreams, blocking};

/// The kernel's address.
const OURS: &str = "10.0.0.2";

/// Bytes that tell where they belong.
fn data(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|place| (place * 31 + place / 251) as u8 ^ seed).collect()
}

/// A stream of the client's to a listener of the host.
fn to_the_host(client: &remote::Kernel) -> (TcpStream, HostStream) {
    let listener = HostListener::bind((HOSTS, 0)).expect("free");
    let ours = TcpStream::connect(client, listener.local_addr().expect("bound")).expect("it listens");
    let theirs = listener.accept().expect("a connection").0;
    theirs.set_read_timeout(Some(PATIENCE)).expect("not zero");
    theirs.set_write_timeout(Some(PATIENCE)).expect("not zero");
    ours.set_read_timeout(Some(PATIENCE)).expect("not zero");
    ours.set_write_timeout(Some(PATIENCE)).expect("not zero");
    (ours, theirs)
}

fn read_to_end(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the end comes");
    all
}

#[test]
fn twenty_megabytes_pass_each_way_at_once_and_each_end_is_carried_over() {
    const LEN: usize = 20_000_000;
    let site = Site::new();
    let (ours, theirs) = to_the_host(&site.client());
    thread::scope(|scope| {
        let (mut ours_out, mut theirs_out) = (&ours, &theirs);
        scope.spawn(move || {
            ours_out.write_all(&data(LEN, 1)).expect("the peer reads");
            ours_out.shutdown(Shutdown::Write).expect("connected");
        });
        scope.spawn(move || {
            theirs_out.write_all(&data(LEN, 2)).expect("the peer reads");
            theirs_out.shutdown(Shutdown::Write).expect("connected");
        });
        let theirs_in = scope.spawn(|| read_to_end(&theirs) == data(LEN, 1));
        assert!(read_to_end(&ours) == data(LEN, 2), "byte for byte");
        assert!(theirs_in.join().expect("no panic"), "byte for byte");
    });
}

/// The same calls of the same types in every world; what they saw.
fn program<N: WaitStreams>(net: &N) -> io::Result<Vec<String>> {
    let mut saw = Vec::new();
    let refused = blocking::TcpStream::connect(net, (HOSTS, 1)).map(drop).expect_err("nobody listens");
    saw.push(format!("{:?}", refused.raw_os_error()));
    let host = HostListener::bind((HOSTS, 0))?;
    let mut stream = blocking::TcpStream::connect(net, host.local_addr()?)?;
    let (mut theirs, peer) = host.accept()?;
    saw.push(format!("{} {}", stream.local_addr()? == peer, stream.peer_addr()? == host.local_addr()?));
    saw.push(format!("nodelay {} ttl {}", stream.nodelay()?, stream.ttl()?));
    stream.set_nodelay(true)?;
    stream.set_ttl(9)?;
    saw.push(format!("nodelay {} ttl {}", stream.nodelay()?, stream.ttl()?));
    saw.push(format!("{:?}", stream.set_ttl(0).map_err(|error| error.raw_os_error())));
    stream.set_read_timeout(Some(Duration::from_millis(10)))?;
    saw.push(format!("{:?}", stream.read(&mut [0]).map_err(|error| error.kind())));
    stream.set_read_timeout(None)?;
    stream.write_all(b"question")?;
    let mut buffer = [0; 8];
    theirs.read_exact(&mut buffer)?;
    theirs.write_all(b"answer")?;
    saw.push(format!("{}", stream.peek(&mut buffer)?));
    stream.read_exact(&mut buffer[..6])?;
    saw.push(String::from_utf8_lossy(&buffer).into_owned());
    saw.push(format!("{:?} {:?}", stream.info()?.state, stream.path_mtu()?));
    stream.shutdown(Shutdown::Write)?;
    saw.push(format!("{:?}", stream.write(b"more").map_err(|error| error.raw_os_error())));
    drop(theirs);
    saw.push(format!("{:?} {:?}", stream.read(&mut buffer)?, stream.read(&mut buffer)?));
    listen(net, &mut saw)?;
    Ok(saw)
}

fn listen<N: WaitStreams>(net: &N, saw: &mut Vec<String>) -> io::Result<()> {
    let listener = blocking::TcpListener::bind(net, (OURS, 80))?;
    saw.push(format!("{}", listener.local_addr()?));
    let taken = blocking::TcpListener::bind(net, (OURS, 80)).map(drop).expect_err("it is taken");
    saw.push(format!("{:?}", taken.raw_os_error()));
    let foreign = blocking::TcpListener::bind(net, "10.0.0.77:80").map(drop).expect_err("not ours");
    saw.push(format!("{:?}", foreign.raw_os_error()));
    listener.set_nonblocking(true)?;
    saw.push(format!("{:?}", listener.accept().map(drop).map_err(|error| error.kind())));
    listener.set_nonblocking(false)?;
    let theirs = HostStream::connect((OURS, 80))?;
    let (mut stream, peer) = listener.accept()?;
    saw.push(format!("{}", theirs.local_addr()? == peer));
    (&theirs).write_all(&[7; 3])?;
    let mut buffer = [0; 3];
    stream.read_exact(&mut buffer)?;
    saw.push(format!("{buffer:?}"));
    stream.abort()?;
    saw.push(format!("{:?}", (&theirs).read(&mut buffer).map_err(|error| error.kind())));
    drop(listener);
    Ok(())
}

#[test]
fn one_program_sees_the_same_of_a_kernel_in_this_process_and_in_another() {
    let site = Site::new();
    let here = program(&site.kernel).expect("no error that it does not expect");
    let there = program(&site.client()).expect("no error that it does not expect");
    assert_eq!(here, there);
    assert_eq!(here.len(), 18);
}

#[test]
fn who_does_not_read_closes_the_window_and_who_is_not_read_is_held_up() {
    let site = Site::new();
    let (ours, theirs) = to_the_host(&site.client());
    // As much as the pair, the kernel and the host hold, and then no more, in either direction.
    let hold_up = |stream: &dyn Fn(&[u8]) -> io::Result<usize>| {
        let (block, mut held) = (vec![0; 1 << 16], 0);
        let mut quiet = 0;
        while quiet < 50 {
            match stream(&block) {
                Ok(len) => {
                    held += len;
                    quiet = 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    quiet += 1;
                    thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("{error}"),
            }
            assert!(held < 256 << 20, "somebody takes without end");
        }
        held
    };
    ours.set_nonblocking(true).expect("open");
    theirs.set_nonblocking(true).expect("open");
    let up = hold_up(&|block| (&ours).write(block));
    let down = hold_up(&|block| (&theirs).write(block));
    // And all of it arrives once it is read.
    ours.set_nonblocking(false).expect("open");
    theirs.set_nonblocking(false).expect("open");
    let drain = |mut stream: Box<dyn Read + '_>, mut left: usize| {
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            left -= stream.read(&mut buffer).expect("it is on its way");
        }
    };
    drain(Box::new(&ours), down);
    drain(Box::new(&theirs), up);
}

#[test]
fn a_descriptor_is_one_copied_inherited_and_passed_on_it_carries_the_connection_until_the_last_is_closed() {
    let site = Site::new();
    let client = site.client();
    let (ours, theirs) = to_the_host(&client);
    let copy = ours.socket().as_fd().try_clone_to_owned().expect("open");
    drop(ours);
    drop(client);
    // The client's conversation is over, and the descriptor goes on, in a program that knows nothing of rump kernels.
    let stdin: std::process::Stdio = copy.try_clone().expect("open").into();
    let mut cat = std::process::Command::new("cat").stdin(stdin).stdout(copy).spawn().expect("cat is there");
    (&theirs).write_all(b"through a cat").expect("the peer reads");
    theirs.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(read_to_end(&theirs), b"through a cat");
    assert!(cat.wait().expect("it ran").success());
    eventually("the kernel has no connection left", || site.kernel_connections() == 0);
}

impl Site {
    /// Connections and listeners of the kernel, TIME-WAIT aside.
    fn kernel_connections(&self) -> usize {
        match self.kernel.control(Request::Sockets { after: None }) {
            Ok(rumpnet::proto::Reply::Sockets { sockets, .. }) => sockets
                .iter()
                .filter(|socket| socket.state != Some(rumpnet::proto::TcpState::TimeWait))
                .count(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_client_leaves_unread_resets_its_connection_and_what_it_wrote_before_it_went_arrives() {
    let site = Site::new();
    let client = site.client();
    let (ours, theirs) = to_the_host(&client);
    (&theirs).write_all(b"nobody reads this").expect("connected");
    eventually("it is here", || ours.peek(&mut [0; 64]).is_ok_and(|len| len > 0));
    drop(ours);
    assert_eq!((&theirs).read(&mut [0; 1]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
    let (ours, theirs) = to_the_host(&client);
    let writer = thread::spawn(move || (&ours).write_all(&data(3_000_000, 3)).expect("connected"));
    assert!(read_to_end(&theirs) == data(3_000_000, 3), "byte for byte");
    writer.join().expect("no panic");
}

#[test]
fn a_reset_is_told_after_what_came_before_it() {
    let site = Site::new();
    let client = site.client();
    let (ours, theirs) = to_the_host(&client);
    (&theirs).write_all(b"before").expect("connected");
    eventually("it is here", || ours.peek(&mut [0; 64]).is_ok_and(|len| len == 6));
    set_reset_on_close(&theirs);
    drop(theirs);
    let mut buffer = [0; 6];
    (&ours).read_exact(&mut buffer).expect("it came before");
    let error = (&ours).read(&mut buffer).expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!((&ours).read(&mut buffer).ok(), Some(0), "an error is told once");
    assert_eq!((&ours).write(&buffer).expect_err("over").kind(), ErrorKind::BrokenPipe);
}

fn set_reset_on_close(stream: &HostStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("open");
}

#[test]
fn copies_of_a_listeners_descriptor_take_each_connection_once() {
    let site = Site::new();
    let listener = TcpListener::bind(&site.client(), (OURS, 80)).expect("free");
    let peers: Vec<_> = (0..40).map(|_| HostStream::connect((OURS, 80)).expect("it listens")).collect();
    let mut expected: Vec<_> = peers.iter().map(|peer| peer.local_addr().expect("bound")).collect();
    let copies = [listener.try_clone().expect("open"), listener];
    let mut accepted = thread::scope(|scope| {
        let takers = copies.each_ref().map(|copy| {
            scope.spawn(move || (0..20).map(|_| copy.accept().expect("one waits").1).collect::<Vec<_>>())
        });
        takers.map(|taker| taker.join().expect("no panic")).concat()
    });
    expected.sort();
    accepted.sort();
    assert_eq!(accepted, expected);
}

#[test]
fn a_client_beyond_its_limits_is_refused_and_counted_and_connections_wait_for_a_socket() {
    let site = Site::with(Limits { sockets: 3, ..Limits::default() });
    let (one, other) = (site.client(), site.client());
    let listener = TcpListener::bind(&one, (OURS, 80)).expect("room");
    let held = TcpSocket::new(&one).expect("room");
    let _peers: Vec<_> = (0..2).map(|_| HostStream::connect((OURS, 80)).expect("it listens")).collect();
    let (first, _) = listener.accept().expect("room for one");
    assert_eq!(TcpSocket::new(&one).expect_err("no room").raw_os_error(), Some(libc::EMFILE));
    // And the listener is held up.
    eventually("refused", || site.kernel.counter(Counter::PassedSocketsRefused) >= 2);
    TcpSocket::new(&other).expect("another client has room of its own");
    drop(held);
    let (_second, _) = listener.accept().expect("it waited for the socket");
    drop(first);
    eventually("there is room again", || TcpSocket::new(&one).is_ok());
    assert!(site.kernel.counter(Counter::PassedSockets) >= 5);
}

#[test]
fn buffers_of_a_client_are_bounded_all_together() {
    let site = Site::with(Limits { socket_octets: 3 << 20, ..Limits::default() });
    let client = site.client();
    // One with all that it may have, then the last MiB in small ones.
    let sockets: Vec<_> = (0..17).map(|_| TcpSocket::new(&client).expect("room")).collect();
    assert_eq!(TcpSocket::new(&client).expect_err("no room").raw_os_error(), Some(libc::ENOBUFS));
    drop(sockets);
    TcpSocket::new(&client).expect("room again");
}

#[test]
fn sockets_of_another_client_are_out_of_reach() {
    use rumpnet::proto::passed::SocketRequest;
    let site = Site::new();
    let (one, other) = (site.client(), site.client());
    let _listener = TcpListener::bind(&one, (OURS, 80)).expect("free");
    for socket in 0..200 {
        let refused = other.control(Request::Socket(SocketRequest::Close { socket }));
        assert_eq!(refused.expect_err("not its own").errno, rumpnet::Errno::BadF);
    }
    HostStream::connect((OURS, 80)).expect("it still listens");
}

#[test]
fn when_a_client_goes_all_that_nobody_else_holds_is_closed() {
    let site = Site::new();
    let client = site.client();
    let (ours, theirs) = to_the_host(&client);
    let listener = TcpListener::bind(&client, (OURS, 80)).expect("free");
    let unbound = TcpSocket::new(&client).expect("room");
    let connecting = TcpSocket::new(&client).expect("room");
    drop((ours, listener, unbound, connecting, client));
    assert_eq!((&theirs).read(&mut [0; 1]).ok(), Some(0));
    drop(theirs);
    eventually("nothing is left", || site.kernel_connections() == 0);
}

#[test]
fn when_the_server_goes_its_sockets_are_not_connected_any_more() {
    let mut site = Site::new();
    let client = site.client();
    let (ours, _theirs) = to_the_host(&client);
    let listener = TcpListener::bind(&client, (OURS, 80)).expect("free");
    let raw = UnixStream::from(ours.socket().as_fd().try_clone_to_owned().expect("open"));
    drop(site.server.take());
    assert_eq!((&ours).read(&mut [0; 1]).expect_err("gone").raw_os_error(), Some(libc::ENOTCONN));
    assert_eq!((&ours).write(&[0; 1]).expect_err("gone").raw_os_error(), Some(libc::ENOTCONN));
    assert_eq!(listener.accept().expect_err("gone").raw_os_error(), Some(libc::ENOTCONN));
    assert_eq!(TcpSocket::new(&client).expect_err("gone").raw_os_error(), Some(libc::ENOTCONN));
    assert_eq!((&raw).read(&mut [0; 1]).ok(), Some(0), "the descriptor alone says that it is the end");
    assert_eq!((&raw).write(&[0; 1]).expect_err("gone").raw_os_error(), Some(libc::EPIPE));
}

#[test]
fn by_its_policy_a_client_reaches_the_next_server_with_fresh_sockets() {
    let mut site = Site::new();
    let with = |policy| remote::Kernel::builder().reconnect(policy);
    let url = site.address.to_string();
    let never = with(remote::Reconnect::Never).connect(&url).expect("it listens");
    let once = with(remote::Reconnect::Once).connect(&url).expect("it listens");
    let long = with(remote::Reconnect::For(PATIENCE)).connect(&url).expect("it listens");
    let former = TcpListener::bind(&long, (OURS, 80)).expect("free");
    drop(site.server.take());
    assert!(once.control(Request::Kernel).is_err(), "there is none now");
    let asked = thread::spawn(move || (long.control(Request::Kernel).is_ok(), long));
    thread::sleep(Duration::from_millis(150));
    site.start(Limits::default());
    let (reached, long) = asked.join().expect("no panic");
    assert!(reached, "it was waited for");
    assert_eq!(former.local_addr().expect_err("of the former server").raw_os_error(), Some(libc::ENOTCONN));
    TcpListener::bind(&long, (OURS, 80)).expect("the former one is gone");
    assert!(once.control(Request::Kernel).is_ok());
    assert!(never.control(Request::Kernel).is_err());
}

#[test]
fn an_option_that_a_descriptor_cannot_have_is_refused() {
    let site = Site::new();
    let (ours, _theirs) = to_the_host(&site.client());
    let refused = ours.set_linger(Some(Duration::from_secs(1))).expect_err("closing does not wait");
    assert_eq!(refused.raw_os_error(), Some(libc::ENOPROTOOPT));
    for refused in [ours.send_urgent(b"x").map(drop), ours.recv_urgent().map(drop), ours.at_mark().map(drop)]
    {
        assert_eq!(refused.expect_err("no mark").raw_os_error(), Some(libc::EOPNOTSUPP));
    }
    ours.set_option(TcpOption::Cork(true)).expect("the kernel has it");
}

#[test]
fn one_with_many_busy_sockets_does_not_starve_another() {
    const BUSY: usize = 24;
    let site = Site::new();
    let (greedy, modest) = (site.client(), site.client());
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..BUSY {
            let (ours, theirs) = to_the_host(&greedy);
            let stop = &stop;
            scope.spawn(move || {
                let block = [0; 1 << 16];
                while !stop.load(std::sync::atomic::Ordering::Relaxed) && (&theirs).write(&block).is_ok() {}
                drop(theirs);
            });
            scope.spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while (&ours).read(&mut buffer).is_ok_and(|len| len > 0) {}
            });
        }
        let (ours, theirs) = to_the_host(&modest);
        let begun = std::time::Instant::now();
        for turn in 0..100u8 {
            (&theirs).write_all(&[turn]).expect("connected");
            let mut byte = [0];
            (&ours).read_exact(&mut byte).expect("it comes");
            assert_eq!(byte, [turn]);
        }
        let took = begun.elapsed();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(took < PATIENCE, "{took:?}");
    });
}
