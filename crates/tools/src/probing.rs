//! What ping and traceroute have in common: words, and options that NetBSD's have and that cannot apply here.

use core::{net::IpAddr, time::Duration};

use clap::{Arg, ArgAction, ArgMatches};

use crate::failure::Failure;

/// The longest interval, deadline or wait, in seconds: a year.
const MAX_SECONDS: f64 = 31_536_000.0;

/// An option of NetBSD's tool that cannot apply here.
pub(crate) struct Absent {
    pub(crate) letter: &'static str,
    /// Whether a value follows it.
    pub(crate) value: bool,
    pub(crate) why: &'static str,
}

impl Absent {
    /// It is read, so that its refusal can say why.
    pub(crate) fn argument(&self) -> Arg {
        let action = if self.value { ArgAction::Set } else { ArgAction::SetTrue };
        Arg::new(self.letter).short(self.letter.chars().next()).action(action).hide(true)
    }
}

/// Refuses what cannot apply, by its name.
pub(crate) fn refuse_absent(matches: &ArgMatches, absent: &[Absent]) -> Result<(), Failure> {
    let is_given = |option: &&Absent| {
        if option.value { matches.contains_id(option.letter) } else { matches.get_flag(option.letter) }
    };
    match absent.iter().find(is_given) {
        Some(Absent { letter, why, .. }) => Err(Failure::Refused(format!("-{letter}: {why}"))),
        None => Ok(()),
    }
}

/// An address by number.
pub(crate) fn address(word: &str) -> Result<IpAddr, Failure> {
    let why = |_| Failure::Refused(format!("{word}: not an address (names are not looked up)"));
    word.parse::<IpAddr>().map_err(why)
}

/// A span in seconds, with a fraction if wanted.
pub(crate) fn seconds(word: &str) -> Result<Duration, Failure> {
    let number: Option<f64> = word.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= MAX_SECONDS);
    let why = || Failure::Refused(format!("{word}: not a number of seconds above 0"));
    number.map(Duration::from_secs_f64).ok_or_else(why)
}
