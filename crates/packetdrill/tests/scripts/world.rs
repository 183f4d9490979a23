//! The world that a script drives: what it says happens, and what must be sent is looked for.
//!
//! Everything that the stack sends must be in the script, within [`TOLERANCE`] of its time: a segment that was sent before an event and is not in the
//! script up to it is a fault, and so is one that is left at the end. A call that would wait must say so by its time, since the tool
//! would wait for it.

use std::collections::{BTreeMap, VecDeque};

use rumpnet_packetdrill::{Refusal, Settings};
use rumpnet_stack::time::{Duration, Instant};
use rumpnet_wire::tcp::Flags;

use crate::{
    assertion::{Comparison, Subject},
    calls::Outcome,
    packet::{Opt, Packet},
    parse::{Action, Call, Event, Script, When},
    wire::Numbers,
};

/// How far from a script's time something may happen.
const TOLERANCE: Duration = Duration::from_millis(2);

/// Bytes written and read so far by a descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) written: u32,
    pub(crate) read: u32,
}

/// A call that waits.
struct Waiting {
    call: Call,
    event: Event,
    until: Instant,
}

/// A stack with its descriptors, and what a script knows of it.
pub(crate) struct World {
    pub(crate) drill: rumpnet_packetdrill::World,
    start: Instant,
    /// The time of the event before, by the script.
    last: Instant,
    outbox: VecDeque<(Instant, Vec<u8>)>,
    sent: Sent,
    pub(crate) numbers: Numbers,
    pub(crate) progress: BTreeMap<i32, Progress>,
    /// The connection that assertions are about.
    subject: Subject,
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
    let mut world = World::new(script).map_err(|reason| (1, reason))?;
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
    fn new(script: &Script) -> Result<Self, String> {
        let settings = Settings::parse(&script.flags)?;
        // once: `run` plays each script twice and compares.
        let drill = rumpnet_packetdrill::World::new(&settings).map_err(|error| error.to_string())?;
        let start = drill.now();
        Ok(Self {
            drill,
            start,
            last: start,
            outbox: VecDeque::new(),
            sent: Vec::new(),
            numbers: Numbers::new(),
            progress: BTreeMap::new(),
            subject: Subject { descriptor: None, socket: None, public: true },
            remote_syn: 0,
            waiting: None,
        })
    }

    /// Assertions are about this connection from now on.
    pub(crate) fn follow(&mut self, descriptor: i32) {
        self.subject.descriptor = Some(descriptor);
        self.subject.socket = self.drill.socket_id(descriptor).ok();
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
        if from + TOLERANCE < self.drill.now() {
            return Err("an assertion of ours that comes before has a later time".into());
        }
        self.advance(from)?;
        self.complain_of_unexpected(from)?;
        if let Action::AssertPrivately(comparisons) = &event.action {
            return self.check(comparisons, false);
        }
        self.last = from;
        match &event.action {
            Action::Receive(packet) => self.inject(packet),
            Action::Icmp(message, quoted) => {
                let bytes = self.numbers.encode_icmp(*message, *quoted);
                self.drill.inject(bytes);
            }
            Action::Call(call) => self.check_call(call)?,
            Action::Assert(comparisons) => self.check(comparisons, true)?,
            Action::Send(_) | Action::AssertPrivately(_) => {}
        }
        self.pull();
        self.retry_waiting()
    }

    fn check(&mut self, comparisons: &[Comparison], public: bool) -> Result<(), String> {
        self.subject.public = public;
        comparisons.iter().try_for_each(|each| each.check(&mut self.drill, &self.subject))
    }

    /// From when to when an event may be.
    fn determine_time(&self, when: When) -> (Instant, Instant) {
        let from = |base: Instant, (first, last): (u64, u64)| {
            (base + Duration::from_micros(first), base + Duration::from_micros(last))
        };
        match when {
            When::At(first, last) | When::During(first, last) => from(self.start, (first, last)),
            When::After(first, last) | When::DuringAfter(first, last) => from(self.last, (first, last)),
            When::Any => (self.drill.now(), self.drill.now() + Duration::from_secs(3600)),
        }
    }

    /// Time goes on to `until`, with all that is due before.
    fn advance(&mut self, until: Instant) -> Result<(), String> {
        while self.step_to_deadline(until) {
            self.retry_waiting()?;
        }
        Ok(())
    }

    /// Runs what is due next; false if nothing is until then.
    fn step_to_deadline(&mut self, until: Instant) -> bool {
        let due = self.drill.step(until);
        self.pull();
        due
    }

    /// Takes what the stack sends.
    fn pull(&mut self) {
        while let Some(sent) = self.drill.next_sent() {
            self.sent.push(sent.clone());
            self.outbox.push_back(sent);
        }
    }

    fn inject(&mut self, packet: &Packet) {
        if packet.flags.contains(Flags::SYN) {
            let first = !packet.flags.contains(Flags::ACK) && packet.start != self.remote_syn;
            self.numbers.fresh |= first;
            self.remote_syn = packet.start;
        }
        self.drill.inject(self.numbers.encode(packet));
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
        while self.outbox.is_empty() && self.drill.next_deadline().is_some_and(|due| due <= to + TOLERANCE) {
            self.step_to_deadline(to + TOLERANCE);
            self.retry_waiting()?;
        }
        self.last = if from == to { from } else { self.drill.now() };
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
        self.complain_of_unexpected(self.drill.now() + Duration::from_secs(1))
    }

    fn seconds(&self, at: Instant) -> String {
        format!("{:.6}", (at - self.start).as_micros() as f64 / 1e6)
    }

    /// A call that is over at once: where it would wait, the tool would wait for it, and so the script must say when it ends.
    fn check_call(&mut self, call: &Call) -> Result<(), String> {
        let outcome = self.call(call)?;
        let waits = matches!(outcome, Err(Refusal::AGAIN | Refusal(libc::EINPROGRESS | libc::EALREADY)));
        let is_cut = matches!(outcome, Ok(count) if call.name == "write" && count < call.asked()?);
        if (waits || is_cut) && self.may_wait(call)? {
            return Err("a call that waits; say when it ends, or set O_NONBLOCK".into());
        }
        call.check(outcome)
    }

    fn begin_waiting(&mut self) -> Result<(), String> {
        if let Some(waiting) = &self.waiting
            && waiting.call.name == "connect"
        {
            let call = waiting.call.clone();
            let outcome = self.call(&call)?;
            self.pull();
            return if outcome == Err(Refusal(libc::EINPROGRESS)) { Ok(()) } else { call.check(outcome) };
        }
        self.retry_waiting()
    }

    /// Tries a call that waits: nothing while it has to wait on.
    fn attempt(&mut self, call: &Call) -> Result<Option<Outcome>, String> {
        let outcome = if call.name == "connect" {
            self.drill.connected(call.descriptor()?).map(|()| 0)
        } else {
            self.call(call)?
        };
        Ok(Some(outcome).filter(|outcome| *outcome != Err(Refusal::AGAIN)))
    }

    /// Whether a call that waits is through now.
    fn retry_waiting(&mut self) -> Result<(), String> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let outcome = self.attempt(&waiting.call)?;
        self.pull();
        let now = self.drill.now();
        let late = now > waiting.until + TOLERANCE;
        match outcome {
            None if late => Err(format!("no end of `{}`", waiting.event.text)),
            None => {
                self.waiting = Some(waiting);
                Ok(())
            }
            Some(_) if now + TOLERANCE < waiting.until || late => {
                Err(format!("the end of `{}` at {}", waiting.event.text, self.seconds(now)))
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
