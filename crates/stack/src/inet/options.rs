//! IPv4 options of packets that we get, pass on, answer and send (RFC 791 section 3.1, RFC 1122 section 3.2.1.8, RFC 1812 section 5.3.13).
//!
//! Source routes are refused (RFC 7126 section 4.3), what is malformed is pointed at, route and time are recorded, and all else is passed over.
//! Their format is in `rumpnet-wire`.

use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::DropReason;
use rumpnet_wire::ipv4::{self, Header, IpOption, Options, Stamp};

use super::{Inet, icmp::ErrorKind, route::Path};
use crate::context::Context;

/// Of a time that does not count from midnight UT: its highest bit (RFC 791 section 3.1, RFC 792).
const NOT_FROM_MIDNIGHT: u32 = 1 << 31;

/// Why a packet with such options is dropped, and what its sender is told; none if they are in order.
#[inline]
pub(super) fn determine_option_fault(options: &Options) -> Option<(DropReason, ErrorKind)> {
    if options.is_empty() { None } else { find_fault(options) }
}

#[cold]
fn find_fault(options: &Options) -> Option<(DropReason, ErrorKind)> {
    if let Some(place) = ipv4::find_fault(options.as_bytes()) {
        // A header has sixty octets at most.
        let pointer = place as u8;
        return Some((DropReason::Ipv4Options, ErrorKind::ParameterProblem { pointer }));
    }
    let is_route =
        |option| matches!(option, Ok(IpOption::LooseSourceRoute(_) | IpOption::StrictSourceRoute(_)));
    options.iter().any(is_route).then_some((DropReason::Ipv4SourceRoute, ErrorKind::SourceRouteFailed))
}

/// The time as options and ICMP tell it, in milliseconds: a kernel knows no midnight.
pub(super) fn time_of_day(cx: &Context) -> u32 {
    NOT_FROM_MIDNIGHT | (cx.now.as_nanos() / 1_000_000) as u32
}

/// What of a request's options its answer bears: the records of route and time, as far as they have come (RFC 1122 section 3.2.2.6).
pub(super) fn options_of_answer(request: &Options) -> Options {
    let mut answer = Options::EMPTY;
    for option in request.iter().filter_map(Result::ok) {
        if matches!(option, IpOption::RecordRoute(_) | IpOption::Timestamp { .. }) {
            answer.push(&option).expect("some of the options need no more room than all");
        }
    }
    answer
}

impl Inet {
    /// Our address and the time go into the options of a packet that leaves by a path, where they ask for them: `address`, or the one that the
    /// next hop knows us by.
    #[cold]
    pub(super) fn stamp(&self, cx: &Context, path: &Path, address: Option<Ipv4Addr>, options: &mut [u8]) {
        let of_interface =
            || self.addresses.source_for(path.interface, path.next_hop, cx.config.dad_optimistic);
        let address = address.map(IpAddr::V4).or_else(of_interface);
        if let Some(IpAddr::V4(address)) = address {
            let stamp = Stamp { address, time: time_of_day(cx) };
            ipv4::stamp(options, stamp, |given| self.addresses.is_ours(given.into()));
        }
    }

    /// The same of a packet that we send ourselves, from its own address.
    #[cold]
    pub(super) fn stamp_own(&self, cx: &Context, path: &Path, header: &mut Header) {
        let mut options = [0; Options::MAX_LEN];
        let options = &mut options[..header.options.as_bytes().len()];
        options.copy_from_slice(header.options.as_bytes());
        self.stamp(cx, path, Some(header.source), options);
        header.options = Options::from_bytes(options).expect("they are as long as before");
    }
}
