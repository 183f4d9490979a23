//! Two processes on one bus: how much they move, and how long a round trip takes.
//!
//! `cargo run --release --example bus [PATH]` starts itself a second time as the server; PATH is the bus, one in the temporary
//! directory unless it is given. No privilege is needed. With `mem:NAME` both kernels are in this process.

use std::{
    error::Error,
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rumpnet::{Kernel, TcpListener, TcpStream, UdpSocket, proto::CreateOptions};

/// How long each measurement takes.
const SPAN: Duration = Duration::from_secs(3);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Ends the server with this process.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let default =
        || std::env::temp_dir().join(format!("rumpnet-bus-{}", std::process::id())).display().to_string();
    let bus = words.next().unwrap_or_else(default);
    if words.next().as_deref() == Some("serve") {
        return serve(&member(&bus, "10.0.0.2/24")?);
    }
    let _server = start_server(&bus)?;
    let kernel = member(&bus, "10.0.0.1/24")?;
    let stream = connect(&kernel)?;
    println!("stream     {:8.2} Gbit/s", stream_rate(stream)?);
    println!("datagrams  {:8.0} frames/s of 64 bytes sent", datagram_rate(&kernel)?);
    println!("round trip {:8.1} µs", round_trip(&connect(&kernel)?)?);
    let report = kernel.interface("bus0")?;
    println!("overruns   {:8}", report.host_drops.unwrap_or(0));
    if !bus.starts_with("mem:") {
        std::fs::remove_file(&bus)?;
    }
    Ok(())
}

fn start_server(bus: &str) -> Outcome<Option<Server>> {
    if bus.starts_with("mem:") {
        let kernel = member(bus, "10.0.0.2/24")?;
        thread::spawn(move || serve(&kernel));
        return Ok(None);
    }
    let mut command = Command::new(std::env::current_exe()?);
    let child = command.args([bus, "serve"]).stdin(Stdio::null()).spawn()?;
    Ok(Some(Server(child)))
}

/// A kernel with `bus0` on the bus.
fn member(bus: &str, address: &str) -> Outcome<Kernel> {
    let kernel = Kernel::boot()?;
    kernel.create_with("bus0", &CreateOptions::default())?;
    kernel.set_link_string("bus0", Some(bus))?;
    kernel.add_address("bus0", address.parse().map_err(|_| "not an address")?)?;
    Ok(kernel)
}

/// Takes all that comes, and answers messages of one byte.
fn serve(kernel: &Kernel) -> Outcome<()> {
    let sink = UdpSocket::bind(kernel, "10.0.0.2:8")?;
    thread::spawn(move || while sink.recv(&mut [0; 2048]).is_ok() {});
    let listener = TcpListener::bind(kernel, "10.0.0.2:7")?;
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut piece = vec![0; 256 * 1024];
        while let Ok(len) = stream.read(&mut piece)
            && len > 0
        {
            if len == 1 {
                stream.write_all(&piece[..1])?;
            }
        }
    }
}

/// Connects, as soon as there is somebody who answers.
fn connect(kernel: &Kernel) -> Outcome<TcpStream> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(kernel, "10.0.0.2:7") {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn stream_rate(mut stream: TcpStream) -> Outcome<f64> {
    let piece = vec![7; 256 * 1024];
    let (begun, mut bytes) = (Instant::now(), 0);
    while begun.elapsed() < SPAN {
        stream.write_all(&piece)?;
        bytes += piece.len();
    }
    Ok(bytes as f64 * 8e-9 / begun.elapsed().as_secs_f64())
}

fn datagram_rate(kernel: &Kernel) -> Outcome<f64> {
    let socket = UdpSocket::bind(kernel, "10.0.0.1:0")?;
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < SPAN {
        for _ in 0..64 {
            socket.send_to(&[7; 22], "10.0.0.2:8")?;
            count += 1;
        }
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// The median of round trips of one byte, in microseconds.
fn round_trip(stream: &TcpStream) -> Outcome<f64> {
    let mut stream = stream;
    stream.set_nodelay(true)?;
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        let sent = Instant::now();
        stream.write_all(&[7])?;
        stream.read_exact(&mut [0])?;
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2].as_secs_f64() * 1e6)
}
