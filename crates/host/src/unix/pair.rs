//! Pairs of local sockets, one end for us and one for another process: data by system calls of ours that never wait, descriptors beside it.
//!
//! [`Pair::stream`] keeps bytes in order, [`Pair::messages`] keeps messages apart. The other end is an ordinary blocking descriptor. While
//! it is [full](Pair::fill), its holder can write nothing, and closing our end then is a reset to it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    cmsg_space,
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recv,
        recvmsg, sendmsg, shutdown, socketpair, sockopt,
    },
};

/// Octets written at once to fill a descriptor.
const FILLER: usize = 4096;

/// How a system call of ours is made: it never waits and never kills us.
const SENDING: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Two ends joined to each other.
#[derive(Debug)]
pub struct Pair {
    /// Ours.
    pub ours: OwnedFd,
    /// The one for the other process; its calls wait unless it says otherwise.
    pub theirs: OwnedFd,
}

impl Pair {
    /// A pair that carries bytes. EMFILE, ENFILE.
    pub fn stream() -> io::Result<Self> {
        Self::of(SocketType::STREAM)
    }

    /// A pair that carries messages. EMFILE, ENFILE.
    pub fn messages() -> io::Result<Self> {
        Self::of(SocketType::SEQPACKET)
    }

    fn of(kind: SocketType) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok(Self { ours, theirs })
    }

    /// Writes for the other end until it takes no more, with the least buffer that it may have; how much that was.
    ///
    /// What is written so stands before all that its holder writes, and is to be [taken away](drain) before.
    pub fn fill(&self) -> io::Result<usize> {
        set_send_buffer(&self.theirs, 0)?;
        let mut filled = 0;
        loop {
            match send(&self.theirs, &[IoSlice::new(&[0; FILLER])]) {
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Takes away what [`Pair::fill`] has written.
pub fn drain(ours: impl AsFd, mut filled: usize) -> io::Result<()> {
    let mut buffer = [0; FILLER];
    while filled > 0 {
        let piece = filled.min(FILLER);
        match receive(&ours, &mut buffer[..piece])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => filled -= len,
        }
    }
    Ok(())
}

/// How many octets written to an end may wait to be read at the other; the host keeps it within its own limits.
pub fn set_send_buffer(end: impl AsFd, octets: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(end, octets)?)
}

/// Sends what there is room for. WouldBlock without any, BrokenPipe if nobody reads.
pub fn send(ours: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    send_with(ours, slices, None)
}

/// The same with a descriptor beside the first octet.
pub fn send_with(
    ours: impl AsFd,
    slices: &[IoSlice<'_>],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptor) = &descriptor
        && !control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)))
    {
        return Err(Errno::INVAL.into());
    }
    retry(|| sendmsg(&ours, slices, &mut control, SENDING))
}

/// Receives what has come without waiting; nothing at the end. WouldBlock if nothing has come, ConnectionReset if the other end was closed
/// before it had read everything.
pub fn receive(ours: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| recv(&ours, &mut *buffer, RecvFlags::DONTWAIT).map(|(filled, _)| filled))
}

/// What [`receive_with`] has received.
#[derive(Debug)]
pub struct Received {
    /// How many octets there were; of a message as many as fit.
    pub len: usize,
    /// The descriptor that came along, closed on exec; others are closed.
    pub descriptor: Option<OwnedFd>,
    /// The message was longer, and the rest is lost.
    pub is_truncated: bool,
}

/// Receives without waiting, with a descriptor beside it if one came; `peek` leaves it all there.
pub fn receive_with(end: impl AsFd, slices: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let flags = if peek { flags | RecvFlags::PEEK } else { flags };
    let received = retry(|| recvmsg(&end, slices, &mut control, flags))?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(Received {
        len: received.bytes,
        descriptor,
        is_truncated: received.flags.contains(ReturnFlags::TRUNC),
    })
}

/// Receives a message without waiting, or with `peek` leaves it there: its whole length, be it more than there is room for; 0 at the end.
pub fn receive_message(end: impl AsFd, slices: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<usize> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC | RecvFlags::TRUNC;
    let flags = if peek { flags | RecvFlags::PEEK } else { flags };
    Ok(retry(|| recvmsg(&end, slices, &mut RecvAncillaryBuffer::new(&mut []), flags))?.bytes)
}

/// Says that nothing more will be sent: the other end reads the end when it has read the rest.
pub fn end_sending(ours: impl AsFd) {
    // The other end being gone already is as good.
    let _gone = shutdown(ours, Shutdown::Write);
}

/// shutdown(2).
pub fn shut_down(end: impl AsFd, how: std::net::Shutdown) -> io::Result<()> {
    let how = match how {
        std::net::Shutdown::Read => Shutdown::Read,
        std::net::Shutdown::Write => Shutdown::Write,
        std::net::Shutdown::Both => Shutdown::Both,
    };
    Ok(shutdown(end, how)?)
}

/// What poll(2) says of a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// POLLIN.
    pub readable: bool,
    /// POLLOUT.
    pub writable: bool,
    /// POLLRDHUP: the other end has said all.
    pub ended: bool,
    /// POLLHUP: neither direction is open any more.
    pub hung_up: bool,
    /// POLLERR: an error waits.
    pub failed: bool,
}

/// Waits until a descriptor has what is wanted of it, or is at its end, or so long; for ever without a span. Nothing if the time is over.
pub fn wait(
    end: impl AsFd,
    readable: bool,
    writable: bool,
    patience: Option<Duration>,
) -> io::Result<Polled> {
    let mut wanted = PollFlags::RDHUP;
    wanted.set(PollFlags::IN, readable);
    wanted.set(PollFlags::OUT, writable);
    // Whoever waits for room is not told of the end of what comes in.
    wanted.set(PollFlags::RDHUP, readable || patience == Some(Duration::ZERO));
    let until = patience.map(|span| Instant::now() + span);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut polled = [PollFd::new(&end, wanted)];
        match poll(&mut polled, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            done => {
                done?;
                let seen = polled[0].revents();
                return Ok(Polled {
                    readable: seen.contains(PollFlags::IN),
                    writable: seen.contains(PollFlags::OUT),
                    ended: seen.contains(PollFlags::RDHUP),
                    hung_up: seen.contains(PollFlags::HUP),
                    failed: seen.contains(PollFlags::ERR),
                });
            }
        }
    }
}

/// Takes the pending error of a descriptor (SO_ERROR).
pub fn take_error(end: impl AsFd) -> io::Result<Option<io::Error>> {
    Ok(sockopt::socket_error(end)?.err().map(Into::into))
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (OwnedFd, UnixStream) {
        let Pair { ours, theirs } = Pair::stream().expect("descriptors");
        (ours, theirs.into())
    }

    #[test]
    fn who_holds_a_full_end_can_write_nothing_until_it_is_drained() {
        let whole = Pair::stream().expect("descriptors");
        let filled = whole.fill().expect("room");
        let Pair { ours, theirs } = whole;
        let mut theirs = UnixStream::from(theirs);
        theirs.set_nonblocking(true).expect("open");
        assert_eq!(theirs.write(b"x").expect_err("full").kind(), io::ErrorKind::WouldBlock);
        drain(&ours, filled).expect("it is there");
        set_send_buffer(&theirs, 1 << 20).expect("open");
        theirs.write_all(b"there").expect("room");
        let mut buffer = [0; 16];
        assert_eq!(receive(&ours, &mut buffer).ok(), Some(5));
        assert_eq!(&buffer[..5], b"there", "and nothing of what filled it");
    }

    #[test]
    fn closing_over_what_nobody_has_read_is_a_reset() {
        let whole = Pair::stream().expect("descriptors");
        whole.fill().expect("room");
        let Pair { ours, theirs } = whole;
        drop(ours);
        let error = take_error(&theirs).expect("open").expect("an error");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let (ours, mut theirs) = pair();
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 1]).ok(), Some(0), "an end otherwise");
    }

    #[test]
    fn our_calls_do_not_wait_and_a_descriptor_goes_along() {
        let (ours, theirs) = pair();
        assert_eq!(receive(&ours, &mut [0; 1]).expect_err("nothing").kind(), io::ErrorKind::WouldBlock);
        let (reader, writer) = io::pipe().expect("descriptors");
        let slices = [IoSlice::new(b"one "), IoSlice::new(b"pipe")];
        assert_eq!(send_with(&ours, &slices, Some(writer.as_fd())).ok(), Some(8));
        drop(writer);
        let mut buffer = [0; 32];
        let received = receive_with(&theirs, &mut [IoSliceMut::new(&mut buffer)], false).expect("it is here");
        assert_eq!(&buffer[..received.len], b"one pipe");
        std::fs::File::from(received.descriptor.expect("a descriptor")).write_all(b"by it").expect("open");
        let mut came = String::new();
        let mut reader = reader;
        reader.read_to_string(&mut came).expect("open");
        assert_eq!(came, "by it");
    }
}
