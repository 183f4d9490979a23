//! From the figures of all repetitions to medians, quotients and verdicts, as text or JSON.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use crate::{
    Failure, Figures, median,
    table::{Row, Target},
    trial::Arm,
};

/// The figures of every repetition of a row, by arm; in the same order for all arms.
pub(crate) type Repetitions = BTreeMap<Arm, Vec<Figures>>;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The version of this shape.
    version: u32,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// What was found.
    pub(crate) rows: Vec<RowReport>,
}

/// What decides the figures beside our code.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The host kernel's release.
    kernel: String,
    /// CPUs that may be used.
    cpus: usize,
    /// The model of the first.
    cpu_model: String,
    /// The default of the host.
    default_congestion_control: String,
    /// What the host's senders in this bench use.
    congestion_control: &'static str,
    /// Load average over a minute before the run.
    load_average: f64,
}

/// One row's medians and verdicts.
#[derive(Debug, Serialize)]
pub(crate) struct RowReport {
    row: &'static str,
    title: &'static str,
    repetitions: usize,
    /// Medians by arm and figure.
    medians: BTreeMap<&'static str, Figures>,
    verdicts: Vec<Verdict>,
}

/// One promise and what became of it.
#[derive(Debug, Serialize)]
struct Verdict {
    arm: &'static str,
    over: Option<&'static str>,
    figure: &'static str,
    value: f64,
    target: String,
    held: bool,
}

impl Report {
    /// An empty report of this machine.
    pub(crate) fn begin() -> Result<Self, Failure> {
        Ok(Self { version: 1, machine: Machine::look()?, rows: Vec::new() })
    }
}

impl Machine {
    fn look() -> Result<Self, Failure> {
        let cpus = std::thread::available_parallelism()?.get();
        let cpu_model = read_line_after("/proc/cpuinfo", "model name")?;
        let load = read("/proc/loadavg")?.split(' ').next().unwrap_or_default().parse()?;
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?,
            cpus,
            cpu_model,
            default_congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control")?,
            congestion_control: "cubic",
            load_average: load,
        })
    }
}

fn read(path: &str) -> Result<String, Failure> {
    Ok(std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?.trim().to_owned())
}

/// What follows the colon of the first line of a file that begins with `key`.
fn read_line_after(path: &str, key: &str) -> Result<String, Failure> {
    let text = read(path)?;
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    Ok(line.split_once(':').map_or("", |(_, value)| value).trim().to_owned())
}

impl RowReport {
    /// What the repetitions of `row` come to.
    pub(crate) fn new(row: &Row, repetitions: &Repetitions) -> Self {
        let medians = repetitions.iter().map(|(arm, runs)| (arm.name(), medians(runs))).collect();
        let verdicts = row.targets.iter().map(|target| judge(target, repetitions)).collect();
        let repetitions = repetitions.values().map(Vec::len).max().unwrap_or(0);
        Self { row: row.load.name(), title: row.title, repetitions, medians, verdicts }
    }
}

/// The median of each figure.
fn medians(runs: &[Figures]) -> Figures {
    let names = runs.first().into_iter().flat_map(|figures| figures.keys());
    names.map(|name| (name.clone(), median(&values(runs, name)))).collect()
}

/// One figure of every repetition; a missing one is not a number.
fn values(runs: &[Figures], name: &str) -> Vec<f64> {
    runs.iter().map(|figures| figures.get(name).copied().unwrap_or(f64::NAN)).collect()
}

/// Quotients are taken within a repetition, where both sides saw the same machine, and then their median.
fn judge(target: &Target, repetitions: &Repetitions) -> Verdict {
    let of = |arm| values(repetitions.get(&arm).map_or(&[], Vec::as_slice), target.figure);
    let mut series = of(target.arm);
    if let Some(over) = target.over {
        series = series.iter().zip(of(over)).map(|(value, base)| value / base).collect();
    }
    let value = if series.is_empty() { f64::NAN } else { median(&series) };
    Verdict {
        arm: target.arm.name(),
        over: target.over.map(Arm::name),
        figure: target.figure,
        value,
        target: target.bound.to_string(),
        held: target.bound.holds(value),
    }
}

/// The report for people.
pub(crate) fn text(report: &Report) -> Result<String, Failure> {
    let mut out = String::new();
    let machine = &report.machine;
    writeln!(out, "Linux {}, {} CPUs ({})", machine.kernel, machine.cpus, machine.cpu_model)?;
    writeln!(
        out,
        "host senders use {} (default here: {}); load average before the run: {}",
        machine.congestion_control, machine.default_congestion_control, machine.load_average
    )?;
    report.rows.iter().try_for_each(|row| write_row(&mut out, row))?;
    Ok(out)
}

fn write_row(out: &mut String, row: &RowReport) -> Result<(), Failure> {
    writeln!(out, "\n{}: {} (medians of {})", row.row, row.title, row.repetitions)?;
    for (arm, figures) in &row.medians {
        let figures: Vec<String> =
            figures.iter().map(|(name, value)| format!("{name} {}", rounded(*value))).collect();
        writeln!(out, "  {arm:8} {}", figures.join("  "))?;
    }
    row.verdicts.iter().try_for_each(|verdict| write_verdict(out, verdict))
}

fn write_verdict(out: &mut String, verdict: &Verdict) -> Result<(), Failure> {
    let whose =
        verdict.over.map_or_else(|| verdict.arm.to_owned(), |over| format!("{} / {over}", verdict.arm));
    let mark = if verdict.held { "held" } else { "MISSED" };
    let value = rounded(verdict.value);
    Ok(writeln!(out, "  {whose} {} = {value} (target {}) {mark}", verdict.figure, verdict.target)?)
}

/// Three digits that mean something, and no exponent.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{table::Bound, trial::Load};

    fn runs(values: &[f64]) -> Vec<Figures> {
        values.iter().map(|value| Figures::from([("rtt_us".to_owned(), *value)])).collect()
    }

    const TARGET: Target =
        Target { arm: Arm::Smoltcp, figure: "rtt_us", over: Some(Arm::Veth), bound: Bound::AtMost(2.0) };

    #[test]
    fn a_quotient_is_taken_within_each_repetition() {
        let repetitions = Repetitions::from([
            (Arm::Smoltcp, runs(&[2.0, 20.0, 9.0])),
            (Arm::Veth, runs(&[1.0, 10.0, 3.0])),
        ]);
        let verdict = judge(&TARGET, &repetitions);
        assert_eq!((verdict.value, verdict.held), (2.0, true));
    }

    #[test]
    fn a_promise_about_what_was_not_measured_is_missed() {
        let repetitions = Repetitions::from([(Arm::Veth, runs(&[1.0]))]);
        assert!(!judge(&TARGET, &repetitions).held);
        let nameless = Repetitions::from([(Arm::Veth, vec![Figures::new()]), (Arm::Smoltcp, runs(&[1.0]))]);
        assert!(!judge(&TARGET, &nameless).held);
    }

    #[test]
    fn the_text_shows_medians_and_what_was_missed() {
        let row = Row { load: Load::Ping, title: "ping", arms: &[], targets: &[TARGET] };
        let repetitions =
            Repetitions::from([(Arm::Smoltcp, runs(&[30.0, 45.0, 50.0])), (Arm::Veth, runs(&[10.0; 3]))]);
        let mut out = String::new();
        write_row(&mut out, &RowReport::new(&row, &repetitions)).expect("a string takes all");
        assert!(out.contains("smoltcp  rtt_us 45.0"), "{out}");
        assert!(out.contains("smoltcp / veth rtt_us = 4.50 (target ≤ 2) MISSED"), "{out}");
    }
}
