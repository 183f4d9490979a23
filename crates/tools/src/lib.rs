#![forbid(unsafe_code)]
//! ifconfig, arp, ping, tcpdump: words to requests, replies to reports, reports to text or JSON.

mod console;

pub use console::{CaptureSummary, Closed, Console};
