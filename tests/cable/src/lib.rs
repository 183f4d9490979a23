#![forbid(unsafe_code)]
//! A bad cable between two taps of this host: loss, delay, a narrow way with a queue, overtaking, duplicates and flipped bits.
//!
//! [`end`] opens a tap without offloads, so that super-frames are cut before anything befalls them; a [`TapCable`] carries frames between two
//! of them, wherever their interfaces are. The faults are those of simulated cables ([`LooseCable`]), on this host's clock. Tests and the bench share it.
//! [`host_end`] and
//! [`bridged_end`] say what stands at an end. Not here: network namespaces.

mod capture;
mod carrier;
mod place;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rumpnet_host::{HostError, Tap, TapOptions};
use rumpnet_sim::{CableCounters, Conditions, LooseCable};

use capture::Capture;
use carrier::Carrier;
pub use place::{bridged_end, host_end, use_cubic};

/// Frames that wait in a tap for the cable; a burst of a whole window fits.
const QUEUE: u32 = 10_000;

/// The tap `name` as one end of a cable: made in the thread's network namespace if it is not there, up, and without offloads.
pub fn end(name: &str) -> Result<Tap, HostError> {
    let mut tap = Tap::open(&TapOptions { queue_len: Some(QUEUE), ..TapOptions::new(name) })?;
    tap.refuse_offloads()?;
    Ok(tap)
}

/// What the carrying thread and its owner share.
struct Shared {
    /// Conditions that the carrier has not yet heard of.
    change: Mutex<Option<Conditions>>,
    counters: Mutex<CableCounters>,
    capture: Mutex<Option<Capture>>,
    ends: AtomicBool,
    punctuality: Mutex<Punctuality>,
}

/// How well the host's clock was followed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Punctuality {
    /// Frames that were delivered.
    pub frames: u64,
    /// How much later than they should have been, all together.
    pub late: Duration,
    /// How much the latest of them was.
    pub latest: Duration,
    /// Frames that an end refused, because its interface was down.
    pub refused: u64,
}

/// A cable that lies between two taps until it is dropped.
pub struct TapCable {
    shared: Arc<Shared>,
    carrier: Option<JoinHandle<()>>,
}

impl TapCable {
    /// Lays a cable between two [ends](end), with the conditions for what each of them sends.
    pub fn lay(ends: [Tap; 2], seed: u64, conditions: [Conditions; 2]) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            change: Mutex::new(None),
            counters: Mutex::new(CableCounters::default()),
            capture: Mutex::new(None),
            ends: AtomicBool::new(false),
            punctuality: Mutex::new(Punctuality::default()),
        });
        let carried = Arc::clone(&shared);
        // The cable itself belongs to its thread alone.
        let carry = move || Carrier::new(ends, carried, LooseCable::new(seed, conditions)).run();
        let carrier = thread::Builder::new().name("cable".into()).spawn(carry)?;
        Ok(Self { shared, carrier: Some(carrier) })
    }

    /// Changes the conditions of both directions, from the next frame on that the cable looks at.
    pub fn set(&self, conditions: Conditions) {
        *lock(&self.shared.change) = Some(conditions);
    }

    /// What has happened on it.
    pub fn counters(&self) -> CableCounters {
        *lock(&self.shared.counters)
    }

    /// How late it was.
    pub fn punctuality(&self) -> Punctuality {
        *lock(&self.shared.punctuality)
    }

    /// From now on, frames are recorded as the machine at end 0 sends and gets them, but for those with a flipped bit.
    pub fn begin_capture(&self) {
        *lock(&self.shared.capture) = Some(Capture::begin());
    }

    /// The recording as a pcapng file; nothing if none was begun.
    pub fn end_capture(&self) -> Vec<u8> {
        lock(&self.shared.capture).take().map(Capture::into_bytes).unwrap_or_default()
    }
}

impl Drop for TapCable {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            let _panicked = carrier.join();
        }
    }
}

/// A panic elsewhere leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
