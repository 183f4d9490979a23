//! Errors: what was asked of the host, what it answered, and the command that lifts the obstacle.
//!
//! [`HostError`] is for calls that set something up and may say a lot; [`IoFailure`] is for the path of frames and
//! is a plain value. Both carry the host's raw errno; translating it is the business of whoever knows the caller.

use std::fmt;

use rustix::io::Errno;

/// What was asked of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening `/dev/net/tun`.
    OpenNode,
    /// Attaching a descriptor to a tap or tun (TUNSETIFF).
    Attach,
    /// Taking over a descriptor that somebody else opened.
    Adopt,
    /// Agreeing on the header in front of each frame.
    SetHeader,
    /// Finding an interface.
    Find,
    /// Bringing an interface up or down.
    SetUp,
    /// Changing its MTU.
    SetMtu,
    /// Changing the length of its queue.
    SetQueueLength,
    /// Showing the host a carrier.
    SetCarrier,
    /// Making a tap stay, or letting it go.
    SetPersistence,
    /// Giving a tap to a user or a group.
    SetOwner,
    /// Binding a local socket.
    Bind,
    /// Connecting a local socket.
    Connect,
    /// Opening a packet socket and binding it to an interface.
    OpenPacketSocket,
    /// Making a pair of interfaces.
    CreatePair,
    /// Moving into a namespace of our own.
    EnterNamespace,
    /// Taking a lock file.
    Lock,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenNode => "open",
            Self::Attach => "attach",
            Self::Adopt => "adopt",
            Self::SetHeader => "set header",
            Self::Find => "find",
            Self::SetUp => "set up",
            Self::SetMtu => "set mtu",
            Self::SetQueueLength => "set queue length",
            Self::SetCarrier => "set carrier",
            Self::SetPersistence => "set persistence",
            Self::SetOwner => "set owner",
            Self::Bind => "bind",
            Self::Connect => "connect",
            Self::OpenPacketSocket => "open packet socket on",
            Self::CreatePair => "create",
            Self::EnterNamespace => "enter",
            Self::Lock => "lock",
        })
    }
}

/// A refusal of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// What was asked.
    pub operation: Operation,
    /// Of what: an interface, a path.
    pub object: String,
    /// The host's errno, raw.
    pub errno: i32,
    /// What helps, as a sentence or as a command.
    pub hint: Option<String>,
}

impl HostError {
    /// A refusal without a hint.
    pub fn new(operation: Operation, object: impl Into<String>, errno: Errno) -> Self {
        Self { operation, object: object.into(), errno: errno.raw_os_error(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = std::io::Error::from_raw_os_error(self.errno);
        write!(f, "{} {}: {reason}", self.operation, self.object)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for HostError {}

impl From<HostError> for std::io::Error {
    fn from(error: HostError) -> Self {
        Self::from_raw_os_error(error.errno)
    }
}

/// Why a frame was not read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoFailure {
    /// Nothing to read, or no room to write, now.
    WouldBlock,
    /// The host's interface is down (EIO of a tap, ENETDOWN of a packet socket).
    Down,
    /// The interface is gone for good (EBADFD, EFAULT, ENODEV, ENXIO).
    Gone,
    /// The host is out of buffers (ENOBUFS, ENOMEM).
    NoBuffers,
    /// The host does not take such a frame (EINVAL, EMSGSIZE): too short, or its header lies.
    Refused,
    /// Anything else, by its raw errno.
    Other(i32),
}

impl From<Errno> for IoFailure {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN | Errno::INTR => Self::WouldBlock,
            Errno::IO | Errno::NETDOWN => Self::Down,
            // A reader that sleeps while the interface is deleted gets EFAULT, all others EBADFD.
            Errno::BADFD | Errno::FAULT | Errno::NODEV | Errno::NXIO => Self::Gone,
            Errno::NOBUFS | Errno::NOMEM => Self::NoBuffers,
            Errno::INVAL | Errno::MSGSIZE => Self::Refused,
            other => Self::Other(other.raw_os_error()),
        }
    }
}

impl IoFailure {
    /// The errno that stands for it.
    pub fn errno(self) -> i32 {
        match self {
            Self::WouldBlock => libc::EAGAIN,
            Self::Down => libc::EIO,
            Self::Gone => libc::ENXIO,
            Self::NoBuffers => libc::ENOBUFS,
            Self::Refused => libc::EINVAL,
            Self::Other(errno) => errno,
        }
    }
}
