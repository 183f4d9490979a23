//! Bytes of a connection, both ways.
//!
//! What came is detached from the receive queue and written from the buffers that the link was read into; what the client wrote is read
//! into the block that the send queue then holds. Each end of the stream is carried over when all before it was.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::atomic::Ordering,
};

use bytes::{Buf as _, Bytes};
use rumpnet_host::unix::pair;
use rumpnet_proto::Errno;
use rumpnet_sockets::{Block, Interest, Net as _};
use rumpnet_stack::{Endpoint, SendMode, Shutdown, SocketId, TcpOption, time::Duration};

use super::{Joint, QUANTUM, Role, State, Turn};

/// Slices written with one system call.
const SLICES: usize = 64;

/// How long what a client left behind may find no taker: a socket that nobody holds does not wait for ever (as tcp_orphan_retries has it).
const ORPHAN_PATIENCE: Duration = Duration::from_secs(60);

/// What is on its way, and what has ended.
#[derive(Default)]
pub(super) struct Stream {
    down: Down,
    up: Up,
    block: Block,
    /// Why the connection is over; what had come before still goes to the client.
    error: Option<Errno>,
    /// The client is gone, and what it wrote is still being sent.
    orphaned: bool,
}

/// From the rump socket to the client.
#[derive(Default)]
struct Down {
    /// Taken from the receive queue and not written yet.
    pending: VecDeque<Bytes>,
    /// The peer has said all.
    ended: bool,
    /// And the client was told; or it does not want to hear more.
    closed: bool,
}

/// From the client to the rump socket.
#[derive(Default)]
struct Up {
    /// Read from the client and not taken by the send queue yet.
    pending: Bytes,
    /// The client has said all.
    ended: bool,
    /// And the peer will be told.
    closed: bool,
}

/// Why a direction goes no further.
enum Stop {
    /// It has moved as much as it may in one turn.
    Quantum,
    /// It waits for news.
    Waits,
    /// The client has closed its end before it had read everything, or has no more use for it.
    Reset,
}

impl Joint {
    /// Moves bytes each way as far as they go, and ends what has ended.
    pub(super) fn move_bytes(&self, state: &mut State) -> Turn {
        let Endpoint::Tcp(id) = self.endpoint else { return Turn::default() };
        let Role::Stream(stream) = &mut state.role else { return Turn::default() };
        let Some(ours) = &state.ours else { return Turn::default() };
        let mut turn = Turn::default();
        let mut awaits_room = false;
        let mut is_reset = false;
        if !self.is_hung_up() {
            let (moved, stop) = self.move_down(id, stream, ours);
            turn.moved += moved;
            turn.again |= matches!(stop, Stop::Quantum);
            awaits_room = !stream.down.pending.is_empty() && matches!(stop, Stop::Waits);
        }
        if stream.error.is_none() && !stream.up.closed {
            let (moved, stop) = self.move_up(id, stream, ours);
            turn.moved += moved;
            turn.again |= matches!(stop, Stop::Quantum);
            is_reset = matches!(stop, Stop::Reset);
        }
        let ending = stream.determine_ending(is_reset, self.is_hung_up());
        match ending {
            Ending::None => self.await_room(state, awaits_room),
            Ending::Close => self.end(state, None),
            Ending::Reset => {
                self.set(id, TcpOption::Linger(Some(Duration::ZERO)));
                self.end(state, None);
            }
            Ending::Fail(error) => self.end(state, Some(error)),
            Ending::Orphan => {
                stream.orphaned = true;
                self.set(id, TcpOption::UserTimeout(ORPHAN_PATIENCE));
            }
        }
        turn
    }

    fn set(&self, id: SocketId, option: TcpOption) {
        // These are taken by a socket in any state.
        let _set = self.kernel.enter(|stack, now| stack.tcp_set_option(now, id, option));
    }

    /// From the receive queue to the client.
    fn move_down(&self, id: SocketId, stream: &mut Stream, ours: impl std::os::fd::AsFd) -> (usize, Stop) {
        let mut moved = 0;
        while moved < QUANTUM {
            if stream.down.pending.is_empty() {
                if stream.down.ended || stream.down.closed {
                    break;
                }
                let received =
                    self.call(Interest::Readable, |stack, now| stack.tcp_receive(now, id, QUANTUM));
                match received {
                    Ok(payload) if payload.is_empty() => stream.down.ended = true,
                    Ok(payload) => stream.down.pending.extend(payload.slices().iter().cloned()),
                    Err(Errno::Again) => return (moved, Stop::Waits),
                    Err(error) => {
                        stream.error.get_or_insert(error);
                        stream.down.ended = true;
                    }
                }
                continue;
            }
            if stream.down.closed {
                break;
            }
            match stream.down.write(&ours) {
                Ok(len) => moved += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (moved, Stop::Waits),
                // Nobody reads any more. What is here stays unread, so that closing is a reset.
                Err(_) => stream.down.closed = true,
            }
        }
        let is_over = stream.down.ended && stream.down.pending.is_empty();
        if is_over && stream.error.is_none() && !stream.down.closed {
            stream.down.closed = true;
            pair::end_sending(&ours);
        }
        (moved, if moved < QUANTUM { Stop::Waits } else { Stop::Quantum })
    }

    /// From the client to the send queue.
    fn move_up(&self, id: SocketId, stream: &mut Stream, ours: impl std::os::fd::AsFd) -> (usize, Stop) {
        let mut moved = 0;
        while moved < QUANTUM {
            if stream.up.pending.is_empty() {
                if stream.up.ended || !self.readable.swap(false, Ordering::AcqRel) {
                    break;
                }
                match stream.block.fill(|block| pair::receive(&ours, block)) {
                    Ok(bytes) if bytes.is_empty() => stream.up.ended = true,
                    Ok(bytes) => {
                        // There may be more.
                        self.readable.store(true, Ordering::Release);
                        stream.up.pending = bytes;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (moved, Stop::Waits),
                    Err(_) => return (moved, Stop::Reset),
                }
                continue;
            }
            let bytes = stream.up.pending.clone();
            let sent = self.call(Interest::Writable, |stack, now| {
                stack.tcp_send_as(now, id, bytes, SendMode::default())
            });
            match sent {
                Ok(len) => {
                    moved += len;
                    stream.up.pending.advance(len);
                }
                Err(Errno::Again) => return (moved, Stop::Waits),
                Err(error) => {
                    stream.error = Some(error);
                    return (moved, Stop::Waits);
                }
            }
        }
        if stream.up.ended && stream.up.pending.is_empty() && !stream.up.closed && !self.is_hung_up() {
            stream.up.closed = true;
            // A connection that is over already is told by its error.
            let _over = self.kernel.enter(|stack, now| stack.tcp_shutdown(now, id, Shutdown::Write));
        }
        (moved, if moved < QUANTUM { Stop::Waits } else { Stop::Quantum })
    }
}

/// What becomes of a joint after its turn.
enum Ending {
    /// Nothing: it goes on.
    None,
    /// Its client is gone, or both directions are closed: the rump socket is closed, and sends the rest by itself.
    Close,
    /// Its client has gone before it had read everything: the connection is reset (RFC 2525 section 2.17).
    Reset,
    /// The connection has failed, and the client has what came before.
    Fail(Errno),
    /// Its client is gone, and more of what it wrote waits than the send queue takes.
    Orphan,
}

impl Stream {
    fn determine_ending(&self, is_reset: bool, is_hung_up: bool) -> Ending {
        if is_reset {
            return Ending::Reset;
        }
        if let Some(error) = self.error {
            let told = self.down.ended && self.down.pending.is_empty() || self.down.closed || is_hung_up;
            return if told { Ending::Fail(error) } else { Ending::None };
        }
        let all_sent = self.up.ended && self.up.pending.is_empty();
        if self.up.closed && self.down.closed {
            return Ending::Close;
        }
        if !is_hung_up {
            return Ending::None;
        }
        match all_sent {
            true if self.down.pending.is_empty() => Ending::Close,
            true => Ending::Reset,
            false if self.orphaned => Ending::None,
            false => Ending::Orphan,
        }
    }
}

impl Down {
    /// Writes what it has as far as there is room.
    fn write(&mut self, ours: impl std::os::fd::AsFd) -> io::Result<usize> {
        let slices: Vec<_> = self.pending.iter().take(SLICES).map(|slice| IoSlice::new(slice)).collect();
        let len = pair::send(ours, &slices)?;
        let mut left = len;
        while left > 0
            && let Some(first) = self.pending.front_mut()
        {
            let step = left.min(first.len());
            first.advance(step);
            left -= step;
            if first.is_empty() {
                self.pending.pop_front();
            }
        }
        Ok(len)
    }
}
