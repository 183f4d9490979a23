//! Tools on a host: ifconfig, ping, arp and the others, over a console in virtual time.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rumpnet_proto::{
    CaptureOptions, ControlError, Errno, InterfaceReport, LinkKind, Operation, Reply, Request, RouteNews,
};
use rumpnet_stack::{Captured, Direction, slab::Key, time::Instant};
use rumpnet_tools::{CaptureSummary, Closed, Console, Heard};
use rumpnet_wire::pcapng;

use crate::{Host, JoinHandle, core::Wait, shared::since_start, task::Sleep, trace::Mark};

/// What a tool said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its exit status; 127 if there is no such tool.
    pub status: u8,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// What it captured to standard output, as pcapng.
    pub capture: Vec<u8>,
}

impl Said {
    /// The output of a tool that succeeded.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self.out
    }

    /// The complaint of a tool that failed with exit status 1.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!(self.status, 1, "stdout: {}\nstderr: {}", self.out, self.err);
        self.err
    }
}

/// The exit status of a shell that finds no such program.
const NOT_FOUND: u8 = 127;

impl Host {
    /// Runs a tool such as `ifconfig -a` to its end, with the world around it. Words are separated by white space.
    ///
    /// # Panics
    ///
    /// In tasks, where [`Self::start`] is to be awaited; if the tool waits for something that never happens.
    pub fn sh(&self, line: &str) -> Said {
        self.block_on(self.start(line))
    }

    /// Starts a tool as a task.
    pub fn start(&self, line: &str) -> Running {
        self.start_words(line.split_whitespace().map(str::to_owned).collect())
    }

    /// The same with words that may have blanks.
    pub fn start_words(&self, words: Vec<String>) -> Running {
        let terminal = Rc::new(Terminal {
            host: self.clone(),
            said: RefCell::default(),
            interrupted: Cell::new(false),
            waiting: RefCell::new(None),
        });
        let task = self.spawn(run(Rc::clone(&terminal), words));
        Running { terminal, task }
    }
}

/// A tool that is running; awaited, it gives what the tool said.
pub struct Running {
    terminal: Rc<Terminal>,
    task: JoinHandle<Said>,
}

impl Running {
    /// The user presses Ctrl-C.
    pub fn interrupt(&self) {
        self.terminal.interrupted.set(true);
        self.terminal.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl Future for Running {
    type Output = Said;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Said> {
        Pin::new(&mut self.task).poll(cx)
    }
}

async fn run(terminal: Rc<Terminal>, words: Vec<String>) -> Said {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let status = rumpnet_tools::run(&*terminal, &words).await;
    let mut said = terminal.said.take();
    said.status = status.map_or(NOT_FOUND, |status| status.0);
    if status.is_none() {
        said.err = format!("{}: not found\n", words.first().unwrap_or(&""));
    }
    terminal.host.shared.with(|core| {
        let bytes = [said.out.as_bytes(), said.err.as_bytes()].into_iter();
        core.trace.add(core.now, Mark::Tool, [terminal.host.number, usize::from(said.status)], bytes);
    });
    said
}

/// The console of one tool.
struct Terminal {
    host: Host,
    said: RefCell<Said>,
    interrupted: Cell<bool>,
    /// The tool's task, while it waits for anything.
    waiting: RefCell<Option<Waker>>,
}

impl Terminal {
    /// Waits until `ready` has something to say, asked again after each `wait` event, until a time, or an interrupt.
    async fn wait_for<T>(
        &self,
        wait: Wait,
        until: Instant,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let shared = &self.host.shared;
        let mut sleep = (until < Instant::MAX).then(|| Sleep::until(Rc::clone(shared), until));
        poll_fn(|cx| {
            if let Some(value) = ready() {
                return Poll::Ready(Some(value));
            }
            let is_over = sleep.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(cx).is_ready());
            if is_over || self.interrupted.get() {
                return Poll::Ready(None);
            }
            shared.with(|core| core.wait(self.host.number, wait, cx.waker()));
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    async fn receive_echo(&self, echo: u64, patience: u64) -> Result<Reply, ControlError> {
        let until = self.host.shared.now() + rumpnet_stack::time::Duration::from_nanos(patience);
        let receive = || self.host.control(Request::EchoReceive { echo, timeout_ns: 0 });
        let some = |answer: &Result<Reply, ControlError>| !matches!(answer, Ok(Reply::EchoReplies(replies)) if replies.is_empty());
        let answer = self.wait_for(Wait::Echo(echo), until, || Some(receive()).filter(some)).await;
        answer.unwrap_or_else(|| Ok(Reply::EchoReplies(Vec::new())))
    }
}

impl Console for Terminal {
    async fn call(&self, request: Request) -> Result<Reply, ControlError> {
        match request {
            Request::EchoReceive { echo, timeout_ns } if timeout_ns > 0 => {
                self.receive_echo(echo, timeout_ns).await
            }
            other => self.host.control(other),
        }
    }

    async fn capture(&self, options: CaptureOptions, path: &str) -> Result<CaptureSummary, ControlError> {
        let Reply::Capture { capture } = self.host.control(Request::CaptureOpen(options))? else {
            unreachable!("an opened capture is answered with its number")
        };
        let mut file = CaptureFile::new(self.host.clone());
        let mut open = true;
        while open {
            let packets = self.wait_for(Wait::Capture(capture), Instant::MAX, || {
                let mut packets = Vec::new();
                open = self.host.stack(|stack, _| stack.capture_read(Key::from(capture), &mut packets));
                Some(packets).filter(|packets| !packets.is_empty() || !open)
            });
            match packets.await {
                Some(packets) => packets.iter().for_each(|packet| file.add(packet)),
                None => break,
            }
        }
        let Reply::CaptureEnded { captured, overruns } =
            self.host.control(Request::CaptureClose { capture })?
        else {
            unreachable!("a closed capture is answered with its counts")
        };
        if path == "-" {
            self.said.borrow_mut().capture.append(&mut file.bytes);
        } else {
            fs::write(path, &file.bytes).map_err(|error| {
                ControlError::new(Operation::Capture, path, Errno::Acces).with_hint(error.to_string())
            })?;
        }
        Ok(CaptureSummary { captured, overruns })
    }

    async fn monitor(&self, mut each: impl FnMut(RouteNews) -> Heard) -> Result<u64, ControlError> {
        let Reply::Monitor { monitor } = self.host.control(Request::MonitorOpen)? else {
            unreachable!("an opened monitor is answered with its number")
        };
        'more: loop {
            let news = self.wait_for(Wait::Monitor(monitor), Instant::MAX, || {
                let mut news = Vec::new();
                self.host.stack(|stack, _| stack.monitor_read(Key::from(monitor), &mut news));
                Some(news).filter(|news| !news.is_empty())
            });
            let Some(news) = news.await else { break };
            for news in news {
                if each(news) == Heard::Enough {
                    break 'more;
                }
            }
        }
        match self.host.control(Request::MonitorClose { monitor })? {
            Reply::MonitorEnded { overruns } => Ok(overruns),
            _ => unreachable!("a closed monitor is answered with its count"),
        }
    }

    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn since_1970(&self) -> Duration {
        since_start(self.host.shared.now())
    }

    async fn sleep(&self, span: Duration) {
        let mut sleep =
            pin!(Sleep::until(Rc::clone(&self.host.shared), self.host.shared.now() + span.into()));
        poll_fn(|cx| {
            if self.interrupted.get() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            sleep.as_mut().poll(cx)
        })
        .await;
    }

    fn now(&self) -> Duration {
        since_start(self.host.shared.now())
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.get()
    }

    fn print(&self, text: &str) -> Result<(), Closed> {
        self.said.borrow_mut().out.push_str(text);
        Ok(())
    }

    fn complain(&self, text: &str) {
        self.said.borrow_mut().err.push_str(text);
    }
}

/// A pcapng file in the making; an interface is described before its first packet.
struct CaptureFile {
    host: Host,
    bytes: Vec<u8>,
    /// The numbers in the file of interfaces by their index.
    known: BTreeMap<u32, u32>,
}

impl CaptureFile {
    fn new(host: Host) -> Self {
        let mut bytes = Vec::new();
        let application = Some("rumpnet-sim");
        pcapng::Section { application, ..pcapng::Section::default() }.emit(&mut bytes);
        Self { host, bytes, known: BTreeMap::new() }
    }

    fn add(&mut self, packet: &Captured) {
        let number = match self.known.get(&packet.interface) {
            Some(number) => *number,
            None => self.describe(packet.interface),
        };
        pcapng::Packet {
            interface: number,
            time_ns: packet.time.as_nanos(),
            original_len: packet.original_len,
            direction: match packet.direction {
                Direction::In => pcapng::Direction::Inbound,
                Direction::Out => pcapng::Direction::Outbound,
            },
            offload: packet.offload.into(),
            comment: packet.reason.map(|reason| reason.text()),
            data: &packet.bytes,
            ..pcapng::Packet::default()
        }
        .emit(&mut self.bytes);
    }

    fn describe(&mut self, index: u32) -> u32 {
        let number = self.known.len() as u32;
        let report = self.report(index);
        let ethernet = report.as_ref().is_some_and(|report| report.kind == LinkKind::Ethernet);
        let interface = pcapng::Interface {
            link_type: if ethernet { pcapng::LinkType::ETHERNET } else { pcapng::LinkType::RAW },
            snap_len: 0,
            name: report.as_ref().map(|report| report.name.as_str()),
            description: None,
            speed: None,
            time_offset: None,
        };
        interface.emit(&mut self.bytes);
        self.known.insert(index, number);
        number
    }

    fn report(&self, index: u32) -> Option<InterfaceReport> {
        match self.host.control(Request::Interfaces { from: index, reset: false }) {
            Ok(Reply::Interfaces { interfaces, .. }) => {
                interfaces.into_iter().find(|report| report.index == index)
            }
            _ => None,
        }
    }
}
