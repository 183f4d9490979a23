//! Local sockets that keep messages apart (`SOCK_SEQPACKET`) and carry descriptors.
//!
//! A [`Listener`] has its file at 0600 from the first moment, takes over the file that a dead server left, and never
//! that of a live one. A [`Connection`] never blocks unless a deadline is given. What the messages mean is not known here.

mod bind;
pub mod pair;

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    cmsg_space,
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, Result},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
        SocketType, accept_with, connect, recvmsg, sendmsg, shutdown, socket_with, socketpair,
    },
};

use crate::{HostError, Operation, clock, sockopt};

/// The most descriptors that a message carries.
pub const MAX_DESCRIPTORS: usize = 8;

/// Never block, never outlive exec.
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A socket on which a server waits for clients.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    path: PathBuf,
    /// The file's device and inode, by which we know it again.
    file: (u64, u64),
}

impl Listener {
    /// Binds to `path` for this user alone. A live server there is `EADDRINUSE`; a dead one's file is taken over.
    pub fn bind(path: impl AsRef<Path>) -> std::result::Result<Self, HostError> {
        let path = path.as_ref();
        bind::bind(path).map_err(|errno| refused(Operation::Bind, path, errno))
    }

    /// The next client; `EAGAIN` if none waits.
    pub fn accept(&self) -> Result<Connection> {
        accept_with(&self.fd, FLAGS).map(Connection)
    }

    /// Where it is bound.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Another server may have taken the path meanwhile; its file is not ours to remove.
        if bind::file(&self.path) == Ok(self.file) {
            let _gone = rustix::fs::unlink(&self.path);
        }
    }
}

/// Who is at the far end, as the kernel vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process, when it connected; zero if that is in a process namespace that we do not see.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A message that came.
#[derive(Debug)]
pub struct Message {
    /// Its octets in the buffer; zero means that the far end has closed.
    pub len: usize,
    /// The descriptors that came along, closed on exec.
    pub descriptors: Vec<OwnedFd>,
    /// It was longer than the buffer, and the rest is lost.
    pub is_truncated: bool,
    /// More descriptors came than were asked for, and were closed.
    pub lost_descriptors: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// Connects to the server at `path`; `ECONNREFUSED` if it is dead.
    pub fn connect(path: impl AsRef<Path>) -> std::result::Result<Self, HostError> {
        let path = path.as_ref();
        let connected = SocketAddrUnix::new(path).and_then(|address| {
            let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
            connect(&fd, &address)?;
            Ok(Self(fd))
        });
        connected.map_err(|errno| refused(Operation::Connect, path, errno))
    }

    /// Two ends joined to each other.
    pub fn pair() -> Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends one message whole, with at most [`MAX_DESCRIPTORS`] descriptors; `EAGAIN` if there is no room now.
    pub fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(Errno::INVAL);
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::INVAL);
        }
        sendmsg(&self.0, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL).map(drop)
    }

    /// Receives one message with at most `limit` descriptors; `EAGAIN` if none waits.
    pub fn receive(&self, buffer: &mut [u8], limit: usize) -> Result<Message> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.0, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        let surplus = descriptors.len() > limit;
        // Dropped is closed: what nobody asked for must not stay open here.
        descriptors.truncate(limit);
        Ok(Message {
            len: received.bytes,
            descriptors,
            is_truncated: received.flags.contains(ReturnFlags::TRUNC),
            lost_descriptors: surplus || received.flags.contains(ReturnFlags::CTRUNC),
        })
    }

    /// Sends, waiting for room until the [`clock::monotonic`] time `deadline`; `ETIMEDOUT` then.
    pub fn send_by(&self, message: &[u8], descriptors: &[BorrowedFd<'_>], deadline: u64) -> Result<()> {
        self.retry(PollFlags::OUT, deadline, || self.send(message, descriptors))
    }

    /// Receives, waiting for a message until `deadline`; `ETIMEDOUT` then.
    pub fn receive_by(&self, buffer: &mut [u8], limit: usize, deadline: u64) -> Result<Message> {
        self.retry(PollFlags::IN, deadline, || self.receive(buffer, limit))
    }

    /// Takes no more messages: who waits for one is told that the far end has closed. What is there can still be read.
    pub fn stop_receiving(&self) {
        // The far end being gone already is as good.
        let _gone = shutdown(&self.0, Shutdown::Read);
    }

    /// Ends the conversation for both ends, whoever else holds a descriptor of it.
    pub fn hang_up(&self) {
        let _gone = shutdown(&self.0, Shutdown::Both);
    }

    /// Who is at the far end.
    pub fn peer(&self) -> Result<Peer> {
        let peer = sockopt::peer_credentials(self.0.as_fd())?;
        Ok(Peer { pid: peer.pid.unsigned_abs(), uid: peer.uid, gid: peer.gid })
    }

    fn retry<T>(&self, ready: PollFlags, deadline: u64, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            match call() {
                Err(Errno::AGAIN | Errno::INTR) => self.wait(ready, deadline)?,
                done => return done,
            }
        }
    }

    fn wait(&self, ready: PollFlags, deadline: u64) -> Result<()> {
        let left = deadline.saturating_sub(clock::monotonic());
        let timeout =
            Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 };
        match poll(&mut [PollFd::new(&self.0, ready)], Some(&timeout)) {
            Ok(0) => Err(Errno::TIMEDOUT),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Connection {
    /// A descriptor that was handed over, taken for a connection as it is.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

fn refused(operation: Operation, path: &Path, errno: Errno) -> HostError {
    HostError::new(operation, path.display().to_string(), errno)
}
