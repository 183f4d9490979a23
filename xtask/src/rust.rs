//! Rust source as the checks see it: tokens, comments, functions, paths, and which of it is test code.
//!
//! [`SourceFile`] is read once with [`SourceFile::parse`] and then asked. It knows tokens and brackets, not grammar: that is
//! enough for every law of the house, needs no dependency, and keeps the comments that a syntax tree throws away.
//! What macros expand to is not seen.

pub mod lexer;
mod outline;
mod paths;

use lexer::{Comment, Kind, Token};
pub use outline::{Function, TestModule};
pub use paths::Path;

/// One file of Rust source.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the root of the repository.
    pub path: String,
    /// All of it.
    pub text: String,
    /// In order, without comments and white space.
    pub tokens: Vec<Token>,
    /// In order.
    pub comments: Vec<Comment>,
    /// In order of their `fn`; those inside of others and inside of macro calls too.
    pub functions: Vec<Function>,
    /// Modules in files of their own that are compiled for tests only.
    pub test_modules: Vec<TestModule>,
    /// For each token, whether it is compiled for tests only.
    test: Vec<bool>,
}

impl SourceFile {
    /// Reads `text`, which stands at `path`.
    pub fn parse(path: &str, text: &str) -> Self {
        let (tokens, comments) = lexer::scan(text);
        let outline = outline::trace(text, &tokens);
        let mut file = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens,
            comments,
            functions: outline.functions,
            test_modules: outline.test_modules,
            test: outline.test,
        };
        if is_test_path(path) {
            file.mark_test();
        }
        file
    }

    /// Declares the whole file test code.
    pub fn mark_test(&mut self) {
        self.test.fill(true);
        for function in &mut self.functions {
            function.test = true;
        }
    }

    /// The text of token `index`; empty past the end.
    pub fn token(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| token.text(&self.text))
    }

    /// Whether the tokens from `index` on are exactly `texts`.
    pub fn has(&self, index: usize, texts: &[&str]) -> bool {
        texts.iter().enumerate().all(|(offset, text)| self.token(index + offset) == *text)
    }

    /// Whether token `index` is compiled for tests only.
    pub fn is_test(&self, index: usize) -> bool {
        self.test.get(index).copied().unwrap_or(false)
    }

    /// The places of all identifiers that are `name`.
    pub fn idents(&self, name: &str) -> impl Iterator<Item = usize> {
        (0..self.tokens.len())
            .filter(move |&index| self.tokens[index].kind == Kind::Ident && self.token(index) == name)
    }

    /// The places of all tokens that are not test code.
    pub fn shipped(&self) -> impl Iterator<Item = usize> {
        (0..self.tokens.len()).filter(|&index| !self.test[index])
    }

    /// Lines with a token that is not test code: what the limit on the size of files counts.
    pub fn code_lines(&self) -> usize {
        let mut lines = 0;
        let mut counted = 0;
        for index in self.shipped() {
            let token = &self.tokens[index];
            let first = token.line.max(counted + 1);
            if token.last_line >= first {
                lines += (token.last_line - first + 1) as usize;
                counted = token.last_line;
            }
        }
        lines
    }

    /// Whether a comment that begins with `// {tag}` stands on `line`, or above it with only comments and attributes between.
    pub fn is_annotated(&self, line: u32, tag: &str) -> bool {
        let tagged = |line: u32| {
            self.comments.iter().any(|comment| {
                comment.line == line
                    && comment.body().strip_prefix(tag).is_some_and(|why| !why.trim().is_empty())
            })
        };
        let lines: Vec<&str> = self.text.lines().collect();
        let above = (1..line).rev().take_while(|&above| {
            let text = lines[above as usize - 1].trim_start();
            text.starts_with("//") || text.starts_with("#[")
        });
        tagged(line) || above.into_iter().any(tagged)
    }

    /// The line on which the statement or item begins to which token `index` belongs.
    pub fn statement_line(&self, index: usize) -> u32 {
        let end = |text: &str| matches!(text, ";" | "{" | "}");
        let first = (0..index).rev().find(|&before| end(self.token(before))).map_or(0, |before| before + 1);
        self.tokens[first].line
    }

    /// The path of this file's module inside its crate; none for files that are not under a `src` folder.
    pub fn module(&self) -> Option<Vec<&str>> {
        let (_, inside) = self.path.split_once("/src/")?;
        let mut module: Vec<&str> = inside.strip_suffix(".rs")?.split('/').collect();
        if matches!(module.last(), Some(&"mod" | &"lib" | &"main")) {
            module.pop();
        }
        Some(module)
    }

    /// The folder under `crates`, or the first folder: which crate this file belongs to.
    pub fn crate_folder(&self) -> &str {
        let inside = self.path.strip_prefix("crates/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or_default()
    }
}

/// Whether the place of a file alone says that it is test code.
fn is_test_path(path: &str) -> bool {
    let in_folder = path.split('/').any(|folder| matches!(folder, "tests" | "benches" | "fuzz_targets"));
    in_folder || path.ends_with("tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_lines_leave_out_blanks_comments_and_tests() {
        let file = SourceFile::parse(
            "a/src/lib.rs",
            "//! Head.\n\nfn a() {\n    // why\n    b();\n}\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n",
        );
        assert_eq!(file.code_lines(), 3);
    }

    #[test]
    fn a_string_over_several_lines_counts_each() {
        assert_eq!(SourceFile::parse("a.rs", "const A: &str = \"one\ntwo\nthree\";\n").code_lines(), 3);
    }

    #[test]
    fn a_comment_above_attributes_annotates_the_line_below() {
        let file = SourceFile::parse(
            "a.rs",
            "// long: one table.\n#[inline]\nfn a() {}\n\nfn b() {}\n// long:\nfn c() {}\n",
        );
        assert!(file.is_annotated(3, "long:"));
        assert!(!file.is_annotated(5, "long:"));
        assert!(!file.is_annotated(7, "long:"), "a reason must be given");
    }

    #[test]
    fn modules_follow_the_folders() {
        let module = |path| SourceFile::parse(path, "").module().map(|module| module.join("::"));
        assert_eq!(module("crates/stack/src/inet/mod.rs").as_deref(), Some("inet"));
        assert_eq!(module("crates/stack/src/inet/tcp/send.rs").as_deref(), Some("inet::tcp::send"));
        assert_eq!(module("crates/stack/src/lib.rs").as_deref(), Some(""));
        assert_eq!(module("tests/a.rs"), None);
    }
}
