//! A datagram socket of a kernel in another process: a descriptor whose messages have a header before each datagram, and requests for the rest.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, Shutdown, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::OnceLock,
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use rumpnet_host::unix::pair;
use rumpnet_proto::{
    Errno, GroupChange, GroupInterface, MulticastOption, MulticastSettings, SourceFilter, codec,
    passed::{DatagramHeader, SocketKind, SocketReply, SocketRequest},
};
use rumpnet_sockets::{DatagramHandle, DatagramWait, Interest, Meta, Train};
use rumpnet_stack::{
    Datagram as Came, QueuedError, SendInfo, SocketOption, SocketSettings, buffer::Payload, time::Instant,
};

use super::{Kernel, Place, error, watched::Watched};

/// The longest payload that there is (RFC 768).
const LONGEST: usize = 65_507;

/// A UDP, raw IP or ICMP socket of a kernel in another process.
///
/// Its descriptor ([`AsFd`]) carries each datagram as a message behind a [`DatagramHeader`], in both directions. What goes wrong with one that was sent
/// is told by the next call, as an error of the network is.
pub struct Datagram {
    kernel: Kernel,
    place: Place,
    end: OwnedFd,
    watched: OnceLock<Option<Watched>>,
}

impl Datagram {
    fn ask(&self, request: impl FnOnce(u64) -> SocketRequest) -> io::Result<Option<SocketReply>> {
        self.kernel.ask(self.place, request(self.place.number))
    }

    fn done(&self, request: impl FnOnce(u64) -> SocketRequest) -> io::Result<()> {
        self.ask(request).map(drop)
    }

    fn addresses(&self) -> io::Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        match self.ask(|socket| SocketRequest::Addresses { socket })? {
            Some(SocketReply::Addresses { local, remote }) => Ok((local, remote)),
            _ => Err(error(Errno::Proto)),
        }
    }

    /// Sends a message, unless an earlier one has failed.
    fn send_message(&self, header: DatagramHeader, payload: &[u8]) -> io::Result<usize> {
        if payload.len() > LONGEST {
            return Err(error(Errno::MsgSize));
        }
        if let Some(failure) = self.next_failure()? {
            return Err(failure);
        }
        let header = header.to_bytes();
        match pair::send(&self.end, &[IoSlice::new(&header), IoSlice::new(payload)]) {
            Ok(_) => Ok(payload.len()),
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => Err(failure),
            Err(_) => Err(error(Errno::NotConn)),
        }
    }

    /// Takes the error that is next on the descriptor, if it is one and no datagram.
    fn next_failure(&self) -> io::Result<Option<io::Error>> {
        let mut bytes = [0; DatagramHeader::LEN];
        match pair::receive_message(&self.end, &mut [IoSliceMut::new(&mut bytes)], true) {
            Ok(0) => Err(error(Errno::NotConn)),
            Ok(_) => match DatagramHeader::from_bytes(&bytes).and_then(|header| header.error) {
                Some(errno) => {
                    // Another thread may have taken it meanwhile, and then a datagram is lost, as datagrams are.
                    let _taken = pair::receive_message(&self.end, &mut [], false);
                    Ok(Some(error(errno)))
                }
                None => Ok(None),
            },
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn receive_into(&self, buffer: &mut [u8], peek: bool) -> io::Result<(usize, Meta)> {
        let mut bytes = [0; DatagramHeader::LEN];
        let room = buffer.len();
        let mut slices = [IoSliceMut::new(&mut bytes), IoSliceMut::new(buffer)];
        let len = match pair::receive_message(&self.end, &mut slices, peek) {
            Ok(0) => return Err(error(Errno::NotConn)),
            Ok(len) => len.checked_sub(DatagramHeader::LEN).ok_or_else(|| error(Errno::Proto))?,
            Err(failure) => return Err(failure),
        };
        let header = DatagramHeader::from_bytes(&bytes).ok_or_else(|| error(Errno::Proto))?;
        if let Some(errno) = header.error {
            if peek {
                let _taken = pair::receive_message(&self.end, &mut [], false);
            }
            return Err(error(errno));
        }
        let came = as_datagram(header, Payload::Empty).ok_or_else(|| error(Errno::Proto))?;
        Ok((len.min(room), Meta { len, ..Meta::from(&came) }))
    }

    fn watched(&self) -> Option<&Watched> {
        // Without a reactor nobody could be woken: the task is at once, for ever, and its call says why.
        self.watched.get_or_init(|| Watched::new(&self.end).ok()).as_ref()
    }
}

/// What a header says of the datagram behind it.
fn as_datagram(header: DatagramHeader, payload: Payload) -> Option<Came> {
    Some(Came {
        payload,
        segment: None,
        source: header.source?,
        destination: header.destination?,
        interface: header.interface,
        ttl: header.ttl,
        tos: header.tos.unwrap_or(0),
        received: Instant::from_nanos(header.received_ns),
    })
}

impl AsFd for Datagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl DatagramHandle for Datagram {
    type World = Kernel;

    fn error(errno: Errno) -> io::Error {
        error(errno)
    }

    fn open(kernel: &Kernel, kind: SocketKind) -> io::Result<Self> {
        let (place, end) = kernel.open(kind)?;
        Ok(Self { kernel: kernel.clone(), place, end, watched: OnceLock::new() })
    }

    fn bind_to(&self, local: SocketAddr) -> io::Result<()> {
        self.done(|socket| SocketRequest::Bind { socket, local })
    }

    fn bind_any_to(&self, interface: &str, port: u16) -> io::Result<()> {
        let interface = interface.to_owned();
        self.done(|socket| SocketRequest::BindAny { socket, interface, port })
    }

    fn bind_device(&self, interface: Option<&str>) -> io::Result<()> {
        let interface = interface.map(str::to_owned);
        self.done(|socket| SocketRequest::BindDevice { socket, interface })
    }

    fn connect_to(&self, remote: SocketAddr) -> io::Result<()> {
        self.done(|socket| SocketRequest::Connect { socket, remote })
    }

    fn disconnect(&self) -> io::Result<()> {
        self.done(|socket| SocketRequest::Disconnect { socket })
    }

    /// EOPNOTSUPP but for `Write`: what has been passed cannot be taken back.
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match how {
            Shutdown::Write => self.done(|socket| SocketRequest::EndSending { socket }),
            Shutdown::Read | Shutdown::Both => Err(error(Errno::OpNotSupp)),
        }
    }

    fn send_info(&self, payload: &[u8], to: Option<SocketAddr>, info: SendInfo) -> io::Result<usize> {
        let header = DatagramHeader {
            source: info.source.map(|source| SocketAddr::new(source, 0)),
            destination: to,
            interface: info.interface.unwrap_or(0),
            ttl: info.ttl.unwrap_or(0),
            tos: info.tos,
            ..DatagramHeader::default()
        };
        // A time to live of 0 is a wish that cannot be, and must not pass for none.
        if info.ttl == Some(0) {
            return Err(error(Errno::Inval));
        }
        self.send_message(header, payload)
    }

    fn send_from(&self, payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<usize> {
        let (source, destination) = (Some(from), Some(to));
        self.send_message(
            DatagramHeader { source, destination, foreign: true, ..DatagramHeader::default() },
            payload,
        )
    }

    fn send_train(&self, payload: Bytes, segment: u16, to: Option<SocketAddr>) -> io::Result<()> {
        if segment == 0 {
            return Err(error(Errno::Inval));
        }
        let header = DatagramHeader { destination: to, segment, ..DatagramHeader::default() };
        self.send_message(header, &payload).map(drop)
    }

    fn send_batch(&self, payloads: &[&[u8]], to: Option<SocketAddr>) -> io::Result<usize> {
        let mut sent = 0;
        for payload in payloads {
            match self.send(payload, to) {
                Ok(_) => sent += 1,
                // The next call says why.
                Err(_) if sent > 0 => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(sent)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)> {
        self.receive_into(buffer, false)
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)> {
        self.receive_into(buffer, true)
    }

    fn receive_train(&self, buffer: &mut [u8]) -> io::Result<(usize, usize, Meta)> {
        let (len, meta) = self.receive(buffer)?;
        Ok((len, meta.len, meta))
    }

    fn receive_trains(&self, out: &mut Vec<Train>, limit: usize) -> io::Result<usize> {
        let mut buffer = vec![0; LONGEST];
        for count in 0..limit {
            match self.receive(&mut buffer) {
                Ok((len, meta)) => {
                    let mut payload = Payload::Empty;
                    payload.push(Bytes::copy_from_slice(&buffer[..len]));
                    let Meta { source, destination, interface, ttl, tos, received, .. } = meta;
                    let came =
                        Came { payload, segment: None, source, destination, interface, ttl, tos, received };
                    out.push(Train::from(came));
                }
                Err(failure) if count == 0 => return Err(failure),
                Err(_) => return Ok(count),
            }
        }
        Ok(limit)
    }

    /// EOPNOTSUPP: errors come without their causes.
    fn receive_error(&self) -> io::Result<QueuedError> {
        Err(error(Errno::OpNotSupp))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.0.ok_or_else(|| error(Errno::Inval))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.1.ok_or_else(|| error(Errno::NotConn))
    }

    fn set_option(&self, option: SocketOption) -> io::Result<()> {
        if matches!(option, SocketOption::ReceiveErrors(true)) {
            return Err(error(Errno::NoProtoOpt));
        }
        let option = codec::encode(&option).map_err(error)?;
        self.done(|socket| SocketRequest::SetOption { socket, option })
    }

    fn settings(&self) -> io::Result<SocketSettings> {
        match self.ask(|socket| SocketRequest::Settings { socket })? {
            Some(SocketReply::Value(bytes)) => codec::decode(&bytes).map_err(error),
            _ => Err(error(Errno::Proto)),
        }
    }

    fn change_group(&self, change: &GroupChange) -> io::Result<()> {
        let change = change.clone();
        self.done(|socket| SocketRequest::ChangeGroup { socket, change })
    }

    fn group_filter(&self, group: Ipv4Addr, interface: GroupInterface) -> io::Result<SourceFilter> {
        match self.ask(|socket| SocketRequest::GroupFilter { socket, group, interface })? {
            Some(SocketReply::Filter(filter)) => Ok(filter),
            _ => Err(error(Errno::Proto)),
        }
    }

    fn set_multicast_option(&self, option: MulticastOption) -> io::Result<()> {
        self.done(|socket| SocketRequest::SetMulticast { socket, option })
    }

    fn multicast_settings(&self) -> io::Result<MulticastSettings> {
        match self.ask(|socket| SocketRequest::Multicast { socket })? {
            Some(SocketReply::Multicast(settings)) => Ok(settings),
            _ => Err(error(Errno::Proto)),
        }
    }

    fn path_mtu(&self) -> io::Result<u32> {
        match self.ask(|socket| SocketRequest::PathMtu { socket })? {
            Some(SocketReply::PathMtu(mtu)) => Ok(mtu),
            _ => Err(error(Errno::Proto)),
        }
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self.next_failure()? {
            Some(failure) => Ok(Some(failure)),
            None => self.kernel.error_of(self.place),
        }
    }

    fn is_ready(&self, interest: Interest) -> bool {
        let polled = pair::wait(&self.end, true, true, Some(Duration::ZERO)).unwrap_or_default();
        polled.failed
            || polled.hung_up
            || match interest {
                Interest::Readable => polled.readable,
                Interest::Writable => polled.writable,
                Interest::Urgent | Interest::Delivered | Interest::QueuedError => false,
            }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        match self.watched() {
            Some(watched) => watched.register(interest, waker),
            None => waker.wake_by_ref(),
        }
    }
}

impl DatagramWait for Datagram {
    fn wait(&self, interest: Interest, patience: Option<Duration>) -> io::Result<()> {
        let writable = interest == Interest::Writable;
        let polled = pair::wait(&self.end, !writable, writable, patience)?;
        if polled == pair::Polled::default() { Err(error(Errno::TimedOut)) } else { Ok(()) }
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        if let Some(Some(watched)) = self.watched.get() {
            watched.forget(&self.end);
        }
    }
}
