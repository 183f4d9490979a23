//! Rules: what a test decides about frames that cross a cable.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use rumpnet_stack::buffer::{Offload, Received};

use super::state::Verdicts;

/// A frame that is about to cross a cable.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// When, since the world began.
    pub time: Duration,
    /// Who sends it: `host/interface`, or a stranger's name.
    pub from: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What is left to the far end, such as a checksum.
    pub offload: Offload,
}

/// What a rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes; later rules see it.
    Pass,
    /// It is dropped, and counted as [`CableCounters::ruled_out`](crate::CableCounters::ruled_out).
    Drop,
    /// It passes, so much later; frames behind it do not wait for it.
    Delay(Duration),
    /// These pass in its place, complete as they are: nothing is left to the far end, which takes no partial checksum.
    Replace(Vec<Bytes>),
}

/// A rule that is in force until it is lifted; dropping this leaves it in force.
#[derive(Clone, Debug)]
pub struct RuleHandle(Rc<Cell<bool>>);

impl RuleHandle {
    /// The rule ceases.
    pub fn lift(&self) {
        self.0.set(false);
    }
}

/// A rule and whether it is in force.
pub(crate) struct Rule {
    in_force: Rc<Cell<bool>>,
    decide: Box<dyn FnMut(Passing<'_>) -> Verdict>,
}

impl Rule {
    pub(crate) fn new(decide: impl FnMut(Passing<'_>) -> Verdict + 'static) -> (Self, RuleHandle) {
        let in_force = Rc::new(Cell::new(true));
        let handle = RuleHandle(Rc::clone(&in_force));
        (Self { in_force, decide: Box::new(decide) }, handle)
    }
}

/// Asks the rules in order; the first that drops or replaces has the last word, and delays add up.
pub(crate) fn determine_verdicts(
    rules: &mut Vec<Rule>,
    time: Duration,
    from: &str,
    frame: &Received,
) -> Verdicts {
    rules.retain(|rule| rule.in_force.get());
    let mut verdicts = Verdicts::default();
    if rules.is_empty() {
        return verdicts;
    }
    let bytes: Vec<u8> = frame.whole().collect::<Vec<_>>().concat();
    for rule in rules.iter_mut() {
        match (rule.decide)(Passing { time, from, bytes: &bytes, offload: frame.offload }) {
            Verdict::Pass => {}
            Verdict::Delay(delay) => verdicts.delay += delay,
            Verdict::Drop => {
                verdicts.drop = true;
                break;
            }
            Verdict::Replace(frames) => {
                verdicts.replacement = Some(frames);
                break;
            }
        }
    }
    verdicts
}
