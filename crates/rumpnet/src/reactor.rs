//! The reactor: one loop that reads links and runs timers, for all kernels of a process or for one.
//!
//! It looks only at what is ready: descriptors that poll ready, links whose doorbell was rung, and kernels whose deadline
//! has come. A kernel that does nothing costs it nothing. Closing a tap and rtnetlink, which are slow, never run here.

use std::{
    collections::{BTreeMap, VecDeque},
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rumpnet_host::readiness::{Event, Interest, Poller};
use rumpnet_stack::{buffer::Received, time::Instant};

use crate::{
    clock,
    deference::PAUSE,
    link::Signal,
    passed::Share,
    pool::Pool,
    port::Port,
    seat::Seat,
    shared::Shared,
    watch::{Watch, Watches},
};

/// Frames read from a link before the stack is given them.
const BATCH: usize = 64;

/// Batches read from a link before others have their turn.
const BATCHES: usize = 8;

/// The loop of one process or one driven kernel.
pub(crate) struct Reactor {
    poller: Poller,
    state: Mutex<State>,
    rung: Mutex<VecDeque<Rung>>,
    /// Whether somebody waits in the poller, and must be woken for news.
    sleeping: AtomicBool,
    /// When the poller's alarm ends that wait, in nanoseconds; `u64::MAX` if it is not set.
    alarm: AtomicU64,
    turning: Mutex<Workspace>,
    pub(crate) pool: Pool,
}

/// What is registered.
#[derive(Default)]
struct State {
    sources: Vec<Option<Source>>,
    free: Vec<usize>,
    watches: Watches,
    /// Kernels by their deadline; the number makes each key its own.
    deadlines: BTreeMap<(u64, usize), Weak<Shared>>,
}

/// A descriptor of the poller.
#[derive(Clone)]
enum Source {
    Port(Weak<Port>),
    Watch(Weak<Watch>),
    News(Weak<dyn News>),
}

/// Who is told of news of a descriptor; what is the case is told once.
pub(crate) trait News: Send + Sync {
    /// The descriptor has news.
    fn on_event(&self, event: Event);
}

/// What waits for a visit.
enum Rung {
    Port(Weak<Port>),
    Share(Arc<Share>),
}

/// What a turn works with.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(crate) events: Vec<Event>,
    batch: Vec<Received>,
    pool: Pool,
    /// Links that the reactor has stepped back from.
    away: Vec<Away>,
}

/// A link that is left to the threads that wait, for a while.
struct Away {
    port: Weak<Port>,
    /// How often they had waited when the reactor looked last.
    visits: u32,
    until: Instant,
    looked: bool,
}

impl Workspace {
    /// One whose buffers are those of others, too.
    pub(crate) fn sharing(pool: &Pool) -> Self {
        Self { pool: pool.clone(), ..Self::default() }
    }
}

/// How a link that has no descriptor signals: ringing makes the reactor look at its port.
#[derive(Clone)]
pub struct Doorbell {
    reactor: Arc<Reactor>,
    port: Weak<Port>,
}

impl Doorbell {
    /// Says that there is something to read, room again, or another state of the link.
    pub fn ring(&self) {
        self.reactor.ring(&self.port);
    }

    /// Has the link read here and now, by a thread that belongs to it; the reactor does it for a driven kernel, whose calls are its caller's.
    pub(crate) fn answer(&self, workspace: &mut Workspace) {
        let Some(port) = self.port.upgrade() else { return };
        let Some(kernel) = port.kernel.upgrade() else { return };
        if kernel.driven {
            return self.ring();
        }
        while self.reactor.receive_batch(&port, &kernel, BATCH, workspace).0 == BATCH {
            std::thread::yield_now();
        }
    }
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let pool = Pool::default();
        Ok(Self {
            poller: Poller::new()?,
            state: Mutex::default(),
            rung: Mutex::default(),
            sleeping: AtomicBool::new(false),
            alarm: AtomicU64::new(u64::MAX),
            turning: Mutex::new(Workspace::sharing(&pool)),
            pool,
        })
    }

    /// The reactor of this process, with its thread; both live until the process ends.
    pub(crate) fn of_process() -> io::Result<Arc<Self>> {
        static REACTOR: Mutex<Option<Arc<Reactor>>> = Mutex::new(None);
        let mut running = lock(&REACTOR);
        if let Some(reactor) = running.as_ref() {
            return Ok(reactor.clone());
        }
        let reactor = Arc::new(Self::new()?);
        let run = reactor.clone();
        let thread = std::thread::Builder::new().name("rumpnet".into()).stack_size(256 * 1024);
        thread.spawn(move || {
            loop {
                run.turn(None);
            }
        })?;
        Ok(running.insert(reactor).clone())
    }

    /// What polls readable when a turn has something to do; deadlines are not in it.
    pub(crate) fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Waits until something is ready, at most until `limit`, and does it.
    pub(crate) fn turn(&self, limit: Option<Instant>) {
        let mut turning = lock(&self.turning);
        let back = turning.away.iter().map(|away| away.until).min();
        self.sleep(&mut turning.events, limit.into_iter().chain(back).min());
        let mut events = mem::take(&mut turning.events);
        for event in events.drain(..) {
            match self.source(event.token) {
                Some(Source::Port(port)) => {
                    if let Some(port) = port.upgrade() {
                        self.on_event(&port, event, &mut turning);
                    }
                }
                Some(Source::Watch(watch)) => {
                    if let Some(watch) = watch.upgrade() {
                        watch.receive();
                    }
                }
                Some(Source::News(whose)) => whose.upgrade().iter().for_each(|whose| whose.on_event(event)),
                None => {}
            }
        }
        turning.events = events;
        let rung = lock(&self.rung).len();
        for _ in 0..rung {
            let next = lock(&self.rung).pop_front();
            match next {
                Some(Rung::Port(port)) => {
                    if let Some(port) = port.upgrade() {
                        port.rung.store(false, Ordering::Release);
                        self.visit(&port, &mut turning);
                    }
                }
                Some(Rung::Share(share)) => {
                    if share.turn() {
                        self.ring_share(&share);
                    }
                }
                None => break,
            }
        }
        if back.is_some() {
            self.look_back(&mut turning);
        }
        drop(turning);
        self.run_due();
    }

    /// Listens again to links that nobody has read since the last look.
    fn look_back(&self, turning: &mut Workspace) {
        let now = clock::now();
        turning.away.retain_mut(|away| {
            if now < away.until {
                return true;
            }
            let Some(port) = away.port.upgrade() else { return false };
            let Some(kernel) = port.kernel.upgrade() else { return false };
            let visits = mem::replace(&mut away.visits, kernel.seats.visits());
            away.until = now + PAUSE;
            let waited = away.visits != visits;
            if !mem::replace(&mut away.looked, true) {
                port.deference.on_first_look(waited);
            }
            let stays = waited && port.deference.away.load(Ordering::Acquire);
            if !stays {
                self.step_forward(&port);
            }
            stays
        });
    }

    /// Waits in the poller unless there is work already.
    fn sleep(&self, events: &mut Vec<Event>, limit: Option<Instant>) {
        self.sleeping.store(true, Ordering::SeqCst);
        self.set_alarm();
        let patience = if lock(&self.rung).is_empty() {
            limit.map(|limit| Duration::from(limit - clock::now()))
        } else {
            Some(Duration::ZERO)
        };
        if self.poller.wait(events, patience).is_err() {
            events.clear();
        }
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Sees to it that the wait ends by the earliest deadline. An alarm that is too early stays, since a wait that ends for
    /// nothing is cheaper than moving it each time.
    fn set_alarm(&self) {
        let deadline = self.next_deadline().map_or(u64::MAX, Instant::as_nanos);
        if deadline < self.alarm.load(Ordering::SeqCst) {
            let left = Instant::from_nanos(deadline) - clock::now();
            let set = self.poller.set_alarm(left.into());
            debug_assert!(set.is_ok(), "a timer takes any span");
            self.alarm.store(deadline, Ordering::SeqCst);
        }
    }

    fn source(&self, token: u64) -> Option<Source> {
        lock(&self.state).sources.get(token as usize)?.clone()
    }

    fn on_event(&self, port: &Port, event: Event, workspace: &mut Workspace) {
        if event.writable || event.failed {
            self.watch(port, false);
            if let Some(kernel) = port.kernel.upgrade() {
                kernel.on_room(port);
            }
        }
        if event.readable || event.failed {
            self.receive(port, workspace);
        }
    }

    /// A link rang: it may have frames, room, or another state.
    fn visit(&self, port: &Port, workspace: &mut Workspace) {
        let Some(kernel) = port.kernel.upgrade() else { return };
        kernel.follow_link(port);
        kernel.on_room(port);
        self.receive(port, workspace);
    }

    /// Reads what a link has and gives it to the stack, batch by batch. What is left is signalled again.
    fn receive(&self, port: &Port, workspace: &mut Workspace) {
        let Some(kernel) = port.kernel.upgrade() else { return };
        let rings = matches!(port.link().signal(), Signal::Doorbell);
        let mut bytes = 0;
        for _ in 0..BATCHES {
            let asked = if rings { BATCH } else { port.appetite.determine(BATCH) };
            let (got, len) = self.receive_batch(port, &kernel, asked, workspace);
            bytes += len;
            let goes_on = if rings { got == asked } else { port.appetite.note(asked, got) };
            if !goes_on {
                return self.defer(port, &kernel, bytes, workspace);
            }
            // In a flood whoever reads the sockets may wait for this very CPU, and what he does not take in time is lost.
            std::thread::yield_now();
        }
        if rings {
            self.ring(&port.this);
        }
    }

    /// After so many bytes were read: steps back if threads that wait would have read them a moment later.
    fn defer(&self, port: &Port, kernel: &Shared, bytes: usize, workspace: &mut Workspace) {
        let visits = kernel.seats.visits();
        if visits == 0 {
            return;
        }
        let now = clock::now();
        if port.deference.on_woken(now, bytes) && self.step_back(port) {
            workspace.away.push(Away { port: port.this.clone(), visits, until: now + PAUSE, looked: false });
        }
    }

    /// Does what a thread in the reader's seat has been told of: reads its links until they are empty, for nobody else may
    /// have been told. What is not to be read is left to the reactor.
    pub(crate) fn receive_seated(&self, workspace: &mut Workspace) {
        let mut events = mem::take(&mut workspace.events);
        for event in events.drain(..) {
            let Some(Source::Port(port)) = self.source(event.token) else { continue };
            let Some(port) = port.upgrade() else { continue };
            let Some(kernel) = port.kernel.upgrade() else { continue };
            let emptied =
                (0..BATCHES).any(|_| self.receive_batch(&port, &kernel, BATCH, workspace).0 < BATCH);
            if event.failed || !emptied {
                self.ring(&port.this);
            }
        }
        workspace.events = events;
    }

    /// Reads up to `limit` frames and gives them to the stack; returns how many there were, and their bytes.
    fn receive_batch(
        &self,
        port: &Port,
        kernel: &Shared,
        limit: usize,
        workspace: &mut Workspace,
    ) -> (usize, usize) {
        let Workspace { batch, pool, .. } = workspace;
        let reading = lock(&port.reading);
        if port.link().receive(pool, limit, batch).is_err() {
            self.on_far_end_gone(port, kernel);
        }
        let (count, bytes) = (batch.len(), batch.iter().map(Received::len).sum());
        if count > 0 {
            kernel.enter(|stack, now| {
                stack.receive(now, port.number, batch.drain(..));
                // The next reader's frames come after these; what these cause is not his business.
                drop(reading);
            });
        }
        (count, bytes)
    }

    /// A descriptor that only fails would make the loop spin: it is left alone until its state changes for the better.
    fn on_far_end_gone(&self, port: &Port, kernel: &Shared) {
        if let Signal::Descriptor(fd) = port.link().signal() {
            self.unregister(kernel, fd);
            port.deaf.store(true, Ordering::Release);
        }
        kernel.follow_link(port);
    }

    /// A link's descriptor is another file now, of which the poller knows nothing.
    pub(crate) fn expect_again(&self, port: &Port) {
        port.deaf.store(true, Ordering::Release);
    }

    /// Listens again to a link whose far end came back.
    pub(crate) fn listen_again(&self, port: &Port) {
        if port.deaf.swap(false, Ordering::AcqRel) {
            let token = port.token.load(Ordering::Acquire) as u64;
            if let Signal::Descriptor(fd) = port.link().signal()
                && self.register(port, fd, token).is_err()
            {
                port.deaf.store(true, Ordering::Release);
            }
        }
    }

    /// The interface that polls descriptor `number`, which thus was not inherited for another.
    pub(crate) fn holder(&self, number: RawFd) -> Option<String> {
        let sources = lock(&self.state).sources.clone();
        let ports = sources.into_iter().flatten().filter_map(|source| match source {
            Source::Port(port) => port.upgrade(),
            Source::Watch(_) | Source::News(_) => None,
        });
        let is_its = |port: &Arc<Port>| matches!(port.link().signal(), Signal::Descriptor(fd) if fd.as_raw_fd() == number);
        ports.into_iter().find(is_its).map(|port| port.name.clone())
    }

    /// Begins to look at a port.
    pub(crate) fn watch_port(self: &Arc<Self>, port: &Arc<Port>) -> io::Result<()> {
        match port.link().signal() {
            Signal::Descriptor(fd) => {
                let token = lock(&self.state).insert(Source::Port(Arc::downgrade(port)));
                port.token.store(token, Ordering::Release);
                self.register(port, fd, token as u64)?;
            }
            Signal::Doorbell => {}
        }
        if let Some(index) = port.link().host_index() {
            self.watch_host(port, index)?;
        }
        port.link().set_doorbell(Doorbell { reactor: self.clone(), port: Arc::downgrade(port) });
        Ok(())
    }

    /// Follows the host's interface that the link of a port is.
    fn watch_host(self: &Arc<Self>, port: &Arc<Port>, index: u32) -> io::Result<()> {
        let (watch, is_new) = lock(&self.state).watches.of_this_namespace(&Arc::downgrade(self))?;
        if is_new {
            let token = lock(&self.state).insert(Source::Watch(Arc::downgrade(&watch)));
            watch.set_token(token);
            self.poller.add(watch.as_fd(), token as u64, Interest::READABLE)?;
        }
        watch.follow(index, port);
        // A port is watched once, when it is new.
        let _once = port.watch.set(watch);
        Ok(())
    }

    /// Nobody follows a watch any more.
    pub(crate) fn forget_watch(&self, fd: BorrowedFd<'_>, token: usize) {
        let _gone = self.poller.remove(fd);
        lock(&self.state).remove(token);
    }

    /// Looks at a port no more.
    pub(crate) fn forget(&self, port: &Port) {
        let token = port.token.swap(usize::MAX, Ordering::AcqRel);
        if token == usize::MAX {
            return;
        }
        // A descriptor that was handed over may be open elsewhere, and closing ours would not take it out of the seat's poller. A kernel
        // that is no more has no seat.
        if let (Some(kernel), Signal::Descriptor(fd)) = (port.kernel.upgrade(), port.link().signal()) {
            kernel.seats.remove(fd);
        }
        let mut state = lock(&self.state);
        if let Signal::Descriptor(fd) = port.link().signal() {
            let _gone = self.poller.remove(fd);
        }
        state.remove(token);
    }

    /// Listens to a descriptor; a thread that waits in the reader's seat is told before this reactor, and instead of it.
    fn register(&self, port: &Port, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        if let Some(kernel) = port.kernel.upgrade() {
            kernel.seats.add(fd, token);
        }
        self.poller.add_exclusive(fd, token, Interest::READABLE)
    }

    /// Listens to a descriptor no more; what was removed already is of no consequence.
    fn unregister(&self, kernel: &Shared, fd: BorrowedFd<'_>) {
        kernel.seats.remove(fd);
        let _gone = self.poller.remove(fd);
    }

    /// A seat is new: it is told of the port's descriptor from now on, and before this reactor.
    pub(crate) fn step_behind(&self, port: &Port, seat: &Seat) {
        let Signal::Descriptor(fd) = port.link().signal() else { return };
        let token = port.token.load(Ordering::Acquire) as u64;
        let _state = lock(&self.state);
        if self.poller.remove(fd).is_ok() {
            seat.add(fd, token);
            // It was there a moment ago.
            let _again = self.poller.add_exclusive(fd, token, Interest::READABLE);
        }
    }

    /// Listens to a link no more, for a while; false if it is not listened to anyway, or for its room, too.
    fn step_back(&self, port: &Port) -> bool {
        let Signal::Descriptor(fd) = port.link().signal() else { return false };
        let _state = lock(&self.state);
        let back = !port.is_stuck() && self.poller.remove(fd).is_ok();
        port.deference.away.store(back, Ordering::Release);
        back
    }

    /// Listens again to a link that was stepped back from, unless it was destroyed, has failed, or is listened to already.
    fn step_forward(&self, port: &Port) {
        let Signal::Descriptor(fd) = port.link().signal() else { return };
        let _state = lock(&self.state);
        let token = port.token.load(Ordering::Acquire);
        let away = port.deference.away.swap(false, Ordering::AcqRel);
        if away && token != usize::MAX && !port.deaf.load(Ordering::Acquire) {
            // It was there before; what has come meanwhile is told of at once.
            let _again = self.poller.add_exclusive(fd, token as u64, Interest::READABLE);
        }
    }

    /// Wants to know when a full link has room.
    pub(crate) fn await_room(&self, port: &Port) {
        self.watch(port, true);
    }

    fn watch(&self, port: &Port, room: bool) {
        let interest = if room { Interest::BOTH } else { Interest::READABLE };
        let Signal::Descriptor(fd) = port.link().signal() else { return };
        let _state = lock(&self.state);
        // A link that is being destroyed is not registered any more, and shall not be again.
        let away = port.deference.away.swap(false, Ordering::AcqRel);
        let token = port.token.load(Ordering::Acquire);
        if self.poller.remove(fd).is_ok() || away && token != usize::MAX {
            let _again = self.poller.add_exclusive(fd, token as u64, interest);
        }
    }

    fn ring(&self, port: &Weak<Port>) {
        let Some(strong) = port.upgrade() else { return };
        if !strong.rung.swap(true, Ordering::AcqRel) {
            lock(&self.rung).push_back(Rung::Port(port.clone()));
            self.wake();
        }
    }

    /// Gives a client's sockets a turn.
    pub(crate) fn ring_share(&self, share: &Arc<Share>) {
        if share.set_rung() {
            lock(&self.rung).push_back(Rung::Share(Arc::clone(share)));
            self.wake();
        }
    }

    /// Tells `whose` of news of a descriptor, until it is forgotten; the token of it.
    pub(crate) fn watch_news(
        &self,
        fd: impl AsFd,
        interest: Interest,
        whose: Weak<dyn News>,
    ) -> io::Result<usize> {
        let token = lock(&self.state).insert(Source::News(whose));
        let added = self.poller.add_news(fd.as_fd(), token as u64, interest);
        added.inspect_err(|_| lock(&self.state).remove(token)).map(|()| token)
    }

    /// Changes what news is wanted.
    pub(crate) fn modify_news(&self, fd: impl AsFd, token: usize, interest: Interest) {
        // It is there as long as it is open.
        let _changed = self.poller.modify_news(fd.as_fd(), token as u64, interest);
    }

    /// Tells of a descriptor no more.
    pub(crate) fn forget_news(&self, fd: impl AsFd, token: usize) {
        if token != usize::MAX {
            let _gone = self.poller.remove(fd.as_fd());
            lock(&self.state).remove(token);
        }
    }

    fn wake(&self) {
        if self.sleeping.swap(false, Ordering::SeqCst) {
            self.poller.wake();
        }
    }

    /// Makes sure that a kernel is looked at by `deadline`.
    pub(crate) fn arm(&self, kernel: &Shared, deadline: Instant) {
        let mut state = lock(&self.state);
        let armed = kernel.armed.load(Ordering::Relaxed);
        if deadline.as_nanos() >= armed {
            return;
        }
        let number = std::ptr::from_ref(kernel).addr();
        state.deadlines.remove(&(armed, number));
        state.deadlines.insert((deadline.as_nanos(), number), kernel.this.clone());
        kernel.armed.store(deadline.as_nanos(), Ordering::Relaxed);
        drop(state);
        if deadline.as_nanos() < self.alarm.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// A kernel is gone.
    pub(crate) fn disarm(&self, kernel: &Shared) {
        let key = (kernel.armed.load(Ordering::Relaxed), std::ptr::from_ref(kernel).addr());
        lock(&self.state).deadlines.remove(&key);
    }

    /// The earliest deadline of any kernel.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        lock(&self.state).deadlines.first_key_value().map(|(key, _)| Instant::from_nanos(key.0))
    }

    fn run_due(&self) {
        let now = clock::now().as_nanos();
        // What was armed earlier than the alarm in the meantime moves it before the next wait.
        if now < self.alarm.load(Ordering::SeqCst) {
            return;
        }
        self.alarm.store(u64::MAX, Ordering::SeqCst);
        // One round: a kernel that is due again at once comes after the others.
        let mut due = Vec::new();
        {
            let mut state = lock(&self.state);
            while let Some(entry) = state.deadlines.first_entry().filter(|entry| entry.key().0 <= now) {
                due.push(entry.remove());
            }
        }
        due.iter().filter_map(Weak::upgrade).for_each(|kernel| kernel.on_timeout());
    }
}

impl State {
    fn insert(&mut self, source: Source) -> usize {
        let token = self.free.pop().unwrap_or(self.sources.len());
        if token == self.sources.len() {
            self.sources.push(None);
        }
        self.sources[token] = Some(source);
        token
    }

    fn remove(&mut self, token: usize) {
        if self.sources.get_mut(token).and_then(Option::take).is_some() {
            self.free.push(token);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
