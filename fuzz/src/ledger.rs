//! Conservation: every frame that comes in is delivered, answered, kept or dropped, and counted so exactly once.

use rumpnet_proto::{Counter, DropReason};
use rumpnet_stack::Stack;

/// Reasons for which a frame is dropped that has just come in; others concern what we send.
const INCOMING: &[DropReason] = &[
    DropReason::LinkRunt,
    DropReason::LinkOversize,
    DropReason::LinkNotForUs,
    DropReason::LinkMulticastNotJoined,
    DropReason::LinkSourceInvalid,
    DropReason::LinkSourceOurs,
    DropReason::LinkUnknownProtocol,
    DropReason::LinkVlan,
    DropReason::OffloadChecksumRange,
    DropReason::OffloadGsoSize,
    DropReason::OffloadGsoKind,
    DropReason::OffloadSegments,
    DropReason::ArpMalformed,
    DropReason::ArpSenderInvalid,
    DropReason::ArpNotForUs,
    DropReason::ArpDisabled,
    DropReason::Ipv4Truncated,
    DropReason::Ipv4Version,
    DropReason::Ipv4HeaderLength,
    DropReason::Ipv4Checksum,
    DropReason::Ipv4SourceInvalid,
    DropReason::Ipv4DestinationInvalid,
    DropReason::Ipv4NotForUs,
    DropReason::Ipv4NotForwardable,
    DropReason::Ipv4ReversePath,
    DropReason::Ipv4Unroutable,
    DropReason::Ipv4TooLongToForward,
    DropReason::Ipv4TtlExceeded,
    DropReason::Ipv4SourceRoute,
    DropReason::Ipv4Options,
    DropReason::Ipv4GroupNotJoined,
    DropReason::Ipv4GroupSourceFiltered,
    DropReason::Ipv4MulticastNotForwarded,
    DropReason::Ipv4UnknownProtocol,
    DropReason::Ipv6Unsupported,
    DropReason::IcmpTruncated,
    DropReason::IcmpChecksum,
    DropReason::IcmpBroadcastEcho,
    DropReason::IcmpUnknownType,
    DropReason::IcmpQueryRefused,
    DropReason::IcmpRedirectRefused,
    DropReason::IcmpNoSocket,
    DropReason::IgmpTruncated,
    DropReason::IgmpChecksum,
    DropReason::IgmpTtl,
    DropReason::IgmpNoRouterAlert,
    DropReason::IgmpDestinationInvalid,
    DropReason::IgmpGroupInvalid,
    DropReason::IgmpSourceInvalid,
    DropReason::IgmpForRouters,
    DropReason::IgmpUnknownType,
    DropReason::UdpTruncated,
    DropReason::UdpLength,
    DropReason::UdpChecksum,
    DropReason::UdpNoSocket,
    DropReason::UdpSourceFiltered,
    DropReason::UdpSocketFull,
    DropReason::TcpToMany,
];

/// What becomes of a frame that is not dropped.
const ACCEPTED: &[Counter] = &[
    Counter::IpForwarded,
    Counter::RedirectsObeyed,
    Counter::IgmpQueriesReceived,
    Counter::IgmpReportsReceived,
    Counter::IcmpEchoRequests,
    Counter::IcmpTimestampRequests,
    Counter::IcmpMaskRequests,
    Counter::IcmpEchoReplies,
    Counter::IcmpErrorsReceived,
    Counter::ArpRequestsReceived,
    Counter::ArpRepliesReceived,
];

/// Reasons that come after one of [`ACCEPTED`] was counted.
const TAKEN_BACK: &[DropReason] = &[
    DropReason::IcmpNoSocket,
    DropReason::ArpSenderInvalid,
    DropReason::ArpNotForUs,
    DropReason::ArpDisabled,
];

/// What a fragment that is given up is counted as.
const FRAGMENTS: &[DropReason] = &[
    DropReason::Ipv4FragmentMalformed,
    DropReason::Ipv4FragmentDuplicate,
    DropReason::Ipv4FragmentOverlap,
    DropReason::Ipv4FragmentLimit,
    DropReason::Ipv4FragmentTimeout,
];

/// The sums of a stack's counters at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    all: Vec<u64>,
    ended: u64,
    down: u64,
    /// Datagrams and segments, of which a super-frame brings many. What TCP then drops was a segment all the same.
    delivered: u64,
    fragments: u64,
    packets: u64,
}

impl Ledger {
    /// The present sums.
    pub fn of(stack: &Stack) -> Self {
        let drops = |reasons: &[DropReason]| reasons.iter().map(|reason| stack.drops(*reason)).sum::<u64>();
        let accepted: u64 = ACCEPTED.iter().map(|counter| stack.counter(*counter)).sum();
        let all = Counter::ALL.iter().map(|counter| stack.counter(*counter));
        Self {
            all: all.chain(DropReason::ALL.iter().map(|reason| stack.drops(*reason))).collect(),
            ended: drops(INCOMING) + accepted - drops(TAKEN_BACK),
            delivered: stack.counter(Counter::UdpDelivered) + stack.counter(Counter::TcpReceived),
            down: drops(&[DropReason::LinkDown, DropReason::LinkNoPort]),
            fragments: stack.counter(Counter::IpFragmentsReceived),
            packets: stack.counter(Counter::IpReceived),
        }
    }

    /// Panics unless one frame, and nothing else, has come in between `before` and now.
    pub fn check_one(before: &Self, stack: &Stack, shown: &dyn Fn() -> String) {
        let after = Self::of(stack);
        if after.fragments > before.fragments {
            // It may be kept, or end others with itself.
            return;
        }
        let down = after.down - before.down;
        let told = || {
            let names = Counter::ALL.iter().map(|counter| counter.name());
            let names = names.chain(DropReason::ALL.iter().map(|reason| reason.name()));
            let raised = after.all.iter().zip(&before.all).map(|(now, then)| now - then);
            names.zip(raised).filter(|(_, raised)| *raised > 0).collect::<Vec<_>>()
        };
        // Routes by a loopback bring answers back in, where each ends once too.
        let came = (after.packets - before.packets).max(1);
        let ended = after.ended - before.ended + (after.delivered - before.delivered).min(came);
        assert!(ended == came || (ended == 0 && down == 1), "ended {ended} times: {:?} {}", told(), shown());
    }

    /// Panics unless every fragment is accounted for, once all that were kept have timed out.
    pub fn check_fragments(stack: &Stack) {
        let dropped: u64 = FRAGMENTS.iter().map(|reason| stack.drops(*reason)).sum();
        let (received, whole) =
            (stack.counter(Counter::IpFragmentsReceived), stack.counter(Counter::IpReassembled));
        assert!(dropped + whole <= received, "more fragments ended than came");
        assert!(whole > 0 || dropped == received, "{dropped} of {received} fragments are accounted for");
    }
}
