//! Scripts in packetdrill's format, as events. Of the format we read: times, segments, ICMP errors, socket calls, assertions, and the options `--mtu` and `--ecn`.

use rumpnet_wire::icmpv4::{Message, TimeExceededCode, UnreachableCode};

use crate::{
    assertion::Comparison,
    cursor::Cursor,
    packet::{self, Packet},
};

/// When an event is, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// `1.5`, or `1.5~1.6`: from the start.
    At(u64, u64),
    /// `+0.5`, or `+0.5~+0.6`: from the event before.
    After(u64, u64),
    /// `*`: whenever it comes.
    Any,
    /// `1.0...1.5`: a call that waits, from the start.
    During(u64, u64),
    /// `+0...+0.5`: the same from the event before.
    DuringAfter(u64, u64),
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// `...`: what the runner has to offer.
    Any,
    Number(i64),
    /// Symbols, joined by `|`.
    Names(Vec<String>),
    List(Vec<Self>),
    Record(Vec<(String, Self)>),
}

/// A socket call, and what it shall return.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) result: i64,
    pub(crate) errno: Option<String>,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A segment arrives.
    Receive(Packet),
    /// A segment is sent.
    Send(Packet),
    /// An ICMP error arrives about a segment of ours with this first number and length.
    Icmp(Message, (u32, u32)),
    Call(Call),
    Assert(Vec<Comparison>),
}

/// One event of a script.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) when: When,
    pub(crate) action: Action,
}

/// A whole script.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) mtu: u32,
    /// Whether our SYNs ask for ECN.
    pub(crate) ecn: bool,
    pub(crate) events: Vec<Event>,
}

/// Reads a script; an error names the line.
pub(crate) fn script(text: &str) -> Result<Script, (usize, String)> {
    let mut script = Script { mtu: 1500, ecn: false, events: Vec::new() };
    for (line, text) in statements(text) {
        if let Some(option) = text.strip_prefix("--") {
            match option.split_once('=').and_then(|(name, value)| Some((name, value.parse().ok()?))) {
                Some(("mtu", mtu)) => script.mtu = mtu,
                Some(("ecn", asks)) => script.ecn = asks != 0,
                _ => return Err((line, format!("no option is called `{option}`"))),
            }
            continue;
        }
        let mut cursor = Cursor::new(&text);
        let (when, action) = event(&mut cursor).map_err(|reason| (line, format!("{reason} in `{text}`")))?;
        script.events.push(Event { line, text: text.clone(), when, action });
    }
    Ok(script)
}

/// Lines without comments; an assertion or a call that goes over several lines is one.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match statements.last_mut().filter(|_| open) {
            Some((_, statement)) => {
                statement.push(' ');
                statement.push_str(line);
            }
            None => statements.push((index + 1, line.to_owned())),
        }
        let statement = statements.last().map_or("", |(_, statement)| statement);
        open = statement.contains("%{") != statement.contains("}%")
            || statement.matches('(').count() > statement.matches(')').count();
    }
    statements
}

fn event(cursor: &mut Cursor<'_>) -> Result<(When, Action), String> {
    let when = when(cursor)?;
    let action = if cursor.eats("<") {
        if cursor.eats_word("icmp") { icmp(cursor)? } else { Action::Receive(Packet::parse(cursor)?) }
    } else if cursor.eats(">") {
        Action::Send(Packet::parse(cursor)?)
    } else if cursor.eats("%{") {
        Action::Assert(Comparison::parse_all(cursor)?)
    } else {
        Action::Call(call(cursor)?)
    };
    Ok((when, action))
}

fn when(cursor: &mut Cursor<'_>) -> Result<When, String> {
    if cursor.eats("*") {
        return Ok(When::Any);
    }
    let relative = cursor.eats("+");
    let first = cursor.seconds()?;
    if cursor.eats("...") {
        cursor.eats("+");
        let last = cursor.seconds()?;
        return Ok(if relative { When::DuringAfter(first, last) } else { When::During(first, last) });
    }
    let last = if cursor.eats("~") {
        cursor.eats("+");
        cursor.seconds()?
    } else {
        first
    };
    Ok(if relative { When::After(first, last) } else { When::At(first, last) })
}

/// `unreachable frag_needed mtu 1400 [1:1461(1460)]`
fn icmp(cursor: &mut Cursor<'_>) -> Result<Action, String> {
    const CODES: [(&str, UnreachableCode); 12] = [
        ("net_unreachable", UnreachableCode::NETWORK),
        ("host_unreachable", UnreachableCode::HOST),
        ("protocol_unreachable", UnreachableCode::PROTOCOL),
        ("port_unreachable", UnreachableCode::PORT),
        ("frag_needed", UnreachableCode::FRAGMENTATION_NEEDED),
        ("source_route_failed", UnreachableCode::SOURCE_ROUTE_FAILED),
        ("net_unknown", UnreachableCode::NETWORK_UNKNOWN),
        ("host_unknown", UnreachableCode::HOST_UNKNOWN),
        ("source_host_isolated", UnreachableCode::SOURCE_ISOLATED),
        ("net_prohibited", UnreachableCode::NETWORK_PROHIBITED),
        ("host_prohibited", UnreachableCode::HOST_PROHIBITED),
        ("packet_filtered", UnreachableCode::ADMINISTRATIVELY_PROHIBITED),
    ];
    let (kind, name) = (cursor.name(), cursor.name());
    let next_hop_mtu = if cursor.eats_word("mtu") { cursor.number()? } else { 0 };
    cursor.expect("[")?;
    let quoted = packet::range(cursor)?;
    cursor.expect("]")?;
    let message = match kind {
        "unreachable" => {
            let known = CODES.iter().find(|(known, _)| *known == name);
            let (_, code) = *known.ok_or_else(|| format!("no code is called `{name}`"))?;
            Message::DestinationUnreachable { code, next_hop_mtu }
        }
        "time_exceeded" => Message::TimeExceeded { code: TimeExceededCode::TTL },
        "source_quench" => Message::SourceQuench,
        _ => return Err(format!("no error is called `{kind}`")),
    };
    Ok(Action::Icmp(message, quoted))
}

/// `write(4, ..., 1000) = 1000` and `read(4, ..., 9) = -1 EAGAIN (anything)`
fn call(cursor: &mut Cursor<'_>) -> Result<Call, String> {
    let name = cursor.name().to_owned();
    cursor.expect("(")?;
    let mut arguments = Vec::new();
    while !cursor.eats(")") {
        arguments.push(argument(cursor)?);
        if !cursor.eats(",") {
            cursor.expect(")")?;
            break;
        }
    }
    cursor.expect("=")?;
    let result = cursor.number()?;
    let errno = if result < 0 { Some(cursor.name().to_owned()) } else { None };
    Ok(Call { name, arguments, result, errno })
}

fn argument(cursor: &mut Cursor<'_>) -> Result<Argument, String> {
    if cursor.eats("...") {
        return Ok(Argument::Any);
    }
    if cursor.eats("[") {
        return Ok(Argument::List(items(cursor, "]", argument)?));
    }
    if cursor.eats("{") {
        let field = |cursor: &mut Cursor<'_>| {
            let name = cursor.name().to_owned();
            cursor.expect("=")?;
            Ok((name, argument(cursor)?))
        };
        return Ok(Argument::Record(items(cursor, "}", field)?));
    }
    let mut ahead = *cursor;
    if let Ok(number) = ahead.number() {
        *cursor = ahead;
        return Ok(Argument::Number(number));
    }
    let mut names = vec![cursor.name().to_owned()];
    while cursor.eats("|") {
        names.push(cursor.name().to_owned());
    }
    if names[0].is_empty() {
        Err(format!("an argument expected before `{}`", cursor.rest))
    } else {
        Ok(Argument::Names(names))
    }
}

fn items<T>(
    cursor: &mut Cursor<'_>,
    end: &str,
    item: impl Fn(&mut Cursor<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut items = Vec::new();
    while !cursor.eats(end) {
        items.push(item(cursor)?);
        if !cursor.eats(",") {
            cursor.expect(end)?;
            break;
        }
    }
    Ok(items)
}
