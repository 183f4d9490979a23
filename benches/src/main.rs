#![forbid(unsafe_code)]
//! Measures the rump kernel beside a network namespace over veth, smoltcp over a tap and the bare tap.
//!
//! `rumpnet-bench [--json] [--repetitions N] [ROW…]` runs the table of [`table`]; `cargo xtask bench` builds it and runs it. Every
//! measurement is a [`trial`] in processes of its own. This is not a test: it says how fast, never whether right.

mod count;
mod cpu;
mod driven_arm;
mod frames;
mod kernel_socket;
mod kernel_stream;
mod lifecycle;
mod lossy;
mod measure;
mod memory;
mod namespace;
mod peer;
mod report;
mod rump_arm;
mod sink;
mod smoltcp_arm;
mod smoltcp_stream;
mod table;
mod tap_arm;
mod tcp_arm;
mod trial;
mod veth_arm;

use std::{collections::BTreeMap, process::ExitCode};

use trial::{Arm, Load};

/// Why a measurement could not be made.
type Failure = Box<dyn std::error::Error>;
/// What a trial found, by name; the unit is the end of the name.
type Figures = BTreeMap<String, f64>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["peer", arm, load] => trial::run_peer(Arm::parse(arm)?, Load::parse(load)?),
        ["trial", arm, load] => peer::report(&trial::run(Arm::parse(arm)?, Load::parse(load)?)?),
        words => print(&measure::Order::parse(words)?),
    }
}

/// Measures and prints; a missed promise is for the reader to judge and not a failure of the bench.
fn print(order: &measure::Order) -> Result<(), Failure> {
    let report = measure::run(order)?;
    if order.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report::text(&report)?);
    }
    Ok(())
}

/// The middle of `values`; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
