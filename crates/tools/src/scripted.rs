//! A console for tests: requests and their replies are a script, time moves only while a tool sleeps.

use core::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::collections::{BTreeMap, VecDeque};

use rumpnet_proto::{
    AddressFlags, AddressReport, Capabilities, CaptureOptions, ControlError, InterfaceCounters,
    InterfaceFlags, InterfaceReport, LinkKind, LinkState, Reply, Request, RouteNews,
};

use crate::{
    Status,
    console::{CaptureSummary, Closed, Console, Heard},
};

type Answer = Result<Reply, ControlError>;
type Captured = Result<CaptureSummary, ControlError>;

/// The console and its script.
#[derive(Default)]
pub(crate) struct Script {
    calls: RefCell<VecDeque<(Request, Answer)>>,
    captures: RefCell<VecDeque<(CaptureOptions, String, Captured)>>,
    news: RefCell<VecDeque<RouteNews>>,
    out: RefCell<String>,
    err: RefCell<String>,
    /// Files by their paths.
    pub(crate) files: RefCell<BTreeMap<String, String>>,
    now: Cell<Duration>,
    /// When the user interrupts.
    pub(crate) interrupted_at: Cell<Option<Duration>>,
    /// Whether the reader of standard output is gone.
    pub(crate) closed: Cell<bool>,
    /// The size of the terminal, if there is one, and before it the sizes that it has one after the other.
    pub(crate) screen: Cell<Option<(u16, u16)>>,
    pub(crate) sizes: RefCell<VecDeque<(u16, u16)>>,
    /// What the user presses, where `\0` is nothing for as long as is waited.
    pub(crate) keys: RefCell<VecDeque<char>>,
}

/// What a tool said.
pub(crate) struct Said {
    pub(crate) status: Status,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Standard output as JSON of the version that is documented.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let value: serde_json::Value = serde_json::from_str(&self.out).unwrap_or_else(|error| {
            panic!("{error}: {} {}", self.out, self.err);
        });
        assert_eq!(value["version"], 1);
        value
    }
}

impl Script {
    /// A console that is asked exactly this.
    pub(crate) fn new(calls: impl IntoIterator<Item = (Request, Answer)>) -> Self {
        Self { calls: RefCell::new(calls.into_iter().collect()), ..Self::default() }
    }

    /// Expects a capture.
    pub(crate) fn expect_capture(&self, options: CaptureOptions, path: &str, summary: Captured) {
        self.captures.borrow_mut().push_back((options, path.into(), summary));
    }

    /// What a monitor hears, after which the kernel ends.
    pub(crate) fn expect_news(&self, news: impl IntoIterator<Item = RouteNews>) {
        self.news.borrow_mut().extend(news);
    }

    /// Runs a tool that exists, to the end of the script.
    #[track_caller]
    pub(crate) fn said(&self, words: &[&str]) -> Said {
        let status = self.run_to_end(crate::run(self, words)).expect("the tool exists");
        let left = self.calls.borrow();
        assert!(left.is_empty(), "never asked: {left:?}; said: {} {}", self.out.borrow(), self.err.borrow());
        assert!(self.captures.borrow().is_empty(), "never captured");
        Said { status, out: self.out.take(), err: self.err.take() }
    }

    /// Polls once: no future of this console waits.
    pub(crate) fn run_to_end<T>(&self, future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a scripted console never waits"),
        }
    }
}

impl Console for Script {
    async fn call(&self, request: Request) -> Answer {
        if let Request::EchoReceive { timeout_ns, .. } = request
            && !matches!(self.calls.borrow().front(), Some((Request::EchoReceive { .. }, _)))
        {
            // Where the script says nothing of replies, none come.
            self.now.set(self.now.get() + Duration::from_nanos(timeout_ns));
            return Ok(Reply::EchoReplies(Vec::new()));
        }
        let next = self.calls.borrow_mut().pop_front();
        let (expected, answer) = next.unwrap_or_else(|| panic!("not in the script: {request:?}"));
        assert_eq!(request, expected);
        answer
    }

    async fn capture(&self, options: CaptureOptions, path: &str) -> Result<CaptureSummary, ControlError> {
        let next = self.captures.borrow_mut().pop_front();
        let (expected, to, summary) = next.unwrap_or_else(|| panic!("not in the script: {options:?}"));
        assert_eq!((options, path), (expected, to.as_str()));
        summary
    }

    async fn monitor(&self, mut each: impl FnMut(RouteNews) -> Heard) -> Result<u64, ControlError> {
        while let Some(news) = self.news.borrow_mut().pop_front() {
            if each(news) == Heard::Enough {
                break;
            }
        }
        Ok(0)
    }

    fn read(&self, path: &str) -> Result<String, String> {
        self.files.borrow().get(path).cloned().ok_or_else(|| "No such file or directory".into())
    }

    async fn sleep(&self, span: Duration) {
        let until = self.now.get() + span;
        self.now.set(self.interrupted_at.get().map_or(until, |at| until.min(at.max(self.now.get()))));
    }

    fn now(&self) -> Duration {
        self.now.get()
    }

    fn screen(&self) -> Option<(u16, u16)> {
        self.sizes.borrow_mut().pop_front().or_else(|| self.screen.get())
    }

    async fn key(&self, span: Duration) -> Option<char> {
        let key = self.keys.borrow_mut().pop_front().filter(|key| *key != '\0');
        if key.is_none() {
            self.sleep(span).await;
        }
        key
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted_at.get().is_some_and(|at| self.now.get() >= at)
    }

    fn print(&self, text: &str) -> Result<(), Closed> {
        if self.closed.get() {
            return Err(Closed);
        }
        self.out.borrow_mut().push_str(text);
        Ok(())
    }

    fn complain(&self, text: &str) {
        self.err.borrow_mut().push_str(text);
    }
}

/// `lo0` as every kernel has it.
pub(crate) fn lo0() -> InterfaceReport {
    InterfaceReport {
        name: "lo0".parse().unwrap(),
        index: 1,
        kind: LinkKind::Loopback,
        flags: InterfaceFlags::UP
            | InterfaceFlags::LOOPBACK
            | InterfaceFlags::RUNNING
            | InterfaceFlags::MULTICAST,
        mtu: 33_624,
        capabilities: Capabilities::empty(),
        enabled: Capabilities::empty(),
        link_address: None,
        link_state: LinkState::Unknown,
        addresses: vec![address("127.0.0.1", 8, None)],
        host_end: None,
        ..virt0()
    }
}

/// `virt0` with 10.0.0.2/24.
pub(crate) fn virt0() -> InterfaceReport {
    InterfaceReport {
        name: "virt0".parse().unwrap(),
        index: 2,
        kind: LinkKind::Ethernet,
        flags: InterfaceFlags::UP
            | InterfaceFlags::BROADCAST
            | InterfaceFlags::RUNNING
            | InterfaceFlags::SIMPLEX
            | InterfaceFlags::MULTICAST,
        mtu: 1500,
        metric: 0,
        capabilities: Capabilities::empty(),
        enabled: Capabilities::empty(),
        link_address: Some("b2:0a:5c:7d:01:9e".parse().unwrap()),
        inactive_link_addresses: Vec::new(),
        link_state: LinkState::Up,
        addresses: vec![address("10.0.0.2", 24, Some("10.0.0.255"))],
        counters: InterfaceCounters::default(),
        drops: Vec::new(),
        host_drops: None,
        host_end: Some("tap0".into()),
        bus: None,
    }
}

/// An address without flags.
pub(crate) fn address(address: &str, prefix_len: u8, broadcast: Option<&str>) -> AddressReport {
    AddressReport {
        address: address.parse().unwrap(),
        prefix_len,
        broadcast: broadcast.map(|broadcast| broadcast.parse().unwrap()),
        peer: None,
        flags: AddressFlags::empty(),
    }
}
