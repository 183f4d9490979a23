//! Datagrams: sent and received whole.

use std::net::SocketAddr;

use bytes::Bytes;
use rumpnet_stack::{SocketId, UdpSend};

use super::{World, socket::Taken};
use crate::refusal::Answer;

impl World {
    pub(super) fn receive_datagram(&mut self, id: SocketId, limit: usize, peeks: bool) -> Answer<Taken> {
        let datagram = if peeks { self.stack.udp_peek(id)? } else { self.stack.udp_receive(id, false)? };
        let whole = datagram.payload.len();
        let bytes = datagram.payload.slice(0..whole.min(limit)).to_bytes();
        Ok(Taken { bytes, whole, source: Some(datagram.source) })
    }

    pub(super) fn send_datagram(
        &mut self,
        id: SocketId,
        payload: Bytes,
        destination: Option<SocketAddr>,
    ) -> Answer<usize> {
        let len = payload.len();
        let sent = self.stack.udp_send(
            self.now,
            id,
            [UdpSend { payload, segment: None, destination, source: None, info: Default::default() }],
        );
        self.settle();
        sent?;
        Ok(len)
    }
}
