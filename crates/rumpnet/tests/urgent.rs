//! Urgent data between a kernel on a tap and the host's own stack: the same conversations are held between two sockets of the host, from the
//! host to us and from us to the host, and each call must come to the same.
//!
//! One thing is left out, in which Linux and the BSDs differ: a read that begins at the mark and finds nothing behind it passes the urgent byte
//! on Linux. Here, as on the BSDs, the byte is still there, so that a reader that waits does not take it from whoever reads it out of band.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener as HostListener,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rumpnet::{Kernel, TcpListener, TcpOption, TcpStream, proto::Counter};
use rumpnet_host::namespace::enter_own_network;

const PATIENCE: Duration = Duration::from_secs(20);

/// A socket of the host that does what it is told, line by line, and says what each call came to.
const PROGRAM: &str = r#"
import errno, fcntl, select, socket, struct, sys
role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if role == 'listen':
    listener = socket.create_server((address, port))
    print('listening', flush=True)
    s, _ = listener.accept()
else:
    s = socket.create_connection((address, port))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
number = lambda request: struct.unpack('i', fcntl.ioctl(s, request, b'\0\0\0\0'))[0]
def acknowledged():
    while number(0x5411) > 0:  # SIOCOUTQ
        select.select([], [], [], .001)
def call(words):
    match words[0]:
        case 'send' | 'urgent':
            s.sendall(words[1].encode(), socket.MSG_OOB if words[0] == 'urgent' else 0)
            acknowledged()
            return 'sent'
        case 'read': return s.recv(int(words[1]), socket.MSG_DONTWAIT).decode()
        case 'peek': return s.recv(int(words[1]), socket.MSG_DONTWAIT | socket.MSG_PEEK).decode()
        case 'take': return s.recv(1, socket.MSG_OOB).decode()
        case 'mark': return str(number(0x8905) == 1).lower()  # SIOCATMARK
        case 'inline':
            s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            return 'set'
        case 'poll':
            p = select.poll()
            p.register(s, select.POLLPRI)
            return str(bool(p.poll(0))).lower()
print('connected', flush=True)
for line in sys.stdin:
    try: print(call(line.split()), flush=True)
    except OSError as e: print(errno.errorcode[e.errno], flush=True)
"#;

/// One end of a conversation.
trait End {
    /// What a call comes to.
    fn call(&mut self, words: &str) -> String;
}

struct Host {
    child: Child,
    words: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Host {
    fn start(role: &str, address: &str, port: u16) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", PROGRAM, role, address, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there (package python3)");
        let words = child.stdin.take().expect("piped");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, words, said }
    }

    fn listen(address: &str, port: u16) -> Self {
        let mut host = Self::start("listen", address, port);
        assert_eq!(host.hear(), "listening");
        host
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it says something");
        line.trim_end().into()
    }

    fn connected(mut self) -> Self {
        assert_eq!(self.hear(), "connected");
        self
    }
}

impl End for Host {
    fn call(&mut self, words: &str) -> String {
        writeln!(self.words, "{words}").expect("it listens");
        self.hear()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

struct Ours(TcpStream);

impl Ours {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("open");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nonblocking(true).expect("open");
        Self(stream)
    }

    /// Until the peer has all that was sent.
    fn acknowledged(&self) {
        let began = Instant::now();
        while self.0.info().expect("connected").path.in_flight > 0 {
            assert!(began.elapsed() < PATIENCE, "an acknowledgment");
            std::thread::yield_now();
        }
    }

    fn try_call(&mut self, words: &str) -> io::Result<String> {
        let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
        let mut buffer = vec![0; rest.parse().unwrap_or(0)];
        Ok(match name {
            "send" => {
                self.0.write_all(rest.as_bytes())?;
                self.acknowledged();
                "sent".into()
            }
            "urgent" => {
                assert_eq!(self.0.send_urgent(rest.as_bytes())?, rest.len());
                self.acknowledged();
                "sent".into()
            }
            "read" => {
                let len = self.0.read(&mut buffer)?;
                String::from_utf8_lossy(&buffer[..len]).into()
            }
            "peek" => {
                let len = self.0.peek(&mut buffer)?;
                String::from_utf8_lossy(&buffer[..len]).into()
            }
            "take" => self.0.recv_urgent()?.map(char::from).into_iter().collect(),
            "mark" => self.0.at_mark()?.to_string(),
            "inline" => self.0.set_urgent_inline(true).map(|()| "set".into())?,
            "poll" => {
                self.0.set_nonblocking(true)?;
                self.0.wait_urgent().is_ok().to_string()
            }
            other => panic!("no call is named {other}"),
        })
    }
}

impl End for Ours {
    fn call(&mut self, words: &str) -> String {
        self.try_call(words).unwrap_or_else(|error| match error.raw_os_error() {
            Some(libc::EAGAIN) => "EAGAIN".into(),
            Some(libc::EINVAL) => "EINVAL".into(),
            other => panic!("{words}: {other:?}"),
        })
    }
}

/// Who says what: `>` is the sender, `<` the reader.
const CONVERSATIONS: [&str; 9] = [
    // Out of band, taken before and at the mark.
    "< take, > send abc, < take, > urgent defg, < poll, < take, < take, < poll, < mark, < read 2, < read 99, < mark, \
     > send hij, < mark, < peek 99, < read 99, < mark, < read 99, < take",
    // Passed without being taken.
    "> urgent ab, < read 99, < mark, < poll, < read 99, > send cd, < read 99, < mark, < take",
    // In line.
    "< inline, > send ab, > urgent cd, > send ef, < poll, < take, < read 99, < mark, < peek 99, < read 99, < mark, < poll",
    // A later byte takes the place of one that waits behind others.
    "> send ab, > urgent cd, > urgent ef, < take, < read 99, < mark, < read 99",
    // The same with one that was taken.
    "> send ab, > urgent cd, < take, > urgent ef, < read 99, < mark, < take, < read 99",
    // The same when the reader stands at it.
    "> urgent a, > urgent b, > urgent c, < mark, < take, < take, > send d, < read 99, < mark, < take",
    "> send ab, > urgent c, < read 2, < mark, > urgent de, < mark, < read 99, < mark, < take, > send f, < read 99",
    "> urgent x, < take, > urgent y, < take, < read 99, > send z, < read 99, < mark",
    // A byte at the very end of what is asked for.
    "> send abc, > urgent d, > send efg, < read 3, < mark, < read 1, < mark, < take, < read 9",
];

fn hold(conversation: &str, sender: &mut dyn End, reader: &mut dyn End) -> Vec<String> {
    let say = |line: &str| {
        let (who, words) = line.trim().split_once(' ').expect("who, and what");
        let said = if who == ">" { sender.call(words) } else { reader.call(words) };
        format!("{} -> {said}", line.trim())
    };
    conversation.split(',').map(say).collect()
}

/// A kernel of 10.0.0.2 whose tap is 10.0.0.1 of the host.
fn kernel() -> Kernel {
    enter_own_network().expect("these tests need root");
    let kernel = Kernel::boot().expect("boots");
    kernel.create("virt0").expect("these tests need root");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    ip(&["addr", "add", "10.0.0.1/24", "dev", "tap0"]);
    kernel
}

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().expect("package iproute2").success());
}

#[test]
fn closing_waits_for_a_peer_of_the_host_as_long_as_it_was_told_to() {
    let kernel = kernel();
    let host = HostListener::bind("10.0.0.1:80").expect("free");
    let connect = |span| {
        let mut ours = TcpStream::connect(&kernel, "10.0.0.1:80").expect("it listens");
        ours.set_linger(Some(span)).expect("open");
        ours.set_option(TcpOption::SendBuffer(8_000_000)).expect("open");
        let (theirs, _) = host.accept().expect("connected");
        ours.write_all(&[7; 3_000_000]).expect("room");
        (ours, theirs)
    };
    let (ours, theirs) = connect(PATIENCE);
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        (&theirs).read_to_end(&mut all).expect("the end comes");
        all.len()
    });
    let began = Instant::now();
    drop(ours);
    assert!(began.elapsed() < PATIENCE, "it has everything");
    assert_eq!(kernel.counter(Counter::TcpResetsSent), 0);
    assert_eq!(reader.join().expect("read"), 3_000_000);

    // More than the host's buffers hold, and nobody reads.
    let span = Duration::from_millis(300);
    let (mut ours, mut theirs) = connect(span);
    ours.set_nonblocking(true).expect("open");
    let mut written = 3_000_000;
    while let Ok(len) = ours.write(&[7; 100_000]) {
        written += len;
    }
    ours.set_nonblocking(false).expect("open");
    let began = Instant::now();
    drop(ours);
    assert!(began.elapsed() >= span, "it was waited for");
    let mut all = Vec::new();
    theirs.read_to_end(&mut all).expect("the rest comes in the background");
    assert_eq!(all.len(), written);
}

#[test]
fn each_call_comes_to_what_it_comes_to_between_two_sockets_of_the_host() {
    let kernel = kernel();
    ip(&["link", "set", "lo", "up"]);
    let listener = TcpListener::bind(&kernel, "10.0.0.2:80").expect("free");
    for (number, conversation) in CONVERSATIONS.into_iter().enumerate() {
        let port = 2000 + number as u16;
        let reader = Host::listen("127.0.0.1", port);
        let mut sender = Host::start("connect", "127.0.0.1", port).connected();
        let wanted = hold(conversation, &mut sender, &mut reader.connected());

        let sender = Host::start("connect", "10.0.0.2", 80);
        let mut reader = Ours::new(listener.accept().expect("the host connects").0);
        assert_eq!(hold(conversation, &mut sender.connected(), &mut reader), wanted, "from the host");

        let reader = Host::listen("10.0.0.1", port);
        let mut sender = Ours::new(TcpStream::connect(&kernel, ("10.0.0.1", port)).expect("it listens"));
        assert_eq!(hold(conversation, &mut sender, &mut reader.connected()), wanted, "from us");
    }
}
