//! Socket calls, on streams; those on datagrams are beside.

use std::net::SocketAddr;

use bytes::Bytes;
use rumpnet_stack::{Endpoint, SendMode, Shutdown, SocketId};

use super::{
    World,
    descriptor::{Descriptor, Object},
};
use crate::refusal::{Answer, Refusal};

/// Flags of recv(2) that are understood.
const RECEIVE_FLAGS: i32 = libc::MSG_PEEK
    | libc::MSG_DONTWAIT
    | libc::MSG_WAITALL
    | libc::MSG_TRUNC
    | libc::MSG_NOSIGNAL
    | libc::MSG_OOB
    | libc::MSG_CMSG_CLOEXEC;
/// Flags of send(2) that are understood.
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_OOB | libc::MSG_MORE;

/// What was received.
#[derive(Debug)]
pub struct Taken {
    /// The bytes that fit.
    pub bytes: Bytes,
    /// How many there were; more than fit only of a datagram.
    pub whole: usize,
    /// Who sent them, of a datagram.
    pub source: Option<SocketAddr>,
}

impl World {
    /// socket(2). EAFNOSUPPORT for all but AF_INET, EPROTONOSUPPORT, EINVAL for unknown flags, EMFILE.
    pub fn socket(&mut self, domain: i32, kind: i32, protocol: i32) -> Answer<i32> {
        let flags = kind & (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
        if domain != libc::AF_INET {
            return Err(Refusal(libc::EAFNOSUPPORT));
        }
        self.descriptors.check_room(1)?;
        let object = match (kind & !flags, protocol) {
            (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => Object::Tcp(self.stack.tcp_open()?),
            (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => Object::Udp(self.stack.udp_open()?),
            (libc::SOCK_STREAM | libc::SOCK_DGRAM, _) => return Err(Refusal(libc::EPROTONOSUPPORT)),
            (libc::SOCK_RAW | libc::SOCK_RDM | libc::SOCK_SEQPACKET, _) => {
                return Err(Refusal(libc::ESOCKTNOSUPPORT));
            }
            _ => return Err(Refusal::INVALID),
        };
        let mut descriptor = Descriptor::new(object, flags & libc::SOCK_NONBLOCK != 0);
        descriptor.close_on_exec = flags & libc::SOCK_CLOEXEC != 0;
        Ok(self.descriptors.insert(descriptor))
    }

    /// bind(2).
    pub fn bind(&mut self, number: i32, address: SocketAddr) -> Answer<()> {
        match self.descriptors.find(number)?.object {
            Object::Tcp(id) => self.stack.tcp_bind(id, address)?,
            Object::Udp(id) => self.stack.udp_bind(id, address)?,
            _ => return Err(Refusal(libc::ENOTSOCK)),
        };
        Ok(())
    }

    /// listen(2): a negative backlog is the greatest.
    pub fn listen(&mut self, number: i32, backlog: i32) -> Answer<()> {
        let descriptor = self.descriptors.find_mut(number)?;
        self.stack.tcp_listen(descriptor.tcp()?, backlog as u32)?;
        descriptor.listening = true;
        Ok(())
    }

    /// accept(2): the new descriptor, and the peer. EAGAIN while nobody waits.
    pub fn accept(&mut self, number: i32) -> Answer<(i32, SocketAddr)> {
        let listener = self.descriptors.find(number)?.tcp()?;
        self.descriptors.check_room(1)?;
        let (id, peer) = self.stack.tcp_accept(listener)?;
        let mut descriptor = Descriptor::new(Object::Tcp(id), false);
        descriptor.connected = true;
        let accepted = self.descriptors.insert(descriptor);
        self.settle();
        Ok((accepted, peer))
    }

    /// Begins connect(2): true if it is done, false if the answer is to be waited for with [`Self::connected`].
    pub fn connect(&mut self, number: i32, address: SocketAddr) -> Answer<bool> {
        let descriptor = self.descriptors.find_mut(number)?;
        let done = match descriptor.object {
            Object::Tcp(id) => {
                self.stack.tcp_connect(self.now, id, address)?;
                descriptor.connected = true;
                false
            }
            Object::Udp(id) => {
                self.stack.udp_connect(id, address)?;
                true
            }
            _ => return Err(Refusal(libc::ENOTSOCK)),
        };
        self.settle();
        Ok(done)
    }

    /// Whether the connection is there; EAGAIN while that is open, else why it failed.
    pub fn connected(&mut self, number: i32) -> Answer<()> {
        let id = self.descriptors.find(number)?.tcp()?;
        if !self.stack.readiness(Endpoint::Tcp(id)).writable {
            return Err(Refusal::AGAIN);
        }
        self.stack.tcp_take_error(id)?.map_or(Ok(()), |error| Err(error.into()))
    }

    /// recv(2) of at most `limit` bytes: none at the end of a stream. EAGAIN while there is nothing; EOPNOTSUPP for flags that are not there.
    pub fn receive(&mut self, number: i32, limit: usize, flags: i32) -> Answer<Taken> {
        if flags & !RECEIVE_FLAGS != 0 {
            return Err(Refusal(libc::EOPNOTSUPP));
        }
        let peeks = flags & libc::MSG_PEEK != 0;
        match self.descriptors.find(number)?.object {
            Object::Tcp(id) if flags & libc::MSG_OOB != 0 => self.receive_urgent(id, peeks),
            // Who wants nothing waits for nothing.
            Object::Tcp(_) if limit == 0 => Ok(Taken { bytes: Bytes::new(), whole: 0, source: None }),
            Object::Tcp(id) => {
                let taken = if peeks {
                    self.stack.tcp_peek(id, limit)
                } else {
                    self.stack.tcp_receive(self.now, id, limit)
                };
                self.settle();
                let bytes = taken?.to_bytes();
                Ok(Taken { whole: bytes.len(), bytes, source: None })
            }
            Object::Udp(id) => self.receive_datagram(id, limit, peeks),
            _ => Err(Refusal(libc::ENOTSOCK)),
        }
    }

    /// The byte out of band.
    fn receive_urgent(&mut self, id: SocketId, keep: bool) -> Answer<Taken> {
        let byte = self.stack.tcp_receive_urgent(id, keep)?;
        let bytes: Bytes = byte.into_iter().collect();
        Ok(Taken { whole: bytes.len(), bytes, source: None })
    }

    /// read(2), of a socket or a pipe.
    pub fn read(&mut self, number: i32, limit: usize) -> Answer<Bytes> {
        match self.descriptors.find(number)?.object {
            Object::Pipe(end) => self.read_pipe(end, limit),
            Object::Epoll(_) => Err(Refusal::INVALID),
            _ => Ok(self.receive(number, limit, 0)?.bytes),
        }
    }

    /// send(2) to a stream: how many were taken, EAGAIN without room; or of a whole datagram.
    pub fn send(&mut self, number: i32, bytes: Bytes, flags: i32, to: Option<SocketAddr>) -> Answer<usize> {
        if flags & !SEND_FLAGS != 0 {
            return Err(Refusal(libc::EOPNOTSUPP));
        }
        match self.descriptors.find(number)?.object {
            Object::Tcp(id) => {
                // An empty write asks only whether one may write.
                let how = SendMode { urgent: flags & libc::MSG_OOB != 0, more: flags & libc::MSG_MORE != 0 };
                let taken = self.stack.tcp_send_as(self.now, id, bytes.clone(), how);
                self.settle();
                match taken {
                    Err(error) if bytes.is_empty() && Refusal::from(error) == Refusal::AGAIN => Ok(0),
                    taken => Ok(taken?),
                }
            }
            Object::Udp(id) => self.send_datagram(id, bytes, to),
            _ => Err(Refusal(libc::ENOTSOCK)),
        }
    }

    /// write(2), to a socket or a pipe.
    pub fn write(&mut self, number: i32, bytes: Bytes) -> Answer<usize> {
        match self.descriptors.find(number)?.object {
            Object::Pipe(end) => self.write_pipe(end, &bytes),
            Object::Epoll(_) => Err(Refusal::INVALID),
            _ => self.send(number, bytes, 0, None),
        }
    }

    /// shutdown(2), with Linux's SHUT_RD, SHUT_WR and SHUT_RDWR.
    pub fn shutdown(&mut self, number: i32, how: i32) -> Answer<()> {
        let direction = match how {
            libc::SHUT_RD => Shutdown::Read,
            libc::SHUT_WR => Shutdown::Write,
            libc::SHUT_RDWR => Shutdown::Both,
            _ => return Err(Refusal::INVALID),
        };
        let id = self.descriptors.find(number)?.tcp()?;
        self.stack.tcp_shutdown(self.now, id, direction)?;
        self.settle();
        Ok(())
    }

    /// Whether a descriptor is a stream, of which a write may be taken in part.
    pub fn is_stream(&self, number: i32) -> Answer<bool> {
        Ok(!matches!(self.descriptors.find(number)?.object, Object::Udp(_)))
    }
}
