//! Segments as scripts write them: `S. 0:0(0) ack 1 win 65535 <mss 1460,nop,wscale 8>`; read, and written in the same words.

use std::fmt;

use rumpnet_wire::tcp::Flags;

use crate::cursor::Cursor;

/// A TCP option in a script's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opt {
    Nop,
    Eol,
    Mss(u16),
    SackOk,
    WindowScale(u8),
    Timestamps { value: u32, echo: u32 },
    Sack(Vec<(u32, u32)>),
    Unknown(u8),
}

/// A segment. What a script leaves open is `None`.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// The lower bits of the type of service: `[noecn]`, `[ect0]`, `[ect1]`, `[ce]`.
    pub(crate) ecn: Option<u8>,
    pub(crate) flags: Flags,
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) window: Option<u16>,
    pub(crate) urgent: Option<u16>,
    pub(crate) options: Option<Vec<Opt>>,
}

const LETTERS: [(char, Flags); 8] = [
    ('S', Flags::SYN),
    ('F', Flags::FIN),
    ('R', Flags::RST),
    ('P', Flags::PSH),
    ('.', Flags::ACK),
    ('U', Flags::URG),
    ('E', Flags::ECE),
    ('W', Flags::CWR),
];
const MARKS: [&str; 4] = ["noecn", "ect1", "ect0", "ce"];

/// `1:1001(1000)`: the first number and the length.
pub(crate) fn range(cursor: &mut Cursor<'_>) -> Result<(u32, u32), String> {
    let start: u32 = cursor.number()?;
    cursor.expect(":")?;
    let end: u32 = cursor.number()?;
    cursor.expect("(")?;
    let len: u32 = cursor.number()?;
    cursor.expect(")")?;
    if start.checked_add(len) == Some(end) {
        Ok((start, len))
    } else {
        Err(format!("{start}+{len} is not {end}"))
    }
}

impl Packet {
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let ecn = if cursor.eats("[") {
            let mark = cursor.name();
            cursor.expect("]")?;
            let place = MARKS.iter().position(|known| *known == mark);
            Some(place.ok_or_else(|| format!("no mark is called `{mark}`"))? as u8)
        } else {
            None
        };
        let flags = flags(cursor.word())?;
        let (start, len) = range(cursor)?;
        let ack = if cursor.eats_word("ack") { Some(cursor.number()?) } else { None };
        let window = if cursor.eats_word("win") { Some(cursor.number()?) } else { None };
        let urgent = if cursor.eats_word("urg") { Some(cursor.number()?) } else { None };
        let options = options(cursor)?;
        if flags.contains(Flags::ACK) != ack.is_some() {
            return Err("`ack` and the flag `.` go together".into());
        }
        Ok(Self { ecn, flags, start, len, ack, window, urgent, options })
    }
}

fn flags(word: &str) -> Result<Flags, String> {
    if word == "-" {
        return Ok(Flags::NONE);
    }
    if word.find('.').is_some_and(|place| place + 1 < word.len()) {
        return Err(format!("the `.` comes last, not as in `{word}`"));
    }
    word.chars().try_fold(Flags::NONE, |all, letter| {
        let known = LETTERS.iter().find(|(known, _)| *known == letter);
        known.map(|(_, flag)| all | *flag).ok_or_else(|| format!("no flag is called `{letter}`"))
    })
}

/// `<...>` is `None`: any options. Nothing is none.
fn options(cursor: &mut Cursor<'_>) -> Result<Option<Vec<Opt>>, String> {
    let mut options = Vec::new();
    if !cursor.eats("<") {
        return Ok(Some(options));
    }
    if cursor.eats("...") {
        cursor.expect(">")?;
        return Ok(None);
    }
    while !cursor.eats(">") {
        options.push(option(cursor)?);
        if !cursor.eats(",") {
            cursor.expect(">")?;
            break;
        }
    }
    Ok(Some(options))
}

fn option(cursor: &mut Cursor<'_>) -> Result<Opt, String> {
    Ok(match cursor.name() {
        "nop" => Opt::Nop,
        "eol" => Opt::Eol,
        "mss" => Opt::Mss(cursor.number()?),
        "sackOK" => Opt::SackOk,
        "wscale" => Opt::WindowScale(cursor.number()?),
        "TS" => {
            cursor.expect("val")?;
            let value = cursor.number()?;
            cursor.expect("ecr")?;
            Opt::Timestamps { value, echo: cursor.number()? }
        }
        "sack" => {
            let mut blocks = Vec::new();
            while !cursor.sees(",") && !cursor.sees(">") {
                let left = cursor.number()?;
                cursor.expect(":")?;
                blocks.push((left, cursor.number()?));
            }
            Opt::Sack(blocks)
        }
        other => return Err(format!("no option is called `{other}`")),
    })
}

impl fmt::Display for Opt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nop => f.write_str("nop"),
            Self::Eol => f.write_str("eol"),
            Self::Mss(size) => write!(f, "mss {size}"),
            Self::SackOk => f.write_str("sackOK"),
            Self::WindowScale(shift) => write!(f, "wscale {shift}"),
            Self::Timestamps { value, echo } => write!(f, "TS val {value} ecr {echo}"),
            Self::Sack(blocks) => {
                f.write_str("sack")?;
                blocks.iter().try_for_each(|(left, right)| write!(f, " {left}:{right}"))
            }
            Self::Unknown(kind) => write!(f, "kind {kind}"),
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ecn) = self.ecn {
            write!(f, "[{}] ", MARKS[usize::from(ecn & 3)])?;
        }
        if self.flags == Flags::NONE {
            f.write_str("-")?;
        }
        for (letter, flag) in LETTERS {
            if self.flags.contains(flag) {
                write!(f, "{letter}")?;
            }
        }
        write!(f, " {}:{}({})", self.start, self.start.wrapping_add(self.len), self.len)?;
        self.ack.map_or(Ok(()), |ack| write!(f, " ack {ack}"))?;
        self.window.map_or(Ok(()), |window| write!(f, " win {window}"))?;
        self.urgent.map_or(Ok(()), |urgent| write!(f, " urg {urgent}"))?;
        match &self.options {
            None => f.write_str(" <...>"),
            Some(options) if options.is_empty() => Ok(()),
            Some(options) => {
                let words: Vec<String> = options.iter().map(ToString::to_string).collect();
                write!(f, " <{}>", words.join(","))
            }
        }
    }
}
