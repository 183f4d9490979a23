//! The run of the table: repetitions interleaved, each measurement a trial in processes of its own.

use std::process::{Command, Stdio};

use crate::{
    Failure, Figures, median,
    report::{Repetitions, Report, RowReport},
    table::{ROWS, Row},
    trial::{Arm, Load},
};

/// What the words of the command line ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Whether the report is JSON.
    pub(crate) json: bool,
    /// How often each measurement is made.
    pub(crate) repetitions: usize,
    /// The rows by name; none stands for all.
    pub(crate) rows: Vec<Load>,
}

impl Order {
    /// Reads `[--json] [--repetitions N] [ROW…]`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut order = Self { json: false, repetitions: 5, rows: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--json" => order.json = true,
                "--repetitions" => {
                    let number = words.next().ok_or("--repetitions needs a number")?;
                    order.repetitions = number.parse().map_err(|_| format!("{number} is not a number"))?;
                }
                row => order.rows.push(Load::parse(row)?),
            }
        }
        Ok(order)
    }

    fn wants(&self, row: &Row) -> bool {
        self.rows.is_empty() || self.rows.contains(&row.load)
    }
}

/// Measures what `order` asks for; refuses on a machine that is not fit.
pub(crate) fn run(order: &Order) -> Result<Report, Failure> {
    let mut report = Report::begin()?;
    check_fitness()?;
    for row in ROWS.iter().filter(|row| order.wants(row)) {
        report.rows.push(RowReport::new(row, &measure(row, order.repetitions)?));
    }
    Ok(report)
}

/// Arms take turns, so that what else the machine does meets them all.
fn measure(row: &Row, repetitions: usize) -> Result<Repetitions, Failure> {
    let mut found = Repetitions::new();
    for repetition in 1..=repetitions {
        for arm in row.arms {
            eprintln!("{} {} {repetition}/{repetitions}", row.load.name(), arm.name());
            found.entry(*arm).or_default().push(trial(*arm, row.load)?);
        }
    }
    Ok(found)
}

fn trial(arm: Arm, load: Load) -> Result<Figures, Failure> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["trial", arm.name(), load.name()]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("the trial of {} under {} failed", arm.name(), load.name()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The slowest veth round trip on one CPU, in µs, of a machine whose figures mean anything.
const FIT_ROUND_TRIP: f64 = 40.0;
/// The slowest veth stream, in Gbit/s, of such a machine.
const FIT_STREAM: f64 = 15.0;

/// Quotients of figures from a starved or emulated machine would say nothing of our code.
fn check_fitness() -> Result<(), Failure> {
    let round_trip = veth_median(Load::PingPinned, "rtt_us")?;
    if round_trip > FIT_ROUND_TRIP {
        return Err(unfit("ping round trip", round_trip, "µs", FIT_ROUND_TRIP));
    }
    let stream = veth_median(Load::Sink, "gbit_per_second")?;
    if stream < FIT_STREAM {
        return Err(unfit("TCP stream", stream, "Gbit/s", FIT_STREAM));
    }
    Ok(())
}

/// The median of three trials of veth.
fn veth_median(load: Load, figure: &str) -> Result<f64, Failure> {
    let trials = (0..3).map(|_| trial(Arm::Veth, load)).collect::<Result<Vec<_>, _>>()?;
    Ok(median(&trials.iter().filter_map(|figures| figures.get(figure).copied()).collect::<Vec<_>>()))
}

fn unfit(what: &str, value: f64, unit: &str, limit: f64) -> Failure {
    format!("this machine is not fit to be measured: its own {what} over veth is {value:.1} {unit}, the limit is {limit} {unit}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_command_line_are_read() {
        let order = Order::parse(&["--json", "ping", "--repetitions", "3"]).expect("good words");
        assert_eq!(order, Order { json: true, repetitions: 3, rows: vec![Load::Ping] });
    }

    #[test]
    fn an_unknown_row_is_named() {
        assert!(Order::parse(&["pign"]).is_err_and(|error| error.to_string().contains("pign")));
        assert!(Order::parse(&["--repetitions", "many"]).is_err());
    }

    #[test]
    fn every_row_has_arms_and_its_targets_speak_of_them() {
        for row in ROWS {
            for target in row.targets {
                assert!(row.arms.contains(&target.arm), "{:?}", row.load);
                assert!(target.over.is_none_or(|over| row.arms.contains(&over)), "{:?}", row.load);
            }
            assert!(!row.arms.is_empty());
        }
    }
}
