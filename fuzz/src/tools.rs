//! The grammar of the tools: arbitrary words, asked of a stack, end with a status and a reason.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration as Span;

use rumpnet_proto::{AddressChange, CaptureOptions, ControlError, Errno, Operation, Reply, Request};
use rumpnet_stack::{
    Config, PortConfig, Stack,
    time::{Duration, Instant},
};
use rumpnet_tools::{CaptureSummary, Closed, Console, Status};
use rumpnet_wire::ethernet;

/// Words that chance would not find; bytes from 128 on stand for them.
const WORDS: &[&str] = &[
    "ifconfig",
    "ping",
    "arp",
    "sysctl",
    "tcpdump",
    "dmesg",
    "halt",
    "virt0",
    "lo0",
    "virt1",
    "create",
    "destroy",
    "up",
    "down",
    "alias",
    "-alias",
    "delete",
    "inet",
    "inet6",
    "link",
    "active",
    "mtu",
    "metric",
    "netmask",
    "broadcast",
    "10.0.0.2/24",
    "10.0.0.1",
    "255.255.255.0",
    "0xffffff00",
    "b2:0a:00:00:00:07",
    "-a",
    "-l",
    "-C",
    "-v",
    "-z",
    "-s",
    "-b",
    "-d",
    "-u",
    "-w",
    "-c",
    "-i",
    "-n",
    "--json",
    "--help",
    "1500",
    "arp",
    "-arp",
    "tso4",
    "-tso4",
    "ip4csum",
    "net.inet.ip.ttl",
    "net.inet.ip.ttl=9",
    "-w",
    "-",
    "5",
    "0",
    "-1",
    "4294967296",
    "prefixlen",
    "promisc",
    "debug",
    "netmask",
    "*",
    "route",
    "netstat",
    "add",
    "show",
    "default",
    "-net",
    "-interface",
    "10.0.0/24",
    "-ss",
    "-r",
    "hostend",
];

/// Calls and sleeps after which the user interrupts.
const PATIENCE: u32 = 60;

/// A stack to ask, whose time passes by the calls.
struct Desk {
    stack: RefCell<Stack>,
    now: Cell<Instant>,
    calls: Cell<u32>,
    printed: RefCell<String>,
    complained: RefCell<String>,
}

/// Runs a tool with the words that the octets spell.
pub fn tools(data: &[u8]) {
    let words = spelled(data);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let desk = Desk::new();
    let mut future = pin!(rumpnet_tools::run(&desk, &words));
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(ended) = future.as_mut().poll(&mut context) else {
        panic!("nothing was left to wait for")
    };
    let Some(status) = ended else { return };
    let said = !desk.printed.borrow().is_empty() || !desk.complained.borrow().is_empty();
    assert!(said || status == Status::SUCCESS, "{words:?} failed without a word");
    if words[1..].contains(&"--json") && !words.contains(&"--help") {
        check_json(&words, &desk.printed.borrow());
    }
}

/// Every line, or all lines together, are JSON.
fn check_json(words: &[&str], printed: &str) {
    let mut values = serde_json::Deserializer::from_str(printed).into_iter::<serde_json::Value>();
    assert!(values.all(|value| value.is_ok()), "{words:?}: {printed}");
}

fn spelled(data: &[u8]) -> Vec<String> {
    let mut words = vec![String::new()];
    for byte in data {
        match byte {
            b' ' | b'\n' => words.push(String::new()),
            128.. => {
                words.push(WORDS[usize::from(byte & 127) % WORDS.len()].into());
                words.push(String::new());
            }
            // A program's arguments cannot have a zero in them.
            0 => {}
            _ => words.last_mut().expect("one is there from the start").push(char::from(*byte)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

impl Desk {
    fn new() -> Self {
        let now = Instant::ZERO;
        let mut stack = Stack::boot(Config::tiny(), [1; 16], now);
        let port = PortConfig::ethernet(ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]));
        stack.create_interface(now, "virt0", port).expect("room for one");
        let address = std::net::Ipv4Addr::new(10, 0, 0, 1).into();
        let change =
            AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: true };
        stack.control(now, Request::AddAddress { name: "virt0".into(), change }).expect("a good address");
        let (printed, complained) = (RefCell::default(), RefCell::default());
        Self { stack: stack.into(), now: now.into(), calls: 0.into(), printed, complained }
    }

    fn pass(&self, span: Duration) {
        self.calls.set(self.calls.get() + 1);
        assert!(self.calls.get() < 100 * PATIENCE, "an interrupt is not heard");
        self.now.set(self.now.get() + span);
        self.stack.borrow_mut().on_timeout(self.now.get());
    }
}

impl Console for Desk {
    async fn call(&self, request: Request) -> Result<Reply, ControlError> {
        let span = match request {
            Request::EchoReceive { timeout_ns, .. } => Duration::from_nanos(timeout_ns.min(1_000_000_000)),
            _ => Duration::from_millis(1),
        };
        self.pass(span);
        self.stack.borrow_mut().control(self.now.get(), request)
    }

    async fn capture(&self, options: CaptureOptions, path: &str) -> Result<CaptureSummary, ControlError> {
        if path.len() > 99 {
            return Err(ControlError::new(Operation::Capture, path, Errno::Inval));
        }
        let Reply::Capture { capture } = self.call(Request::CaptureOpen(options)).await? else { panic!() };
        match self.call(Request::CaptureClose { capture }).await? {
            Reply::CaptureEnded { captured, overruns } => Ok(CaptureSummary { captured, overruns }),
            other => panic!("{other:?}"),
        }
    }

    async fn sleep(&self, span: Span) {
        self.pass(Duration::from_nanos(span.as_nanos().min(1_000_000_000) as u64));
    }

    fn now(&self) -> Span {
        Span::from_nanos((self.now.get() - Instant::ZERO).as_nanos())
    }

    fn is_interrupted(&self) -> bool {
        self.calls.get() > PATIENCE
    }

    fn print(&self, text: &str) -> Result<(), Closed> {
        self.printed.borrow_mut().push_str(text);
        Ok(())
    }

    fn complain(&self, text: &str) {
        self.complained.borrow_mut().push_str(text);
    }
}
