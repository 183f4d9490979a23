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

/// All rows, in the order in which they are measured.
pub(crate) const ROWS: &[Row] = &[
    Row {
        load: Load::PingPinned,
        title: "ping round trip, everything on one CPU",
        arms: &[Arm::Veth, Arm::Smoltcp],
        targets: &[],
    },
    Row {
        load: Load::Ping,
        title: "ping round trip, on any CPU",
        arms: &[Arm::Veth, Arm::Smoltcp],
        targets: &[],
    },
    Row {
        load: Load::UdpSend,
        title: "UDP of 64 bytes to a host socket",
        arms: &[Arm::Veth, Arm::Smoltcp],
        targets: &[],
    },
    Row {
        load: Load::UdpReceive,
        title: "UDP of 64 bytes from a host flood, delivered",
        arms: &[Arm::Veth, Arm::Smoltcp],
        targets: &[],
    },
    Row {
        load: Load::TrainSend,
        title: "UDP super-frames to a host socket",
        arms: &[Arm::Veth],
        targets: &[],
    },
    Row {
        load: Load::TrainReceive,
        title: "UDP super-frames from the host",
        arms: &[Arm::Veth],
        targets: &[],
    },
    Row { load: Load::Sink, title: "a host's TCP stream into a sink", arms: &[Arm::Veth], targets: &[] },
];
