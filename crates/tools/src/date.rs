//! A point in time as ctime(3) writes it, without its end of line, in universal time: the tools know no zones.

use core::time::Duration;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [(&str, u64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

/// `Thu Jan  1 00:00:00 1970`, so long after it.
pub(crate) fn ctime(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let weekday = DAYS[(day % 7) as usize];
    // The calendar repeats itself every 400 years.
    let mut year = 1970 + day / 146_097 * 400;
    day %= 146_097;
    while day >= days_of(year) {
        day -= days_of(year);
        year += 1;
    }
    let mut named = MONTHS[11].0;
    for (month, length) in MONTHS {
        let length = if month == "Feb" { length + days_of(year) - 365 } else { length };
        if day < length {
            named = month;
            break;
        }
        day -= length;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday} {named} {:2} {hour:02}:{minute:02}:{second:02} {year}", day + 1)
}

/// The days of a year of the Gregorian calendar.
const fn days_of(year: u64) -> u64 {
    if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_399, "Mon Feb 28 23:59:59 2000"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (1_709_251_199, "Thu Feb 29 23:59:59 2024"),
            (1_735_689_599, "Tue Dec 31 23:59:59 2024"),
            (4_107_542_400, "Mon Mar  1 00:00:00 2100"),
            (16_725_225_600, "Fri Jan  1 00:00:00 2500"),
        ] {
            assert_eq!(ctime(Duration::from_secs(seconds)), text);
        }
    }
}
