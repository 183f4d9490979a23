//! A kernel as its handles share it: the stack under its lock, and what must happen after the lock is left.
//!
//! [`Shared::enter`] is the one way into a stack (docs/adr/0001). Under the lock there are decisions only; frames are
//! written, wakers called, the host told and messages kept after it is left.

use std::{
    cell::RefCell,
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use rumpnet_proto::{InterfaceFlags, LinkState, Reply, Request, Severity};
use rumpnet_sockets::Wakers;
use rumpnet_stack::{Event, Notice, Resets, Stack, buffer::Frame, slab::Key, time::Instant};

use crate::{
    clock, closing::Latch, drain, identity::Identity, log::Log, port::Port, reactor::Reactor, seat::Seats,
};

/// Frames pulled from a port under one hold of the lock.
const PULLED_AT_ONCE: usize = 64;

/// One kernel.
pub(crate) struct Shared {
    pub(crate) this: Weak<Self>,
    pub(crate) identity: Identity,
    pub(crate) reactor: Arc<Reactor>,
    /// Whether the caller's loop runs it, and no thread.
    pub(crate) driven: bool,
    pub(crate) booted: Instant,
    pub(crate) log: Log,
    pub(crate) halted: Latch,
    core: Mutex<Core>,
    /// Where a thread that waits reads the links itself.
    pub(crate) seats: Seats,
    /// When the reactor will look at this kernel, in nanoseconds; `u64::MAX` if it need not.
    pub(crate) armed: AtomicU64,
}

/// What the lock covers.
pub(crate) struct Core {
    pub(crate) stack: Stack,
    pub(crate) ports: Vec<Option<Arc<Port>>>,
    pub(crate) sockets: Wakers,
    pub(crate) echoes: Wakers<Key>,
    pub(crate) captures: Wakers<Key>,
    pub(crate) monitors: Wakers<Key>,
    /// Who waits until all that was sent is delivered.
    pub(crate) drains: Vec<Waker>,
}

/// What is to be done after the lock is left.
#[derive(Default)]
struct Outbox {
    wakers: Vec<Waker>,
    /// Ports that this thread sends for.
    sending: Vec<Arc<Port>>,
    /// Frames of the first of them, pulled already.
    frames: VecDeque<Frame>,
    orders: Vec<(Arc<Port>, Order)>,
    notices: Vec<Notice>,
    deadline: Option<Instant>,
}

/// What the far end of a port shall do.
enum Order {
    Up(bool),
    Mtu(u32),
}

thread_local! {
    /// A spare outbox, so that entering allocates nothing.
    static SPARE: RefCell<Option<Box<Outbox>>> = const { RefCell::new(None) };
}

impl Shared {
    pub(crate) fn new(
        identity: Identity,
        reactor: Arc<Reactor>,
        driven: bool,
        stack: Stack,
        booted: Instant,
    ) -> Arc<Self> {
        let core = Core {
            stack,
            ports: Vec::new(),
            sockets: Wakers::new(),
            echoes: Wakers::new(),
            captures: Wakers::new(),
            monitors: Wakers::new(),
            drains: Vec::new(),
        };
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            identity,
            reactor,
            driven,
            booted,
            log: Log::new(booted),
            halted: Latch::default(),
            core: Mutex::new(core),
            seats: Seats::default(),
            armed: AtomicU64::new(u64::MAX),
        })
    }

    /// The lock. Nothing of the stack is left half done by a panic, which can only be a caller's own inside a closure.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls into the stack, then does what the call caused.
    pub(crate) fn enter<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        self.enter_core(|core, now| call(&mut core.stack, now))
    }

    /// The same with all that the lock covers.
    pub(crate) fn enter_core<R>(&self, call: impl FnOnce(&mut Core, Instant) -> R) -> R {
        let mut outbox = SPARE.take().unwrap_or_default();
        let mut core = self.lock();
        let result = call(&mut core, clock::now());
        core.collect(&mut outbox);
        drop(core);
        self.dispatch(&mut outbox);
        SPARE.set(Some(outbox));
        result
    }

    fn dispatch(&self, outbox: &mut Outbox) {
        while let Some(port) = outbox.sending.pop() {
            self.drain(&port, outbox);
        }
        outbox.wakers.drain(..).for_each(Waker::wake);
        for (port, order) in outbox.orders.drain(..) {
            self.carry_out(&port, &order);
        }
        for notice in outbox.notices.drain(..) {
            self.log.push(severity(&notice), notice.to_string());
        }
        if let Some(deadline) = outbox.deadline.take()
            && deadline.as_nanos() < self.armed.load(Ordering::Relaxed)
        {
            self.reactor.arm(self, deadline);
        }
    }

    /// Sends the frames of `outbox` and then what the port still has, until it is empty or the link is full. The caller
    /// holds the port's sending flag, which this gives back.
    fn drain(&self, port: &Port, outbox: &mut Outbox) {
        let mut failed = Vec::new();
        loop {
            if !port.send(&mut outbox.frames, &mut failed) {
                self.reactor.await_room(port);
            }
            let mut core = self.lock();
            for frame in failed.drain(..) {
                core.stack.on_send_failed(clock::now(), port.number, &frame);
            }
            if port.is_stuck() {
                return core.collect_events(outbox);
            }
            core.pull(port.number, &mut outbox.frames);
            core.collect_events(outbox);
            if outbox.frames.is_empty() {
                return port.end_sending();
            }
            drop(core);
            outbox.wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// The link of a port has room again, or has lost its far end: what waited is sent, or fails.
    pub(crate) fn on_room(&self, port: &Port) {
        let Some(frames) = port.take_stuck() else { return };
        let mut outbox = Outbox { frames, ..Outbox::default() };
        self.drain(port, &mut outbox);
        self.dispatch(&mut outbox);
    }

    /// Tells the far end what an administrator decided.
    fn carry_out(&self, port: &Port, order: &Order) {
        let (result, what) = match *order {
            Order::Up(up) => (port.link().set_up(up), "carrier"),
            Order::Mtu(mtu) => (port.link().set_mtu(mtu), "MTU"),
        };
        if let Err(error) = result {
            self.log
                .push(Severity::Warning, format!("{}: the host's end keeps its {what}: {error}", port.name));
        }
    }

    /// The reactor's call for what is due.
    pub(crate) fn on_timeout(&self) {
        self.armed.store(u64::MAX, Ordering::Relaxed);
        self.enter(|stack, now| stack.on_timeout(now));
    }

    /// The state of a link may have changed: the stack is told, and a link that came back is listened to again.
    pub(crate) fn follow_link(&self, port: &Port) {
        let state = port.link().state();
        self.enter(|stack, now| stack.set_link_state(now, port.number, state));
        if state != LinkState::Down {
            self.reactor.listen_again(port);
        }
    }
}

impl Shared {
    /// The link of a port stands on another interface of the host: that one is told what ours is, and listened to.
    pub(crate) fn on_attached_again(&self, port: &Port) {
        self.log.push(Severity::Info, format!("{}: attached again to the host's interface", port.name));
        self.reactor.expect_again(port);
        let request = Request::Interface { name: port.name.clone(), reset: false };
        let report = self.enter(|stack, now| stack.control(now, request));
        if let Ok(Reply::Interfaces { interfaces, .. }) = report
            && let Some(ours) = interfaces.first()
        {
            self.carry_out(port, &Order::Up(ours.flags.contains(InterfaceFlags::UP)));
            self.carry_out(port, &Order::Mtu(ours.mtu));
        }
        self.follow_link(port);
    }
}

impl Core {
    /// Moves what the last call caused to the outbox, and pulls what can be sent at once.
    fn collect(&mut self, outbox: &mut Outbox) {
        while let Some(number) = self.stack.next_ready_port() {
            let Some(port) = self.ports.get(number as usize).and_then(Option::as_ref) else { continue };
            if port.begin_sending() {
                outbox.sending.push(port.clone());
            }
        }
        // The port sent for first is the last of the list.
        if let Some(port) = outbox.sending.last() {
            self.pull(port.number, &mut outbox.frames);
        }
        self.collect_events(outbox);
        outbox.deadline = self.stack.next_deadline();
    }

    fn collect_events(&mut self, outbox: &mut Outbox) {
        while let Some(event) = self.stack.next_event() {
            self.on_event(event, outbox);
        }
    }

    fn on_event(&mut self, event: Event, outbox: &mut Outbox) {
        match event {
            Event::Socket(id) => {
                if !self.sockets.is_empty() {
                    self.sockets.take_met(id, self.stack.readiness(id), &mut outbox.wakers);
                }
            }
            Event::Echo(key) => self.echoes.take_all(key, &mut outbox.wakers),
            Event::Capture(key) => self.captures.take_all(key, &mut outbox.wakers),
            Event::Monitor(key) => self.monitors.take_all(key, &mut outbox.wakers),
            Event::Drained => outbox.wakers.append(&mut self.drains),
            Event::PortUp { port, up } => self.order(port, Order::Up(up), outbox),
            Event::PortMtu { port, mtu } => self.order(port, Order::Mtu(mtu), outbox),
            Event::Notice(notice) => outbox.notices.push(notice),
        }
    }

    fn order(&self, number: u32, order: Order, outbox: &mut Outbox) {
        if let Some(port) = self.ports.get(number as usize).and_then(Option::as_ref) {
            outbox.orders.push((port.clone(), order));
        }
    }

    fn pull(&mut self, port: u32, frames: &mut VecDeque<Frame>) {
        for _ in 0..PULLED_AT_ONCE {
            let Some(frame) = self.stack.next_frame(port) else { return };
            frames.push_back(frame);
        }
    }

    /// Everybody who waits for a capture, a monitor or an echo session that was closed.
    pub(crate) fn take_waiting(&mut self, key: Key) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.echoes.take_all(key, &mut wakers);
        self.captures.take_all(key, &mut wakers);
        self.monitors.take_all(key, &mut wakers);
        wakers
    }
}

impl Drop for Shared {
    /// The last handle is gone: connections are reset, the reactor forgets the ports, and their links are closed where nobody waits.
    fn drop(&mut self) {
        let core = self.core.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut resets = Resets::default();
        while core.stack.tcp_reset_some(clock::now(), &mut resets) {}
        drain::say(&self.log, resets.undelivered);
        for port in mem::take(&mut core.ports).into_iter().flatten() {
            drain::send_last(&mut core.stack, &port);
            self.reactor.forget(&port);
        }
        self.reactor.disarm(self);
    }
}

const fn severity(notice: &Notice) -> Severity {
    match notice {
        Notice::AddressConflict { .. } | Notice::LinkAddressConflict { .. } => Severity::Warning,
        _ => Severity::Info,
    }
}
