//! `%{ assert tcpi_snd_cwnd == 10 and TcpTimeouts > 0 }%`: comparisons of what a connection and the kernel's counters say.
//!
//! Names are those of Linux's TCP_INFO where it has the value, in its units (segments, microseconds), and those of our counters and drop reasons.

use rumpnet_proto::{Counter, DropReason, TcpState};
use rumpnet_stack::{SocketId, Stack, TcpInfo};

use crate::cursor::Cursor;

/// One side of a comparison, a sum of products being more than scripts need: a number or a name.
#[derive(Clone, Debug)]
enum Term {
    Number(i64),
    Name(String),
}

/// A comparison.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    left: Term,
    operator: &'static str,
    right: Term,
}

const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

impl Comparison {
    /// All comparisons up to `}%`, each of which must hold.
    pub(crate) fn parse_all(cursor: &mut Cursor<'_>) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        while !cursor.eats("}%") {
            let follows = cursor.eats_word("assert") || cursor.eats_word("and");
            if !follows {
                return Err(format!("`assert` or `and` expected before `{}`", cursor.rest));
            }
            let left = term(cursor)?;
            let operator = OPERATORS.into_iter().find(|operator| cursor.eats(operator));
            let operator =
                operator.ok_or_else(|| format!("an operator expected before `{}`", cursor.rest))?;
            all.push(Self { left, operator, right: term(cursor)? });
        }
        Ok(all)
    }

    /// Why it does not hold.
    pub(crate) fn check(&self, stack: &mut Stack, subject: Option<SocketId>) -> Result<(), String> {
        let left = value(&self.left, stack, subject)?;
        let right = value(&self.right, stack, subject)?;
        let holds = match self.operator {
            "==" => left == right,
            "!=" => left != right,
            "<=" => left <= right,
            ">=" => left >= right,
            "<" => left < right,
            _ => left > right,
        };
        if holds { Ok(()) } else { Err(format!("{:?} is {left}, not {} {right}", self.left, self.operator)) }
    }
}

fn term(cursor: &mut Cursor<'_>) -> Result<Term, String> {
    let mut ahead = *cursor;
    if let Ok(number) = ahead.number() {
        *cursor = ahead;
        return Ok(Term::Number(number));
    }
    match cursor.name() {
        "" => Err(format!("a value expected before `{}`", cursor.rest)),
        name => Ok(Term::Name(name.to_owned())),
    }
}

fn value(term: &Term, stack: &mut Stack, subject: Option<SocketId>) -> Result<i64, String> {
    let name = match term {
        Term::Number(number) => return Ok(*number),
        Term::Name(name) => name,
    };
    if let Some(counter) = Counter::ALL.iter().find(|counter| counter.name() == name) {
        return Ok(stack.counter(*counter) as i64);
    }
    if let Some(reason) = DropReason::ALL.iter().find(|reason| reason.name() == name) {
        return Ok(stack.drops(*reason) as i64);
    }
    if name == "sockets" {
        return Ok(stack.socket_count().into());
    }
    let subject = subject.ok_or("there is no connection to ask")?;
    if name == "receive_queue" {
        return Ok(stack.tcp_peek(subject, usize::MAX).map_or(0, |payload| payload.len() as i64));
    }
    let info = stack.tcp_info(subject).map_err(|error| format!("{error} from the connection"))?;
    field(name, &info).ok_or_else(|| format!("no value is called `{name}`"))
}

/// A field of TCP_INFO, by Linux's names; windows in bytes have names of our own.
fn field(name: &str, info: &TcpInfo) -> Option<i64> {
    let path = &info.path;
    let mss = path.mss.max(1);
    Some(match name {
        "tcpi_snd_mss" => path.mss.into(),
        "tcpi_snd_cwnd" => i64::from(path.cwnd / mss),
        "tcpi_snd_ssthresh" => path.ssthresh.map_or(0x7fff_ffff, |ssthresh| i64::from(ssthresh / mss)),
        "tcpi_rto" => (path.rto_ns / 1000) as i64,
        "tcpi_rtt" => (path.rtt_ns?.0 / 1000) as i64,
        "tcpi_rttvar" => (path.rtt_ns?.1 / 1000) as i64,
        "tcpi_total_retrans" => path.retransmitted as i64,
        "in_flight" => i64::from(path.in_flight.div_ceil(mss)),
        "cwnd_bytes" => path.cwnd.into(),
        "ssthresh_bytes" => path.ssthresh?.into(),
        "send_window" => path.send_window.into(),
        "receive_window" => path.receive_window.into(),
        "sack" => path.sack.into(),
        "timestamps" => path.timestamps.into(),
        "tcpi_state" => number(info.state),
        // The states' names.
        other => STATES.iter().find(|(known, _)| *known == other)?.1,
    })
}

const STATES: [(&str, i64); 11] = [
    ("TCP_ESTABLISHED", 1),
    ("TCP_SYN_SENT", 2),
    ("TCP_SYN_RECV", 3),
    ("TCP_FIN_WAIT1", 4),
    ("TCP_FIN_WAIT2", 5),
    ("TCP_TIME_WAIT", 6),
    ("TCP_CLOSE", 7),
    ("TCP_CLOSE_WAIT", 8),
    ("TCP_LAST_ACK", 9),
    ("TCP_LISTEN", 10),
    ("TCP_CLOSING", 11),
];

/// The number of a state in TCP_INFO (tcp(7)).
const fn number(state: TcpState) -> i64 {
    match state {
        TcpState::Established => 1,
        TcpState::SynSent => 2,
        TcpState::SynReceived => 3,
        TcpState::FinWait1 => 4,
        TcpState::FinWait2 => 5,
        TcpState::TimeWait => 6,
        TcpState::Closed => 7,
        TcpState::CloseWait => 8,
        TcpState::LastAck => 9,
        TcpState::Listen => 10,
        TcpState::Closing => 11,
    }
}
