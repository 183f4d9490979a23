//! Mistakes in a topology file: where, what, and what was perhaps meant.

use core::{cell::RefCell, fmt, ops::Range};

use rumpnet_proto::nearest;

/// A place in the file, in bytes.
pub(super) type Span = Range<usize>;

/// Mistakes told of one file; what comes after them is mostly their consequence.
const TOLD: usize = 20;

/// A mistake in a file. Printed as `file:line:column: message`, as compilers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as the caller names it.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The character in the line, counted from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// The mistakes in a file, in its order; at least one, at most twenty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// The mistakes.
    pub fn all(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

impl fmt::Display for Mistakes {
    /// One a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(number, mistake)| {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{mistake}")
        })
    }
}

impl core::error::Error for Mistakes {}

/// A file being read, and what was found wrong with it so far.
pub(super) struct Notes<'text> {
    file: &'text str,
    text: &'text str,
    found: RefCell<Vec<(usize, Mistake)>>,
}

impl<'text> Notes<'text> {
    pub(super) const fn new(file: &'text str, text: &'text str) -> Self {
        Self { file, text, found: RefCell::new(Vec::new()) }
    }

    /// Notes a mistake.
    pub(super) fn add(&self, at: &Span, message: impl Into<String>) {
        let start = self.text.floor_char_boundary(at.start);
        let before = &self.text[..start];
        let in_line = before.rsplit('\n').next().unwrap_or_default();
        let column = u32::try_from(in_line.chars().count() + 1).unwrap_or(u32::MAX);
        let mistake =
            Mistake { file: self.file.to_owned(), line: self.line(at), column, message: message.into() };
        self.found.borrow_mut().push((start, mistake));
    }

    /// The line of a place, counted from 1.
    pub(super) fn line(&self, at: &Span) -> u32 {
        let before = &self.text[..self.text.floor_char_boundary(at.start)];
        u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX)
    }

    /// Whether anything was found so far.
    pub(super) fn is_clean(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All that was found, unless that is nothing.
    pub(super) fn into_result(self) -> Result<(), Mistakes> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(());
        }
        found.sort_by_key(|(start, _)| *start);
        found.dedup_by(|later, earlier| later == earlier);
        found.truncate(TOLD);
        Err(Mistakes(found.into_iter().map(|(_, mistake)| mistake).collect()))
    }
}

/// ` (did you mean …?)`, or nothing if no known word is near.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_near_is_suggested() {
        assert_eq!(suggestion("rute", ["router", "route"]), " (did you mean `route`?)");
        assert_eq!(suggestion("switch", ["router", "route"]), "");
    }

    #[test]
    fn mistakes_come_in_the_order_of_the_file_with_line_and_column() {
        let notes = Notes::new("a.toml", "one\nzwöi = 2\n");
        notes.add(&(11..12), "second");
        notes.add(&(0..1), "first");
        let mistakes = notes.into_result().unwrap_err();
        assert_eq!(mistakes.to_string(), "a.toml:1:1: first\na.toml:2:7: second");
    }
}
