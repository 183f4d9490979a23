//! What a monitor of routes tells, as BSD's routing socket does (route(4)): changes of routes, neighbours, addresses and interfaces.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AddressReport, InterfaceFlags, InterfaceName, LinkState, NeighborReport, RouteReport};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteNews {
    /// When, in nanoseconds since boot.
    pub time_ns: u64,
    /// What.
    pub event: RouteEvent,
}

/// An interface, which may be gone by now, by its name and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkName {
    /// Its name.
    pub name: InterfaceName,
    /// Its index.
    pub index: u32,
}

/// What has become of an entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// It is another now.
    Changed,
}

/// What happened. Reports are as things were afterwards, of what is gone as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteEvent {
    /// To a route (RTM_ADD, RTM_DELETE, RTM_CHANGE).
    Route {
        /// What became of it.
        change: Change,
        /// The route, by its first next hop.
        route: RouteReport,
        /// The index of its interface.
        index: u32,
    },
    /// A router told us of a better one (RTM_REDIRECT).
    Redirect {
        /// The route that was made.
        route: RouteReport,
        /// The index of its interface.
        index: u32,
        /// Who told.
        author: IpAddr,
    },
    /// A look-up has failed (RTM_MISS).
    Miss {
        /// What was looked up.
        destination: IpAddr,
        /// The link on which it did not answer; none if there is no route.
        link: Option<LinkName>,
    },
    /// To a neighbour whose link address is known (RTM_ADD, RTM_DELETE, RTM_CHANGE with RTF_LLDATA).
    Neighbor {
        /// What became of it.
        change: Change,
        /// The neighbour.
        neighbor: NeighborReport,
        /// The index of its interface.
        index: u32,
    },
    /// To an address of an interface (RTM_NEWADDR, RTM_DELADDR, RTM_CHGADDR).
    Address {
        /// What became of it.
        change: Change,
        /// The address.
        address: AddressReport,
        /// The interface.
        link: LinkName,
    },
    /// To the flags or the carrier of an interface (RTM_IFINFO).
    Link {
        /// The interface.
        link: LinkName,
        /// Its flags.
        flags: InterfaceFlags,
        /// The state of its link.
        state: LinkState,
    },
    /// An interface was made (RTM_IFANNOUNCE).
    Arrival {
        /// The interface.
        link: LinkName,
    },
    /// An interface was removed (RTM_IFANNOUNCE).
    Departure {
        /// The interface.
        link: LinkName,
    },
    /// More happened than the reader took: so many events were lost here.
    Lost {
        /// How many.
        events: u64,
    },
}
