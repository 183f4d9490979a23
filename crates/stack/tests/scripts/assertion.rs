//! `%{ assert tcpi_snd_cwnd == 10 and TcpTimeouts > 0 }%`: comparisons of what a connection and the kernel's counters say.
//!
//! Names are those of Linux's TCP_INFO where it has the value, in its units (segments, microseconds), and those of our counters and drop reasons.

use rumpnet_proto::{Counter, DropReason};
use rumpnet_stack::{Stack, TcpInfo};

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
    pub(crate) fn check(&self, stack: &Stack, info: Option<&TcpInfo>) -> Result<(), String> {
        let (left, right) = (value(&self.left, stack, info)?, value(&self.right, stack, info)?);
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

fn value(term: &Term, stack: &Stack, info: Option<&TcpInfo>) -> Result<i64, String> {
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
    let info = info.ok_or("there is no connection to ask")?;
    field(name, info).ok_or_else(|| format!("no value is called `{name}`"))
}

/// A field of TCP_INFO, by Linux's names; windows in bytes have names of our own.
fn field(name: &str, info: &TcpInfo) -> Option<i64> {
    let segments = |bytes: u32| i64::from(bytes.div_ceil(info.mss.max(1)));
    Some(match name {
        "tcpi_snd_mss" => info.mss.into(),
        "tcpi_snd_cwnd" => i64::from(info.cwnd / info.mss.max(1)),
        "tcpi_snd_ssthresh" if info.ssthresh == u32::MAX => 0x7fff_ffff,
        "tcpi_snd_ssthresh" => i64::from(info.ssthresh / info.mss.max(1)),
        "tcpi_rto" => info.rto.as_micros() as i64,
        "tcpi_rtt" => info.rtt?.0.as_micros() as i64,
        "tcpi_rttvar" => info.rtt?.1.as_micros() as i64,
        "tcpi_notsent_bytes" => info.send_queue as i64 - i64::from(info.in_flight),
        "in_flight" => segments(info.in_flight),
        "cwnd_bytes" => info.cwnd.into(),
        "ssthresh_bytes" => info.ssthresh.into(),
        "send_queue" => info.send_queue as i64,
        "receive_queue" => info.receive_queue as i64,
        "send_window" => info.send_window.into(),
        "receive_window" => info.receive_window.into(),
        "sack" => info.sack.into(),
        "timestamps" => info.timestamps.into(),
        "tcpi_state" => state(info.state)?,
        // The states' own names.
        other => state(other)?,
    })
}

/// The number of a state in TCP_INFO (tcp(7)).
fn state(name: &str) -> Option<i64> {
    Some(match name {
        "ESTABLISHED" | "TCP_ESTABLISHED" => 1,
        "SYN_SENT" | "TCP_SYN_SENT" => 2,
        "SYN_RECEIVED" | "TCP_SYN_RECV" => 3,
        "FIN_WAIT_1" | "TCP_FIN_WAIT1" => 4,
        "FIN_WAIT_2" | "TCP_FIN_WAIT2" => 5,
        "TIME_WAIT" | "TCP_TIME_WAIT" => 6,
        "CLOSED" | "TCP_CLOSE" => 7,
        "CLOSE_WAIT" | "TCP_CLOSE_WAIT" => 8,
        "LAST_ACK" | "TCP_LAST_ACK" => 9,
        "CLOSING" | "TCP_CLOSING" => 11,
        _ => return None,
    })
}
