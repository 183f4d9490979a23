//! Quantities with their units: times, rates, shares.

/// A time such as `5 ms`, in nanoseconds.
pub(super) fn nanoseconds(text: &str) -> Option<u64> {
    let (number, unit) = apart(text)?;
    let nanos = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "min" => 60e9,
        _ => return None,
    };
    whole(number * nanos)
}

/// A rate such as `10 Mbit/s`, in bits per second; 0 is none.
pub(super) fn bits_per_second(text: &str) -> Option<u64> {
    let (number, unit) = apart(text)?;
    let bits = match unit {
        "bit/s" => 1.0,
        "kbit/s" => 1e3,
        "Mbit/s" => 1e6,
        "Gbit/s" => 1e9,
        _ => return None,
    };
    whole(number * bits).filter(|rate| *rate > 0)
}

/// A share such as `2 %`, in parts per million.
pub(super) fn percent_ppm(text: &str) -> Option<u32> {
    let (number, unit) = apart(text)?;
    (unit == "%").then_some(number / 100.0).and_then(ppm)
}

/// A share of 0 to 1, in parts per million.
pub(super) fn share_ppm(text: &str) -> Option<u32> {
    text.parse().ok().and_then(ppm)
}

fn ppm(share: f64) -> Option<u32> {
    (0.0..=1.0).contains(&share).then(|| (share * 1e6).round() as u32)
}

/// A number and what stands behind it.
fn apart(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// As a whole number, if it is not too large for one.
fn whole(number: f64) -> Option<u64> {
    // What is above fits, and no time or rate comes near it.
    (0.0..=1e18).contains(&number).then(|| number.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_units_and_without_are_not() {
        assert_eq!(nanoseconds("5 ms"), Some(5_000_000));
        assert_eq!(nanoseconds("1.5s"), Some(1_500_000_000));
        assert_eq!(nanoseconds("20 µs"), Some(20_000));
        assert_eq!(bits_per_second("10 Mbit/s"), Some(10_000_000));
        assert_eq!(percent_ppm("2.5 %"), Some(25_000));
        assert_eq!(share_ppm("0.01"), Some(10_000));
        for wrong in ["5", "ms", "", "-5 ms", "5 parsecs", "1e999 s", "99999999999999999999 s", "5 ms later"]
        {
            assert_eq!(nanoseconds(wrong), None, "{wrong}");
        }
        assert_eq!(bits_per_second("10 MB/s"), None);
        assert_eq!(bits_per_second("0 bit/s"), None);
        assert_eq!(percent_ppm("101 %"), None);
        assert_eq!(share_ppm("1.5"), None);
        assert_eq!(share_ppm("nan"), None);
    }
}
