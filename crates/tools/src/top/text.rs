//! How a sample is drawn: as lines of text, or as a screen of them that is no larger than the terminal.

use core::{fmt::Write, net::SocketAddr};

use super::rates::{ConnectionRates, InterfaceRates, Rates};

/// To the first place of the screen.
const HOME: &str = "\x1b[H";
/// What stands behind a line or below the last one is not of this sample.
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";
/// The heads of tables are shown in reverse.
const REVERSE: (&str, &str) = ("\x1b[7m", "\x1b[0m");

/// A line; whether it is the head of a table.
type Line = (String, bool);

/// All of a sample, each line with its end.
pub(super) fn all(rates: &Rates) -> String {
    let blocks = blocks(rates);
    let lines = blocks.iter().flatten();
    lines.fold(String::new(), |text, (line, _)| text + line.trim_end() + "\n")
}

/// As much of a sample as fits on a screen of so many columns and rows.
pub(super) fn screen(rates: &Rates, (columns, rows): (u16, u16)) -> String {
    let (columns, rows) = (usize::from(columns.max(1)), usize::from(rows.max(1)));
    let mut text = HOME.to_owned();
    for (number, (line, is_head)) in fit(blocks(rates), rows).into_iter().enumerate() {
        let shown: String = line.chars().take(columns).collect();
        text += if number == 0 { "" } else { "\r\n" };
        text += &if is_head {
            format!("{}{shown:<columns$}{}", REVERSE.0, REVERSE.1)
        } else {
            shown.trim_end().to_owned()
        };
        text += REST_OF_LINE;
    }
    text + REST_OF_SCREEN
}

/// The blocks one below the other. Where they are too high the longest ones give way, and say so.
fn fit(blocks: Vec<Vec<Line>>, rows: usize) -> Vec<Line> {
    let mut heights: Vec<usize> = blocks.iter().map(Vec::len).collect();
    while heights.iter().sum::<usize>() > rows {
        match heights.iter_mut().max_by_key(|height| **height) {
            Some(height) if *height > 0 => *height -= 1,
            _ => break,
        }
    }
    let cut = blocks.into_iter().zip(heights).flat_map(|(mut block, height)| {
        let left_out = block.len() - height;
        block.truncate(height);
        if left_out > 0
            && height > 2
            && let Some((last, _)) = block.last_mut()
        {
            *last = format!("  and {} more", left_out + 1);
        }
        block
    });
    cut.collect()
}

/// Head, interfaces, connections and drops.
fn blocks(rates: &Rates) -> Vec<Vec<Line>> {
    let interfaces = rates.interfaces.iter().map(interface);
    let connections = rates.connections.iter().map(connection);
    let drops = rates.drops.iter().map(|drop| {
        let rate = short(drop.packets_per_second);
        format!("{rate:>9} {:>12} {}", drop.packets, drop.text)
    });
    let table = |head: String, rows: Vec<String>| -> Vec<Line> {
        if rows.is_empty() {
            return Vec::new();
        }
        [(String::new(), false), (head, true)]
            .into_iter()
            .chain(rows.into_iter().map(|row| (row, false)))
            .collect()
    };
    vec![
        head(rates),
        table(interface_head(), interfaces.collect()),
        table(connection_head(), connections.collect()),
        table(format!("{:>9} {:>12} {}", "DROPS/s", "ALL", "REASON"), drops.collect()),
    ]
}

fn head(rates: &Rates) -> Vec<Line> {
    let sockets = &rates.sockets;
    let since = if rates.span_ns == rates.uptime_ns { ", averages since then" } else { "" };
    let more = if sockets.more { ", and more" } else { "" };
    let dropped: f64 = rates.drops.iter().map(|drop| drop.packets_per_second).sum();
    let all: u64 = rates.drops.iter().map(|drop| drop.packets).sum();
    vec![
        (format!("top - {}, up {}{since}", rates.kernel, uptime(rates.uptime_ns)), false),
        (
            format!(
                "Sockets: {} TCP connected, {} listening, {} other, {} UDP, {} raw{more}; drops: {} a second, {all} in all",
                sockets.tcp_connected,
                sockets.tcp_listening,
                sockets.tcp_other,
                sockets.udp,
                sockets.raw,
                short(dropped)
            ),
            false,
        ),
    ]
}

fn uptime(nanos: u64) -> String {
    let seconds = nanos / 1_000_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    format!("{days}{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

fn interface_head() -> String {
    format!(
        "{:<15} {:<7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "INTERFACE", "LINK", "IN bit/s", "OUT bit/s", "IN pkt/s", "OUT pkt/s", "ERRORS/s", "DROPS/s"
    )
}

fn interface(rates: &InterfaceRates) -> String {
    format!(
        "{:<15} {:<7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        rates.name,
        rates.link_state,
        short(rates.input_bits_per_second),
        short(rates.output_bits_per_second),
        short(rates.input_packets_per_second),
        short(rates.output_packets_per_second),
        short(rates.errors_per_second),
        short(rates.drops_per_second)
    )
}

fn connection_head() -> String {
    format!(
        "{:<21} {:<21} {:<12} {:>9} {:>9} {:>8} {:>8} {:>8}",
        "LOCAL", "PEER", "STATE", "IN bit/s", "OUT bit/s", "RETX/s", "RTT ms", "SEND-Q"
    )
}

fn connection(rates: &ConnectionRates) -> String {
    let end = |end: Option<SocketAddr>| end.map_or_else(|| "*:*".to_owned(), |end| end.to_string());
    let rtt = rates.rtt_ns.map_or_else(|| "-".to_owned(), |nanos| format!("{:.3}", nanos as f64 / 1e6));
    format!(
        "{:<21} {:<21} {:<12} {:>9} {:>9} {:>8} {rtt:>8} {:>8}",
        end(rates.local),
        end(rates.remote),
        rates.state,
        short(rates.input_bits_per_second),
        short(rates.output_bits_per_second),
        short(rates.retransmitted_per_second),
        short(f64::from(rates.send_queue_bytes))
    )
}

/// A number in at most six characters: `0`, `0.3`, `12`, `1.50k`, `12.3M`, `940M`.
fn short(number: f64) -> String {
    let mut text = String::new();
    let units = ["", "k", "M", "G", "T", "P"];
    let (mut scaled, mut unit) = (number, 0);
    while scaled >= 999.5 && unit + 1 < units.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    let _infallible = match (unit, scaled) {
        (0, scaled) if scaled == scaled.trunc() || scaled >= 9.95 => write!(text, "{scaled:.0}"),
        (0, scaled) => write!(text, "{scaled:.1}"),
        (_, scaled) if scaled < 9.995 => write!(text, "{scaled:.2}{}", units[unit]),
        (_, scaled) if scaled < 99.95 => write!(text, "{scaled:.1}{}", units[unit]),
        (_, scaled) => write!(text, "{scaled:.0}{}", units[unit]),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        let shown = [0.0, 0.3, 9.96, 12.0, 999.4, 999.6, 1500.0, 12_345_678.0, 940e6, 1.25e9, 2e20];
        let expected = ["0", "0.3", "10", "12", "999", "1.00k", "1.50k", "12.3M", "940M", "1.25G", "200000P"];
        assert_eq!(shown.map(short), expected);
    }

    #[test]
    fn the_longest_block_gives_way_and_says_so() {
        let block =
            |name: &str, lines: usize| (0..lines).map(|line| (format!("{name}{line}"), false)).collect();
        let fitted = fit(vec![block("a", 2), block("b", 8), block("c", 3)], 9);
        let lines: Vec<_> = fitted.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(lines, ["a0", "a1", "b0", "b1", "b2", "  and 5 more", "c0", "c1", "c2"]);
        assert_eq!(fit(vec![block("a", 5)], 1).len(), 1);
        assert_eq!(fit(vec![block("a", 5)], 9).len(), 5);
    }
}
