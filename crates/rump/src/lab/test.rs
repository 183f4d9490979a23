//! `rump lab test`: a lab comes up, its checks run, and it goes down.
//!
//! Checks of different hosts run at the same time, on a bounded number of threads, those of one host one after the other. Beside each a capture
//! of its host runs, which is kept if the check does not hold.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rumpnet::{Capture, Kernel, Lab};
use rumpnet_proto::{
    CaptureOptions,
    topology::{Check, Outcome},
};
use rumpnet_tools::Status;
use serde_json::{Value, json};

use super::{console::Kept, failed, file_operand, load};
use crate::{console, output};

/// Checks that run at the same time unless the words say otherwise.
const JOBS: &str = "64";

/// Stack of a thread that runs checks: tools read their words on it.
const STACK_BYTES: usize = 1024 * 1024;

/// The pause before a check that has failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn command() -> Command {
    Command::new("test")
        .about("Bring a lab up, run its checks, and take it down")
        .arg(Arg::new("captures").long("captures").value_name("DIR").help(
            "Where captures of failed checks are kept, as pcapng; a new directory below TMPDIR if absent, which is named when there is one",
        ))
        .arg(
            Arg::new("jobs")
                .long("jobs")
                .value_name("NUMBER")
                .value_parser(value_parser!(u16).range(1..=1024))
                .default_value(JOBS)
                .help("Hosts whose checks run at the same time"),
        )
        .arg(Arg::new("verbose").short('v').action(ArgAction::SetTrue).help("Name checks that hold, too"))
        .arg(
            Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the report as one JSON value"),
        )
        .arg(file_operand())
        .after_help("The exit status is 0 if all checks hold, 1 if one does not, or if the lab cannot be brought up.")
}

/// What came of a check.
struct Judged<'lab> {
    check: &'lab Check,
    status: u8,
    out: String,
    err: String,
    miss: Option<String>,
    taken: Duration,
    /// Where its capture is, or why it is nowhere.
    capture: Option<Result<PathBuf, String>>,
}

pub(super) fn run(matches: &ArgMatches) -> Status {
    let topology = match load(matches) {
        Ok(topology) => topology,
        Err(reason) => return failed(&reason),
    };
    let begun = Instant::now();
    let lab = match Lab::up(topology) {
        Ok(lab) => lab,
        Err(error) => return failed(&error.to_string()),
    };
    let up = begun.elapsed();
    let jobs = matches.get_one::<u16>("jobs").map_or(1, |jobs| usize::from(*jobs));
    let named = matches.get_one::<String>("captures").map(PathBuf::from);
    let captures = named.unwrap_or_else(|| default_captures(&lab));
    let judged = match judge_all(&lab, jobs, &captures) {
        Ok(judged) => judged,
        Err(error) => return output::failed(super::PROGRAM, format!("no thread for the checks: {error}")),
    };
    let missed = judged.iter().filter(|judged| judged.miss.is_some()).count();
    let taken = begun.elapsed();
    let json = matches.get_flag("json").then(|| {
        json!({
            "lab": lab.topology().name, "hosts": lab.kernels().len(),
            "up_ns": nanos(up), "taken_ns": nanos(taken), "failed": missed,
            "checks": judged.iter().map(|judged| judged.in_json(&lab)).collect::<Vec<_>>(),
        })
    });
    let mut text: String = judged.iter().map(|judged| judged.in_text(matches.get_flag("verbose"))).collect();
    text += &format!(
        "{}: {} hosts up after {} ms, {} of {} checks hold, all done after {} ms\n",
        lab.topology().name,
        lab.kernels().len(),
        up.as_millis(),
        judged.len() - missed,
        judged.len(),
        taken.as_millis()
    );
    let printed = output::report(json, &text);
    if missed == 0 { printed } else { Status::FAILURE }
}

fn default_captures(lab: &Lab) -> PathBuf {
    std::env::temp_dir().join(format!("rump-lab-{}-{}", lab.topology().name, std::process::id()))
}

/// All checks, in the order of the topology.
fn judge_all<'lab>(lab: &'lab Lab, jobs: usize, captures: &PathBuf) -> io::Result<Vec<Judged<'lab>>> {
    let mut of_hosts: BTreeMap<usize, Vec<(usize, &Check)>> = BTreeMap::new();
    for (number, check) in lab.topology().checks.iter().enumerate() {
        of_hosts.entry(check.host).or_default().push((number, check));
    }
    let threads = jobs.min(of_hosts.len());
    let (queue, done) = (Mutex::new(of_hosts.into_iter()), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((host, checks)) = lock(&queue).next() {
            for (number, check) in checks {
                let judged = judge(&lab.kernels()[host], check, number, captures);
                lock(&done).insert(number, judged);
            }
        }
    };
    thread::scope(|scope| {
        (0..threads).try_for_each(|_| {
            let builder = thread::Builder::new().name("rump-check".to_owned()).stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, work).map(drop)
        })
    })?;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a check until it holds, at most as long as it may take.
fn judge<'lab>(kernel: &Kernel, check: &'lab Check, number: usize, captures: &PathBuf) -> Judged<'lab> {
    let begun = Instant::now();
    let end = begun + Duration::from_nanos(check.limit_ns);
    loop {
        let capture = kernel.open_capture(CaptureOptions::default());
        let console = Kept::new(kernel, end);
        let words: Vec<&str> = check.words.iter().map(String::as_str).collect();
        let status =
            console::run(rumpnet_tools::run(&console, &words)).flatten().unwrap_or(Status::FAILURE).0;
        let (out, err) = console.said();
        let is_over = Instant::now() >= end;
        let outcome = Outcome { status, out: &out, err: &err };
        let miss = if is_over {
            Some(format!("not at its end within {} ms", check.limit_ns / 1_000_000))
        } else {
            check.judge(outcome).map(|miss| miss.to_string())
        };
        let goes_on = miss.is_some() && check.retry && Instant::now() + PAUSE < end;
        if goes_on {
            thread::sleep(PAUSE);
            continue;
        }
        let failed = miss.is_some();
        let capture = failed.then(|| match capture {
            Ok(capture) => keep(capture, captures, number).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        });
        return Judged { check, status, out, err, miss, taken: begun.elapsed(), capture };
    }
}

/// Keeps what a host sent and received while a check ran.
fn keep(capture: Capture, directory: &PathBuf, number: usize) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join(format!("check-{}.pcapng", number + 1));
    capture.write_to(&mut File::create(&path)?, Some(Duration::ZERO))?;
    Ok(path)
}

impl Judged<'_> {
    fn in_text(&self, verbose: bool) -> String {
        let name = &self.check.name;
        let Some(miss) = &self.miss else {
            return if verbose {
                format!("ok: {name} ({} ms)\n", self.taken.as_millis())
            } else {
                String::new()
            };
        };
        let said: String =
            self.out.lines().chain(self.err.lines()).map(|line| format!("    {line}\n")).collect();
        let capture = match &self.capture {
            Some(Ok(path)) => format!("    captured in {}\n", path.display()),
            Some(Err(reason)) => format!("    no capture: {reason}\n"),
            None => String::new(),
        };
        format!("FAILED: {name}: {miss}\n{said}{capture}")
    }

    fn in_json(&self, lab: &Lab) -> Value {
        let capture = self.capture.as_ref().and_then(|capture| capture.as_ref().ok());
        json!({
            "name": self.check.name, "host": lab.topology().hosts[self.check.host].name,
            "words": self.check.words, "holds": self.miss.is_none(), "miss": self.miss,
            "status": self.status, "out": self.out, "err": self.err, "taken_ns": nanos(self.taken),
            "capture": capture.map(|path| path.display().to_string()),
        })
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
