//! A link inside the process: two ends, each of which a kernel can stand on or a program can hold itself.
//!
//! Frames pass as they are, with their offloads, and payload is shared. Each direction is a bounded queue; a full one holds
//! its sender back. When an end is dropped the other one's link is down.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use rumpnet_proto::{LinkKind, LinkState};
use rumpnet_stack::{
    Offloads,
    buffer::{Frame, Received},
};

use super::{Link, LinkProperties, Signal};
use crate::{pool::Pool, reactor::Doorbell};

/// Frames that wait in one direction.
const QUEUE: usize = 1024;

/// One end of a channel.
pub struct ChannelLink {
    channel: Arc<Channel>,
    side: usize,
}

struct Channel {
    properties: LinkProperties,
    inboxes: [Inbox; 2],
}

/// What waits for one side, and how that side is told.
#[derive(Default)]
struct Inbox {
    state: Mutex<InboxState>,
    arrived: Condvar,
}

#[derive(Default)]
struct InboxState {
    frames: VecDeque<Frame>,
    doorbell: Option<Doorbell>,
    waker: Option<Waker>,
    /// The other side was refused for want of room.
    other_waits: bool,
    /// This side is gone.
    closed: bool,
}

/// Two ends of an Ethernet link that can do every offload.
pub fn pair() -> (ChannelLink, ChannelLink) {
    pair_with(LinkProperties {
        kind: LinkKind::Ethernet,
        offloads: Offloads::ALL,
        mtu: 1500,
        max_mtu: 65_521,
        host_end: Some("channel".into()),
    })
}

/// Two ends of a link that carries plain IP packets, for `tun<n>`.
pub fn ip_pair() -> (ChannelLink, ChannelLink) {
    let (one, _) = pair();
    pair_with(LinkProperties { kind: LinkKind::Ip, ..one.channel.properties.clone() })
}

/// Two ends of a link with these properties.
pub fn pair_with(properties: LinkProperties) -> (ChannelLink, ChannelLink) {
    let channel = Arc::new(Channel { properties, inboxes: Default::default() });
    (ChannelLink { channel: channel.clone(), side: 0 }, ChannelLink { channel, side: 1 })
}

impl ChannelLink {
    fn own(&self) -> &Inbox {
        &self.channel.inboxes[self.side]
    }

    fn other(&self) -> &Inbox {
        &self.channel.inboxes[1 - self.side]
    }

    /// Sends a frame to the other end; WouldBlock if its queue is full, BrokenPipe if it is gone.
    pub fn try_send(&self, frame: Frame) -> io::Result<()> {
        let mut other = self.other().lock();
        if other.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if other.frames.len() >= QUEUE {
            other.other_waits = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        other.frames.push_back(frame);
        if other.frames.len() == 1 {
            self.other().tell(other);
        }
        Ok(())
    }

    /// The next frame from the other end, if there is one; BrokenPipe once it is gone and nothing is left.
    pub fn try_recv(&self) -> io::Result<Option<Frame>> {
        let mut own = self.own().lock();
        let frame = own.frames.pop_front();
        let told = own.frames.len() <= QUEUE / 2 && std::mem::take(&mut own.other_waits);
        drop(own);
        if told {
            self.other().tell(self.other().lock());
        }
        match frame {
            None if self.other().lock().closed => Err(io::ErrorKind::BrokenPipe.into()),
            frame => Ok(frame),
        }
    }

    /// The next frame from the other end, waiting for it; TimedOut after `patience`.
    pub fn recv_timeout(&self, patience: Duration) -> io::Result<Frame> {
        let end = Instant::now() + patience;
        loop {
            if let Some(frame) = self.try_recv()? {
                return Ok(frame);
            }
            let own = self.own().lock();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if own.frames.is_empty() && !self.is_alone_beside(&own) {
                let waited = self.own().arrived.wait_timeout(own, left);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Waits for the next frame from the other end.
    pub async fn recv(&self) -> io::Result<Frame> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next frame from the other end; the task is woken when there is one.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Frame>> {
        self.own().lock().waker = Some(cx.waker().clone());
        match self.try_recv() {
            Ok(Some(frame)) => Poll::Ready(Ok(frame)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Whether the other end is gone. Its own inbox is locked already, so that no word of it can be missed.
    fn is_alone_beside(&self, _own: &MutexGuard<'_, InboxState>) -> bool {
        self.other().lock().closed
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever reads this inbox that something has changed.
    fn tell(&self, mut state: MutexGuard<'_, InboxState>) {
        let (waker, doorbell) = (state.waker.take(), state.doorbell.clone());
        drop(state);
        self.arrived.notify_all();
        waker.into_iter().for_each(Waker::wake);
        doorbell.iter().for_each(Doorbell::ring);
    }
}

impl Link for ChannelLink {
    fn properties(&self) -> LinkProperties {
        self.channel.properties.clone()
    }

    fn signal(&self) -> Signal<'_> {
        Signal::Doorbell
    }

    fn is_slow_to_close(&self) -> bool {
        false
    }

    fn set_doorbell(&self, doorbell: Doorbell) {
        self.own().lock().doorbell = Some(doorbell.clone());
        doorbell.ring();
    }

    fn state(&self) -> LinkState {
        if self.other().lock().closed { LinkState::Down } else { LinkState::Up }
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        self.try_send(Frame { charge: None, ..frame.clone() })
    }

    fn receive(&self, _pool: &Pool, limit: usize, out: &mut Vec<Received>) -> io::Result<()> {
        let mut own = self.own().lock();
        let count = own.frames.len().min(limit);
        out.extend(own.frames.drain(..count).map(Received::from));
        let told = own.frames.len() <= QUEUE / 2 && std::mem::take(&mut own.other_waits);
        drop(own);
        if told {
            self.other().tell(self.other().lock());
        }
        Ok(())
    }
}

impl Drop for ChannelLink {
    fn drop(&mut self) {
        let mut own = self.own().lock();
        own.closed = true;
        own.frames.clear();
        own.doorbell = None;
        drop(own);
        self.other().tell(self.other().lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8) -> Frame {
        Frame { payload: bytes::Bytes::from(vec![byte; 60]).into(), ..Frame::default() }
    }

    #[test]
    fn frames_pass_in_order_in_both_directions() {
        let (one, two) = pair();
        for byte in 0..3 {
            one.try_send(frame(byte)).expect("room");
        }
        two.try_send(frame(9)).expect("room");
        let first = |end: &ChannelLink| end.try_recv().expect("alive").expect("a frame").to_vec()[0];
        assert_eq!([first(&two), first(&two), first(&two), first(&one)], [0, 1, 2, 9]);
        assert!(two.try_recv().expect("alive").is_none());
    }

    #[test]
    fn a_full_queue_refuses_and_a_dropped_end_is_a_broken_pipe() {
        let (one, two) = pair();
        for _ in 0..QUEUE {
            one.try_send(frame(0)).expect("room");
        }
        assert_eq!(one.try_send(frame(0)).expect_err("full").kind(), io::ErrorKind::WouldBlock);
        drop(one);
        for _ in 0..QUEUE {
            assert!(two.try_recv().expect("what was sent is still there").is_some());
        }
        assert_eq!(two.try_recv().expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(two.try_send(frame(0)).expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(two.state(), LinkState::Down);
    }

    #[test]
    fn a_waiting_reader_is_told_of_a_frame_and_of_the_end() {
        let (one, two) = pair();
        let reader = std::thread::spawn(move || {
            let first = two.recv_timeout(Duration::from_secs(10)).map(|frame| frame.to_vec()[0]);
            (first, two.recv_timeout(Duration::from_secs(10)).map(drop))
        });
        one.try_send(frame(5)).expect("room");
        drop(one);
        let (first, second) = reader.join().expect("no panic");
        assert_eq!(first.expect("sent"), 5);
        assert_eq!(second.expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
    }
}
