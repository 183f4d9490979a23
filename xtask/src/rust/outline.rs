//! Which tokens are test code, and where functions begin and end.
//!
//! Test code is an item under `#[cfg(test)]` or under an attribute whose path ends in `test`. Brackets are all that is
//! followed, so that the contents of macro calls such as `proptest!` are seen like any other.

use super::lexer::{Kind, Token};

/// A function with a body.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where its `fn` stands, from 1.
    pub line: u32,
    /// Where its closing brace stands; the line of its semicolon if it has no body.
    pub last_line: u32,
    /// The token of `fn`.
    pub start: usize,
    /// Whether it is compiled for tests only.
    pub test: bool,
    /// Whether the test runner calls it: it bears `#[test]` or the like itself.
    pub is_case: bool,
    /// Whether it has a body.
    pub has_body: bool,
}

impl Function {
    /// Lines from `fn` to the closing brace.
    pub const fn length(&self) -> usize {
        (self.last_line - self.line + 1) as usize
    }
}

/// `#[cfg(test)] mod name;`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestModule {
    /// Its name.
    pub name: String,
}

/// What [`trace`] finds.
pub(super) struct Outline {
    pub(super) functions: Vec<Function>,
    pub(super) test_modules: Vec<TestModule>,
    pub(super) test: Vec<bool>,
}

/// Follows brackets and attributes through `tokens` of `source`.
pub(super) fn trace(source: &str, tokens: &[Token]) -> Outline {
    let reader = Reader { source, tokens };
    let mut outline =
        Outline { functions: Vec::new(), test_modules: Vec::new(), test: vec![false; tokens.len()] };
    let mut is_case = false;
    let mut index = 0;
    while index < tokens.len() {
        if let Some(attribute) = reader.attribute(index) {
            is_case |= attribute.marks_case;
            if attribute.marks_test {
                outline.mark(&reader, &attribute);
            }
            index = attribute.end;
            continue;
        }
        if reader.text(index) == "fn" && reader.kind(index + 1) == Some(Kind::Ident) {
            outline.functions.push(reader.function(index, is_case));
        }
        if matches!(reader.text(index), ";" | "{" | "}") {
            is_case = false;
        }
        index += 1;
    }
    for function in &mut outline.functions {
        function.test = outline.test[function.start];
    }
    outline
}

impl Outline {
    fn mark(&mut self, reader: &Reader<'_>, attribute: &Attribute) {
        if attribute.is_inner {
            self.test.fill(true);
            return;
        }
        let end = reader.item_end(attribute.end);
        self.test[attribute.start..end].fill(true);
        let module = (attribute.end..end).find(|&index| reader.text(index) == "mod");
        if let Some(module) = module
            && reader.text(module + 2) == ";"
        {
            self.test_modules.push(TestModule { name: reader.text(module + 1).to_owned() });
        }
    }
}

/// `#[…]` or `#![…]`.
struct Attribute {
    start: usize,
    /// The token behind its closing bracket.
    end: usize,
    is_inner: bool,
    marks_test: bool,
    marks_case: bool,
}

struct Reader<'source> {
    source: &'source str,
    tokens: &'source [Token],
}

impl<'source> Reader<'source> {
    fn text(&self, index: usize) -> &'source str {
        self.tokens.get(index).map_or("", |token| token.text(self.source))
    }

    fn kind(&self, index: usize) -> Option<Kind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    fn attribute(&self, start: usize) -> Option<Attribute> {
        if self.text(start) != "#" {
            return None;
        }
        let is_inner = self.text(start + 1) == "!";
        let open = start + 1 + usize::from(is_inner);
        if self.text(open) != "[" {
            return None;
        }
        let end = self.closing(open);
        let marks_case = self.path_ends_in_test(open + 1);
        let marks_test = marks_case || self.is_cfg_test(open + 1, end);
        Some(Attribute { start, end, is_inner, marks_test, marks_case })
    }

    /// `test`, `tokio::test`, `tokio::test(flavor = …)`.
    fn path_ends_in_test(&self, mut index: usize) -> bool {
        while self.text(index + 1) == ":" && self.text(index + 2) == ":" {
            index += 3;
        }
        self.text(index) == "test"
    }

    /// `cfg(test)`, `cfg(all(test, …))`, but not `cfg(not(test))`, `cfg(any(test, …))` or `cfg(feature = "test")`.
    fn is_cfg_test(&self, start: usize, end: usize) -> bool {
        let within = |name: &str| (start..end).any(|index| self.text(index) == name);
        self.text(start) == "cfg" && within("test") && !within("not") && !within("any")
    }

    fn function(&self, start: usize, is_case: bool) -> Function {
        let name = self.text(start + 1).to_owned();
        let line = self.tokens[start].line;
        let opening = self.body(start + 2);
        let has_body = self.text(opening) == "{";
        let last = if has_body { self.closing(opening) - 1 } else { opening };
        let last_line = self.tokens[last.min(self.tokens.len() - 1)].last_line;
        Function { name, line, last_line, start, test: false, is_case, has_body }
    }

    /// The first brace or semicolon that stands in no bracket, from `index` on; the end of the file if there is none.
    fn body(&self, mut index: usize) -> usize {
        while index < self.tokens.len() {
            match self.text(index) {
                "(" | "[" => index = self.closing(index),
                "{" | ";" | "}" => return index,
                _ => index += 1,
            }
        }
        index
    }

    /// The token behind the item, field or statement that begins at `index` with any further attributes of its own.
    fn item_end(&self, mut index: usize) -> usize {
        while let Some(attribute) = self.attribute(index) {
            index = attribute.end;
        }
        let ends_at_comma = !self.is_item(index);
        while index < self.tokens.len() {
            match self.text(index) {
                "(" | "[" => index = self.closing(index),
                "{" => return self.closing(index),
                ";" => return index + 1,
                "," if ends_at_comma => return index + 1,
                "}" | ")" | "]" => return index,
                _ => index += 1,
            }
        }
        index
    }

    fn is_item(&self, index: usize) -> bool {
        matches!(
            self.text(index),
            "pub"
                | "fn"
                | "mod"
                | "use"
                | "struct"
                | "enum"
                | "impl"
                | "const"
                | "static"
                | "trait"
                | "type"
                | "unsafe"
                | "async"
                | "extern"
                | "macro_rules"
        )
    }

    /// The token behind the bracket that closes the one at `open`.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for index in open..self.tokens.len() {
            match self.text(index) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return index + 1;
            }
        }
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use crate::rust::SourceFile;

    fn parse(text: &str) -> SourceFile {
        SourceFile::parse("a/src/lib.rs", text)
    }

    fn shipped(text: &str) -> String {
        let file = parse(text);
        file.shipped().map(|index| file.token(index)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_items_for_tests_are_test_code() {
        assert_eq!(
            shipped("fn a() {} #[cfg(test)] mod tests { fn b() {} } fn c() {}"),
            "fn a ( ) { } fn c ( ) { }"
        );
        assert_eq!(shipped("#[cfg(test)] use x::y; fn c() {}"), "fn c ( ) { }");
        assert_eq!(shipped("#[test] #[should_panic] fn b() { [1; 2]; } use d;"), "use d ;");
        assert_eq!(shipped("struct S { #[cfg(test)] a: u8, b: u8 }"), "struct S { b : u8 }");
        assert_eq!(shipped("#![cfg(test)] fn a() {}"), "");
    }

    #[test]
    fn other_configurations_are_not_test_code() {
        assert_eq!(shipped("#[cfg(not(test))] fn a() {}").matches("fn").count(), 1);
        assert_eq!(shipped("#[cfg(feature = \"test\")] fn a() {}").matches("fn").count(), 1);
    }

    #[test]
    fn functions_know_their_names_lengths_and_whether_they_are_tests() {
        let file = parse(
            "impl A {\n    fn a(b: [u8; 2]) -> u8 {\n        if c { d }\n    }\n}\ntrait T { fn t(); }\n#[test]\nfn e() {}\n",
        );
        let of = |name: &str| {
            file.functions.iter().find(|function| function.name == name).expect("present").clone()
        };
        assert_eq!(of("a").length(), 3);
        assert!(!of("t").has_body);
        assert!(of("e").is_case && of("e").test && !of("a").test);
    }

    #[test]
    fn tests_inside_of_macro_calls_are_found() {
        let file = parse(
            "#[cfg(test)] mod tests { proptest! { #[test] fn any_x_is_y(x in 0..3u8) { } fn plain() {} } }",
        );
        let cases: Vec<_> = file
            .functions
            .iter()
            .filter(|function| function.is_case)
            .map(|function| &*function.name)
            .collect();
        assert_eq!(cases, ["any_x_is_y"]);
    }

    #[test]
    fn modules_for_tests_in_other_files_are_named() {
        let file = parse("#[cfg(test)]\nmod tests;\nmod other;\n#[cfg(test)] mod inline { mod x; }");
        let names: Vec<_> = file.test_modules.iter().map(|module| &*module.name).collect();
        assert_eq!(names, ["tests"]);
    }

    #[test]
    fn function_pointers_are_not_functions() {
        assert!(parse("type F = fn(u8) -> u8;").functions.is_empty());
    }
}
