//! Local sockets: private files, dead servers, messages, descriptors, deadlines.

use std::{
    fs,
    io::{Read, Write},
    ops::Deref,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use rumpnet_host::{
    clock,
    unix::{Connection, Listener, MAX_DESCRIPTORS},
};
use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, FdFlags, fcntl_getfd},
    net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket},
    pipe::pipe,
};

/// A path in a directory of one test's, which ends with it.
struct Place(PathBuf);

impl Deref for Place {
    type Target = PathBuf;

    fn deref(&self) -> &PathBuf {
        &self.0
    }
}

impl AsRef<Path> for Place {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = self.parent().map(fs::remove_dir_all);
    }
}

fn path(test: &str) -> Place {
    let directory = std::env::temp_dir().join(format!("rumpnet-unix-{}-{test}", std::process::id()));
    fs::create_dir(&directory).expect("the temporary directory can be written");
    Place(directory.join("server"))
}

/// A socket's file whose server has died.
fn leave_dead(path: &Path) {
    let dead = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
    bind(&dead, &SocketAddrUnix::new(path).expect("a short path")).expect("a free path");
}

#[test]
fn the_file_is_private_and_goes_with_the_listener() {
    let path = path("private");
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_dead_servers_file_is_taken_over() {
    let path = path("stale");
    leave_dead(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    Connection::connect(&path).unwrap();
    assert!(listener.accept().is_ok());
}

#[test]
fn a_live_server_of_any_kind_keeps_its_path() {
    let path = path("live");
    let listener = Listener::bind(&path).unwrap();
    assert_eq!(Listener::bind(&path).unwrap_err().errno, libc::EADDRINUSE);
    Connection::connect(&path).unwrap();
    assert!(listener.accept().is_ok());
    let other = path.with_file_name("stream");
    let _stream = UnixListener::bind(&other).unwrap();
    assert_eq!(Listener::bind(&other).unwrap_err().errno, libc::EADDRINUSE);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = path("file");
    fs::write(&path, "precious").unwrap();
    assert_eq!(Listener::bind(&path).unwrap_err().errno, libc::EADDRINUSE);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_path_that_another_server_took_meanwhile_is_not_removed() {
    let path = path("taken");
    let first = Listener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Listener::bind(&path).unwrap();
    drop(first);
    assert!(Connection::connect(&path).is_ok());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn of_many_newcomers_at_a_dead_servers_path_one_wins() {
    let path = path("race");
    for _ in 0..20 {
        leave_dead(&path);
        let newcomers: Vec<_> = (0..8)
            .map(|_| {
                let path = path.0.clone();
                std::thread::spawn(move || Listener::bind(path))
            })
            .collect();
        let all: Vec<_> = newcomers.into_iter().map(|newcomer| newcomer.join().unwrap()).collect();
        assert_eq!(all.iter().filter(|bound| bound.is_ok()).count(), 1);
        Connection::connect(&path).unwrap();
    }
}

#[test]
fn errors_name_the_path_and_why() {
    let path = path("errors");
    assert_eq!(Connection::connect(&path).unwrap_err().errno, libc::ENOENT);
    leave_dead(&path);
    let refused = Connection::connect(&path).unwrap_err();
    assert_eq!(refused.errno, libc::ECONNREFUSED);
    assert!(refused.to_string().contains(path.to_str().unwrap()), "{refused}");
    assert_eq!(Listener::bind("/nowhere/at/all").unwrap_err().errno, libc::ENOENT);
    assert_eq!(Listener::bind("x".repeat(200)).unwrap_err().errno, libc::ENAMETOOLONG);
}

#[test]
fn messages_keep_apart_and_the_end_is_an_empty_one() {
    let (one, other) = Connection::pair().unwrap();
    one.send(b"first", &[]).unwrap();
    one.send(b"second", &[]).unwrap();
    drop(one);
    let mut buffer = [0; 32];
    for expected in [&b"first"[..], b"second", b""] {
        let message = other.receive(&mut buffer, 0).unwrap();
        assert_eq!(&buffer[..message.len], expected);
        assert!(!message.is_truncated && !message.lost_descriptors);
    }
}

#[test]
fn a_message_longer_than_the_buffer_is_told() {
    let (one, other) = Connection::pair().unwrap();
    one.send(&[7; 100], &[]).unwrap();
    let message = other.receive(&mut [0; 10], 0).unwrap();
    assert!(message.is_truncated);
    assert_eq!(other.receive(&mut [0; 10], 0).unwrap_err(), Errno::AGAIN);
}

#[test]
fn descriptors_pass_work_and_are_closed_on_exec() {
    let (one, other) = Connection::pair().unwrap();
    let (reader, writer) = pipe().unwrap();
    one.send(b"x", &[reader.as_fd(), writer.as_fd()]).unwrap();
    drop((reader, writer));
    let message = other.receive(&mut [0; 8], 2).unwrap();
    let [reader, writer]: [OwnedFd; 2] = message.descriptors.try_into().unwrap();
    assert!(fcntl_getfd(&reader).unwrap().contains(FdFlags::CLOEXEC));
    fs::File::from(writer).write_all(b"through").unwrap();
    let mut text = String::new();
    fs::File::from(reader).read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

#[test]
fn surplus_descriptors_are_closed_and_told() {
    let (one, other) = Connection::pair().unwrap();
    let (reader, writer) = pipe().unwrap();
    let many = [writer.as_fd(); MAX_DESCRIPTORS];
    one.send(b"x", &many).unwrap();
    drop(writer);
    let message = other.receive(&mut [0; 8], 1).unwrap();
    assert_eq!(message.descriptors.len(), 1);
    assert!(message.lost_descriptors);
    drop(message);
    // An end of file means that no copy of the writing end is left anywhere.
    assert_eq!(fs::File::from(reader).read(&mut [0]).unwrap(), 0);
    let null = open("/dev/null", OFlags::RDWR, Mode::empty()).unwrap();
    assert_eq!(one.send(b"x", &[null.as_fd(); MAX_DESCRIPTORS + 1]), Err(Errno::INVAL));
}

#[test]
fn deadlines_end_waits_on_either_side() {
    let (one, other) = Connection::pair().unwrap();
    let soon = || clock::monotonic() + 2_000_000;
    assert_eq!(other.receive_by(&mut [0; 8], 0, soon()).unwrap_err(), Errno::TIMEDOUT);
    let full = (0..100_000).map_while(|_| one.send(&[0; 1000], &[]).ok()).count();
    assert!(full > 0);
    assert_eq!(one.send_by(&[0; 1000], &[], soon()), Err(Errno::TIMEDOUT));
    other.receive_by(&mut [0; 1000], 0, soon()).unwrap();
    one.send_by(&[0; 1000], &[], soon()).unwrap();
}

#[test]
fn the_peer_is_whom_the_kernel_vouches_for() {
    let path = path("peer");
    let listener = Listener::bind(&path).unwrap();
    let client = Connection::connect(&path).unwrap();
    let peer = listener.accept().unwrap().peer().unwrap();
    assert_eq!((peer.pid, peer.uid), (std::process::id(), rustix::process::getuid().as_raw()));
    assert_eq!(client.peer().unwrap().pid, std::process::id());
}

#[test]
fn a_client_that_goes_away_is_a_broken_pipe_and_no_signal() {
    let (one, other) = Connection::pair().unwrap();
    drop(other);
    assert_eq!(one.send(b"x", &[]), Err(Errno::PIPE));
}

#[test]
fn either_end_can_be_told_that_the_conversation_is_over() {
    let (one, other) = Connection::pair().unwrap();
    one.send(b"last", &[]).unwrap();
    other.stop_receiving();
    let mut buffer = [0; 8];
    assert_eq!(other.receive(&mut buffer, 0).unwrap().len, 4);
    assert_eq!(other.receive(&mut buffer, 0).unwrap().len, 0);
    other.send(b"answer", &[]).unwrap();
    other.hang_up();
    assert_eq!(one.receive(&mut buffer, 0).unwrap().len, 6);
    assert_eq!(one.receive(&mut buffer, 0).unwrap().len, 0);
    assert_eq!(one.send(b"more", &[]), Err(Errno::PIPE));
}
