//! A place in a line of a script, and what can be read from there on. No meaning: that is the parsers'.

/// What is left of a line.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    pub(crate) rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    pub(crate) fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    pub(crate) fn is_at_end(&mut self) -> bool {
        self.space();
        self.rest.is_empty()
    }

    /// Whether `text` is next.
    pub(crate) fn sees(&mut self, text: &str) -> bool {
        self.space();
        self.rest.starts_with(text)
    }

    /// Passes `text` if it is next.
    pub(crate) fn eats(&mut self, text: &str) -> bool {
        let sees = self.sees(text);
        if sees {
            self.rest = &self.rest[text.len()..];
        }
        sees
    }

    /// Passes the word `text` if it is next, and whole.
    pub(crate) fn eats_word(&mut self, text: &str) -> bool {
        let mut ahead = *self;
        let eaten = ahead.name() == text;
        if eaten {
            *self = ahead;
        }
        eaten
    }

    pub(crate) fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.eats(text) { Ok(()) } else { Err(format!("`{text}` expected before `{}`", self.rest)) }
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        self.space();
        let len = self.rest.find(|letter| !wanted(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    /// Up to the next white space.
    pub(crate) fn word(&mut self) -> &'a str {
        self.take(|letter| !letter.is_whitespace())
    }

    /// Letters, digits and underscores; perhaps none.
    pub(crate) fn name(&mut self) -> &'a str {
        self.take(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    }

    /// `"text"`, if it is next.
    pub(crate) fn quoted(&mut self) -> Result<Option<&'a str>, String> {
        if !self.eats("\"") {
            return Ok(None);
        }
        let (text, rest) = self.rest.split_once('"').ok_or("a text without an end")?;
        self.rest = rest;
        Ok(Some(text))
    }

    /// A decimal or hexadecimal number.
    pub(crate) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, String> {
        let before = *self;
        let sign = if self.eats("-") { -1 } else { 1 };
        let text = self.name();
        let value = match text.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let value = value.map_err(|_| format!("a number expected before `{}`", before.rest.trim()))?;
        T::try_from(sign * value).map_err(|_| format!("`{text}` is out of range"))
    }

    /// Seconds with a fraction, as microseconds.
    pub(crate) fn seconds(&mut self) -> Result<u64, String> {
        self.space();
        // An ellipsis ends a number, though it is made of dots.
        let end = self.rest.find("...").unwrap_or(self.rest.len());
        let (head, tail) = self.rest.split_at(end);
        let mut cursor = Self::new(head);
        let text = cursor.take(|letter| letter.is_ascii_digit() || letter == '.');
        if text.ends_with('.') {
            return Err(format!("`{text}` needs a digit behind its point"));
        }
        let seconds: f64 = text.parse().map_err(|_| format!("a time expected before `{head}{tail}`"))?;
        self.rest = &self.rest[text.len()..];
        Ok((seconds * 1e6).round() as u64)
    }
}
