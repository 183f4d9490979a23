//! The world's state: hosts, cables, the queue of what will happen, and the step that makes it happen.
//!
//! Nothing here calls user code: rules and tasks run while this is not borrowed ([`crate::shared`]).

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    task::Waker,
};

use rumpnet_proto::{InterfaceName, LinkState, Message, Severity};
use rumpnet_sockets::Wakers;
use rumpnet_stack::{Config, Endpoint, Event as News, Notice, Stack, buffer::Received, time::Instant};

use crate::{
    cable::state::{CableState, End, Plug, Verdicts},
    queue::Queue,
    random::Random,
    recording::Recording,
    stranger::StrangerState,
    trace::{Mark, Trace},
};

/// Messages that a host keeps, as a kernel's message buffer does.
const MESSAGES: usize = 1024;

/// Something that will happen.
pub(crate) enum Event {
    /// A stack wants to be called.
    Deadline { host: usize },
    /// A frame reaches the end of a cable.
    Delivery(Box<Delivery>),
    /// An end of a cable can send the next frame.
    Transmitted { cable: usize, end: usize },
    /// A sleeper wants to be woken.
    Alarm { alarm: u64 },
}

/// Frames that a port reads together at most, as a reactor does.
const BATCH: usize = 64;

/// A frame on its way.
pub(crate) struct Delivery {
    pub(crate) cable: usize,
    pub(crate) to: usize,
    /// How often the cable had been cut when the frame was sent.
    pub(crate) cuts: u32,
    pub(crate) frame: Received,
}

/// What a task waits for at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// An echo session's replies.
    Echo(u64),
    /// A capture's packets.
    Capture(u64),
    /// A monitor's events.
    Monitor(u64),
}

/// One host.
pub(crate) struct HostState {
    pub(crate) name: Rc<str>,
    pub(crate) stack: Stack,
    pub(crate) ports: BTreeMap<u32, PortState>,
    pub(crate) booted: Instant,
    /// What its kernel reported of late.
    pub(crate) messages: VecDeque<Message>,
    reported: u64,
    /// Who waits for which socket.
    pub(crate) sockets: Wakers,
    /// Who waits for anything else.
    waiting: BTreeMap<Wait, Vec<Waker>>,
    /// The deadline for which an event stands in the queue.
    scheduled: Option<Instant>,
}

/// A port of a host.
pub(crate) struct PortState {
    pub(crate) name: InterfaceName,
    /// The cable that is plugged in, and which end of it.
    pub(crate) plug: Option<(usize, usize)>,
    pub(crate) up: bool,
}

/// Everything in a world but user code.
pub(crate) struct Core {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) hosts: Vec<HostState>,
    pub(crate) names: BTreeMap<Rc<str>, usize>,
    pub(crate) cables: Vec<CableState>,
    /// The cables that are buses, by the link string that names them.
    buses: BTreeMap<Box<str>, usize>,
    pub(crate) strangers: Vec<StrangerState>,
    pub(crate) trace: Trace,
    pub(crate) recording: Recording,
    /// Things that have happened.
    pub(crate) happened: u64,
    /// Frames that the rules of their cable have not yet seen.
    outgoing: VecDeque<(usize, usize, Received, usize)>,
    queue: Queue<Event>,
    /// Frames on their way, and ends that are sending.
    under_way: usize,
    alarms: BTreeMap<u64, Waker>,
    next_alarm: u64,
    /// To be woken once nothing is borrowed.
    woken: Vec<Waker>,
    unsettled: VecDeque<usize>,
}

impl Core {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            random: Random::new(seed),
            hosts: Vec::new(),
            names: BTreeMap::new(),
            cables: Vec::new(),
            buses: BTreeMap::new(),
            strangers: Vec::new(),
            trace: Trace::new(),
            recording: Recording::new(),
            happened: 0,
            outgoing: VecDeque::new(),
            queue: Queue::new(),
            under_way: 0,
            alarms: BTreeMap::new(),
            next_alarm: 0,
            woken: Vec::new(),
            unsettled: VecDeque::new(),
        }
    }

    /// Boots a host, and returns its number.
    pub(crate) fn boot(&mut self, name: &str, config: Config) -> usize {
        let number = self.hosts.len();
        let name: Rc<str> = name.into();
        let stack = Stack::boot(config, self.random.next_seed(), self.now);
        self.names.insert(Rc::clone(&name), number);
        self.hosts.push(HostState {
            name,
            stack,
            ports: BTreeMap::new(),
            booted: self.now,
            messages: VecDeque::new(),
            reported: 0,
            sockets: Wakers::new(),
            waiting: BTreeMap::new(),
            scheduled: None,
        });
        self.settle(number);
        number
    }

    /// A new cable, whose name is made of its number unless it is a bus.
    pub(crate) fn add_cable(&mut self, bus: Option<&str>) -> usize {
        let number = self.cables.len();
        let random = self.random.fork();
        let name = bus.map_or_else(|| format!("cable{number}"), str::to_owned);
        let mut cable = CableState::new(name, random);
        cable.is_bus = bus.is_some();
        self.cables.push(cable);
        number
    }

    /// The bus of that name; one that is new is made now.
    pub(crate) fn bus(&mut self, name: &str) -> usize {
        if let Some(number) = self.buses.get(name) {
            return *number;
        }
        let number = self.add_cable(Some(name));
        self.buses.insert(name.into(), number);
        number
    }

    /// Calls a host's stack, and does what follows from it.
    pub(crate) fn call<R>(&mut self, host: usize, call: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        let answer = call(&mut self.hosts[host].stack, self.now);
        self.settle(host);
        answer
    }

    /// Wakes `waker` when what it waits for at a host has news.
    pub(crate) fn wait(&mut self, host: usize, wait: Wait, waker: &Waker) {
        let wakers = self.hosts[host].waiting.entry(wait).or_default();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Sets an alarm and returns its number.
    pub(crate) fn set_alarm(&mut self, at: Instant, waker: &Waker) -> u64 {
        self.next_alarm += 1;
        self.alarms.insert(self.next_alarm, waker.clone());
        self.queue.push(at, Event::Alarm { alarm: self.next_alarm });
        self.next_alarm
    }

    /// Another waker for an alarm that has not yet gone off.
    pub(crate) fn renew_alarm(&mut self, alarm: u64, waker: &Waker) {
        if let Some(known) = self.alarms.get_mut(&alarm) {
            known.clone_from(waker);
        }
    }

    /// Nobody waits for that alarm any more.
    pub(crate) fn clear_alarm(&mut self, alarm: u64) {
        self.alarms.remove(&alarm);
    }

    /// A socket is closed: nobody waits for it any more.
    pub(crate) fn forget_socket(&mut self, host: usize, socket: Endpoint) {
        self.hosts[host].sockets.take_all(socket, &mut self.woken);
    }

    /// Wakes somebody as soon as nothing is borrowed.
    pub(crate) fn wake(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.woken.extend(wakers);
    }

    /// Those to be woken now.
    pub(crate) fn take_woken(&mut self) -> Vec<Waker> {
        core::mem::take(&mut self.woken)
    }

    /// Whether a frame is under way somewhere.
    pub(crate) const fn is_anything_under_way(&self) -> bool {
        self.under_way > 0
    }

    /// When the next thing happens.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        self.queue.next_time()
    }

    /// Lets the next thing happen, if it happens by `limit`.
    pub(crate) fn step(&mut self, limit: Instant) -> bool {
        let Some((at, event)) = self.queue.pop_until(limit) else { return false };
        self.now = self.now.max(at);
        self.happened += 1;
        match event {
            Event::Deadline { host } => self.on_deadline(host, at),
            Event::Delivery(delivery) => {
                self.under_way -= 1;
                self.deliver(*delivery);
            }
            Event::Transmitted { cable, end } => {
                self.under_way -= 1;
                self.on_transmitted(cable, end);
            }
            Event::Alarm { alarm } => {
                let waker = self.alarms.remove(&alarm);
                self.wake(waker);
            }
        }
        true
    }

    fn on_deadline(&mut self, host: usize, at: Instant) {
        let state = &mut self.hosts[host];
        // A deadline that moved earlier was met already.
        if state.scheduled == Some(at) {
            state.scheduled = None;
            self.call(host, |stack, now| stack.on_timeout(now));
        }
    }

    /// Takes from a stack what it has to say and to send, until it has nothing more.
    pub(crate) fn settle(&mut self, host: usize) {
        self.unsettled.push_back(host);
        while let Some(host) = self.unsettled.pop_front() {
            loop {
                if let Some(news) = self.hosts[host].stack.next_event() {
                    self.on_news(host, news);
                } else if let Some(port) = self.hosts[host].stack.next_ready_port() {
                    self.pull(host, port);
                } else {
                    break;
                }
            }
            self.schedule(host);
        }
    }

    fn schedule(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        let Some(deadline) = state.stack.next_deadline() else { return };
        let deadline = deadline.max(self.now);
        if state.scheduled.is_none_or(|scheduled| deadline < scheduled) {
            state.scheduled = Some(deadline);
            self.queue.push(deadline, Event::Deadline { host });
        }
    }

    fn on_news(&mut self, host: usize, news: News) {
        match news {
            News::Socket(socket) => {
                let state = &mut self.hosts[host];
                let readiness = state.stack.readiness(socket);
                state.sockets.take_met(socket, readiness, &mut self.woken);
            }
            News::Echo(echo) => self.wake_waiting(host, Wait::Echo(echo.into())),
            News::Capture(capture) => self.wake_waiting(host, Wait::Capture(capture.into())),
            News::Monitor(monitor) => self.wake_waiting(host, Wait::Monitor(monitor.into())),
            News::PortUp { port, up } => self.on_port_up(host, port, up),
            // A cable's MTU is its own.
            News::PortMtu { .. } | News::Drained => {}
            News::Notice(notice) => self.note(host, &notice),
        }
    }

    fn wake_waiting(&mut self, host: usize, wait: Wait) {
        let wakers = self.hosts[host].waiting.remove(&wait).unwrap_or_default();
        self.wake(wakers);
    }

    fn note(&mut self, host: usize, notice: &Notice) {
        let severity = match notice {
            Notice::AddressConflict { lost: true, .. } => Severity::Error,
            Notice::AddressConflict { .. } | Notice::LinkAddressConflict { .. } => Severity::Warning,
            _ => Severity::Info,
        };
        let text = notice.to_string();
        let bytes = core::iter::once(text.as_bytes());
        self.trace.add(self.now, Mark::Message, [host, severity as usize], bytes);
        let state = &mut self.hosts[host];
        state.reported += 1;
        let (number, time_ns) = (state.reported, (self.now - state.booted).as_nanos());
        if state.messages.len() == MESSAGES {
            state.messages.pop_front();
        }
        state.messages.push_back(Message { number, time_ns, severity, text });
    }

    fn on_port_up(&mut self, host: usize, port: u32, up: bool) {
        let Some(state) = self.hosts[host].ports.get_mut(&port) else { return };
        state.up = up;
        if let Some((cable, end)) = state.plug {
            self.cables[cable].ends[end].up = up;
            self.follow_carrier(cable);
        }
    }

    /// Tells the ends of a cable whether anybody is at another end.
    pub(crate) fn follow_carrier(&mut self, cable: usize) {
        for end in 0..self.cables[cable].ends.len() {
            let Plug::Port { host, port } = self.cables[cable].ends[end].plug else { continue };
            let state = if self.cables[cable].has_carrier(end) { LinkState::Up } else { LinkState::Down };
            self.set_link_state(host, port, state);
        }
    }

    /// Tells a port whether its far end is there.
    pub(crate) fn set_link_state(&mut self, host: usize, port: u32, state: LinkState) {
        self.hosts[host].stack.set_link_state(self.now, port, state);
        self.unsettled.push_back(host);
    }

    /// Tells the ends of a cable what all of them can do.
    pub(crate) fn follow_offloads(&mut self, cable: usize) {
        let offloads = self.cables[cable].negotiate();
        for end in &self.cables[cable].ends {
            if let Plug::Port { host, port } = end.plug {
                self.hosts[host].stack.set_offloads(port, offloads);
            }
        }
    }

    /// Takes frames from a port for the cable that is plugged in.
    fn pull(&mut self, host: usize, port: u32) {
        let plug = self.hosts[host].ports.get(&port).and_then(|port| port.plug);
        let Some((cable, end)) = plug else { return self.refuse_all(host, port) };
        let holds_back = self.cables[cable].ends[end].conditions.hold_back_the_sender();
        if !holds_back {
            while let Some(frame) = self.hosts[host].stack.next_frame(port) {
                self.give(cable, end, frame);
            }
            return;
        }
        let state = &mut self.cables[cable].ends[end];
        state.is_waited_for = true;
        if !core::mem::replace(&mut state.is_sending, true) {
            match self.hosts[host].stack.next_frame(port) {
                Some(frame) => self.give(cable, end, frame),
                None => self.cables[cable].ends[end].rest(),
            }
        }
    }

    /// Nothing is plugged in: the far end refuses every frame.
    fn refuse_all(&mut self, host: usize, port: u32) {
        let (state, now) = (&mut self.hosts[host], self.now);
        while let Some(frame) = state.stack.next_frame(port) {
            state.stack.on_send_failed(now, port, &frame);
        }
    }

    fn give(&mut self, cable: usize, end: usize, frame: rumpnet_stack::buffer::Frame) {
        let headers = frame.headers.len();
        self.outgoing.push_back((cable, end, Received::from(frame), headers));
    }

    /// A stranger sends: as [`Self::give`], of bytes whose first `headers` are repeated in each segment.
    pub(crate) fn give_bytes(&mut self, cable: usize, end: usize, frame: Received, headers: usize) {
        self.outgoing.push_back((cable, end, frame, headers));
    }

    /// The next frame that the rules of its cable shall see: cable, end, frame, and bytes of headers.
    pub(crate) fn next_outgoing(&mut self) -> Option<(usize, usize, Received, usize)> {
        self.outgoing.pop_front()
    }

    /// Sends a frame over a cable, as its rules have decided.
    pub(crate) fn launch(
        &mut self,
        cable: usize,
        end: usize,
        frame: Received,
        headers: usize,
        verdicts: Verdicts,
    ) {
        let state = &mut self.cables[cable];
        self.trace.add(self.now, Mark::Sent, [cable, end], frame.whole());
        let is_waited_for = state.ends[end].is_sending;
        let sent = state.send(self.now, end, frame, headers, verdicts);
        if is_waited_for {
            self.under_way += 1;
            self.queue.push(sent.free_at, Event::Transmitted { cable, end });
        }
        let number = state.ends[end].recorded;
        self.recording.add(self.now, number, sent.note, &sent.original);
        if let Some(note) = sent.note {
            self.trace.add(self.now, Mark::Lost, [cable, end], core::iter::once(note.as_bytes()));
        }
        let (cuts, targets) = (state.cuts, state.targets(end));
        for (at, frame) in sent.arrivals {
            for &to in &targets {
                self.under_way += 1;
                let delivery = Delivery { cable, to, cuts, frame: frame.clone() };
                self.queue.push(at, Event::Delivery(Box::new(delivery)));
            }
        }
    }

    fn on_transmitted(&mut self, cable: usize, end: usize) {
        let state = &mut self.cables[cable].ends[end];
        state.is_sending = false;
        if let (true, Plug::Port { host, port }) = (state.is_waited_for, state.plug) {
            self.pull(host, port);
            self.settle(host);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Delivery { cable, to, cuts, frame } = delivery;
        let state = &mut self.cables[cable];
        if state.is_cut || state.cuts != cuts {
            state.counters.cut += 1;
            return;
        }
        state.counters.delivered += 1;
        self.trace.add(self.now, Mark::Delivered, [cable, to], core::iter::empty());
        match state.ends[to].plug {
            Plug::Nothing => {}
            Plug::Port { host, port } => match self.next_delivered_with(cable, to) {
                None => self.call(host, |stack, now| stack.receive(now, port, [frame])),
                Some(next) => {
                    let mut batch = vec![frame, next];
                    while batch.len() < BATCH
                        && let Some(next) = self.next_delivered_with(cable, to)
                    {
                        batch.push(next);
                    }
                    self.call(host, |stack, now| stack.receive(now, port, batch));
                }
            },
            Plug::Stranger(stranger) => {
                let waker = self.strangers[stranger].push(self.now, frame);
                self.wake(waker);
            }
        }
    }

    /// A frame that arrives at the same end at the same time as the last one, and right after it: a port reads them together.
    fn next_delivered_with(&mut self, cable: usize, to: usize) -> Option<Received> {
        let cuts = self.cables[cable].cuts;
        let event = self.queue.pop_wanted(self.now, |event| {
            matches!(event, Event::Delivery(next) if (next.cable, next.to, next.cuts) == (cable, to, cuts))
        });
        let Some(Event::Delivery(delivery)) = event else { return None };
        self.happened += 1;
        self.under_way -= 1;
        self.cables[cable].counters.delivered += 1;
        self.trace.add(self.now, Mark::Delivered, [cable, to], core::iter::empty());
        Some(delivery.frame)
    }

    /// Plugs something into a cable, and returns the number of its end.
    pub(crate) fn plug(
        &mut self,
        cable: usize,
        plug: Plug,
        label: String,
        ethernet: bool,
        up: bool,
    ) -> usize {
        let state = &mut self.cables[cable];
        let recorded = self.recording.add_end(label.clone(), state.name.clone(), ethernet);
        let end = state.add_end(End::new(plug, label, ethernet, up, recorded));
        if let Plug::Port { host, port } = plug
            && let Some(state) = self.hosts[host].ports.get_mut(&port)
        {
            state.plug = Some((cable, end));
        }
        self.follow_offloads(cable);
        self.follow_carrier(cable);
        self.settle_all();
        end
    }

    /// Settles every host that something was said to.
    pub(crate) fn settle_all(&mut self) {
        if let Some(host) = self.unsettled.pop_front() {
            self.settle(host);
        }
    }

    /// Pulls the plug of a port, if there is one.
    pub(crate) fn unplug(&mut self, host: usize, port: u32) {
        let Some((cable, end)) = self.hosts[host].ports.get_mut(&port).and_then(|port| port.plug.take())
        else {
            return;
        };
        self.cables[cable].ends[end].plug = Plug::Nothing;
        // What waited for the cable will not be asked for again.
        self.refuse_all(host, port);
        self.set_link_state(host, port, LinkState::Down);
        self.follow_offloads(cable);
        self.follow_carrier(cable);
        self.settle_all();
    }
}
