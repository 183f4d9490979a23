//! ping(8): asks a host for echoes and says what came back, in the layout of NetBSD's.
//!
//! The kernel keeps an echo session, matches replies and measures their times by its own clock; this decides when to ask,
//! when to stop, and prints. `options` are the words, `report` what was found out, `errors` ICMP's refusals in words.

mod errors;
mod options;
mod report;

use core::{net::Ipv4Addr, time::Duration};

use rumpnet_proto::{ControlError, EchoOutcome, EchoReply, Errno, Operation, Reply, Request};

use self::{
    options::Options,
    report::{Findings, SendError},
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
/// How long the last replies are awaited if none came before.
const LINGER: Duration = Duration::from_secs(10);
/// What a terminal beeps at.
const BELL: &str = "\x07";
/// How long they are awaited at least if some came before.
const SHORT_LINGER: Duration = Duration::from_secs(1);

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let options = options::parse(words)?;
    let findings = Findings::new(&options);
    let mut ping = Ping { task, findings, options, session: None, route: Vec::new() };
    let ended = ping.converse().await;
    if let Some(echo) = ping.session {
        // A session that is gone already needs no closing.
        let _gone = task.console.call(Request::EchoClose { echo }).await;
    }
    ended?;
    let findings = ping.findings;
    task.report(&findings)?;
    Ok(if findings.received > 0 { Status::SUCCESS } else { Status::NO_ANSWER })
}

/// A ping at work.
struct Ping<'a, C> {
    task: &'a Task<'a, C>,
    options: Options,
    session: Option<u64>,
    findings: Findings,
    /// The last route that was shown.
    route: Vec<Ipv4Addr>,
}

impl<C: Console> Ping<'_, C> {
    /// Asks and listens until there is a reason to end.
    async fn converse(&mut self) -> Result<(), Failure> {
        self.open().await?;
        self.print(&format!(
            "PING {0} ({0}): {1} data bytes\n",
            self.options.destination(),
            self.options.echo.size
        ))?;
        let console = self.task.console;
        let start = console.now();
        let (mut next_send, mut last_send) = (start, start);
        while !console.is_interrupted() {
            let now = console.now();
            let sent_all = self.options.count.is_some_and(|count| self.findings.transmitted >= count);
            let end = self.determine_end(start, last_send, sent_all);
            if self.is_complete(sent_all) || end.is_some_and(|end| now >= end) {
                break;
            }
            if !sent_all && now >= next_send {
                self.send().await?;
                last_send = now;
                // A tool that was held up does not make up for it with a burst.
                let preloads = self.findings.transmitted < self.options.preload;
                next_send = if preloads { now } else { (next_send + self.options.interval).max(now) };
                continue;
            }
            let until = if sent_all { end } else { Some(end.map_or(next_send, |end| end.min(next_send))) };
            let heard = self.receive(until.map_or(SLICE, |until| until - now)).await?;
            if heard && self.options.flood {
                next_send = console.now();
            }
        }
        Ok(())
    }

    /// When it is over, whatever comes: at the deadline, or when the last replies have had their time.
    fn determine_end(&self, start: Duration, last_send: Duration, sent_all: bool) -> Option<Duration> {
        let deadline = self.options.deadline.map(|deadline| start + deadline);
        let linger = self.options.linger.unwrap_or_else(|| match self.findings.rtt_max_ns() {
            Some(rtt_ns) => SHORT_LINGER.max(Duration::from_nanos(rtt_ns) * 2),
            None => LINGER,
        });
        let lingered = Some(last_send + linger).filter(|_| sent_all);
        deadline.into_iter().chain(lingered).min()
    }

    fn is_complete(&self, sent_all: bool) -> bool {
        let answered = self.findings.received + self.findings.refused + self.findings.unsent;
        sent_all && answered >= self.findings.transmitted || self.options.one && self.findings.received > 0
    }

    /// Opens the session. What may pass, such as a missing route, is said at the first request.
    async fn open(&mut self) -> Result<Option<ControlError>, Failure> {
        match self.task.console.call(Request::EchoOpen(self.options.echo.clone())).await {
            Ok(Reply::Echo { echo, source }) => {
                self.session = Some(echo);
                self.findings.source = Some(source);
                Ok(None)
            }
            Ok(_) => Err(unexpected_reply()),
            Err(error) if may_pass(error.errno) && error.operation == Operation::Echo => Ok(Some(error)),
            Err(error) => Err(self.refusal(error)),
        }
    }

    /// An error in the words of ping, which says what it was doing.
    fn refusal(&self, error: ControlError) -> Failure {
        if error.operation != Operation::Echo {
            return Failure::Kernel(error);
        }
        let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        Failure::Refused(format!("sendto {}: {}{hint}", self.options.destination(), error.errno))
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let sequence = self.findings.transmitted as u16;
        self.findings.transmitted += 1;
        let refused = match self.session {
            None => self.open().await?,
            Some(_) => None,
        };
        let error = match (refused, self.session) {
            (Some(error), _) => Some(error),
            (None, None) => None,
            (None, Some(echo)) => self.task.console.call(Request::EchoSend { echo, sequence }).await.err(),
        };
        match error {
            None if self.options.flood && !self.options.quiet => self.print("."),
            None => Ok(()),
            Some(error) if error.operation == Operation::Echo && error.errno != Errno::BadF => {
                if !self.task.json {
                    self.task.complain(&format!("sendto: {}", error.errno));
                }
                self.findings.on_send_error(SendError::new(sequence, error.errno));
                Ok(())
            }
            Some(error) => Err(Failure::Kernel(error)),
        }
    }

    /// Listens so long at most; true if something came.
    async fn receive(&mut self, span: Duration) -> Result<bool, Failure> {
        let console = self.task.console;
        let (before, span) = (console.now(), span.min(SLICE));
        let Some(echo) = self.session else {
            console.sleep(span).await;
            return Ok(false);
        };
        let timeout_ns = span.as_nanos() as u64;
        let Reply::EchoReplies(replies) = self.task.ask(Request::EchoReceive { echo, timeout_ns }).await?
        else {
            return Err(unexpected_reply());
        };
        for reply in &replies {
            self.on_reply(reply)?;
        }
        if replies.is_empty() && console.now() == before {
            console.sleep(PAUSE.min(span)).await;
        }
        Ok(!replies.is_empty())
    }

    fn on_reply(&mut self, reply: &EchoReply) -> Result<(), Failure> {
        let keep = self.task.json && !self.options.quiet && !self.options.flood;
        self.findings.on_reply(reply, keep);
        let is_error = matches!(reply.outcome, EchoOutcome::Error { .. });
        if self.options.audible && !is_error && reply.outcome != EchoOutcome::Duplicate {
            self.task.console.complain(BELL);
        }
        match (self.options.quiet, self.options.flood) {
            (true, _) => Ok(()),
            _ if is_error && !self.options.shows_errors => Ok(()),
            (false, true) => self.print("\x08"),
            (false, false) => {
                let text = report::line(reply, &self.route);
                self.route.clone_from(&reply.route);
                self.print(&text)
            }
        }
    }

    /// Prints as ping goes on; as JSON there is only the report at the end.
    fn print(&self, text: &str) -> Result<(), Failure> {
        if self.task.json { Ok(()) } else { Ok(self.task.console.print(text)?) }
    }
}

/// Whether the next request may succeed where this one was refused.
const fn may_pass(errno: Errno) -> bool {
    use Errno as E;
    matches!(errno, E::NetDown | E::NetUnreach | E::HostDown | E::HostUnreach | E::NoBufs | E::Again)
}

#[cfg(test)]
mod tests;
