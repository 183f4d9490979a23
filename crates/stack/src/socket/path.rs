//! The ways of datagrams: what routing says, within what the socket and the call want.

use core::net::IpAddr;

use rumpnet_proto::Errno;

use super::{SocketId, datagram::Socket};
use crate::{
    context::Context,
    inet::{
        Inet,
        path_mtu::MtuDiscovery,
        route::{Path, Scope},
        via::Via,
    },
    link::Link,
};

/// A path that the socket may use: broadcasts need leave.
pub(super) fn determine_allowed_path(
    cx: &Context,
    link: &Link,
    inet: &Inet,
    (id, socket): (SocketId, &Socket),
    destination: IpAddr,
) -> Result<Path, Errno> {
    let via = Via { interface: socket.interface, direct: socket.direct };
    determine_path(cx, link, inet, id, (destination, socket.source_ip(inet)), via, socket.may_broadcast)
}

/// The same by an interface that the call names.
pub(super) fn determine_path(
    cx: &Context,
    link: &Link,
    inet: &Inet,
    id: SocketId,
    (destination, source): (IpAddr, Option<IpAddr>),
    via: Via,
    may_broadcast: bool,
) -> Result<Path, Errno> {
    if destination.is_ipv6() {
        return Err(Errno::AfNoSupport);
    }
    let mut path = match destination {
        IpAddr::V4(group) if group.is_multicast() => {
            inet.determine_group_path(cx, link, id, group, source, via)?
        }
        _ => inet.determine_path_via(cx, link, destination, source, via)?,
    };
    path.mtu = inet.path_mtu(cx, destination, path.mtu);
    if path.scope == Scope::Broadcast && !may_broadcast { Err(Errno::Acces) } else { Ok(path) }
}

/// Whether a packet of a socket bears DF: one that is fragmented here does not.
pub(super) const fn determine_dont_fragment(discovery: MtuDiscovery, len: usize, path: &Path) -> bool {
    match discovery {
        MtuDiscovery::Want => len + rumpnet_wire::ipv4::Header::LEN <= path.mtu as usize,
        MtuDiscovery::Do => true,
        MtuDiscovery::Dont => false,
    }
}
