//! Tables of a topology file, read with care: each value is of its kind, and no key is passed over.

use core::{fmt::Display, str::FromStr};

use toml::de::{DeTable, DeValue};

use super::{
    mistake::{Notes, Span, suggestion},
    quantity,
};

/// A table and what it is called in complaints.
pub(super) struct Section<'a, 'text> {
    pub(super) what: String,
    pub(super) at: Span,
    pub(super) table: &'a DeTable<'text>,
    pub(super) notes: &'a Notes<'text>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) at: Span,
}

impl<'a, 'text> Section<'a, 'text> {
    /// The table `value`, which `at` names; a complaint if it is something else.
    pub(super) fn of(
        what: String,
        at: Span,
        value: &'a DeValue<'text>,
        notes: &'a Notes<'text>,
    ) -> Option<Self> {
        match value {
            DeValue::Table(table) => Some(Self { what, at, table, notes }),
            other => {
                notes.add(&at, format!("{what} must be a table, not {}", kind(other)));
                None
            }
        }
    }

    /// The keys with their places, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'a str, Span, &'a DeValue<'text>)> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value.get_ref()))
            .collect();
        entries.sort_by_key(|(_, at, _)| at.start);
        entries
    }

    /// The table under a key of this one.
    pub(super) fn section(&self, key: &str, what: &str) -> Option<Self> {
        let (at, value) = self.value(key)?;
        Self::of(what.to_owned(), at, value, self.notes)
    }

    /// Complains of keys that are not known.
    pub(super) fn refuse_unknown(&self, known: &[&str]) {
        self.entries().into_iter().filter(|(key, ..)| !known.contains(key)).for_each(|(key, at, _)| {
            self.refuse_key(key, &at, known);
        });
    }

    /// Complains of a key.
    pub(super) fn refuse_key(&self, key: &str, at: &Span, known: &[&str]) {
        let near = suggestion(key, known.iter().copied());
        self.notes.add(at, format!("unknown key `{key}` in {}{near}", self.what));
    }

    /// A value, and where its key stands.
    fn value(&self, key: &str) -> Option<(Span, &'a DeValue<'text>)> {
        let (found, value) = self.table.get_key_value(key)?;
        Some((found.span(), value.get_ref()))
    }

    fn value_place(&self, key: &str) -> Option<(Span, &'a DeValue<'text>)> {
        let value = self.table.get(key)?;
        Some((value.span(), value.get_ref()))
    }

    fn complain_of_kind(&self, key: &str, at: &Span, value: &DeValue<'_>, wanted: &str) {
        let message = format!("`{key}` of {} must be {wanted}, not {}", self.what, kind(value));
        self.notes.add(at, message);
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Option<Placed<&'a str>> {
        let (at, value) = self.value_place(key)?;
        match value {
            DeValue::String(text) => Some(Placed { value: text.as_ref(), at }),
            other => {
                self.complain_of_kind(key, &at, other, "a text");
                None
            }
        }
    }

    /// A text, or a list of texts.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<Placed<&'a str>>> {
        let (at, value) = self.value_place(key)?;
        let DeValue::Array(array) = value else { return self.text(key).map(|text| vec![text]) };
        let _place_of_the_list = at;
        let texts = array.iter().filter_map(|element| match element.get_ref() {
            DeValue::String(text) => Some(Placed { value: text.as_ref(), at: element.span() }),
            other => {
                self.complain_of_kind(key, &element.span(), other, "a list of texts");
                None
            }
        });
        Some(texts.collect())
    }

    /// A whole number of a range.
    pub(super) fn number(&self, key: &str, least: i64, most: i64) -> Option<Placed<i64>> {
        let (at, value) = self.value_place(key)?;
        match integer(value) {
            Some(number) if (least..=most).contains(&number) => Some(Placed { value: number, at }),
            Some(number) => {
                let message = format!("`{key}` of {} is {number}, and must be {least} to {most}", self.what);
                self.notes.add(&at, message);
                None
            }
            None => {
                self.complain_of_kind(key, &at, value, "a whole number");
                None
            }
        }
    }

    /// Yes or no.
    pub(super) fn switch(&self, key: &str) -> Option<bool> {
        let (at, value) = self.value_place(key)?;
        if let DeValue::Boolean(value) = value {
            return Some(*value);
        }
        self.complain_of_kind(key, &at, value, "true or false");
        None
    }

    /// A time with its unit, in nanoseconds.
    pub(super) fn span_ns(&self, key: &str) -> Option<u64> {
        self.quantity(key, "a time with its unit, such as \"5 ms\"", quantity::nanoseconds)
    }

    /// A rate with its unit, in bits per second.
    pub(super) fn rate(&self, key: &str) -> Option<u64> {
        self.quantity(key, "a rate with its unit, such as \"10 Mbit/s\"", quantity::bits_per_second)
    }

    /// A share, in parts per million: a number of 0 to 1, or a text such as `"2 %"`.
    pub(super) fn share_ppm(&self, key: &str) -> Option<u32> {
        let wanted = "a share of 0 to 1, or such as \"2 %\"";
        let (at, value) = self.value_place(key)?;
        let share = match value {
            DeValue::String(text) => quantity::percent_ppm(text),
            DeValue::Float(number) => quantity::share_ppm(number.as_str()),
            DeValue::Integer(number) => quantity::share_ppm(number.as_str()),
            other => {
                self.complain_of_kind(key, &at, other, wanted);
                return None;
            }
        };
        if share.is_none() {
            self.notes.add(&at, format!("`{key}` of {} must be {wanted}", self.what));
        }
        share
    }

    fn quantity<T>(&self, key: &str, wanted: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, value) = self.value_place(key)?;
        let DeValue::String(text) = value else {
            self.complain_of_kind(key, &at, value, wanted);
            return None;
        };
        let quantity = read(text);
        if quantity.is_none() {
            self.notes.add(&at, format!("`{key}` of {}: `{text}` is not {wanted}", self.what));
        }
        quantity
    }

    /// A text that is read as something.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &str, wanted: &str) -> Option<Placed<T>> {
        let Placed { value: text, at } = self.text(key)?;
        match text.parse() {
            Ok(value) => Some(Placed { value, at }),
            Err(_) => {
                self.notes.add(&at, format!("`{key}` of {}: `{text}` is not {wanted}", self.what));
                None
            }
        }
    }
}

/// A whole number, if it is one that fits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// What a value is.
pub(super) const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
