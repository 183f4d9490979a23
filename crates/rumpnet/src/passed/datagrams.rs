//! Datagrams, both ways, each a message with a header before it.
//!
//! What a call on the socket would answer, such as that a port is unreachable, goes to the client as a header without a datagram: its next
//! call there answers it.

use std::{
    io::{self, IoSlice},
    os::fd::OwnedFd,
    sync::atomic::Ordering,
};

use bytes::Bytes;
use rumpnet_host::unix::pair;
use rumpnet_proto::{Errno, passed::DatagramHeader};
use rumpnet_sockets::{Block, Interest};
use rumpnet_stack::{SendInfo, SocketId, UdpSend, buffer::Payload};

use super::{Joint, QUANTUM, Role, State, Turn};

/// What a datagram counts beside its payload, lest a flood of small ones take the whole turn.
const COST: usize = 2048;

/// What is on its way.
#[derive(Default)]
pub(super) struct Datagrams {
    /// Taken from the receive queue and not written yet.
    down: Option<(DatagramHeader, Payload)>,
    /// Read from the client and not taken by the stack yet.
    up: Option<UdpSend>,
    block: Block,
}

/// How a direction stands after a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Quantum,
    Waits,
    AwaitsRoom,
    Ends,
}

impl Joint {
    /// Moves datagrams each way as far as they go.
    pub(super) fn move_datagrams(&self, state: &mut State) -> Turn {
        let Some(id) = self.datagram_socket() else { return Turn::default() };
        let Role::Datagrams(datagrams) = &mut state.role else { return Turn::default() };
        let Some(ours) = &state.ours else { return Turn::default() };
        let (sent, up) = self.send_datagrams(id, datagrams, ours);
        let (received, down) = self.deliver_datagrams(id, datagrams, ours);
        if up == Stop::Ends || down == Stop::Ends {
            self.end(state, None);
            return Turn { moved: sent + received, again: false };
        }
        self.await_room(state, down == Stop::AwaitsRoom);
        Turn { moved: sent + received, again: up == Stop::Quantum || down == Stop::Quantum }
    }

    /// From the receive queue to the client.
    fn deliver_datagrams(&self, id: SocketId, datagrams: &mut Datagrams, ours: &OwnedFd) -> (usize, Stop) {
        let mut moved = 0;
        while moved < QUANTUM {
            if datagrams.down.is_none() {
                datagrams.down = match self.call(Interest::Readable, |stack, _| stack.udp_receive(id, false))
                {
                    Ok(datagram) => {
                        let header = DatagramHeader {
                            source: Some(datagram.source),
                            destination: Some(datagram.destination),
                            interface: datagram.interface,
                            ttl: datagram.ttl,
                            tos: Some(datagram.tos),
                            received_ns: datagram.received.as_nanos(),
                            ..DatagramHeader::default()
                        };
                        Some((header, datagram.payload))
                    }
                    Err(Errno::Again) => return (moved, Stop::Waits),
                    Err(error) => Some((failed(error), Payload::Empty)),
                };
            }
            let Some((header, payload)) = &datagrams.down else { continue };
            match write(ours, *header, payload) {
                Ok(len) => moved += len + COST,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (moved, Stop::AwaitsRoom),
                Err(_) => return (moved, Stop::Ends),
            }
            datagrams.down = None;
        }
        (moved, Stop::Quantum)
    }

    /// From the client to the socket.
    fn send_datagrams(&self, id: SocketId, datagrams: &mut Datagrams, ours: &OwnedFd) -> (usize, Stop) {
        let mut moved = 0;
        while moved < QUANTUM {
            let Some(send) = datagrams.up.clone() else {
                if !self.readable.swap(false, Ordering::AcqRel) {
                    return (moved, if self.is_hung_up() { Stop::Ends } else { Stop::Waits });
                }
                match datagrams.block.fill(|block| pair::receive(ours, block)) {
                    Ok(message) if message.is_empty() => return (moved, Stop::Ends),
                    Ok(message) => {
                        self.readable.store(true, Ordering::Release);
                        datagrams.up = as_send(message);
                        // What is no datagram is dropped, and its sender is the worse for it.
                        moved += COST;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return (moved, if self.is_hung_up() { Stop::Ends } else { Stop::Waits });
                    }
                    Err(_) => return (moved, Stop::Ends),
                }
                continue;
            };
            moved += send.payload.len();
            match self.call(Interest::Writable, |stack, now| stack.udp_send(now, id, [send])) {
                Ok(_) => {}
                Err(Errno::Again) => return (moved, Stop::Waits),
                // Told if there is room; a client that does not read has no use for it.
                Err(error) => drop(write(ours, failed(error), &Payload::Empty)),
            }
            datagrams.up = None;
        }
        (moved, Stop::Quantum)
    }
}

fn failed(error: Errno) -> DatagramHeader {
    DatagramHeader { error: Some(error), ..DatagramHeader::default() }
}

fn write(ours: &OwnedFd, header: DatagramHeader, payload: &Payload) -> io::Result<usize> {
    let header = header.to_bytes();
    let slices: Vec<_> = [IoSlice::new(&header)]
        .into_iter()
        .chain(payload.slices().iter().map(|slice| IoSlice::new(slice)))
        .collect();
    pair::send(ours, &slices)
}

/// What a client's message asks to be sent; none if it is malformed.
fn as_send(message: Bytes) -> Option<UdpSend> {
    let header = DatagramHeader::from_bytes(message.first_chunk()?)?;
    let info = SendInfo {
        interface: (header.interface != 0).then_some(header.interface),
        source: header.source.filter(|_| !header.foreign).map(|source| source.ip()),
        ttl: (header.ttl != 0).then_some(header.ttl),
        tos: header.tos,
    };
    Some(UdpSend {
        payload: message.slice(DatagramHeader::LEN..),
        segment: (header.segment != 0).then_some(header.segment),
        destination: header.destination,
        source: header.source.filter(|_| header.foreign),
        info,
    })
}
