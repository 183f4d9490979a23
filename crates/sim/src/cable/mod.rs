//! Cables: what joins interfaces and strangers, and what may befall the frames that cross.

mod loose;
mod rule;
pub(crate) mod state;

use std::rc::Rc;

use rumpnet_stack::Offloads;

use crate::{Conditions, Host, Interface, shared::Shared};

pub use loose::LooseCable;
pub(crate) use rule::determine_verdicts;
pub use rule::{Passing, RuleHandle, Verdict};
pub use state::CableCounters;

/// A cable between two interfaces, or a hub that joins any number: what one end sends, all others hear.
///
/// A new cable is perfect. Its conditions can be changed at any time; clones are the same cable.
#[derive(Clone)]
pub struct Cable {
    pub(crate) shared: Rc<Shared>,
    pub(crate) number: usize,
}

impl Cable {
    /// Plugs an interface in. It is pulled out of the cable that it was in before.
    ///
    /// # Panics
    ///
    /// If the cable carries Ethernet frames and the interface IP packets, or the other way round; if there is no such interface.
    pub fn connect(&self, interface: &Interface) -> Self {
        interface.plug_into(self.number);
        self.clone()
    }

    /// Lets an interface of that name be plugged in when the host creates it, as by `ifconfig virt0 create`.
    pub fn connect_when_created(&self, host: &Host, name: &str) -> Self {
        let awaited = (host.number, name.to_owned());
        self.shared.with(|core| core.cables[self.number].awaited.push(awaited));
        self.clone()
    }

    /// Pulls an interface out.
    pub fn disconnect(&self, interface: &Interface) {
        if self.end_of(interface).is_some() {
            interface.unplug();
        }
    }

    /// Changes the conditions for what every end sends, those plugged in later too.
    pub fn set(&self, change: impl Fn(&mut Conditions)) -> Self {
        self.shared.with(|core| {
            let state = &mut core.cables[self.number];
            change(&mut state.conditions);
            state.ends.iter_mut().for_each(|end| change(&mut end.conditions));
            core.follow_offloads(self.number);
        });
        self.clone()
    }

    /// Changes the conditions for what one end sends.
    ///
    /// # Panics
    ///
    /// If the interface is not plugged in here.
    pub fn set_from(&self, interface: &Interface, change: impl FnOnce(&mut Conditions)) -> Self {
        let end = self.expect_end(interface);
        self.shared.with(|core| {
            change(&mut core.cables[self.number].ends[end].conditions);
            core.follow_offloads(self.number);
        });
        self.clone()
    }

    /// What the cable can carry of partial checksums and super-frames; its ends follow. A new cable carries all.
    pub fn set_offloads(&self, offloads: Offloads) -> Self {
        self.shared.with(|core| {
            core.cables[self.number].offloads = offloads;
            core.follow_offloads(self.number);
        });
        self.clone()
    }

    /// What the ends may leave to each other now: what the cable and all of them can do.
    pub fn offloads(&self) -> Offloads {
        self.shared.with(|core| core.cables[self.number].negotiated)
    }

    /// Cuts the cable: its ends lose their carrier, and what is under way is lost.
    pub fn cut(&self) {
        self.set_cut(true);
    }

    /// Cuts one direction: what this end sends is lost, though every end has a carrier.
    ///
    /// # Panics
    ///
    /// If the interface is not plugged in here.
    pub fn cut_from(&self, interface: &Interface) {
        let end = self.expect_end(interface);
        self.shared.with(|core| core.cables[self.number].ends[end].is_mute = true);
    }

    /// Mends the cable, in every direction.
    pub fn mend(&self) {
        self.set_cut(false);
    }

    fn set_cut(&self, cut: bool) {
        self.shared.with(|core| {
            let state = &mut core.cables[self.number];
            state.is_cut = cut;
            if cut {
                state.cuts += 1;
            } else {
                state.ends.iter_mut().for_each(|end| end.is_mute = false);
            }
            core.follow_carrier(self.number);
            core.settle_all();
        });
    }

    /// Lets `decide` judge every frame that an end sends, after the rules that were made before.
    pub fn rule(&self, decide: impl FnMut(Passing<'_>) -> Verdict + 'static) -> RuleHandle {
        let (rule, handle) = rule::Rule::new(decide);
        self.shared.with(|core| core.cables[self.number].rules.push(rule));
        handle
    }

    /// What has happened on it.
    pub fn counters(&self) -> CableCounters {
        self.shared.with(|core| core.cables[self.number].counters)
    }

    fn end_of(&self, interface: &Interface) -> Option<usize> {
        interface.plug().filter(|(cable, _)| *cable == self.number).map(|(_, end)| end)
    }

    fn expect_end(&self, interface: &Interface) -> usize {
        self.end_of(interface).unwrap_or_else(|| panic!("{interface} is not plugged into this cable"))
    }
}
