//! Loads and counts of TCP on sockets of the host's own kernel, for the host's side of every arm and the far side of veth.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    sync::{Barrier, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Failure, Figures,
    count::{self, Count},
    kernel_socket::PORT,
    median,
    namespace::PEER,
};

/// How long a call may wait before the trial is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a write, the same for every arm.
pub(crate) const BLOCK: usize = 256 * 1024;
/// Bytes of a read, into a buffer that stays warm; the same for every arm.
pub(crate) const READ: usize = 256 * 1024;

/// Runs `once` on so many threads; the first failure is the whole's.
pub(crate) fn on_threads<T: Send>(
    count: usize,
    once: impl Fn() -> Result<T, String> + Sync,
) -> Result<Vec<T>, Failure> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&once)).collect();
        threads
            .into_iter()
            .map(|thread| Ok(thread.join().map_err(|_| "a thread of the load panicked")??))
            .collect()
    })
}

/// Adds to a count that several threads share; whether it goes on.
pub(crate) fn add(count: &Mutex<Count>, len: usize) -> bool {
    let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
    count.add(1, len as u64);
    count.is_running()
}

/// What a count that threads have shared comes to.
pub(crate) fn figures(count: &Mutex<Count>) -> Result<Figures, Failure> {
    count.lock().unwrap_or_else(PoisonError::into_inner).stream_figures()
}

/// Writes to so many TCP sinks at `to` with CUBIC, a thread each, for as long as a load lasts.
pub(crate) fn send(to: [u8; 4], streams: usize) -> Result<(), Failure> {
    let until = Instant::now() + count::LOAD;
    on_threads(streams, || send_one(to, until).map_err(|error| error.to_string())).map(drop)
}

fn send_one(to: [u8; 4], until: Instant) -> Result<(), Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_congestion(b"cubic")?;
    socket.connect_timeout(&SocketAddrV4::new(to.into(), PORT).into(), PATIENCE)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let block = vec![0x55; BLOCK];
    while Instant::now() < until {
        match (&mut &socket).write(&block) {
            Ok(_) => {}
            Err(error) if is_end(&error) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The other side has counted enough.
pub(crate) fn is_end(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// A listener of the host's kernel on the port that everything is sent to.
pub(crate) fn listen() -> Result<TcpListener, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?)
}

/// Accepts so many streams and counts what they bring, a thread each.
pub(crate) fn receive(listener: &TcpListener, streams: usize) -> Result<Figures, Failure> {
    let count = Mutex::new(Count::begin());
    on_threads(streams, || receive_one(listener, &count).map_err(|error| error.to_string()))?;
    figures(&count)
}

fn receive_one(listener: &TcpListener, count: &Mutex<Count>) -> Result<(), Failure> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; READ];
    loop {
        let len = match stream.read(&mut buffer) {
            Err(error) if is_end(&error) => 0,
            len => len?,
        };
        if len == 0 || !add(count, len) {
            return Ok(());
        }
    }
}

/// What is counted from now on: when counting begins, and when it ends.
fn span() -> (Instant, Instant) {
    let from = Instant::now() + count::SETTLE;
    (from, from + count::MEASURE)
}

/// The host's side of one byte there and back, on so many connections with a thread each: the median round trip, and how many there were.
pub(crate) fn ask(connections: usize) -> Result<Figures, Failure> {
    let all_ready = Barrier::new(connections);
    let times = on_threads(connections, || ask_one(&all_ready).map_err(|error| error.to_string()))?;
    let times: Vec<f64> = times.into_iter().flatten().collect();
    Ok(Figures::from([
        ("rtt_us".into(), median(&times)),
        ("transactions_per_second".into(), times.len() as f64 / count::MEASURE.as_secs_f64()),
    ]))
}

/// Microseconds of each round trip that ended in the span.
fn ask_one(all_ready: &Barrier) -> Result<Vec<f64>, Failure> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((PEER, PORT)), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut times = Vec::with_capacity(1 << 17);
    all_ready.wait();
    let (from, until) = span();
    loop {
        let begun = Instant::now();
        stream.write_all(&[0x55])?;
        stream.read_exact(&mut [0])?;
        let ended = Instant::now();
        if ended >= until {
            return Ok(times);
        }
        if ended >= from {
            times.push((ended - begun).as_secs_f64() * 1e6);
        }
    }
}

/// Accepts so many connections and sends each byte back, a thread each.
pub(crate) fn answer(listener: &TcpListener, connections: usize) -> Result<(), Failure> {
    on_threads(connections, || answer_one(listener).map_err(|error| error.to_string())).map(drop)
}

fn answer_one(listener: &TcpListener) -> Result<(), Failure> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Connections that so many threads open and close one after the other: each is over when both sides have said their end.
pub(crate) fn connect(threads: usize) -> Result<Figures, Failure> {
    // The first one waits for the link's address.
    connect_once()?;
    let (from, until) = span();
    let counts = on_threads(threads, || connect_again(from, until).map_err(|error| error.to_string()))?;
    let rate = counts.iter().sum::<u64>() as f64 / count::MEASURE.as_secs_f64();
    Ok(Figures::from([("connections_per_second".into(), rate)]))
}

/// How many ended in the span.
fn connect_again(from: Instant, until: Instant) -> Result<u64, Failure> {
    let mut count = 0;
    loop {
        connect_once()?;
        let ended = Instant::now();
        if ended >= until {
            return Ok(count);
        }
        count += u64::from(ended >= from);
    }
}

fn connect_once() -> Result<(), Failure> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((PEER, PORT)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.shutdown(Shutdown::Write)?;
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err("somebody said something on an empty connection".into()),
    }
}

/// Accepts connections and closes them until it is killed.
pub(crate) fn close_all(listener: &TcpListener) -> Result<(), Failure> {
    loop {
        drop(listener.accept()?);
    }
}
