//! Text to tokens and comments, after the lexical structure in the Rust Reference.
//!
//! Strings of all kinds, nested comments, lifetimes and raw identifiers are told apart; operators stay single characters.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word: identifier or keyword, without `r#`.
    Ident,
    /// `'a`.
    Lifetime,
    /// A number.
    Number,
    /// A string, byte string, C string or character, with its quotes.
    Text,
    /// One character of an operator or bracket.
    Punct,
}

/// A piece of source.
#[derive(Clone, Debug)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// The line it begins on, from 1.
    pub line: u32,
    /// The line it ends on.
    pub last_line: u32,
    start: usize,
    end: usize,
}

impl Token {
    /// Its text in `source`, from which it was read.
    pub fn text<'source>(&self, source: &'source str) -> &'source str {
        &source[self.start..self.end]
    }
}

/// A comment of any kind.
#[derive(Clone, Debug)]
pub struct Comment {
    /// The line it begins on, from 1.
    pub line: u32,
    /// With its slashes.
    pub text: String,
}

impl Comment {
    /// What it says, without slashes.
    pub fn body(&self) -> &str {
        self.text.trim_start_matches(['/', '*', '!']).trim_start()
    }
}

/// Takes `source` to pieces.
pub fn scan(source: &str) -> (Vec<Token>, Vec<Comment>) {
    let mut scanner = Scanner { source, at: 0, line: 1, tokens: Vec::new(), comments: Vec::new() };
    while let Some(next) = scanner.peek(0) {
        scanner.step(next);
    }
    (scanner.tokens, scanner.comments)
}

struct Scanner<'source> {
    source: &'source str,
    at: usize,
    line: u32,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
}

impl Scanner<'_> {
    fn step(&mut self, next: char) {
        if next.is_whitespace() {
            self.advance();
        } else if self.rest().starts_with("//") {
            self.comment(|scanner| scanner.take_while(|c| c != '\n'));
        } else if self.rest().starts_with("/*") {
            self.comment(Self::block_comment);
        } else if let Some(prefix) = string_prefix(self.rest()) {
            self.piece(Kind::Text, |scanner| scanner.string(prefix));
        } else if next == '\'' {
            self.quote();
        } else if self.rest().starts_with("r#") && self.peek(2).is_some_and(is_word_start) {
            self.skip(2);
            self.piece(Kind::Ident, |scanner| scanner.take_while(is_word));
        } else if is_word_start(next) {
            self.piece(Kind::Ident, |scanner| scanner.take_while(is_word));
        } else if next.is_ascii_digit() {
            self.piece(Kind::Number, Self::number);
        } else {
            self.piece(Kind::Punct, |scanner| scanner.skip(1));
        }
    }

    /// A character or a lifetime: only the former has a quote behind its first character or begins with a backslash.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') || self.peek(2) == Some('\'') {
            self.piece(Kind::Text, |scanner| scanner.string(Prefix { length: 0, hashes: None, quote: '\'' }));
        } else {
            self.piece(Kind::Lifetime, |scanner| {
                scanner.skip(1);
                scanner.take_while(is_word);
            });
        }
    }

    fn string(&mut self, prefix: Prefix) {
        self.skip(prefix.length + 1);
        if let Some(hashes) = prefix.hashes {
            let close = format!("\"{}", "#".repeat(hashes));
            while !self.rest().starts_with(&close) && self.peek(0).is_some() {
                self.advance();
            }
            self.skip(close.len());
            return;
        }
        while let Some(next) = self.peek(0) {
            self.skip(if next == '\\' { 2 } else { 1 });
            if next == prefix.quote {
                break;
            }
        }
    }

    fn number(&mut self) {
        self.take_while(is_word);
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.skip(1);
            self.take_while(is_word);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.peek(0).is_some() {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.skip(2);
            } else {
                self.advance();
            }
            if depth == 0 {
                break;
            }
        }
    }

    fn piece(&mut self, kind: Kind, read: impl FnOnce(&mut Self)) {
        let (start, line) = (self.at, self.line);
        read(self);
        self.tokens.push(Token { kind, line, last_line: self.line, start, end: self.at });
    }

    fn comment(&mut self, read: impl FnOnce(&mut Self)) {
        let (start, line) = (self.at, self.line);
        read(self);
        self.comments.push(Comment { line, text: self.source[start..self.at].to_owned() });
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn peek(&self, offset: usize) -> Option<char> {
        self.rest().chars().nth(offset)
    }

    fn advance(&mut self) {
        if let Some(next) = self.peek(0) {
            self.at += next.len_utf8();
            self.line += u32::from(next == '\n');
        }
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.advance();
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.advance();
        }
    }
}

/// What stands before the first character inside a string.
#[derive(Clone, Copy)]
struct Prefix {
    /// Letters and hashes before the quote.
    length: usize,
    /// How many hashes close a raw string; none for one with escapes.
    hashes: Option<usize>,
    quote: char,
}

fn string_prefix(rest: &str) -> Option<Prefix> {
    let letters = rest.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    if !matches!(&rest[..letters], "" | "b" | "c" | "r" | "br" | "cr") {
        return None;
    }
    let raw = rest[..letters].ends_with('r');
    let hashes = if raw { rest[letters..].find(|c| c != '#')? } else { 0 };
    let length = letters + hashes;
    match rest[length..].chars().next()? {
        '"' => Some(Prefix { length, hashes: raw.then_some(hashes), quote: '"' }),
        '\'' if &rest[..letters] == "b" => Some(Prefix { length, hashes: None, quote: '\'' }),
        _ => None,
    }
}

fn is_word_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        scan(source).0.iter().map(|token| token.text(source)).collect()
    }

    #[test]
    fn strings_of_every_kind_are_one_token() {
        for string in [
            r#""a\"b""#,
            r##"r#"a"b"#"##,
            r#"b"x""#,
            "b'\\''",
            "'x'",
            r"'\u{1f}'",
            "c\"y\"",
            "br\"z\"",
            "r\"\\\"",
        ] {
            assert_eq!(texts(string), [string]);
        }
    }

    #[test]
    fn words_that_begin_like_strings_are_words() {
        assert_eq!(texts("br b r#type crab"), ["br", "b", "type", "crab"]);
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(texts("&'a str 'b'"), ["&", "'a", "str", "'b'"]);
    }

    #[test]
    fn comments_nest_and_are_kept_apart() {
        let (tokens, comments) = scan("a /* x /* y */ z */ b // c\nd");
        assert_eq!(tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(comments.len(), 2);
        assert_eq!(comments[1].body(), "c");
    }

    #[test]
    fn ranges_do_not_swallow_numbers() {
        assert_eq!(texts("0..10 1.5 0x1f_u8"), ["0", ".", ".", "10", "1.5", "0x1f_u8"]);
    }

    #[test]
    fn a_string_knows_its_last_line() {
        let (tokens, _) = scan("\"a\nb\nc\"");
        assert_eq!((tokens[0].line, tokens[0].last_line), (1, 3));
    }

    #[test]
    fn what_never_closes_ends_with_the_file() {
        for open in ["\"abc", "r#\"abc", "/* abc", "'", "b'\\"] {
            scan(open);
        }
    }
}
