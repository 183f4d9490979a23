//! A port's shell: the link behind it, and who sends and receives on it.
//!
//! Each direction has one drainer at a time. Whoever finds the sending flag free pulls the port until it is empty;
//! others leave their frames in the stack and go, so that a flow is never reordered.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rumpnet_stack::buffer::Frame;

use crate::{
    appetite::Appetite, closing, deference::Deference, identity::Claim, link::Link, shared::Shared,
    watch::Watch,
};

/// One port and its link.
pub(crate) struct Port {
    pub(crate) this: Weak<Self>,
    pub(crate) kernel: Weak<Shared>,
    /// The interface on it.
    pub(crate) name: String,
    /// The stack's number for it.
    pub(crate) number: u32,
    /// Taken only when the port is dropped.
    link: Option<Box<dyn Link>>,
    /// Its link address is nobody else's in this process for as long as it lives.
    _claim: Option<Claim>,
    sending: AtomicBool,
    /// Held by whoever reads, until the stack has what was read, so that a flow is never reordered.
    pub(crate) reading: Mutex<()>,
    stuck: Mutex<Stuck>,
    /// Whether its doorbell was rung and the reactor has not yet looked.
    pub(crate) rung: AtomicBool,
    /// Whether its descriptor only failed, and the reactor does not listen to it.
    pub(crate) deaf: AtomicBool,
    /// What follows the host's interface that the link is, if it is one.
    pub(crate) watch: OnceLock<Arc<Watch>>,
    pub(crate) appetite: Appetite,
    pub(crate) deference: Deference,
    /// The reactor's token of it; `usize::MAX` before it has one.
    pub(crate) token: AtomicUsize,
}

/// Frames that the link had no room for.
#[derive(Default)]
struct Stuck {
    frames: VecDeque<Frame>,
    /// Room was signalled before they were put here.
    room: bool,
}

impl Port {
    pub(crate) fn new(
        kernel: Weak<Shared>,
        name: &str,
        number: u32,
        link: Box<dyn Link>,
        claim: Option<Claim>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            kernel,
            name: name.to_owned(),
            number,
            link: Some(link),
            _claim: claim,
            sending: AtomicBool::new(false),
            reading: Mutex::new(()),
            stuck: Mutex::default(),
            rung: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            watch: OnceLock::new(),
            appetite: Appetite::default(),
            deference: Deference::default(),
            token: AtomicUsize::new(usize::MAX),
        })
    }

    pub(crate) fn link(&self) -> &dyn Link {
        self.link.as_deref().expect("a link is taken only in drop")
    }

    /// Becomes the one who sends; false if there is one already, who will see whatever was queued before this call.
    pub(crate) fn begin_sending(&self) -> bool {
        !self.sending.swap(true, Ordering::Acquire)
    }

    /// Lets the next one send. To be called under the stack's lock with the port empty, so that no frame is left behind.
    pub(crate) fn end_sending(&self) {
        self.sending.store(false, Ordering::Release);
    }

    /// Sends `frames` in order; those that the link refuses go to `failed`. False if it is full: the rest is kept, and
    /// the sending flag with it, until [`Self::take_stuck`].
    pub(crate) fn send(&self, frames: &mut VecDeque<Frame>, failed: &mut Vec<Frame>) -> bool {
        while !frames.is_empty() {
            match self.link().send_some(frames) {
                // Dropped where they lie: a frame is large, and moving it costs more than this loop.
                Ok(count) => drop(frames.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.keep(frames) {
                        return false;
                    }
                }
                Err(_) => failed.extend(frames.pop_front()),
            }
        }
        true
    }

    /// Keeps frames until there is room; true if room was signalled in the meantime and they must be tried again.
    fn keep(&self, frames: &mut VecDeque<Frame>) -> bool {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut stuck.room) {
            return true;
        }
        stuck.frames.append(frames);
        false
    }

    /// The link says that it has room: what waited for it, to be sent by the caller, who now holds the sending flag.
    pub(crate) fn take_stuck(&self) -> Option<VecDeque<Frame>> {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck.frames.is_empty() {
            stuck.room = self.sending.load(Ordering::Relaxed);
            return None;
        }
        Some(std::mem::take(&mut stuck.frames))
    }

    pub(crate) fn is_stuck(&self) -> bool {
        !self.stuck.lock().unwrap_or_else(PoisonError::into_inner).frames.is_empty()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            if let Some(watch) = self.watch.get() {
                watch.unfollow(link.host_index(), link.properties().host_end.as_deref());
            }
            closing::close(self.number, link);
        }
    }
}
