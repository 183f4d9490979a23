//! The rows of the bench: what is measured for whom, and what the rump kernel is held to.

use crate::trial::{Arm, Load};

/// What a figure is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// One promise about an arm's figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Which arm.
    pub(crate) arm: Arm,
    /// Which of its figures.
    pub(crate) figure: &'static str,
    /// Whose same figure it is divided by; nobody's if it counts as it is.
    pub(crate) over: Option<Arm>,
    /// What the quotient or the figure must be.
    pub(crate) bound: Bound,
}

/// One load, the arms under it and the promises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The load, whose name is the row's.
    pub(crate) load: Load,
    /// What is measured, in a few words.
    pub(crate) title: &'static str,
    /// Who is measured, in this order.
    pub(crate) arms: &'static [Arm],
    /// What is promised.
    pub(crate) targets: &'static [Target],
}

impl Bound {
    /// Whether `value` keeps it.
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// A promise about a quotient.
const fn ratio(arm: Arm, over: Arm, figure: &'static str, bound: Bound) -> Target {
    Target { arm, figure, over: Some(over), bound }
}

/// A promise of the rump kernel about a figure as it is.
const fn absolute(figure: &'static str, bound: Bound) -> Target {
    Target { arm: Arm::Rump, figure, over: None, bound }
}

/// The figures of traffic.
const PACKETS: &str = "packets_per_second";
const GBIT: &str = "gbit_per_second";
const MBIT: &str = "mbit_per_second";
const CPU: &str = "cpu_s_per_gb";
const TRANSACTIONS: &str = "transactions_per_second";
const CONNECTIONS: &str = "connections_per_second";

/// CPU time in µs that waiting for a second and looking takes by itself.
const WATCHING: f64 = 200.0;

/// All rows, in the order in which they are measured.
pub(crate) const ROWS: &[Row] = &[
    Row {
        load: Load::PingPinned,
        title: "ping round trip, everything on one CPU",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Tap, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Veth, "rtt_us", Bound::AtMost(2.0))],
    },
    Row {
        load: Load::Ping,
        title: "ping round trip, on any CPU",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Tap, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Smoltcp, "rtt_us", Bound::AtMost(1.0))],
    },
    Row {
        load: Load::UdpSend,
        title: "UDP of 64 bytes to a host socket, one a call",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Tap, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Veth, PACKETS, Bound::AtLeast(1.3))],
    },
    Row {
        load: Load::UdpSendTrains,
        title: "UDP of 64 bytes to a host socket, batches of 64 that leave as trains",
        arms: &[Arm::Tap, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Tap, PACKETS, Bound::AtLeast(0.85))],
    },
    Row {
        load: Load::UdpSendMixed,
        title: "UDP of 64 and 65 bytes to a host socket, batches of 64 frames",
        arms: &[Arm::Tap, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Tap, PACKETS, Bound::AtLeast(0.85))],
    },
    Row {
        load: Load::UdpReceive,
        title: "UDP of 64 bytes from a host flood, delivered",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Tap, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Tap, PACKETS, Bound::AtLeast(0.9))],
    },
    Row {
        load: Load::TrainSend,
        title: "UDP super-frames to a host socket",
        arms: &[Arm::Veth, Arm::Tap, Arm::Rump],
        targets: &[absolute(GBIT, Bound::AtLeast(20.0))],
    },
    Row {
        load: Load::TrainReceive,
        title: "UDP super-frames from the host",
        arms: &[Arm::Veth, Arm::Tap, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Tap, GBIT, Bound::AtLeast(0.65))],
    },
    Row {
        load: Load::Sink,
        title: "a TCP stream from the host, read without a copy, beside a bare sink that only acknowledges",
        arms: &[Arm::Veth, Arm::Tap, Arm::Rump],
        targets: &[
            ratio(Arm::Rump, Arm::Tap, GBIT, Bound::AtLeast(0.95)),
            ratio(Arm::Rump, Arm::Veth, GBIT, Bound::AtLeast(0.9)),
        ],
    },
    Row {
        load: Load::Stream,
        title: "a TCP stream from the host, by reads that copy",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Rump],
        targets: &[
            ratio(Arm::Rump, Arm::Veth, GBIT, Bound::AtLeast(0.7)),
            ratio(Arm::Rump, Arm::Veth, CPU, Bound::AtMost(1.6)),
        ],
    },
    Row {
        load: Load::StreamSend,
        title: "a TCP stream to the host, by writes that copy",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Rump],
        targets: &[
            ratio(Arm::Rump, Arm::Veth, GBIT, Bound::AtLeast(0.7)),
            ratio(Arm::Rump, Arm::Veth, CPU, Bound::AtMost(1.6)),
        ],
    },
    Row {
        load: Load::StreamGive,
        title: "a TCP stream to the host, by writes that hand their bytes over",
        arms: &[Arm::Veth, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Veth, GBIT, Bound::AtLeast(0.9))],
    },
    Row {
        load: Load::Streams,
        title: "eight TCP streams from the host, by reads that copy",
        arms: &[Arm::Veth, Arm::Rump],
        targets: &[
            ratio(Arm::Rump, Arm::Veth, GBIT, Bound::AtLeast(0.6)),
            ratio(Arm::Rump, Arm::Veth, CPU, Bound::AtMost(1.6)),
        ],
    },
    Row {
        load: Load::StreamsSend,
        title: "eight TCP streams to the host, by writes that copy",
        arms: &[Arm::Veth, Arm::Rump],
        targets: &[
            ratio(Arm::Rump, Arm::Veth, GBIT, Bound::AtLeast(0.6)),
            ratio(Arm::Rump, Arm::Veth, CPU, Bound::AtMost(1.6)),
        ],
    },
    Row {
        load: Load::RequestPinned,
        title: "one byte there and back over TCP, everything on one CPU",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Rump, Arm::Driven],
        targets: &[
            ratio(Arm::Rump, Arm::Veth, TRANSACTIONS, Bound::AtLeast(0.7)),
            ratio(Arm::Driven, Arm::Veth, TRANSACTIONS, Bound::AtLeast(0.95)),
        ],
    },
    Row {
        load: Load::Request,
        title: "one byte there and back over TCP, on any CPU",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Rump, Arm::Driven],
        targets: &[],
    },
    Row {
        load: Load::Requests,
        title: "one byte there and back over TCP on eight connections, on any CPU",
        arms: &[Arm::Veth, Arm::Smoltcp, Arm::Rump, Arm::Driven],
        targets: &[ratio(Arm::Rump, Arm::Veth, TRANSACTIONS, Bound::AtLeast(0.6))],
    },
    Row {
        load: Load::Connect,
        title: "TCP connections from the host, opened and closed one after the other",
        arms: &[Arm::Veth, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Veth, CONNECTIONS, Bound::AtLeast(0.7))],
    },
    Row {
        load: Load::Connects,
        title: "TCP connections from the host, opened and closed by eight threads",
        arms: &[Arm::Veth, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Veth, CONNECTIONS, Bound::AtLeast(1.3))],
    },
    Row {
        load: Load::Memory,
        title: "a TCP stream between two stacks in one thread, over a cable in memory",
        arms: &[Arm::Rump],
        targets: &[
            absolute("super_frames_gbit_per_second", Bound::AtLeast(40.0)),
            absolute("segments_gbit_per_second", Bound::AtLeast(6.0)),
        ],
    },
    Row {
        load: Load::LossSend,
        title: "streams to the host over a cable that loses 0.1 % at a round trip of 20 ms, each",
        arms: &[Arm::Linux, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Linux, MBIT, Bound::AtLeast(0.9))],
    },
    Row {
        load: Load::LossReceive,
        title: "the same from the host",
        arms: &[Arm::Linux, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Linux, MBIT, Bound::AtLeast(0.9))],
    },
    Row {
        load: Load::HeavyLossSend,
        title: "streams to the host over a cable that loses 1 % at a round trip of 20 ms, each",
        arms: &[Arm::Linux, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Linux, MBIT, Bound::AtLeast(0.9))],
    },
    Row {
        load: Load::HeavyLossReceive,
        title: "the same from the host",
        arms: &[Arm::Linux, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Linux, MBIT, Bound::AtLeast(0.9))],
    },
    Row {
        load: Load::OvertakenSend,
        title: "a stream to the host at 50 Mbit/s and 20 ms, of whose frames 3 % come 2 ms late",
        arms: &[Arm::Linux, Arm::Rump],
        targets: &[ratio(Arm::Rump, Arm::Linux, MBIT, Bound::AtLeast(0.9))],
    },
    Row {
        load: Load::Shared,
        title: "a stream to the host beside one of Linux, through 20 Mbit/s at 20 ms with a queue of 60 frames",
        arms: &[Arm::Linux, Arm::Rump],
        targets: &[],
    },
    Row {
        load: Load::Boot,
        title: "boot of a kernel in a running process",
        arms: &[Arm::Rump],
        targets: &[absolute("boot_us", Bound::AtMost(200.0))],
    },
    Row {
        load: Load::Cycle,
        title: "create, address, up, destroy; bare: open, TUNSETIFF, up, close",
        arms: &[Arm::Tap, Arm::Rump],
        targets: &[
            ratio(Arm::Rump, Arm::Tap, "cycle_ms", Bound::AtMost(1.1)),
            absolute("own_ms", Bound::AtMost(0.3)),
        ],
    },
    Row {
        load: Load::Adopted,
        title: "the same cycle on a tap that was there before",
        arms: &[Arm::Rump],
        targets: &[absolute("cycle_ms", Bound::AtMost(1.0))],
    },
    Row {
        load: Load::Parallel,
        title: "100 interfaces destroyed side by side",
        arms: &[Arm::Rump],
        targets: &[absolute("destroy_ms", Bound::AtMost(150.0))],
    },
    Row {
        load: Load::Start,
        title: "start of a process to its first answered ping, on a tap made beforehand",
        arms: &[Arm::Rump],
        targets: &[
            absolute("first_answer_ms", Bound::AtMost(5.0)),
            absolute("resident_mib", Bound::AtMost(6.0)),
        ],
    },
    Row {
        load: Load::Kernels,
        title: "each further kernel of a process, and 1,000 of them idle",
        arms: &[Arm::Rump],
        targets: &[
            absolute("kernel_kib", Bound::AtMost(64.0)),
            absolute("idle_us_per_second", Bound::AtMost(WATCHING)),
        ],
    },
];
