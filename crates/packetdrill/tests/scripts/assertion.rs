//! `%{ assert tcpi_snd_cwnd == 10 and tcpi_state == TCP_ESTABLISHED }%`: comparisons of what TCP_INFO says of the connection used last.
//!
//! The tool gives such lines to Python with the fields of TCP_INFO as variables, and so may have only those. Comparisons in `//:` comments are ours
//! alone, and may have our counters and drop reasons too, and what has no field: sockets, queues, windows in bytes.

use std::mem::offset_of;

use libc::tcp_info;
use rumpnet_packetdrill::{World, state_number};
use rumpnet_proto::{Counter, DropReason, TcpState};
use rumpnet_stack::{SocketId, TcpInfo};

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

/// Whom a comparison is about.
pub(crate) struct Subject {
    /// The descriptor used last, and its socket, which may outlive it.
    pub(crate) descriptor: Option<i32>,
    pub(crate) socket: Option<SocketId>,
    /// Whether only what the tool knows may be asked.
    pub(crate) public: bool,
}

const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

impl Comparison {
    /// `assert` and all comparisons up to `end`, each of which must hold.
    pub(crate) fn parse_all(cursor: &mut Cursor<'_>, end: &str) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        let ended =
            |cursor: &mut Cursor<'_>| if end.is_empty() { cursor.is_at_end() } else { cursor.eats(end) };
        while !ended(cursor) {
            let word = if all.is_empty() { "assert" } else { "and" };
            if !cursor.eats_word(word) {
                return Err(format!("`{word}` expected before `{}`", cursor.rest));
            }
            let left = term(cursor)?;
            let operator = OPERATORS.into_iter().find(|operator| cursor.eats(operator));
            let operator =
                operator.ok_or_else(|| format!("an operator expected before `{}`", cursor.rest))?;
            all.push(Self { left, operator, right: term(cursor)? });
        }
        if all.is_empty() { Err("nothing is asserted".into()) } else { Ok(all) }
    }

    /// Why it does not hold.
    pub(crate) fn check(&self, world: &mut World, subject: &Subject) -> Result<(), String> {
        let left = value(&self.left, world, subject)?;
        let right = value(&self.right, world, subject)?;
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

fn value(term: &Term, world: &mut World, subject: &Subject) -> Result<i64, String> {
    let name = match term {
        Term::Number(number) => return Ok(*number),
        Term::Name(name) => name,
    };
    if let Some((_, state)) = STATES.iter().find(|(known, _)| *known == name) {
        return Ok(state_number(*state).into());
    }
    if let Some((_, place)) = FIELDS.iter().find(|(known, _)| *known == name) {
        // A connection that no descriptor leads to any more can be asked only by us.
        let record = match subject
            .descriptor
            .map(|number| world.option(number, libc::IPPROTO_TCP, libc::TCP_INFO))
        {
            Some(Ok(record)) => record,
            _ if subject.public => return Err("no connection is open to be asked".into()),
            _ => {
                let socket = subject.socket.ok_or("there is no connection to ask")?;
                let info =
                    world.stack().tcp_info(socket).map_err(|error| format!("{error} from the connection"))?;
                rumpnet_packetdrill::info_record(&info, world.stack().tcp_queues(socket).unwrap_or_default())
                    .to_vec()
            }
        };
        return Ok(place.read(&record));
    }
    if subject.public {
        return Err(format!(
            "the tool has no value called `{name}`; ask for it in a comment, `//: +0 assert ...`"
        ));
    }
    private_value(name, world, subject)
}

/// What only we can say.
fn private_value(name: &str, world: &mut World, subject: &Subject) -> Result<i64, String> {
    let stack = world.stack();
    if let Some(counter) = Counter::ALL.iter().find(|counter| counter.name() == name) {
        return Ok(stack.counter(*counter) as i64);
    }
    if let Some(reason) = DropReason::ALL.iter().find(|reason| reason.name() == name) {
        return Ok(stack.drops(*reason) as i64);
    }
    if name == "sockets" {
        return Ok(stack.socket_count().into());
    }
    let socket = subject.socket.ok_or("there is no connection to ask")?;
    if name == "receive_queue" {
        return Ok(stack.tcp_queues(socket).map_or(0, |queues| queues.received as i64));
    }
    let info = stack.tcp_info(socket).map_err(|error| format!("{error} from the connection"))?;
    private_field(name, &info).ok_or_else(|| format!("no value is called `{name}`"))
}

/// What Linux has no field for, or another one.
fn private_field(name: &str, info: &TcpInfo) -> Option<i64> {
    let path = &info.path;
    Some(match name {
        "in_flight" => i64::from(path.in_flight.div_ceil(path.mss.max(1))),
        "cwnd_bytes" => path.cwnd.into(),
        "ssthresh_bytes" => path.ssthresh?.into(),
        "send_window" => path.send_window.into(),
        "receive_window" => path.receive_window.into(),
        "sack" => path.sack.into(),
        "timestamps" => path.timestamps.into(),
        _ => return None,
    })
}

/// Where a field of `struct tcp_info` stands (linux/tcp.h).
enum Place {
    Byte(usize),
    Word(usize),
}

impl Place {
    fn read(&self, record: &[u8]) -> i64 {
        match self {
            Self::Byte(offset) => record[*offset].into(),
            Self::Word(offset) => {
                u32::from_ne_bytes(*record[*offset..].first_chunk().expect("the record is longer")).into()
            }
        }
    }
}

/// Fields that the stack measures.
const FIELDS: [(&str, Place); 13] = [
    ("tcpi_state", Place::Byte(offset_of!(tcp_info, tcpi_state))),
    ("tcpi_options", Place::Byte(offset_of!(tcp_info, tcpi_options))),
    ("tcpi_rto", Place::Word(offset_of!(tcp_info, tcpi_rto))),
    ("tcpi_snd_mss", Place::Word(offset_of!(tcp_info, tcpi_snd_mss))),
    ("tcpi_unacked", Place::Word(offset_of!(tcp_info, tcpi_unacked))),
    ("tcpi_rtt", Place::Word(offset_of!(tcp_info, tcpi_rtt))),
    ("tcpi_rttvar", Place::Word(offset_of!(tcp_info, tcpi_rttvar))),
    ("tcpi_snd_ssthresh", Place::Word(offset_of!(tcp_info, tcpi_snd_ssthresh))),
    ("tcpi_snd_cwnd", Place::Word(offset_of!(tcp_info, tcpi_snd_cwnd))),
    ("tcpi_notsent_bytes", Place::Word(offset_of!(tcp_info, tcpi_notsent_bytes))),
    ("tcpi_dsack_dups", Place::Word(offset_of!(tcp_info, tcpi_dsack_dups))),
    ("tcpi_reord_seen", Place::Word(offset_of!(tcp_info, tcpi_reord_seen))),
    ("tcpi_total_retrans", Place::Word(offset_of!(tcp_info, tcpi_total_retrans))),
];

const STATES: [(&str, TcpState); 11] = [
    ("TCP_ESTABLISHED", TcpState::Established),
    ("TCP_SYN_SENT", TcpState::SynSent),
    ("TCP_SYN_RECV", TcpState::SynReceived),
    ("TCP_FIN_WAIT1", TcpState::FinWait1),
    ("TCP_FIN_WAIT2", TcpState::FinWait2),
    ("TCP_TIME_WAIT", TcpState::TimeWait),
    ("TCP_CLOSE", TcpState::Closed),
    ("TCP_CLOSE_WAIT", TcpState::CloseWait),
    ("TCP_LAST_ACK", TcpState::LastAck),
    ("TCP_LISTEN", TcpState::Listen),
    ("TCP_CLOSING", TcpState::Closing),
];
