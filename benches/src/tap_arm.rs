//! The bare loop on the raw tap: what the crossing itself costs, with no stack behind it.
//!
//! One thread, plain reads into one buffer, plain writes of frames made beforehand.

use std::{io::IoSlice, os::fd::AsFd, time::Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rumpnet_host::{IoFailure, Tap, TapOptions};
use rumpnet_wire::{udp, virtio::Header};

use crate::{
    Failure,
    count::{self, Count},
    frames,
    kernel_socket::{SEGMENT, SEGMENTS, SMALL},
    namespace::TAP,
    peer,
    sink::Sink,
    trial::Load,
};

/// Room for any frame and its virtio header, in bytes.
const BUFFER: usize = 66_048;
/// Milliseconds to wait for a frame before a count looks at its clock.
const PATIENCE: u16 = 50;
/// Bytes of headers before the payload of a UDP frame, virtio's among them.
const HEADERS: usize = Header::LEN + 14 + 20 + udp::Header::LEN;

/// Runs the far side of `load`.
pub(crate) fn run(load: Load) -> Result<(), Failure> {
    let mut bare = Bare { tap: Tap::open(&TapOptions::new(TAP))?, buffer: vec![0; BUFFER] };
    peer::meet()?;
    match load {
        Load::PingPinned | Load::Ping => bare.answer(),
        Load::UdpSend | Load::UdpSendTrains | Load::UdpSendMixed => bare.send(SMALL, None),
        Load::TrainSend => bare.send(SEGMENT * SEGMENTS, Some(SEGMENT)),
        Load::UdpReceive | Load::TrainReceive => bare.receive(),
        Load::Sink => bare.sink(),
        other => Err(format!("the bare tap is not measured under {}", other.name()).into()),
    }
}

struct Bare {
    tap: Tap,
    buffer: Vec<u8>,
}

impl Bare {
    /// The next frame behind its virtio header; its length is 0 if none came in time.
    fn read(&mut self) -> Result<&mut [u8], Failure> {
        let len = loop {
            match self.tap.read(&mut self.buffer) {
                Ok(len) => break len,
                Err(IoFailure::WouldBlock) => {
                    if poll(
                        &mut [PollFd::new(self.tap.as_fd(), PollFlags::POLLIN)],
                        PollTimeout::from(PATIENCE),
                    )? == 0
                    {
                        break 0;
                    }
                }
                Err(failure) => return Err(refused(failure)),
            }
        };
        Ok(&mut self.buffer[..len])
    }

    fn write(&self, header: &[u8; Header::LEN], frame: &[u8]) -> Result<(), Failure> {
        match self.tap.writev(&[IoSlice::new(header), IoSlice::new(frame)]) {
            Ok(_) | Err(IoFailure::WouldBlock | IoFailure::NoBuffers) => Ok(()),
            Err(failure) => Err(refused(failure)),
        }
    }

    /// Answers requests for our link address, which no loop can do without; whether the frame was one.
    fn answer_arp(&mut self, len: usize) -> Result<bool, Failure> {
        let reply = frames::arp_reply(self.buffer.get(Header::LEN..len).unwrap_or_default());
        reply.iter().try_for_each(|reply| self.write(&[0; Header::LEN], reply))?;
        Ok(reply.is_some())
    }

    /// Answers pings until it is killed.
    fn answer(&mut self) -> Result<(), Failure> {
        loop {
            let len = self.read()?.len();
            if len <= Header::LEN || self.answer_arp(len)? {
                continue;
            }
            if frames::turn_echo(&mut self.buffer[Header::LEN..len]) {
                self.write(&[0; Header::LEN], &self.buffer[Header::LEN..len])?;
            }
        }
    }

    fn send(&self, payload: usize, segment: Option<usize>) -> Result<(), Failure> {
        let (header, frame) = frames::udp_to_host(payload, segment);
        let header = header.to_bytes();
        let until = Instant::now() + count::LOAD;
        while Instant::now() < until {
            self.write(&header, &frame)?;
        }
        Ok(())
    }

    /// Counts the datagrams in the UDP frames that are read.
    fn receive(&mut self) -> Result<(), Failure> {
        let mut count = Count::begin();
        while count.is_running() {
            let frame = self.read()?;
            let len = frame.len();
            if !is_udp(frame) {
                self.answer_arp(len)?;
                continue;
            }
            let header = Header::parse(frame).map_err(|_| "a frame without virtio header")?.0;
            let payload = len - HEADERS;
            let packets = match usize::from(header.gso_size) {
                0 => 1,
                size => payload.div_ceil(size),
            };
            count.add(packets as u64, payload as u64);
        }
        peer::report(&count.figures())
    }

    fn sink(&mut self) -> Result<(), Failure> {
        let mut sink = Sink::default();
        let mut count = Count::begin();
        while count.is_running() {
            let Some(frame) = self.read()?.get(Header::LEN..) else { continue };
            let outcome = sink.receive(frame);
            if let Some(answer) = &outcome.answer {
                self.write(&[0; Header::LEN], answer.as_slice())?;
            }
            if outcome.accepted > 0 {
                count.add(1, outcome.accepted as u64);
            }
        }
        peer::report(&count.figures())
    }
}

/// Whether it is UDP over IPv4 without options, as the host's flood is and its own chatter is not.
fn is_udp(read: &[u8]) -> bool {
    read.len() >= HEADERS && read[24..27] == [8, 0, 0x45] && read[35] == 17
}

fn refused(failure: IoFailure) -> Failure {
    std::io::Error::from_raw_os_error(failure.errno()).into()
}
