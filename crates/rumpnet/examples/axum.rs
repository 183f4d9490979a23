//! An axum server with an IP address of its own, 10.0.0.2, as it is: `cargo run -p rumpnet --features tokio --example axum -- WHERE`.
//!
//! WHERE is the name of a tap (`tap0`; then `ip addr add 10.0.0.1/24 dev tap0; curl http://10.0.0.2/`), a descriptor of one that this process has
//! inherited (`fd:3`), or `channel`, where a second kernel in this program asks. Ctrl-C, or a request of `/stop`, ends the server gracefully: it
//! answers what was asked, and what it has sent arrives before the kernel goes.

use std::{
    error::Error,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{Router, extract::State, routing};
use rumpnet::{
    Kernel,
    link::channel::{self, ChannelLink},
    proto::CreateOptions,
    tokio::{TcpListener, TcpStream},
};
use tokio::sync::Notify;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let end = std::env::args().nth(1).unwrap_or_else(|| "tap0".into());
    if end != "channel" {
        return serve(kernel_on(&end)?).await;
    }
    let (kernel, other) = kernel_on_channel()?;
    let client = thread::spawn(move || ask(other));
    serve(kernel).await?;
    println!("{}", client.join().map_err(|_| "the client panicked")??);
    Ok(())
}

/// A kernel whose `virt0` has this end on the host: a tap's name, or `fd:N`.
pub(crate) fn kernel_on(end: &str) -> Result<Kernel, Box<dyn Error>> {
    let kernel = Kernel::boot()?;
    kernel.create_with("virt0", &CreateOptions { host_end: Some(end.into()), ..CreateOptions::default() })?;
    Ok(kernel)
}

/// A kernel on a channel, and the channel's other end.
pub(crate) fn kernel_on_channel() -> Result<(Kernel, ChannelLink), Box<dyn Error>> {
    let (kernel, (end, other)) = (Kernel::boot()?, channel::pair());
    kernel.attach("virt0", Box::new(end), None)?;
    Ok((kernel, other))
}

/// The server, until it is asked to stop.
pub(crate) async fn serve(kernel: Kernel) -> Result<(), Box<dyn Error>> {
    kernel.add_address("virt0", "10.0.0.2/24".parse()?)?;
    let stop = Arc::new(Notify::new());
    let app = Router::new()
        .route("/", routing::get(|| async { "hello" }))
        .route("/stop", routing::get(stop_and_go_on))
        .with_state(stop.clone());
    let listener = Listener(TcpListener::bind(&kernel, "10.0.0.2:80").await?);
    let stopped = async move {
        tokio::select! {
            () = stop.notified() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await?;
    let undelivered = tokio::task::spawn_blocking(move || kernel.shutdown_within(PATIENCE)).await?;
    if undelivered.bytes > 0 { Err(format!("lost {undelivered:?}").into()) } else { Ok(()) }
}

/// The server ends, but not before this was answered.
async fn stop_and_go_on(State(stop): State<Arc<Notify>>) -> String {
    stop.notify_one();
    tokio::time::sleep(Duration::from_millis(300)).await;
    "the last words".repeat(10_000)
}

/// A kernel's listener, as axum wants one.
struct Listener(TcpListener);

impl axum::serve::Listener for Listener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                // Out of sockets, perhaps: as axum does with the host's.
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The client on the channel: two questions on one connection, and the one that ends the server.
pub(crate) fn ask(link: ChannelLink) -> io::Result<String> {
    let kernel = Kernel::boot()?;
    kernel.attach("virt0", Box::new(link), None).map_err(io::Error::other)?;
    kernel
        .add_address("virt0", "10.0.0.1/24".parse().map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    let mut stream = connect_patiently(|| rumpnet::TcpStream::connect(&kernel, "10.0.0.2:80"))?;
    let answers = ["/", "/", "/stop"].map(|path| get(&mut stream, path));
    let [one, two, last] = answers;
    Ok(format!("{}, {}, and {} bytes of last words", one?, two?, last?.len()))
}

/// Connects as soon as somebody listens.
pub(crate) fn connect_patiently<S>(connect: impl Fn() -> io::Result<S>) -> io::Result<S> {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        match connect() {
            Err(_) if std::time::Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            result => return result,
        }
    }
}

/// A question and its answer; the connection stays.
pub(crate) fn get(stream: &mut (impl Read + Write), path: &str) -> io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 10.0.0.2\r\n\r\n")?;
    // The server says nothing after the answer, so that nothing is read too far.
    let mut reader = BufReader::new(stream);
    let mut len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => len = value.parse().map_err(io::Error::other)?,
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body)?;
    String::from_utf8(body).map_err(io::Error::other)
}
