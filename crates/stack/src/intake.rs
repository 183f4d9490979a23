//! Frames that come in: merged where they follow each other, and looked at ahead where many routes make that worth it.
//!
//! Not here: what becomes of a frame, which the layers decide one after the other.

use core::net::Ipv4Addr;

use arrayvec::ArrayVec;
use rumpnet_proto::Counter;

use crate::{Stack, buffer::Received, link::coalesce::Coalescer, time::Instant};

/// Frames whose routes are looked up together.
const AHEAD: usize = 16;

impl Stack {
    /// Frames have come in by a port; what they cause waits in ports, sockets and events.
    pub fn receive(&mut self, now: Instant, port: u32, batch: impl IntoIterator<Item = Received>) {
        self.enter(now);
        let batch = batch.into_iter();
        match self.link.coalescer(port) {
            // A single frame has nothing to be merged with.
            Some(coalescer) if batch.size_hint().1 != Some(1) => {
                self.receive_coalesced(port, batch, coalescer);
            }
            _ => self.take_each(port, batch, |stack, mut frame| stack.receive_frame(port, &mut frame)),
        }
        self.leave();
    }

    fn receive_coalesced(
        &mut self,
        port: u32,
        batch: impl Iterator<Item = Received>,
        mut coalescer: Coalescer,
    ) {
        self.take_each(port, batch, |stack, frame| {
            coalescer.offer(frame, |mut frame| stack.receive_frame(port, &mut frame));
        });
        let (trains, segments) = coalescer.flush(|mut frame| self.receive_frame(port, &mut frame));
        self.cx.add(Counter::CoalescedTrains, trains);
        self.cx.add(Counter::CoalescedSegments, segments);
    }

    /// Takes the frames of a batch one after the other.
    ///
    /// A router whose routes no cache holds waits for memory at each of them; here it waits for several at once, and when it is the frame's
    /// turn, what was found for it is still known, unless a route has changed since.
    #[inline]
    fn take_each(
        &mut self,
        port: u32,
        mut batch: impl Iterator<Item = Received>,
        mut take: impl FnMut(&mut Self, Received),
    ) {
        if !(self.cx.config.forwarding && self.inet.routes.exceed_a_cache()) {
            return batch.for_each(|frame| take(self, frame));
        }
        loop {
            let some: ArrayVec<Received, AHEAD> = batch.by_ref().take(AHEAD).collect();
            if some.is_empty() {
                return;
            }
            let mut destinations = [Ipv4Addr::UNSPECIFIED; AHEAD];
            for (destination, frame) in destinations.iter_mut().zip(&some) {
                *destination = self.link.destination(port, frame).unwrap_or(*destination);
            }
            self.inet.routes.look_ahead(&destinations);
            some.into_iter().for_each(|frame| take(self, frame));
        }
    }

    #[inline]
    fn receive_frame(&mut self, port: u32, frame: &mut Received) {
        let Self { cx, link, inet, tcp, sockets, .. } = self;
        if let Some(incoming) = link.receive(cx, port, frame) {
            let delivery = inet.receive(cx, link, &incoming, frame);
            Self::deliver(cx, link, inet, tcp, sockets, delivery, frame);
        }
    }
}
