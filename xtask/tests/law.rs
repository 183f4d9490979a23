//! The laws of the house hold in this repository. `cargo xtask tidy` prints the same findings and the sizes.

use xtask::{tidy::Law, tree::Tree};

/// Panics with what breaks the law of that name.
#[track_caller]
fn holds(name: &str) {
    let law = Law::named(name).expect("there is such a law");
    let findings: Vec<String> = (law.check)(Tree::shared()).iter().map(ToString::to_string).collect();
    assert!(
        findings.is_empty(),
        "the law `{name}` is broken, see CONTRIBUTING.md:\n  {}",
        findings.join("\n  ")
    );
}

#[test]
fn crates_use_only_the_crates_below_them() {
    holds("arrows");
}

#[test]
fn modules_of_the_stack_use_only_the_layers_below_them() {
    holds("layers");
}

#[test]
fn crates_without_an_operating_system_have_no_clock_thread_log_or_global() {
    holds("no-hands");
}

#[test]
fn no_order_of_a_hash_map_shows() {
    holds("hash-order");
}

#[test]
fn unsafe_is_forbidden_but_at_the_edge() {
    holds("unsafe-at-the-edge");
}

#[test]
fn files_and_functions_are_short() {
    holds("sizes");
}

#[test]
fn names_say_something_and_nothing_is_unfinished() {
    holds("names");
}

#[test]
fn the_repository_speaks_of_the_project_alone() {
    holds("words");
}

#[test]
fn all_dependencies_are_permissively_licensed() {
    holds("licences");
}

#[test]
fn users_get_one_version_of_each_package() {
    holds("one-version");
}

#[test]
fn every_feature_names_a_test_that_exists() {
    holds("features-proven");
}

#[test]
fn every_counter_and_every_reason_is_raised_by_a_test() {
    holds("counters-proven");
}

#[test]
fn every_world_of_a_test_is_made_twice() {
    holds("scenarios-twice");
}
