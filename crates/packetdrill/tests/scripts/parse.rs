//! Scripts in packetdrill's format, as events. Of the format we read times, segments, ICMP errors, socket calls, assertions, and the option `--so_flags`.
//!
//! What the tool refuses we refuse, so that every script of ours is one of its own. Assertions about what the tool does not know stand in
//! comments that it passes over: `//: +1 assert sockets == 0` is checked a second after the event before, and what follows counts from there too.

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
    /// `"reno"`
    Text(String),
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
    /// What only we can say; it takes no place in time.
    AssertPrivately(Vec<Comparison>),
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
    /// `--so_flags`
    pub(crate) flags: String,
    pub(crate) events: Vec<Event>,
}

/// Reads a script; an error names the line.
pub(crate) fn script(text: &str) -> Result<Script, (usize, String)> {
    let mut script = Script { flags: String::new(), events: Vec::new() };
    for (line, text) in statements(text) {
        let told = |reason: String| (line, format!("{reason} in `{text}`"));
        if let Some(option) = text.strip_prefix("--") {
            let flags = option.strip_prefix("so_flags=\"").and_then(|rest| rest.strip_suffix('"'));
            script.flags =
                flags.ok_or_else(|| told("the only option is `--so_flags=\"...\"`".into()))?.into();
            continue;
        }
        let (when, action) = event(&mut Cursor::new(&text)).map_err(told)?;
        check_time(when, &action).map_err(told)?;
        if script.events.is_empty() && when != When::At(0, 0) {
            return Err(told("the first event must be at 0".into()));
        }
        script.events.push(Event { line, text: text.clone(), when, action });
    }
    Ok(script)
}

/// Only what is sent may come at any time, or within a range.
fn check_time(when: When, action: &Action) -> Result<(), String> {
    let exact = matches!(when, When::At(from, to) | When::After(from, to) if from == to);
    match (when, action) {
        (When::During(..) | When::DuringAfter(..), Action::Call(_)) => Ok(()),
        (When::During(..) | When::DuringAfter(..), _) => Err("only a call takes time".into()),
        (_, Action::Send(_)) => Ok(()),
        _ if exact => Ok(()),
        _ => Err("only what is sent has a range of times".into()),
    }
}

/// Lines without comments, but for assertions of our own in them; an assertion or a call that goes over several lines is one.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let line =
            if line.starts_with("//:") { line } else { line.split("//").next().unwrap_or_default().trim() };
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
    let private = cursor.eats("//:");
    let when = when(cursor)?;
    if private {
        return Ok((when, Action::AssertPrivately(Comparison::parse_all(cursor, "")?)));
    }
    let action = if cursor.eats("<") {
        if cursor.eats_word("icmp") { icmp(cursor)? } else { Action::Receive(received(cursor)?) }
    } else if cursor.eats(">") {
        Action::Send(Packet::parse(cursor)?)
    } else if cursor.eats("%{") {
        Action::Assert(Comparison::parse_all(cursor, "}%")?)
    } else {
        Action::Call(call(cursor)?)
    };
    if cursor.is_at_end() { Ok((when, action)) } else { Err(format!("what is `{}`?", cursor.rest)) }
}

/// A segment that arrives says all of itself.
fn received(cursor: &mut Cursor<'_>) -> Result<Packet, String> {
    let packet = Packet::parse(cursor)?;
    if packet.options.is_none() { Err("`<...>` is for what is sent".into()) } else { Ok(packet) }
}

fn when(cursor: &mut Cursor<'_>) -> Result<When, String> {
    if cursor.eats("*") {
        return Ok(When::Any);
    }
    let relative = cursor.eats("+");
    let first = cursor.seconds()?;
    if cursor.eats("...") {
        // The end of a call stands without a sign and counts from where its beginning does.
        let last = cursor.seconds()?;
        return Ok(if relative { When::DuringAfter(first, last) } else { When::During(first, last) });
    }
    let last = if cursor.eats("~") {
        if relative {
            cursor.expect("+")?;
        }
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
    let kind = cursor.name();
    let named = kind == "unreachable";
    let name = if named { cursor.name() } else { "" };
    let mtu = if cursor.eats_word("mtu") { Some(cursor.number()?) } else { None };
    if mtu.is_some() && name != "frag_needed" {
        return Err("an MTU goes with `unreachable frag_needed`".into());
    }
    cursor.expect("[")?;
    let quoted = packet::range(cursor)?;
    cursor.expect("]")?;
    let message = match kind {
        "unreachable" => {
            let known = CODES.iter().find(|(known, _)| *known == name);
            let (_, code) = *known.ok_or_else(|| format!("no code is called `{name}`"))?;
            Message::DestinationUnreachable { code, next_hop_mtu: mtu.unwrap_or(0) }
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
    if errno.is_some() || cursor.sees("(") {
        note(cursor)?;
    }
    Ok(Call { name, arguments, result, errno })
}

/// `(Resource temporarily unavailable)`: words for readers, which an error must have.
fn note(cursor: &mut Cursor<'_>) -> Result<(), String> {
    cursor.expect("(")?;
    while !cursor.eats(")") {
        if cursor.name().is_empty() {
            return Err(format!("a note is made of words, not of `{}`", cursor.rest));
        }
    }
    Ok(())
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
    if let Some(text) = cursor.quoted()? {
        return Ok(Argument::Text(text.to_owned()));
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
