//! The demo's status page: HTTP/1.1 over the kernel's own TCP, with what the tools would say of it.
//!
//! `/` is for people and keeps itself up to date; `/interfaces.json`, `/sockets.json` and `/statistics.json` are the reports of
//! the tools. Every request is answered on a connection of its own, by a thread of its own, and of both there are few.

use std::{
    cell::RefCell,
    io::{self, Read, Write as _},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rumpnet::{Kernel, TcpListener, TcpStream};
use rumpnet_proto::{CaptureOptions, ControlError, Errno, Operation, Reply, Request};
use rumpnet_tools::{CaptureSummary, Closed, Console};

use crate::console;

/// Requests answered at once; a further one waits to be accepted.
const AT_ONCE: usize = 16;

/// Bytes of the longest request head.
const LONGEST: usize = 8 * 1024;

/// How long a client may take to say what it wants, or to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves the page at port 80 of `address` for as long as the kernel lives.
pub(super) fn serve(kernel: &Kernel, address: IpAddr) -> io::Result<()> {
    let listener = TcpListener::bind(kernel, SocketAddr::new(address, 80))?;
    let kernel = kernel.clone();
    let body = move || accept(&listener, &kernel);
    thread::Builder::new().name("demo-page".into()).stack_size(128 * 1024).spawn(body).map(drop)
}

fn accept(listener: &TcpListener, kernel: &Kernel) {
    let busy = Arc::new(AtomicUsize::new(0));
    while let Ok((stream, _)) = listener.accept() {
        if busy.fetch_add(1, Ordering::AcqRel) >= AT_ONCE {
            // Closing says so; the browser asks again.
            busy.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (kernel, done) = (kernel.clone(), busy.clone());
        let body = move || {
            // A client that went away needs no answer.
            let _gone = answer(&stream, &kernel);
            done.fetch_sub(1, Ordering::AcqRel);
        };
        let spawned = thread::Builder::new().name("demo-request".into()).stack_size(256 * 1024).spawn(body);
        if spawned.is_err() {
            busy.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    path: String,
    /// Whether only the head of the answer is wanted.
    head: bool,
}

fn answer(mut stream: &TcpStream, kernel: &Kernel) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (status, kind, body, head) = match read_request(stream)? {
        Err(status) => (status, "text/plain", format!("{status}\n"), false),
        Ok(wanted) => match page(kernel, &wanted.path) {
            Some((kind, body)) => ("200 OK", kind, body, wanted.head),
            None => ("404 Not Found", "text/plain", "404 Not Found\n".to_owned(), wanted.head),
        },
    };
    let len = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    if !head {
        stream.write_all(body.as_bytes())?;
    }
    stream.shutdown(std::net::Shutdown::Write)
}

/// Reads a request's head; the status to answer with if it is none of ours.
fn read_request(mut stream: impl Read) -> io::Result<Result<Wanted, &'static str>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if let Some(found) = parse(&bytes) {
            return Ok(found);
        }
        if bytes.len() >= LONGEST {
            return Ok(Err("431 Request Header Fields Too Large"));
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => bytes.extend_from_slice(&buffer[..len]),
        }
    }
}

/// None while the head is not complete.
fn parse(bytes: &[u8]) -> Option<Result<Wanted, &'static str>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return Some(Err("400 Bad Request")),
    }
    let head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Some(Err("405 Method Not Allowed")),
    };
    let path = request.path.unwrap_or("/").split('?').next().unwrap_or("/").to_owned();
    Some(Ok(Wanted { path, head }))
}

/// The page of a path: its kind and its text.
fn page(kernel: &Kernel, path: &str) -> Option<(&'static str, String)> {
    let report = |words: &[&str]| Some(("application/json", said(kernel, words)));
    match path {
        "/" => Some(("text/html", html(kernel))),
        "/interfaces.json" => report(&["ifconfig", "-v", "-a", "--json"]),
        "/sockets.json" => report(&["netstat", "-an", "--json"]),
        "/statistics.json" => report(&["netstat", "-s", "-s", "--json"]),
        _ => None,
    }
}

fn html(kernel: &Kernel) -> String {
    let sections = [
        ("Interfaces", &["ifconfig", "-a"][..]),
        ("Connections", &["netstat", "-an"][..]),
        ("What they know of their paths", &["ss", "-t", "-i"][..]),
        ("Counters", &["netstat", "-s", "-s"][..]),
        ("Neighbours", &["arp", "-an"][..]),
    ];
    let name = escaped(kernel.name());
    let uptime = kernel.info().uptime_ns / 1_000_000_000;
    let mut text = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2><title>{name}</title>\
         <style>body{{font:15px/1.4 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         pre{{background:#8881;padding:1em;overflow:auto}}</style>\
         <h1>{name}</h1><p>A network kernel in user space, version {}, up for {uptime} s. This page came over its own TCP.</p>",
        env!("CARGO_PKG_VERSION")
    );
    for (title, words) in sections {
        text += &format!("<h2>{title}</h2><pre>{}</pre>", escaped(&said(kernel, words)));
    }
    text + "<p><a href=/interfaces.json>interfaces</a>, <a href=/sockets.json>sockets</a> and \
            <a href=/statistics.json>statistics</a> as JSON</p></html>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What a tool prints.
fn said(kernel: &Kernel, words: &[&str]) -> String {
    let paper = Paper { kernel, text: RefCell::default() };
    // What went wrong stands on the paper.
    let _status = console::run(rumpnet_tools::run(&paper, words));
    paper.text.into_inner()
}

/// A console whose output is kept.
struct Paper<'a> {
    kernel: &'a Kernel,
    text: RefCell<String>,
}

impl Console for Paper<'_> {
    async fn call(&self, request: Request) -> Result<Reply, ControlError> {
        self.kernel.control(request)
    }

    async fn capture(&self, _options: CaptureOptions, _path: &str) -> Result<CaptureSummary, ControlError> {
        Err(ControlError::new(Operation::Capture, "", Errno::OpNotSupp))
    }

    async fn sleep(&self, span: Duration) {
        thread::sleep(span);
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.kernel.info().uptime_ns)
    }

    fn is_interrupted(&self) -> bool {
        false
    }

    fn print(&self, text: &str) -> Result<(), Closed> {
        self.text.borrow_mut().push_str(text);
        Ok(())
    }

    fn complain(&self, text: &str) {
        self.text.borrow_mut().push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_to_the_end_of_their_head_and_others_are_refused() {
        let wanted = |path: &str, head| Some(Ok(Wanted { path: path.into(), head }));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), wanted("/", false));
        assert_eq!(parse(b"HEAD /a.json?b HTTP/1.0\r\n\r\n"), wanted("/a.json", true));
        assert_eq!(parse(b"POST / HTTP/1.1\r\n\r\n"), Some(Err("405 Method Not Allowed")));
        assert_eq!(parse(b"\x16\x03\x01\x02\x00"), Some(Err("400 Bad Request")));
    }

    #[test]
    fn an_endless_head_is_refused_and_an_unfinished_one_is_an_end() {
        let endless = io::repeat(b'a');
        let refused = read_request(b"GET / HTTP/1.1\r\nX: ".chain(endless)).expect("read");
        assert_eq!(refused, Err("431 Request Header Fields Too Large"));
        assert_eq!(read_request(&b"GET /"[..]).expect_err("cut off").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_page_says_what_the_tools_say_and_nothing_of_it_is_markup() {
        let kernel = Kernel::builder().name("<b>").driven().boot().expect("boots");
        let (kind, text) = page(&kernel, "/").expect("there");
        assert_eq!(kind, "text/html");
        assert!(text.contains("&lt;b&gt;") && text.contains("lo0: flags="), "{text}");
        assert!(page(&kernel, "/interfaces.json").is_some_and(|(_, text)| text.starts_with('{')));
        assert!(page(&kernel, "/nothing").is_none());
    }
}
