//! top: what passes interfaces and sockets, and what is dropped, as rates; live on a terminal, or sample by sample for a file.
//!
//! Rates are the differences of the kernel's counters over the time of the kernel's own clock ([`rates`]), so that a slow connection to it makes no
//! error. The first sample has the averages since the kernel was booted, as vmstat(8)'s has. Terminals are the console's business: all that is known
//! here is how large the screen is, and which key was pressed.

mod rates;
mod sample;
mod text;

use core::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::{
    Status,
    console::Console,
    definition::{letter, parse, tool},
    failure::Failure,
    task::{Task, json_line},
};
use rates::Rates;
use sample::{Sample, sample};

/// Between two samples unless the words say otherwise.
const DELAY: &str = "2";

/// To the alternate screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A key is waited for in pieces of this length, between which the size of the screen is looked at.
const PIECE: Duration = Duration::from_millis(250);

pub(crate) fn command() -> Command {
    let count = Arg::new("n").short('n').value_name("NUMBER").value_parser(value_parser!(u64).range(1..));
    let delay = Arg::new("d").short('d').value_name("SECONDS").value_parser(seconds).default_value(DELAY);
    tool("top", "Show live what passes the interfaces and sockets of the kernel, and what it drops")
        .arg(letter("b", "Print sample after sample, for a file or another program"))
        .arg(count.help("End after so many samples"))
        .arg(delay.help("Between two samples"))
        .after_help(
            "On a terminal, q ends it, and any other key makes the next sample at once. The first sample has the averages since the kernel was booted. \
             With --json each sample is one line.",
        )
}

/// A span of a tenth of a second to a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=86_400.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err("it must be 0.1 to 86400 seconds".to_owned())
}

/// What ends the tool, or makes the next sample.
enum Next {
    Sample,
    End,
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = parse(command(), words)?;
    if task.json || matches.get_flag("b") {
        return run_batch(task, &matches).await;
    }
    if task.console.screen().is_none() {
        return Err(Failure::Refused("no terminal to draw on; -b prints without one".to_owned()));
    }
    task.console.print(ENTER)?;
    let ended = run_screen(task, &matches).await;
    task.console.print(LEAVE)?;
    ended
}

fn delay(matches: &ArgMatches) -> Duration {
    matches.get_one::<Duration>("d").copied().unwrap_or(PIECE)
}

fn count(matches: &ArgMatches) -> u64 {
    matches.get_one::<u64>("n").copied().unwrap_or(u64::MAX)
}

async fn run_batch(task: &Task<'_, impl Console>, matches: &ArgMatches) -> Result<Status, Failure> {
    let mut before = Sample::default();
    for number in 1..=count(matches) {
        let now = sample(task).await?;
        let rates = Rates::between(&before, &now);
        let text = if task.json { json_line(&rates) } else { text::all(&rates) + "\n" };
        task.console.print(&text)?;
        before = now;
        if number < count(matches) {
            task.console.sleep(delay(matches)).await;
        }
        if task.console.is_interrupted() {
            break;
        }
    }
    Ok(Status::SUCCESS)
}

async fn run_screen(task: &Task<'_, impl Console>, matches: &ArgMatches) -> Result<Status, Failure> {
    let mut before = Sample::default();
    for number in 1..=count(matches) {
        let now = sample(task).await?;
        let rates = Rates::between(&before, &now);
        before = now;
        if number == count(matches) {
            task.console.print(&text::screen(&rates, task.console.screen().unwrap_or_default()))?;
            break;
        }
        if let Next::End = show(task, &rates, delay(matches)).await? {
            break;
        }
    }
    Ok(Status::SUCCESS)
}

/// Draws a sample, and again whenever the size of the screen changes, until a key is pressed or it is time for the next.
async fn show(task: &Task<'_, impl Console>, rates: &Rates, delay: Duration) -> Result<Next, Failure> {
    let end = task.console.now() + delay;
    let mut drawn = None;
    loop {
        let size = task.console.screen();
        if size.is_none() || task.console.is_interrupted() {
            return Ok(Next::End);
        }
        if size != drawn {
            task.console.print(&text::screen(rates, size.unwrap_or_default()))?;
            drawn = size;
        }
        let left = end.saturating_sub(task.console.now());
        if left.is_zero() {
            return Ok(Next::Sample);
        }
        match task.console.key(left.min(PIECE)).await {
            Some('q' | 'Q') => return Ok(Next::End),
            Some(_) => return Ok(Next::Sample),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
