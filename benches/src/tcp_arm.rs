//! TCP over the rump kernel: streams in both directions, one byte there and back, and connections that only open and close.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    sync::Mutex,
    time::Instant,
};

use rumpnet::{Bytes, Kernel, TcpListener, TcpStream};

use crate::{
    Failure,
    count::{self, Count},
    kernel_socket::PORT,
    kernel_stream::{self, BLOCK, PATIENCE, READ, on_threads},
    namespace::{HOST, PEER},
    peer,
    trial::Load,
};

/// Runs the far side of `load`.
pub(crate) fn run(kernel: &Kernel, load: Load) -> Result<(), Failure> {
    let width = load.width();
    match load {
        Load::Sink => receive(kernel, width, |stream, _| Ok(stream.read_slices(READ)?.len())),
        Load::Stream | Load::Streams => receive(kernel, width, |mut stream, buffer| stream.read(buffer)),
        Load::StreamSend | Load::StreamsSend => {
            let block = vec![0x55; BLOCK];
            send(kernel, width, |mut stream| stream.write(&block))
        }
        Load::StreamGive => {
            let block = Bytes::from(vec![0x55; BLOCK]);
            send(kernel, width, |stream| stream.write_bytes(&block))
        }
        Load::Request | Load::RequestPinned | Load::Requests => answer(kernel, width),
        Load::Connect | Load::Connects => close_all(&listen(kernel)?),
        other => Err(format!("the rump kernel has no peer under {}", other.name()).into()),
    }
}

fn listen(kernel: &Kernel) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(kernel, SocketAddr::from((PEER, PORT)))?;
    peer::meet()?;
    Ok(listener)
}

/// Counts what so many streams bring, a thread each.
fn receive(
    kernel: &Kernel,
    streams: usize,
    once: impl Fn(&TcpStream, &mut [u8]) -> io::Result<usize> + Sync,
) -> Result<(), Failure> {
    let listener = listen(kernel)?;
    let count = Mutex::new(Count::begin());
    on_threads(streams, || {
        let read = |stream: &TcpStream, buffer: &mut [u8]| once(stream, buffer);
        receive_one(&listener, &count, read).map_err(|error| error.to_string())
    })?;
    peer::report(&kernel_stream::figures(&count)?)
}

fn receive_one(
    listener: &TcpListener,
    count: &Mutex<Count>,
    once: impl Fn(&TcpStream, &mut [u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; READ];
    loop {
        let len = once(&stream, &mut buffer)?;
        if len == 0 || !kernel_stream::add(count, len) {
            return Ok(());
        }
    }
}

/// Sends so many streams for as long as the load lasts, a thread each.
fn send(
    kernel: &Kernel,
    streams: usize,
    once: impl Fn(&TcpStream) -> io::Result<usize> + Sync,
) -> Result<(), Failure> {
    peer::meet()?;
    let until = Instant::now() + count::LOAD;
    on_threads(streams, || send_one(kernel, until, &once).map_err(|error| error.to_string())).map(drop)
}

fn send_one(
    kernel: &Kernel,
    until: Instant,
    once: impl Fn(&TcpStream) -> io::Result<usize>,
) -> io::Result<()> {
    let stream = TcpStream::connect(kernel, SocketAddr::from((HOST, PORT)))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    while Instant::now() < until {
        match once(&stream) {
            Ok(_) => {}
            Err(error) if kernel_stream::is_end(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends each byte back on so many connections, a thread each, until nobody sends any.
fn answer(kernel: &Kernel, connections: usize) -> Result<(), Failure> {
    let listener = listen(kernel)?;
    on_threads(connections, || answer_one(&listener).map_err(|error| error.to_string())).map(drop)
}

fn answer_one(listener: &TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

/// Accepts connections and closes them until it is killed.
fn close_all(listener: &TcpListener) -> Result<(), Failure> {
    loop {
        drop(listener.accept()?);
    }
}
