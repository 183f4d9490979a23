//! One measurement: an arm under a load, in a namespace of its own.
//!
//! A trial is this program with the word `trial`. The trial's process is the host's side; the far side is a
//! [`Peer`], in the same namespace over a tap or in a second one over veth. It prints its figures as one line of JSON.

use std::time::Duration;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    Failure, Figures, count, driven_arm, kernel_socket, kernel_stream, lifecycle, lossy, memory, namespace,
    peer::{self, Peer},
    rump_arm, smoltcp_arm, tap_arm, veth_arm,
};

/// Round trips of a ping trial.
const PINGS: usize = 3000;
/// Round trips that warm caches and neighbours up before them.
const WARM_UP: usize = 100;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            /// The word for it on the command line and in reports.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What `word` stands for.
            pub(crate) fn parse(word: &str) -> Result<Self, Failure> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("no such {}: {word}", stringify!($name)).into()),
                }
            }
        }
    };
}

words! {
    /// What is measured.
    Arm {
        /// The host's own kernel in a second namespace, over veth.
        Veth = "veth",
        /// smoltcp over a tap.
        Smoltcp = "smoltcp",
        /// A bare loop on the raw tap.
        Tap = "tap",
        /// The rump kernel over a tap, run by its reactor's thread.
        Rump = "rump",
        /// The rump kernel over a tap, driven by its user's loop.
        Driven = "driven",
        /// The host's own kernel in a second namespace, over the row's own cable.
        Linux = "linux",
    }
}

words! {
    /// What it is measured under.
    Load {
        /// Round trips one after the other, everything on one CPU.
        PingPinned = "ping-pinned",
        /// The same on whatever CPUs the host chooses.
        Ping = "ping",
        /// Small datagrams from the arm to a host socket, counted there.
        UdpSend = "udp-send",
        /// The same in batches of equal datagrams, which leave as trains.
        UdpSendTrains = "udp-send-trains",
        /// The same in batches of unequal datagrams, each of which is a frame.
        UdpSendMixed = "udp-send-mixed",
        /// A host's flood of small datagrams, counted where the arm delivers them.
        UdpReceive = "udp-receive",
        /// UDP super-frames from the arm to a coalescing host socket.
        TrainSend = "train-send",
        /// UDP super-frames from the host, counted where the arm delivers them.
        TrainReceive = "train-receive",
        /// One TCP stream from the host into a sink that copies nothing.
        Sink = "sink",
        /// The same into reads that copy.
        Stream = "stream",
        /// One TCP stream to the host, by writes that copy.
        StreamSend = "stream-send",
        /// The same by writes that hand their bytes over.
        StreamGive = "stream-give",
        /// Eight TCP streams from the host into reads that copy.
        Streams = "streams",
        /// Eight TCP streams to the host, by writes that copy.
        StreamsSend = "streams-send",
        /// One byte there and back on one connection, everything on one CPU.
        RequestPinned = "request-pinned",
        /// The same on whatever CPUs the host chooses.
        Request = "request",
        /// The same on eight connections at once.
        Requests = "requests",
        /// Streams from the arm to a host's kernel over a cable that loses one frame in a thousand.
        LossSend = "loss-send",
        /// The same from the host's kernel to the arm.
        LossReceive = "loss-receive",
        /// Streams from the arm to a host's kernel over a cable that loses one frame in a hundred.
        HeavyLossSend = "heavy-loss-send",
        /// The same from the host's kernel to the arm.
        HeavyLossReceive = "heavy-loss-receive",
        /// A stream from the arm over a cable that lets three frames in a hundred be overtaken.
        OvertakenSend = "overtaken-send",
        /// A stream from the arm beside one of Linux, through one narrow way.
        Shared = "shared",
        /// Connections opened and closed one after the other.
        Connect = "connect",
        /// The same from eight threads.
        Connects = "connects",
        /// A stream between two stacks in one thread.
        Memory = "memory",
        /// Kernels booted one after the other.
        Boot = "boot",
        /// An interface made, given an address, brought up and destroyed.
        Cycle = "cycle",
        /// The same on a tap that was there before.
        Adopted = "adopted",
        /// Interfaces destroyed side by side.
        Parallel = "parallel",
        /// A process from its start to its first answer.
        Start = "start",
        /// Many kernels in one process.
        Kernels = "kernels",
    }
}

impl Load {
    /// Whether there is no traffic with a far side to be measured.
    const fn is_alone(self) -> bool {
        use Load::{Adopted, Boot, Cycle, Kernels, Memory, Parallel, Start};
        matches!(self, Boot | Cycle | Adopted | Parallel | Start | Kernels | Memory)
    }

    /// Whether it runs over a bad cable of its own.
    const fn is_lossy(self) -> bool {
        use Load::{HeavyLossReceive, HeavyLossSend, LossReceive, LossSend, OvertakenSend, Shared};
        matches!(self, LossSend | LossReceive | HeavyLossSend | HeavyLossReceive | OvertakenSend | Shared)
    }

    /// Connections, or threads that open them, that it is made of.
    pub(crate) const fn width(self) -> usize {
        use Load::{Connects, Requests, Streams, StreamsSend};
        if matches!(self, Streams | StreamsSend | Requests | Connects) { 8 } else { 1 }
    }
}

/// Measures `arm` under `load`.
pub(crate) fn run(arm: Arm, load: Load) -> Result<Figures, Failure> {
    peer::limit_lifetime();
    if matches!(load, Load::PingPinned | Load::RequestPinned) {
        pin()?;
    }
    namespace::leave()?;
    if load == Load::Memory {
        return memory::run();
    }
    if load.is_lossy() {
        return lossy::run(arm, load);
    }
    if load.is_alone() {
        return lifecycle::run(arm, load);
    }
    let mut far = start_peer(arm, load)?;
    match load {
        Load::PingPinned | Load::Ping => measure_ping(&mut far),
        Load::UdpReceive | Load::TrainReceive | Load::Sink | Load::Stream | Load::Streams => {
            measure_there(&mut far, load)
        }
        Load::StreamSend | Load::StreamGive | Load::StreamsSend => measure_streams_here(&mut far, load),
        Load::RequestPinned | Load::Request | Load::Requests => {
            far.tell("go")?;
            kernel_stream::ask(load.width())
        }
        Load::Connect | Load::Connects => {
            namespace::widen_ports()?;
            far.tell("go")?;
            kernel_stream::connect(load.width())
        }
        _ => measure_here(&mut far, load),
    }
}

/// Puts this process, and those it starts, on the first CPU.
fn pin() -> Result<(), Failure> {
    let mut cpus = CpuSet::new();
    cpus.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// Makes the link and starts the far side; it is ready when this returns.
fn start_peer(arm: Arm, load: Load) -> Result<Peer, Failure> {
    if arm != Arm::Veth {
        namespace::create_tap()?;
    }
    let mut far = Peer::start(arm, load)?;
    if arm == Arm::Veth {
        far.expect("namespace")?;
        namespace::create_veth(far.id())?;
        far.tell("link")?;
    }
    far.expect("ready")?;
    namespace::await_carrier(if arm == Arm::Veth { "veth0" } else { namespace::TAP })?;
    Ok(far)
}

/// The far side of a trial, in its own process.
pub(crate) fn run_peer(arm: Arm, load: Load) -> Result<(), Failure> {
    peer::limit_lifetime();
    match arm {
        Arm::Rump if load == Load::Start => lifecycle::run_peer()?,
        Arm::Veth => veth_arm::run(load)?,
        Arm::Smoltcp => smoltcp_arm::run(load)?,
        Arm::Tap => tap_arm::run(load)?,
        Arm::Rump => rump_arm::run(load)?,
        Arm::Driven => driven_arm::run(load)?,
        Arm::Linux => return Err("it has no process of its own".into()),
    }
    peer::linger();
    Ok(())
}

fn measure_ping(far: &mut Peer) -> Result<Figures, Failure> {
    far.tell("go")?;
    kernel_socket::ping(WARM_UP, Duration::from_secs(3))?;
    let times = kernel_socket::ping(PINGS, Duration::from_secs(2))?;
    Ok(Figures::from([("rtt_us".into(), crate::median(&times))]))
}

/// The host sends, the far side counts.
fn measure_there(far: &mut Peer, load: Load) -> Result<Figures, Failure> {
    far.tell("go")?;
    match load {
        Load::UdpReceive => kernel_socket::flood(namespace::PEER, count::LOAD).map(drop)?,
        Load::TrainReceive => kernel_socket::flood_trains(namespace::PEER, count::LOAD).map(drop)?,
        _ => kernel_stream::send(namespace::PEER, load.width())?,
    }
    far.figures()
}

/// The far side sends streams, the host counts.
fn measure_streams_here(far: &mut Peer, load: Load) -> Result<Figures, Failure> {
    let listener = kernel_stream::listen()?;
    far.tell("go")?;
    kernel_stream::receive(&listener, load.width())
}

/// The far side sends, the host counts.
fn measure_here(far: &mut Peer, load: Load) -> Result<Figures, Failure> {
    let trains = load == Load::TrainSend;
    let socket = kernel_socket::receiver(trains)?;
    far.tell("go")?;
    if trains { kernel_socket::count_trains(&socket) } else { kernel_socket::count(&socket) }
}
