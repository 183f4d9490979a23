//! What a kernel has reported: a bounded ring, read by dmesg(8).

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use rumpnet_proto::{Message, Severity};
use rumpnet_stack::time::Instant;

use crate::clock;

/// Messages kept.
const KEPT: usize = 1024;

/// Messages given in one answer, so that it stays below the limit of a message between processes.
const PAGE: usize = 128;

/// Bytes of one message.
const LONGEST: usize = 256;

/// The messages of a kernel.
pub(crate) struct Log {
    booted: Instant,
    kept: Mutex<Kept>,
}

struct Kept {
    messages: VecDeque<Message>,
    next: u64,
    echo: bool,
}

impl Log {
    pub(crate) const fn new(booted: Instant) -> Self {
        Self { booted, kept: Mutex::new(Kept { messages: VecDeque::new(), next: 1, echo: false }) }
    }

    /// Whether messages are written to standard error, too.
    pub(crate) fn echo(&self, echo: bool) {
        self.lock().echo = echo;
    }

    pub(crate) fn push(&self, severity: Severity, mut text: String) {
        let time_ns = (clock::now() - self.booted).as_nanos();
        text.truncate(text.floor_char_boundary(LONGEST));
        let mut kept = self.lock();
        if kept.echo {
            eprintln!("{text}");
        }
        if kept.messages.len() == KEPT {
            kept.messages.pop_front();
        }
        let number = kept.next;
        kept.next += 1;
        kept.messages.push_back(Message { number, time_ns, severity, text });
    }

    /// Messages from number `since` on, and where to go on.
    pub(crate) fn page(&self, since: u64) -> (Vec<Message>, u64) {
        let kept = self.lock();
        let wanted = kept.messages.iter().filter(|message| message.number >= since);
        let messages: Vec<_> = wanted.take(PAGE).cloned().collect();
        let next = messages.last().map_or_else(|| since.max(1), |last| last.number + 1);
        (messages, next)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_messages_make_room_and_pages_follow_each_other() {
        let log = Log::new(Instant::ZERO);
        for number in 0..KEPT + 10 {
            log.push(Severity::Info, format!("{number}"));
        }
        let mut texts = Vec::new();
        let mut since = 0;
        loop {
            let (messages, next) = log.page(since);
            if messages.is_empty() {
                break;
            }
            assert!(messages.len() <= PAGE);
            texts.extend(messages.into_iter().map(|message| message.text));
            since = next;
        }
        assert_eq!((texts.len(), texts[0].as_str(), texts[KEPT - 1].as_str()), (KEPT, "10", "1033"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let log = Log::new(Instant::ZERO);
        log.push(Severity::Info, "ü".repeat(LONGEST));
        assert_eq!(log.page(0).0[0].text.len(), LONGEST);
    }
}
