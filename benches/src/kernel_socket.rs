//! Loads and counts of datagrams on sockets of the host's own kernel, for the host's side of every arm and the far side of veth.
//!
//! Streams are in [`crate::kernel_stream`].

use std::{
    io::{ErrorKind, IoSlice, IoSliceMut, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, recvmsg,
    sendmmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Failure, Figures, count::Count, namespace::PEER};

/// Datagrams a system call.
pub(crate) const BATCH: usize = 64;
/// Payload of the small datagrams, in bytes.
pub(crate) const SMALL: usize = 64;
/// Payload of one segment of a super-frame, in bytes: what an MTU of 1500 leaves.
pub(crate) const SEGMENT: usize = 1472;
/// Segments in a super-frame; the kernel takes 64 KiB less headers.
pub(crate) const SEGMENTS: usize = 44;
/// The port that everything is sent to.
pub(crate) const PORT: u16 = 9;
/// Bytes asked for a receiving socket's buffer, and what a stack is asked for.
pub(crate) const RECEIVE_BUFFER: usize = 4 << 20;

/// Round trips to [`PEER`] one after the other, each in µs, until `count` or `limit`.
pub(crate) fn ping(count: usize, limit: Duration) -> Result<Vec<f64>, Failure> {
    let socket = ping_socket()?;
    let until = Instant::now() + limit;
    let mut times = Vec::with_capacity(count);
    for sequence in 0..count {
        if Instant::now() > until {
            break;
        }
        times.push(ping_once(&socket, sequence as u16)?);
    }
    Ok(times)
}

/// A raw ICMP socket that talks to [`PEER`] only.
pub(crate) fn ping_socket() -> Result<Socket, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.connect(&SocketAddrV4::new(PEER.into(), 0).into())?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(socket)
}

/// One round trip in µs.
fn ping_once(socket: &Socket, sequence: u16) -> Result<f64, Failure> {
    let request = echo_request(sequence);
    let start = Instant::now();
    (&mut &*socket).write_all(&request)?;
    await_reply(socket, sequence)?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// How often a process that starts is asked. Time-outs of sockets count in ticks, which are too long.
const ASK: Duration = Duration::from_micros(50);

/// Asks [`PEER`] again and again until it answers; an error after `limit`.
pub(crate) fn await_first_answer(limit: Duration) -> Result<(), Failure> {
    let socket = ping_socket()?;
    socket.set_nonblocking(true)?;
    let request = echo_request(0);
    let until = Instant::now() + limit;
    while Instant::now() < until {
        // There is no carrier until somebody holds the tap.
        let _refused = (&mut &socket).write(&request);
        ppoll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], Some(ASK.into()), None)?;
        match await_reply(&socket, 0) {
            Ok(()) => return Ok(()),
            Err(error) => excuse_silence(error)?,
        }
    }
    Err("the started process never answered".into())
}

/// Nothing yet is not a failure of the trial.
fn excuse_silence(error: Failure) -> Result<(), Failure> {
    match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(ErrorKind::WouldBlock | ErrorKind::HostUnreachable) => Ok(()),
        _ => Err(error),
    }
}

/// Waits for the echo reply that bears `sequence`.
pub(crate) fn await_reply(mut socket: &Socket, sequence: u16) -> Result<(), Failure> {
    let mut buffer = [0; 2048];
    loop {
        let len = socket.read(&mut buffer)?;
        let reply = &buffer[20.min(len)..len];
        if reply.first() == Some(&0) && reply.get(6..8) == Some(&sequence.to_be_bytes()[..]) {
            return Ok(());
        }
    }
}

/// An echo request of 56 bytes of payload, as ping(8) sends by default.
pub(crate) fn echo_request(sequence: u16) -> Vec<u8> {
    let mut request = vec![0; 64];
    request[0] = 8;
    request[4..6].copy_from_slice(&0x7275u16.to_be_bytes());
    request[6..8].copy_from_slice(&sequence.to_be_bytes());
    let checksum = rumpnet_wire::checksum::of(&request);
    request[2..4].copy_from_slice(&checksum.to_be_bytes());
    request
}

/// Sends small datagrams to `to` in batches until `limit`; returns how many the kernel took.
pub(crate) fn flood(to: [u8; 4], limit: Duration) -> Result<u64, Failure> {
    let socket = sender(to)?;
    let payload = [0x55; SMALL];
    let slices = [[IoSlice::new(&payload)]; BATCH];
    let addresses = [None::<SockaddrStorage>; BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let until = Instant::now() + limit;
    let mut sent = 0;
    while Instant::now() < until {
        let result = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, addresses, [], MsgFlags::empty());
        sent += match result {
            Ok(results) => results.count() as u64,
            Err(errno) => excuse(errno)?,
        };
    }
    Ok(sent)
}

/// Sends super-frames to `to` until `limit`; returns how many the kernel took.
pub(crate) fn flood_trains(to: [u8; 4], limit: Duration) -> Result<u64, Failure> {
    let socket = sender(to)?;
    let payload = vec![0x55; SEGMENT * SEGMENTS];
    let size = SEGMENT as u16;
    let until = Instant::now() + limit;
    let mut sent = 0;
    while Instant::now() < until {
        let control = [ControlMessage::UdpGsoSegments(&size)];
        let slices = [IoSlice::new(&payload)];
        let result =
            sendmsg::<SockaddrStorage>(socket.as_raw_fd(), &slices, &control, MsgFlags::empty(), None);
        sent += match result {
            Ok(_) => 1,
            Err(errno) => excuse(errno)?,
        };
    }
    Ok(sent)
}

/// A send that the far end's pace refused is not a failure of the trial.
fn excuse(errno: nix::Error) -> Result<u64, Failure> {
    use nix::errno::Errno::{EAGAIN, ECONNREFUSED, ENOBUFS};
    if matches!(errno, ENOBUFS | EAGAIN | ECONNREFUSED) { Ok(0) } else { Err(errno.into()) }
}

fn sender(to: [u8; 4]) -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::from(to), PORT))?;
    Ok(socket)
}

/// A bound socket that will not lose what arrives while the counter sleeps, and wakes often enough to end.
pub(crate) fn receiver(coalesce: bool) -> Result<UdpSocket, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    if coalesce {
        setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
    }
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(socket)
}

/// Counts datagrams and payload bytes that arrive at `socket`.
pub(crate) fn count(socket: &UdpSocket) -> Result<Figures, Failure> {
    let mut buffers = vec![[0u8; 2048]; BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut count = Count::begin();
    while count.is_running() {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
            Ok(messages) => {
                let (packets, bytes) =
                    messages.fold((0, 0), |(n, sum), message| (n + 1, sum + message.bytes));
                count.add(packets, bytes as u64);
            }
            Err(nix::errno::Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(count.figures())
}

/// Counts the trains that arrive at a coalescing `socket`, and the datagrams in them.
pub(crate) fn count_trains(socket: &UdpSocket) -> Result<Figures, Failure> {
    let mut buffer = vec![0; 1 << 17];
    let mut space = nix::cmsg_space!(i32);
    let mut count = Count::begin();
    while count.is_running() {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty());
        match message {
            Ok(message) => {
                let segment = message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::UdpGroSegments(size) => Some(size.max(1) as usize),
                    _ => None,
                });
                count.add(message.bytes.div_ceil(segment.unwrap_or(usize::MAX)) as u64, message.bytes as u64);
            }
            Err(nix::errno::Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(count.figures())
}
