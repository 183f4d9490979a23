//! Every simulated world of a test is made twice: `scenario` does so and compares. One that is made once says why.

use super::Finding;
use crate::{rust::SourceFile, tree::Tree};

/// Begins the comment that says why a world is made once.
const REASON: &str = "once:";

/// Finds tests that make a world themselves and give no reason.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let made = file.idents("World").filter(|&index| file.is_test(index));
    let made = made.filter(|&index| file.has(index, &["World", ":", ":", "new"]));
    let without_reason =
        made.map(|index| file.statement_line(index)).filter(|&line| !file.is_annotated(line, REASON));
    without_reason
        .map(|line| {
            let message =
                "a world in a test is made by `scenario`, which runs it twice; `// once: why` excuses it";
            Finding::new(&file.path, line, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&Tree::of(&[("crates/sim/tests/a.rs", text)])).len()
    }

    #[test]
    fn a_world_made_once_without_a_reason_is_found() {
        assert_eq!(found("#[test] fn t() { let world = World::new(1); }"), 1);
        assert_eq!(found("#[test] fn t() {\n    // once: it panics.\n    let world = World::new(1);\n}"), 0);
        assert_eq!(found("#[test] fn t() { scenario(|world| world.run_for(s)); }"), 0);
    }

    #[test]
    fn what_is_no_test_may_make_worlds() {
        let tree = Tree::of(&[("crates/sim/src/scenario.rs", "fn f() { World::new(1); }")]);
        assert_eq!(check(&tree), []);
    }
}
