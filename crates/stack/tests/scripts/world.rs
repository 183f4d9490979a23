//! One stack behind a plain IP link in virtual time, and the script that drives it.
//!
//! Everything that the stack sends must be in the script, within [`TOLERANCE`] of its time: a segment that was sent before an event and is not in the script up to it is a fault, and so is one that is left at the end.

use std::collections::{BTreeMap, VecDeque};

use rumpnet_proto::{AddressChange, LinkKind, NextHop, Request};
use rumpnet_stack::{
    Config, Offloads, PortConfig, SocketId, Stack,
    buffer::{Offload, Received},
    time::{Duration, Instant},
};
use rumpnet_wire::{ethernet, tcp::Flags};

use crate::{
    packet::{Opt, Packet},
    parse::{Action, Call, Event, Script, When},
    wire::{LOCAL, Numbers, REMOTE},
};

/// How far from a script's time something may happen.
const TOLERANCE: Duration = Duration::from_millis(2);

/// A socket of a script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub(crate) socket: SocketId,
    /// Bytes written and read so far.
    pub(crate) written: u32,
    pub(crate) read: u32,
}

/// A call that waits.
struct Waiting {
    call: Call,
    event: Event,
    until: Instant,
}

/// A stack, and what a script knows of it.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) now: Instant,
    start: Instant,
    /// The time of the event before, by the script.
    last: Instant,
    outbox: VecDeque<(Instant, Vec<u8>)>,
    sent: Sent,
    pub(crate) numbers: Numbers,
    pub(crate) descriptors: BTreeMap<i64, Descriptor>,
    /// The connection that assertions are about.
    pub(crate) subject: Option<SocketId>,
    /// The number of the peer's latest SYN.
    pub(crate) remote_syn: u32,
    waiting: Option<Waiting>,
}

/// Runs a script twice, for the same outcome; an error names the line, and says what was expected and what came.
pub(crate) fn run(script: &Script) -> Result<(), (usize, String)> {
    let first = play(script)?;
    let second = play(script)?;
    assert!(first == second, "the same script, another output");
    Ok(())
}

/// Everything that was sent, and when.
type Sent = Vec<(Instant, Vec<u8>)>;

fn play(script: &Script) -> Result<Sent, (usize, String)> {
    // once: `run` plays each script twice and compares.
    let mut world = World::new(script);
    for event in &script.events {
        world
            .step(event)
            .map_err(|reason| (event.line, format!("expected `{}`\n    got {reason}", event.text)))?;
    }
    let line = script.events.last().map_or(0, |event| event.line);
    world.finish().map_err(|reason| (line, format!("at the end\n    got {reason}")))?;
    Ok(world.sent)
}

impl World {
    fn new(script: &Script) -> Self {
        let start = Instant::from_secs(1000);
        let config = Config { tcp_ecn: script.ecn, ..Config::default() };
        let mut stack = Stack::boot(config, *b"scripts of tests", start);
        let mac = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]);
        let port = PortConfig {
            kind: LinkKind::Ip,
            link_address: None,
            offloads: Offloads::NONE,
            mtu: script.mtu,
            ..PortConfig::ethernet(mac)
        };
        stack.create_interface(start, "tun0", port).expect("a fresh stack has room");
        let change = AddressChange {
            address: LOCAL.into(),
            prefix_len: None,
            broadcast: None,
            peer: Some([192, 168, 0, 2].into()),
            alias: false,
        };
        stack.control(start, Request::AddAddress { name: "tun0".into(), change }).expect("a good address");
        let via = NextHop::Interface("tun0".into());
        let route = Request::AddRoute { destination: (REMOTE.into(), 24), via };
        let network = Request::AddRoute {
            destination: ([192, 0, 2, 0].into(), 24),
            via: NextHop::Interface("tun0".into()),
        };
        stack.control(start, route).or_else(|_| stack.control(start, network)).expect("a good route");
        Self {
            stack,
            now: start,
            start,
            last: start,
            outbox: VecDeque::new(),
            sent: Vec::new(),
            numbers: Numbers::new(),
            descriptors: BTreeMap::new(),
            subject: None,
            remote_syn: 0,
            waiting: None,
        }
    }

    fn step(&mut self, event: &Event) -> Result<(), String> {
        let (from, to) = self.determine_time(event.when);
        if let (When::During(..) | When::DuringAfter(..), Action::Call(call)) = (event.when, &event.action) {
            self.advance(from)?;
            self.last = from;
            self.complain_of_unexpected(from)?;
            self.waiting = Some(Waiting { call: call.clone(), event: event.clone(), until: to });
            return self.begin_waiting();
        }
        if let Action::Send(packet) = &event.action {
            return self.expect_sent(event.when, (from, to), packet);
        }
        self.advance(from)?;
        self.last = from;
        self.complain_of_unexpected(from)?;
        match &event.action {
            Action::Receive(packet) => self.inject(packet),
            Action::Icmp(message, quoted) => {
                let bytes = self.numbers.encode_icmp(*message, *quoted);
                self.deliver(bytes);
            }
            Action::Call(call) => self.check_call(call)?,
            Action::Assert(comparisons) => {
                comparisons.iter().try_for_each(|each| each.check(&mut self.stack, self.subject))?;
            }
            Action::Send(_) => {}
        }
        self.pull();
        self.retry_waiting()
    }

    /// From when to when an event may be.
    fn determine_time(&self, when: When) -> (Instant, Instant) {
        let from = |base: Instant, (first, last): (u64, u64)| {
            (base + Duration::from_micros(first), base + Duration::from_micros(last))
        };
        match when {
            When::At(first, last) | When::During(first, last) => from(self.start, (first, last)),
            When::After(first, last) | When::DuringAfter(first, last) => from(self.last, (first, last)),
            When::Any => (self.now, self.now + Duration::from_secs(3600)),
        }
    }

    /// Time goes on to `until`, with all that is due before.
    fn advance(&mut self, until: Instant) -> Result<(), String> {
        while self.step_to_deadline(until) {
            self.retry_waiting()?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// Runs what is due next, if that is until then.
    fn step_to_deadline(&mut self, until: Instant) -> bool {
        let Some(deadline) = self.stack.next_deadline().filter(|deadline| *deadline <= until) else {
            return false;
        };
        self.now = self.now.max(deadline);
        self.stack.on_timeout(self.now);
        self.pull();
        true
    }

    /// Takes what the stack sends.
    pub(crate) fn pull(&mut self) {
        while self.stack.next_ready_port().is_some() {}
        while let Some(frame) = self.stack.next_frame(0) {
            self.sent.push((self.now, frame.to_vec()));
            self.outbox.push_back((self.now, frame.to_vec()));
        }
        while self.stack.next_event().is_some() {}
    }

    fn deliver(&mut self, bytes: Vec<u8>) {
        self.stack.receive(self.now, 0, [Received::new(bytes.into(), Offload::default())]);
    }

    fn inject(&mut self, packet: &Packet) {
        if packet.flags.contains(Flags::SYN) {
            let first = !packet.flags.contains(Flags::ACK) && packet.start != self.remote_syn;
            self.numbers.fresh |= first;
            self.remote_syn = packet.start;
        }
        let bytes = self.numbers.encode(packet);
        self.deliver(bytes);
    }

    /// The next segment of ours is this one, at its time.
    fn expect_sent(
        &mut self,
        when: When,
        (from, to): (Instant, Instant),
        packet: &Packet,
    ) -> Result<(), String> {
        if when != When::Any {
            self.advance(from)?;
        }
        while self.outbox.is_empty() && self.step_to_deadline(to + TOLERANCE) {
            self.retry_waiting()?;
        }
        self.last = if from == to { from } else { self.now };
        let Some((at, bytes)) = self.outbox.pop_front() else {
            return Err(format!("nothing until {}", self.seconds(to + TOLERANCE)));
        };
        let sent = self.numbers.decode(&bytes, Some(packet))?;
        let seconds = self.seconds(at);
        let shown = |reason: &str| format!("`{sent}` at {seconds}: {reason}");
        if when == When::Any {
            self.last = at;
        } else if at + TOLERANCE < from || at > to + TOLERANCE {
            return Err(shown("the time is wrong"));
        }
        compare(packet, &sent).map_err(|reason| shown(&reason))
    }

    /// What was sent well before now should have been in the script before now.
    fn complain_of_unexpected(&mut self, now: Instant) -> Result<(), String> {
        match self.outbox.front() {
            Some((at, bytes)) if *at + TOLERANCE < now => {
                let (at, bytes) = (*at, bytes.clone());
                let sent = self.numbers.decode(&bytes, None)?;
                Err(format!("`{sent}` at {}, which no line expects", self.seconds(at)))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        if let Some(waiting) = &self.waiting {
            return Err(format!("no end of `{}`", waiting.event.text));
        }
        self.complain_of_unexpected(self.now + Duration::from_secs(1))
    }

    fn seconds(&self, at: Instant) -> String {
        format!("{:.6}", (at - self.start).as_micros() as f64 / 1e6)
    }

    fn check_call(&mut self, call: &Call) -> Result<(), String> {
        let outcome = self.call(call)?;
        call.check(outcome)
    }

    fn begin_waiting(&mut self) -> Result<(), String> {
        if let Some(waiting) = &self.waiting
            && waiting.call.name == "connect"
        {
            let call = waiting.call.clone();
            let outcome = self.call(&call)?;
            self.pull();
            return if outcome == Err("EINPROGRESS") { Ok(()) } else { call.check(outcome) };
        }
        self.retry_waiting()
    }

    /// Whether a call that waits is through now.
    fn retry_waiting(&mut self) -> Result<(), String> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let outcome = if waiting.call.name == "connect" {
            self.connected(&waiting.call)
        } else {
            let outcome = self.call(&waiting.call)?;
            Some(outcome).filter(|outcome| *outcome != Err("EAGAIN"))
        };
        self.pull();
        let late = self.now > waiting.until + TOLERANCE;
        match outcome {
            None if late => Err(format!("no end of `{}`", waiting.event.text)),
            None => {
                self.waiting = Some(waiting);
                Ok(())
            }
            Some(_) if self.now + TOLERANCE < waiting.until || late => {
                Err(format!("the end of `{}` at {}", waiting.event.text, self.seconds(self.now)))
            }
            Some(outcome) => waiting.call.check(outcome),
        }
    }
}

/// What is wrong with a segment that was sent.
fn compare(expected: &Packet, sent: &Packet) -> Result<(), String> {
    let checks = [
        (expected.flags == sent.flags, "the flags are wrong"),
        (expected.start == sent.start, "the sequence number is wrong"),
        (expected.len == sent.len, "the length is wrong"),
        (expected.ack == sent.ack, "the acknowledgment is wrong"),
        (expected.window.is_none() || expected.window == sent.window, "the window is wrong"),
        (expected.ecn.is_none() || expected.ecn == sent.ecn, "the ECN mark is wrong"),
        (expected.urgent == sent.urgent, "the urgent pointer is wrong"),
        (options_agree(expected, sent), "the options are wrong"),
    ];
    match checks.iter().find(|(good, _)| !good) {
        None => Ok(()),
        Some((_, reason)) => Err((*reason).into()),
    }
}

/// Options are equal; our clock may be a tick beside the script's.
fn options_agree(expected: &Packet, sent: &Packet) -> bool {
    let (Some(expected), Some(sent)) = (&expected.options, &sent.options) else { return true };
    let agrees = |(one, other): (&Opt, &Opt)| match (one, other) {
        (Opt::Timestamps { value, echo }, Opt::Timestamps { value: sent, echo: echoed }) => {
            echo == echoed && value.abs_diff(*sent) <= TOLERANCE.as_millis() as u32
        }
        _ => one == other,
    };
    expected.len() == sent.len() && expected.iter().zip(sent).all(agrees)
}
