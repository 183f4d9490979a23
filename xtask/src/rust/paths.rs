//! Paths as written: `a::b::c`, and each leaf of `use a::{b, c::{d}}`.

use super::{SourceFile, lexer::Kind};

/// A path of two or more segments, or of one in a `use`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// As written, from the first word on; `*` is left out.
    pub segments: Vec<String>,
    /// Its first token.
    pub start: usize,
    /// Where it stands, from 1.
    pub line: u32,
    /// The modules inside of its file in which it stands.
    pub inside: Vec<String>,
}

impl SourceFile {
    /// All paths, in order, in test code too.
    pub fn paths(&self) -> Vec<Path> {
        let mut collector = Collector { file: self, paths: Vec::new(), modules: Vec::new(), depth: 0 };
        let mut index = 0;
        while index < self.tokens.len() {
            index = collector.step(index);
        }
        collector.paths
    }
}

struct Collector<'file> {
    file: &'file SourceFile,
    paths: Vec<Path>,
    /// Open inline modules, and the depth of braces in which each stands.
    modules: Vec<(String, usize)>,
    depth: usize,
}

impl Collector<'_> {
    fn step(&mut self, index: usize) -> usize {
        let file = self.file;
        match file.token(index) {
            "mod" if file.token(index + 2) == "{" => {
                self.modules.push((file.token(index + 1).to_owned(), self.depth));
                index + 2
            }
            "use" => {
                let global = if file.has(index + 1, &[":", ":"]) { 2 } else { 0 };
                self.tree(index + 1 + global, &[], index + 1).max(index + 1)
            }
            "{" => {
                self.depth += 1;
                index + 1
            }
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                self.modules.retain(|(_, depth)| *depth < self.depth);
                index + 1
            }
            _ if file.tokens[index].kind == Kind::Ident && file.has(index + 1, &[":", ":"]) => {
                self.tree(index, &[], index)
            }
            _ => index + 1,
        }
    }

    /// Reads one branch of a tree of paths and returns the token behind it.
    fn tree(&mut self, mut index: usize, stem: &[String], start: usize) -> usize {
        let file = self.file;
        let mut segments = stem.to_vec();
        loop {
            if file.token(index) == "{" {
                return self.group(index + 1, &segments);
            }
            if file.token(index) == "*" {
                index += 1;
                break;
            }
            if file.tokens.get(index).is_none_or(|token| token.kind != Kind::Ident) {
                break;
            }
            segments.push(file.token(index).to_owned());
            index += 1;
            if !file.has(index, &[":", ":"]) {
                break;
            }
            index += 2;
        }
        if segments.is_empty() {
            return index;
        }
        let inside = self.modules.iter().map(|(name, _)| name.clone()).collect();
        let line = file.tokens.get(start).map_or(0, |token| token.line);
        self.paths.push(Path { segments, start, line, inside });
        index
    }

    fn group(&mut self, mut index: usize, stem: &[String]) -> usize {
        let file = self.file;
        while index < file.tokens.len() && file.token(index) != "}" {
            let is_branch = file.tokens[index].kind == Kind::Ident
                || file.token(index) == "{"
                || file.token(index) == "*";
            if file.token(index) == "as" {
                index += 2;
            } else if is_branch {
                index = self.tree(index, stem, index).max(index + 1);
            } else {
                index += 1;
            }
        }
        index + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let file = SourceFile::parse("a/src/lib.rs", text);
        file.paths().iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn use_trees_are_spelled_out() {
        assert_eq!(paths("use a::{b, c::{self, d as e}, f::*};"), ["a::b", "a::c::self", "a::c::d", "a::f"],);
        assert_eq!(paths("pub use {a::b, c};"), ["a::b", "c"]);
    }

    #[test]
    fn paths_in_expressions_and_types_are_seen() {
        assert_eq!(paths("fn f(x: crate::a::B) { super::c::d::<u8>(e) }"), ["crate::a::B", "super::c::d"]);
        assert_eq!(paths("let x = Vec::<a::B>::new();"), ["Vec", "a::B"]);
    }

    #[test]
    fn inline_modules_are_known() {
        let file = SourceFile::parse("a/src/lib.rs", "mod m { use super::a; fn f() {} } use b::c;");
        let paths = file.paths();
        assert_eq!(paths[0].inside, ["m"]);
        assert!(paths[1].inside.is_empty());
    }
}
