//! What a client asks about its sockets. Their data goes by itself ([`crate::passed`]).
//!
//! A number means something to the client alone whose socket it is: of another's it is told EBADF.

use std::{os::fd::OwnedFd, sync::Arc};

use rumpnet_proto::{
    ControlError, Errno, Operation, Reply, codec,
    passed::{SocketReply, SocketRequest},
};
use rumpnet_sockets::Net as _;
use rumpnet_stack::{Endpoint, Shutdown, SocketId, SocketOption, Stack, time::Instant};

use crate::{
    Kernel,
    passed::{Joint, Share},
};

/// An answer, and the descriptor that goes with it.
pub(super) type Answered = (Result<Reply, ControlError>, Option<OwnedFd>);

/// Answers a request of the client whose share it is.
pub(super) fn answer(kernel: &Kernel, share: &Arc<Share>, request: SocketRequest) -> Answered {
    let refuse = |errno| ControlError::new(Operation::Socket, "", errno);
    if let SocketRequest::Open(kind) = request {
        return match Joint::open(kernel, share, kind) {
            Ok((joint, descriptor)) => {
                let socket = joint.number;
                (Ok(Reply::Socket(SocketReply::Opened { socket })), Some(descriptor))
            }
            Err(errno) => (Err(refuse(errno)), None),
        };
    }
    (ask(share, request).map_err(refuse), None)
}

// long: an arm for each request, which says what is asked.
fn ask(share: &Share, request: SocketRequest) -> Result<Reply, Errno> {
    let reply = match request {
        SocketRequest::Open(_) => return Err(Errno::Inval),
        SocketRequest::Bind { socket, local } => {
            let joint = share.joint(socket)?;
            bind(&joint, local)?;
            return Ok(Reply::Done);
        }
        SocketRequest::Listen { socket, backlog } => {
            let joint = share.joint(socket)?;
            let Endpoint::Tcp(id) = joint.endpoint else { return Err(Errno::OpNotSupp) };
            joint.listen(id, backlog)?;
            return Ok(Reply::Done);
        }
        SocketRequest::Connect { socket, remote } => {
            let joint = share.joint(socket)?;
            match joint.endpoint {
                Endpoint::Tcp(id) => joint.connect(id, remote)?,
                Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => {
                    joint.kernel.enter(|stack, _| stack.udp_connect(id, remote))?;
                }
                Endpoint::Packet(_) => return Err(Errno::OpNotSupp),
            }
            return Ok(Reply::Done);
        }
        SocketRequest::Disconnect { socket } => {
            return datagrams(share, socket, |stack, _, _, id| stack.udp_disconnect(id));
        }
        SocketRequest::EndSending { socket } => {
            return datagrams(share, socket, |stack, now, _, id| {
                stack.udp_shutdown(now, id, Shutdown::Write)
            });
        }
        SocketRequest::BindAny { socket, interface, port } => {
            return datagrams(share, socket, |stack, _, _, id| stack.udp_bind_any(id, &interface, port));
        }
        SocketRequest::BindDevice { socket, interface } => {
            return datagrams(share, socket, |stack, _, _, id| {
                let index = interface.map_or(Ok(0), |name| stack.interface_index(&name));
                stack.udp_set_option(id, SocketOption::Interface(index.map_err(|_| Errno::NoDev)?))
            });
        }
        SocketRequest::ChangeGroup { socket, change } => {
            return datagrams(share, socket, |stack, now, endpoint, _| {
                stack.change_group(now, endpoint, &change)
            });
        }
        SocketRequest::SetMulticast { socket, option } => {
            return datagrams(share, socket, |stack, _, endpoint, _| {
                stack.set_multicast_option(endpoint, option)
            });
        }
        SocketRequest::GroupFilter { socket, group, interface } => {
            let joint = share.joint(socket)?;
            let filter = joint.kernel.enter(|stack, _| stack.group_filter(joint.endpoint, group, interface));
            SocketReply::Filter(filter?)
        }
        SocketRequest::Multicast { socket } => {
            let joint = share.joint(socket)?;
            let settings = joint.kernel.enter(|stack, _| stack.multicast_settings(joint.endpoint));
            SocketReply::Multicast(settings?)
        }
        SocketRequest::Close { socket } => {
            share.joint(socket)?.close();
            share.forget(socket);
            return Ok(Reply::Done);
        }
        SocketRequest::Addresses { socket } => addresses(&*share.joint(socket)?)?,
        SocketRequest::TakeError { socket } => SocketReply::Error(take_error(share, socket)?),
        SocketRequest::SetOption { socket, option } => {
            set_option(&*share.joint(socket)?, &option)?;
            return Ok(Reply::Done);
        }
        SocketRequest::Settings { socket } => settings(&*share.joint(socket)?)?,
        SocketRequest::Info { socket } => info(&*share.joint(socket)?)?,
        SocketRequest::PathMtu { socket } => {
            let joint = share.joint(socket)?;
            let mtu = joint.kernel.enter(|stack, now| stack.path_mtu(now, joint.endpoint))?;
            SocketReply::PathMtu(mtu)
        }
    };
    Ok(Reply::Socket(reply))
}

/// What only sockets of datagrams have.
fn datagrams(
    share: &Share,
    socket: u64,
    call: impl FnOnce(&mut Stack, Instant, Endpoint, SocketId) -> Result<(), Errno>,
) -> Result<Reply, Errno> {
    let joint = share.joint(socket)?;
    let id = joint.datagram_socket().ok_or(Errno::OpNotSupp)?;
    joint.kernel.enter(|stack, now| call(stack, now, joint.endpoint, id)).map(|()| Reply::Done)
}

fn bind(joint: &Joint, local: std::net::SocketAddr) -> Result<(), Errno> {
    let bound = joint.kernel.enter(|stack, _| match joint.endpoint {
        Endpoint::Tcp(id) => stack.tcp_bind(id, local),
        Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => stack.udp_bind(id, local),
        // Those are not passed.
        Endpoint::Packet(_) => Err(Errno::OpNotSupp),
    });
    bound.map(drop)
}

fn addresses(joint: &Joint) -> Result<SocketReply, Errno> {
    let (local, remote) = joint.kernel.enter(|stack, _| match joint.endpoint {
        Endpoint::Tcp(id) => stack.tcp_addresses(id),
        Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => stack.udp_addresses(id),
        Endpoint::Packet(_) => Err(Errno::OpNotSupp),
    })?;
    Ok(SocketReply::Addresses { local, remote })
}

/// The error of a socket that has ended is told once, and with it the socket is forgotten. One that is not known any more has none.
fn take_error(share: &Share, socket: u64) -> Result<Option<Errno>, Errno> {
    let Ok(joint) = share.joint(socket) else { return Ok(None) };
    let error = joint.take_error()?;
    if joint.is_over() {
        share.forget(socket);
    }
    Ok(error)
}

fn set_option(joint: &Joint, option: &[u8]) -> Result<(), Errno> {
    match joint.endpoint {
        Endpoint::Tcp(id) => {
            let option = codec::decode(option)?;
            joint.kernel.enter(|stack, now| stack.tcp_set_option(now, id, option))
        }
        Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => {
            let option = codec::decode(option)?;
            joint.kernel.enter(|stack, _| stack.udp_set_option(id, option))
        }
        Endpoint::Packet(_) => Err(Errno::OpNotSupp),
    }
}

fn settings(joint: &Joint) -> Result<SocketReply, Errno> {
    let value = match joint.endpoint {
        Endpoint::Tcp(id) => codec::encode(&joint.kernel.enter(|stack, _| stack.tcp_settings(id))?),
        Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => {
            codec::encode(&joint.kernel.enter(|stack, _| stack.udp_settings(id))?)
        }
        Endpoint::Packet(_) => return Err(Errno::OpNotSupp),
    };
    value.map(SocketReply::Value)
}

fn info(joint: &Joint) -> Result<SocketReply, Errno> {
    let Endpoint::Tcp(id) = joint.endpoint else { return Err(Errno::OpNotSupp) };
    let info = joint.kernel.enter(|stack, _| stack.tcp_info(id))?;
    codec::encode(&info).map(SocketReply::Value)
}
