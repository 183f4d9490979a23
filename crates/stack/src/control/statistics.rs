//! Statistics: all counters and drop reasons that are not zero.

use rumpnet_proto::{Counter, DropReason, Reply};

use crate::Stack;

impl Stack {
    pub(super) fn statistics(&self) -> Reply {
        let counters = Counter::ALL.iter().map(|counter| (*counter, self.counter(*counter)));
        let drops = DropReason::ALL.iter().map(|reason| (*reason, self.drops(*reason)));
        Reply::Statistics {
            counters: counters.filter(|(_, count)| *count > 0).collect(),
            drops: drops.filter(|(_, count)| *count > 0).collect(),
        }
    }
}
