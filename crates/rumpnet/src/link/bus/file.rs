//! A bus in a file as a link: others on it may be other processes.
//!
//! A thread of each attachment waits for news and gives the kernel what has come, itself, so that a frame from another process costs one
//! switch of threads. While nothing is said it sleeps. A file that others have spoilt is begun anew; one that cannot be read or
//! written any more is a link that is down, and is looked at every second.

use std::{
    collections::VecDeque,
    io, mem,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use arrayvec::ArrayVec;
use bytes::Bytes;
use rumpnet_host::bus::{Access, BusFile, Reader, Turn};
use rumpnet_stack::buffer::{Frame, MAX_SLICES, Received};
use rumpnet_wire::{bus::Record, virtio};

use crate::{
    link::offload,
    pool::{BUFFER, Buffer, Pool},
    reactor::{Doorbell, Workspace},
};

/// How often a file that cannot be used is looked at.
const BROKEN: Duration = Duration::from_secs(1);

/// How long somebody who found others writing lets them.
const PAUSE: Duration = Duration::from_micros(500);

/// An attachment; it ends when this is dropped.
pub(super) struct FileBus {
    attached: Arc<Attached>,
    thread: Option<JoinHandle<()>>,
}

struct Attached {
    bus: BusFile,
    doorbell: Doorbell,
    inbox: Mutex<Inbox>,
    closed: AtomicBool,
    /// Whether the file cannot be used.
    broken: AtomicBool,
    /// Whether somebody looks out for the end of the others' writing.
    looking: AtomicBool,
}

/// What has come.
struct Inbox {
    reader: Reader,
    frames: VecDeque<Received>,
    /// How often nonsense was reported to the kernel.
    spoilt: u64,
    /// Whether anything is heard: the interface is up.
    listening: bool,
}

impl FileBus {
    /// Attaches to the bus at a path; it is made if it is not there. `ENOEXEC` if the file is something else, and what the host refuses.
    pub(super) fn attach(path: &Path, doorbell: Doorbell) -> io::Result<Self> {
        let bus = BusFile::open(path, Access::Member)?;
        let reader = bus.reader(false);
        let inbox = Inbox { reader, frames: VecDeque::new(), spoilt: 0, listening: false };
        let attached = Arc::new(Attached {
            bus,
            doorbell,
            inbox: Mutex::new(inbox),
            closed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            looking: AtomicBool::new(false),
        });
        let run = attached.clone();
        let thread = thread::Builder::new().name("bus".into()).stack_size(256 * 1024);
        let thread = thread.spawn(move || run.run())?;
        Ok(Self { attached, thread: Some(thread) })
    }

    /// Puts frames on the bus, as many as its turn allows, and returns how many; an error concerns the first. WouldBlock while others write,
    /// to be told by the doorbell when they do not.
    pub(super) fn send<'a>(&self, frames: impl IntoIterator<Item = &'a Frame>) -> io::Result<usize> {
        let Attached { bus, inbox, .. } = &*self.attached;
        let mut turn = match bus.begin() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.attached.look_out()?;
                return Err(error);
            }
            begun => begun?,
        };
        let mut count = 0;
        for frame in frames {
            match push(&mut turn, frame) {
                Ok(()) => count += 1,
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
            if turn.is_long() {
                break;
            }
        }
        let sent = turn.finish()?;
        // Whoever reads just now will leave them out himself.
        if let Ok(mut inbox) = inbox.try_lock() {
            inbox.reader.pass(&sent);
        }
        Ok(count)
    }

    /// Appends up to `limit` frames that have come.
    pub(super) fn receive(&self, pool: &Pool, limit: usize, out: &mut Vec<Received>) {
        self.attached.inbox().receive(&self.attached.bus, pool, limit, out);
    }

    /// Whether it hears what others send.
    pub(super) fn set_listening(&self, listening: bool) {
        let mut inbox = self.attached.inbox();
        inbox.listening = listening;
        inbox.reader.resume(&self.attached.bus);
        inbox.frames.clear();
    }

    /// Whether the file can be used.
    pub(super) fn is_well(&self) -> bool {
        !self.attached.broken.load(Ordering::Acquire)
    }

    /// Frames that were overwritten before they were read.
    pub(super) fn overruns(&self) -> u64 {
        self.attached.inbox().reader.overruns()
    }
}

impl Drop for FileBus {
    fn drop(&mut self) {
        self.attached.closed.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        if thread.thread().id() == thread::current().id() {
            return;
        }
        while !thread.is_finished() {
            // It may just have looked, and be about to wait.
            self.attached.bus.wake_own();
            thread::sleep(Duration::from_micros(100));
        }
        let _over = thread.join();
    }
}

impl Attached {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does.
    fn run(&self) {
        let mut workspace = Workspace::default();
        while !self.closed.load(Ordering::Acquire) {
            let seen = self.bus.news();
            if self.has_news() {
                self.doorbell.answer(&mut workspace);
            }
            let broken = self.broken.load(Ordering::Relaxed);
            self.bus.wait(seen, broken.then_some(BROKEN));
        }
    }

    /// Whether there is something to read; a file that others have spoilt is begun anew.
    fn has_news(&self) -> bool {
        let mut inbox = self.inbox();
        if !inbox.listening {
            inbox.reader.resume(&self.bus);
            return false;
        }
        let (news, broken) = match inbox.reader.has_news(&self.bus) {
            Ok(news) => (news, false),
            Err(_) => (false, self.bus.restore().is_err()),
        };
        drop(inbox);
        if self.broken.swap(broken, Ordering::AcqRel) != broken {
            self.doorbell.ring();
        }
        news
    }

    /// Sees to it that the doorbell rings when others do not write any more.
    fn look_out(self: &Arc<Self>) -> io::Result<()> {
        if self.looking.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let this = self.clone();
        let thread = thread::Builder::new().name("bus lock".into()).stack_size(64 * 1024);
        let spawned = thread.spawn(move || {
            while !this.closed.load(Ordering::Acquire) {
                thread::sleep(PAUSE);
                if this.bus.is_free() {
                    break;
                }
            }
            this.looking.store(false, Ordering::Release);
            this.doorbell.ring();
        });
        if spawned.is_err() {
            self.looking.store(false, Ordering::Release);
        }
        spawned.map(drop)
    }
}

impl Inbox {
    fn receive(&mut self, bus: &BusFile, pool: &Pool, limit: usize, out: &mut Vec<Received>) {
        if !self.listening {
            return;
        }
        let end = out.len() + limit;
        while out.len() < end {
            if self.frames.is_empty() && !self.read(bus, pool) {
                return;
            }
            let count = self.frames.len().min(end - out.len());
            out.extend(self.frames.drain(..count));
        }
    }

    /// Reads some of what has come; false if that is nothing.
    fn read(&mut self, bus: &BusFile, pool: &Pool) -> bool {
        let mut buffer = pool.take();
        // What spoils a file is seen by the thread, which looks after it.
        let Ok(batch) = self.reader.read(bus, buffer.as_mut_slice()) else { return false };
        let (is_something, sender) = (!batch.bytes().is_empty(), bus.sender());
        let foreign: Vec<_> = batch.filter(|(record, _)| record.sender != sender).collect();
        let whole = foreign.iter().any(|(_, frame)| !Buffer::is_small(frame.len()));
        if whole {
            let bytes = buffer.into_bytes(0, BUFFER);
            self.frames.extend(foreign.into_iter().map(|(record, frame)| {
                if Buffer::is_small(frame.len()) {
                    return received(&record, Bytes::copy_from_slice(&bytes[frame]));
                }
                received(&record, bytes.slice(frame)).pinning(BUFFER)
            }));
        } else {
            let bytes = buffer.as_ref();
            let copied = foreign
                .into_iter()
                .map(|(record, frame)| received(&record, Bytes::copy_from_slice(&bytes[frame])));
            self.frames.extend(copied);
        }
        // Nonsense in the ring becomes a frame that the kernel counts as a runt.
        let spoilt = self.reader.spoilt();
        for _ in mem::replace(&mut self.spoilt, spoilt)..spoilt {
            self.frames.push_back(Received::new(Bytes::new(), offload::impossible()));
        }
        is_something || !self.frames.is_empty()
    }
}

/// Adds a frame to what is put on the bus.
fn push(turn: &mut Turn<'_>, frame: &Frame) -> io::Result<()> {
    let joined;
    let mut pieces = ArrayVec::<&[u8], { MAX_SLICES + 1 }>::new();
    pieces.push(frame.headers.as_slice());
    let payload = frame.payload.slices();
    if payload.len() <= MAX_SLICES {
        pieces.extend(payload.iter().map(|slice| &slice[..]));
    } else {
        joined = frame.payload.to_bytes();
        pieces.push(&joined);
    }
    turn.push(None, &offload::to_header(frame), &pieces)
}

/// A frame, with what its sender says of it: lies in that are the stack's to find.
fn received(record: &Record, bytes: Bytes) -> Received {
    let offload = match virtio::Header::parse(&record.offload) {
        Ok((header, _)) => offload::to_offload(&header),
        Err(_) => offload::impossible(),
    };
    Received::new(bytes, offload)
}
