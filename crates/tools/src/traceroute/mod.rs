//! traceroute(8): which routers packets pass on their way to a host, in the layout of NetBSD's.
//!
//! Probes die one hop later each round, and whoever they die at says so (ICMP time exceeded), until the destination answers itself. Each hop has
//! an echo session of its own in the kernel, which sends, matches and takes the times. `options` are the words, `report` what was found out.

mod options;
mod report;

use core::{net::IpAddr, time::Duration};

use rumpnet_proto::{ControlError, EchoOptions, EchoReply, Errno, Operation, Probe, Reply, Request};

use self::{
    options::{HEADERS, Options},
    report::{Answer, Findings, Hop, Meaning, meaning},
};
use crate::{
    Status,
    console::Console,
    failure::{Failure, unexpected_reply},
    task::Task,
};

pub(crate) use options::command;

/// The longest that one call waits, so that an interrupt is noticed.
const SLICE: Duration = Duration::from_millis(100);
/// What a call that did not wait, though it was asked to, is followed by.
const PAUSE: Duration = Duration::from_millis(1);
/// The variable that says how far probes go unless -m does.
const DEFAULT_TTL: &str = "net.inet.ip.ttl";
/// MTUs of real links, for routers that do not name theirs (RFC 1191 section 7).
const PLATEAUS: [u16; 11] = [65_535, 32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let options = options::parse(words)?;
    let findings = Findings::new(&options);
    let mut trace = Trace { task, findings, options, echo: None, sequence: 0 };
    let ended = trace.follow().await;
    trace.close().await;
    ended?;
    trace.task.report(&trace.findings)?;
    Ok(Status::SUCCESS)
}

/// A traceroute at work.
struct Trace<'a, C> {
    task: &'a Task<'a, C>,
    options: Options,
    findings: Findings,
    /// The session of the present hop.
    echo: Option<u64>,
    /// Of the next probe: no two have the same.
    sequence: u16,
}

/// What came of a probe.
enum Outcome {
    Answered(EchoReply),
    /// Nobody answered in time, or it could not be sent.
    Silence,
    /// It is too long; by who says so, for an MTU if that was said.
    TooLong {
        reply: Option<EchoReply>,
        mtu: Option<u16>,
    },
    /// The user wants no more.
    Interrupted,
}

impl<C: Console> Trace<'_, C> {
    /// Goes from hop to hop until there is a reason to end.
    async fn follow(&mut self) -> Result<(), Failure> {
        self.prepare().await?;
        for ttl in self.options.first_ttl..=self.findings.max_hops {
            self.open(ttl).await?;
            if ttl == self.options.first_ttl {
                self.announce();
            }
            self.print(&format!("{ttl:2} "))?;
            self.findings.hops.push(Hop { ttl, probes: Vec::new() });
            let goes_on = self.probe_hop(ttl).await?;
            self.print("\n")?;
            self.close().await;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Finds out how far to go, and from where.
    async fn prepare(&mut self) -> Result<(), Failure> {
        self.findings.max_hops = match self.options.max_ttl {
            Some(most) => most,
            None => {
                let request = Request::Sysctl { name: DEFAULT_TTL.into(), value: None };
                let Reply::Value(ttl) = self.task.ask(request).await? else { return Err(unexpected_reply()) };
                u8::try_from(ttl).map_err(|_| unexpected_reply())?
            }
        };
        let Some(name) = self.options.interface.clone() else { return Ok(()) };
        let request = Request::Interface { name: name.clone(), reset: false };
        let Reply::Interfaces { interfaces, .. } = self.task.ask(request).await? else {
            return Err(unexpected_reply());
        };
        let addresses = interfaces.iter().flat_map(|interface| &interface.addresses);
        let mut usable = addresses.map(|entry| entry.address).filter(IpAddr::is_ipv4);
        let none = || Failure::Refused(format!("{name}: has no address to send from"));
        self.options.source = Some(usable.next().ok_or_else(none)?);
        Ok(())
    }

    /// The first line goes to standard error, as NetBSD's does.
    fn announce(&self) {
        let Options { destination, .. } = self.options;
        let from = self.options.source.map(|source| format!(" from {source}")).unwrap_or_default();
        let (most, len) = (self.findings.max_hops, self.options.packet_len);
        if !self.task.json {
            let line = format!(
                "traceroute to {destination} ({destination}){from}, {most} hops max, {len} byte packets\n"
            );
            self.task.console.complain(&line);
        }
    }

    /// Sends all probes of a hop; false if there is no sense in going on.
    async fn probe_hop(&mut self, ttl: u8) -> Result<bool, Failure> {
        let (mut before, mut dead_ends, mut arrived) = (None, 0, false);
        let mut number = 0;
        while number < self.options.queries {
            let answer = match self.probe().await? {
                Outcome::Interrupted => return Ok(false),
                Outcome::TooLong { mtu, reply } => {
                    if self.shrink(reply.is_some(), mtu)? {
                        self.close().await;
                        self.open(ttl).await?;
                        continue;
                    }
                    dead_ends += 1;
                    reply.map(|reply| Answer::of(&reply)).unwrap_or_default()
                }
                Outcome::Silence => Answer::default(),
                Outcome::Answered(reply) => {
                    arrived |= meaning(reply.outcome) == Some(Meaning::Arrived);
                    dead_ends += u16::from(meaning(reply.outcome) == Some(Meaning::DeadEnd));
                    Answer::of(&reply)
                }
            };
            self.print(&answer.text(before, &self.options))?;
            before = answer.from().or(before);
            let hop = self.findings.hops.last_mut().expect("it was begun before its probes");
            hop.probes.push(answer);
            number += 1;
        }
        self.findings.reached |= arrived;
        Ok(!arrived && (dead_ends == 0 || dead_ends + 1 < self.options.queries))
    }

    /// Sends a probe and waits for its answer.
    async fn probe(&mut self) -> Result<Outcome, Failure> {
        let Some(echo) = self.echo else { return Ok(Outcome::Silence) };
        let console = self.task.console;
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        match console.call(Request::EchoSend { echo, sequence }).await {
            Ok(_) => {}
            Err(error) if error.operation != Operation::Echo || error.errno == Errno::BadF => {
                return Err(Failure::Kernel(error));
            }
            Err(error) if error.errno == Errno::MsgSize => {
                return Ok(Outcome::TooLong { reply: None, mtu: None });
            }
            Err(error) => {
                if !self.task.json {
                    self.task.complain(&format!("sendto: {}", error.errno));
                }
                return Ok(Outcome::Silence);
            }
        }
        let until = console.now() + self.options.wait;
        while !console.is_interrupted() {
            let (before, left) = (console.now(), until.saturating_sub(console.now()));
            if left.is_zero() {
                return Ok(Outcome::Silence);
            }
            let timeout_ns = left.min(SLICE).as_nanos() as u64;
            let Reply::EchoReplies(replies) =
                self.task.ask(Request::EchoReceive { echo, timeout_ns }).await?
            else {
                return Err(unexpected_reply());
            };
            let is_answer =
                |reply: &EchoReply| reply.sequence == sequence && meaning(reply.outcome).is_some();
            if let Some(reply) = replies.into_iter().find(is_answer) {
                return Ok(match meaning(reply.outcome) {
                    Some(Meaning::TooLong) => {
                        Outcome::TooLong { mtu: reply.next_hop_mtu, reply: Some(reply) }
                    }
                    _ => Outcome::Answered(reply),
                });
            }
            if console.now() == before {
                console.sleep(PAUSE.min(left)).await;
            }
        }
        Ok(Outcome::Interrupted)
    }

    /// Makes probes shorter, if that is wished for; `told` by a router, or because our own link refuses them. False if they stay.
    fn shrink(&mut self, told: bool, mtu: Option<u16>) -> Result<bool, Failure> {
        let len = self.options.packet_len;
        let next = mtu.filter(|mtu| (HEADERS..len).contains(mtu));
        let plateau = || PLATEAUS.into_iter().find(|mtu| *mtu < len);
        let Some(shorter) = next.or_else(plateau).filter(|_| self.options.discovers_mtu) else {
            return Ok(false);
        };
        self.print(&match (told, next) {
            (true, Some(mtu)) => format!("\nfragmentation required and DF set, next hop MTU = {mtu}\n"),
            (true, None) => format!("\nfragmentation required and DF set, trying new MTU = {shorter}\n"),
            (false, _) => format!("\nmessage too big, trying new MTU = {shorter}\n"),
        })?;
        self.options.packet_len = shorter;
        self.findings.packet_bytes = shorter;
        Ok(true)
    }

    /// Opens the session of a hop.
    async fn open(&mut self, ttl: u8) -> Result<(), Failure> {
        let Options { destination, source, port, tos, icmp, dont_fragment, direct, packet_len, .. } =
            self.options;
        let wanted = EchoOptions {
            probe: if icmp { Probe::Echo } else { Probe::Udp { port } },
            source,
            ttl: Some(ttl),
            size: packet_len - HEADERS,
            tos,
            dont_fragment,
            direct,
            ..EchoOptions::to(destination)
        };
        match self.task.console.call(Request::EchoOpen(wanted)).await {
            Ok(Reply::Echo { echo, source }) => {
                self.echo = Some(echo);
                self.findings.source = Some(source);
                Ok(())
            }
            Ok(_) => Err(unexpected_reply()),
            Err(error) => Err(refusal(destination, error)),
        }
    }

    async fn close(&mut self) {
        if let Some(echo) = self.echo.take() {
            // A session that is gone already needs no closing.
            let _gone = self.task.console.call(Request::EchoClose { echo }).await;
        }
    }

    /// Prints as it goes on; as JSON there is only the report at the end.
    fn print(&self, text: &str) -> Result<(), Failure> {
        if self.task.json { Ok(()) } else { Ok(self.task.console.print(text)?) }
    }
}

/// An error in the words of traceroute, which says what it was doing.
fn refusal(destination: IpAddr, error: ControlError) -> Failure {
    if error.operation != Operation::Echo {
        return Failure::Kernel(error);
    }
    Failure::Refused(format!("sendto {destination}: {}", error.errno))
}

#[cfg(test)]
mod tests;
