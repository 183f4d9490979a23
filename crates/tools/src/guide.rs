//! docs/guide/json.md against what the tools print: its examples are JSON, and have the members that reports have.

use std::collections::BTreeSet;

use rumpnet_proto::{DropReason, Reply, Request};
use serde_json::Value;

use crate::scripted::{Script, virt0};

const GUIDE: &str = include_str!("../../../docs/guide/json.md");

/// The examples that stand apart.
fn examples() -> Vec<Value> {
    let blocks = GUIDE.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| serde_json::from_str(block).unwrap_or_else(|error| panic!("{error}: {block}")))
        .collect()
}

/// The paths of all members, those of lists taken from their elements.
fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            let path = format!("{path}/{name}");
            members(value, &path, found);
            found.insert(path);
        }),
        Value::Array(elements) => elements.iter().for_each(|element| members(element, path, found)),
        _ => {}
    }
}

/// Fails unless a report has the members of the example that has `key`, neither more nor less.
#[track_caller]
pub(crate) fn assert_documented(report: &Value, key: &str) {
    let examples = examples();
    let example = examples.iter().find(|example| example.get(key).is_some()).expect("an example");
    let (mut printed, mut documented) = (BTreeSet::new(), BTreeSet::new());
    members(report, "", &mut printed);
    members(example, "", &mut documented);
    assert_eq!(printed, documented);
}

/// Fails unless a line of a report has the members of the example line of the same event, neither more nor less.
#[track_caller]
pub(crate) fn assert_line_documented(line: &Value) {
    let block = GUIDE.split("```jsonl\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines");
    let mut examples = block.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let example = examples.find(|example| example["event"] == line["event"]).expect("an example");
    let (mut printed, mut documented) = (BTreeSet::new(), BTreeSet::new());
    members(line, "", &mut printed);
    members(&example, "", &mut documented);
    assert_eq!(printed, documented);
}

#[test]
fn every_example_is_json_of_the_present_version() {
    let examples = examples();
    assert!(examples.len() >= 7, "{}", examples.len());
    assert!(examples.iter().all(|example| example["version"] == 1));
}

#[test]
fn an_interface_has_the_members_of_the_guide() {
    let mut report = virt0();
    report.drops = vec![(DropReason::LinkRunt, 2)];
    let page = Reply::Interfaces { interfaces: vec![report], next: None };
    let call = (Request::Interface { name: "virt0".into(), reset: false }, Ok(page));
    assert_documented(&Script::new([call]).said(&["ifconfig", "--json", "virt0"]).json(), "interfaces");
}

#[test]
fn an_error_has_the_members_of_the_guide() {
    assert_documented(&Script::default().said(&["halt", "now", "--json"]).json(), "error");
}

#[test]
fn statistics_have_the_members_of_the_guide() {
    let statistics = Reply::Statistics { counters: vec![], drops: vec![] };
    let said = Script::new([(Request::Statistics, Ok(statistics))]).said(&["netstat", "-s", "--json"]);
    assert_documented(&said.json(), "protocols");
}
