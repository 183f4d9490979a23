//! TCP over the rump kernel: streams in both directions, and one byte there and back.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rumpnet::{Bytes, Kernel, TcpListener, TcpStream};

use crate::{
    Failure,
    count::{self, Count},
    kernel_socket::PORT,
    namespace::{HOST, PEER},
    peer,
    trial::Load,
};

/// Bytes of a read or a write.
const BLOCK: usize = 256 * 1024;
/// How long a call may wait before the trial is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the far side of `load`.
pub(crate) fn run(kernel: &Kernel, load: Load) -> Result<(), Failure> {
    match load {
        Load::Sink => receive(kernel, |stream, _| Ok(stream.read_slices(BLOCK)?.len())),
        Load::Stream => receive(kernel, |mut stream, buffer| stream.read(buffer)),
        Load::StreamSend => {
            let block = vec![0x55; BLOCK];
            send(kernel, |mut stream| stream.write(&block))
        }
        Load::StreamGive => {
            let block = Bytes::from(vec![0x55; BLOCK]);
            send(kernel, |stream| stream.write_bytes(&block))
        }
        _ => answer(kernel),
    }
}

fn accept(kernel: &Kernel) -> Result<TcpStream, Failure> {
    let listener = TcpListener::bind(kernel, SocketAddr::from((PEER, PORT)))?;
    peer::meet()?;
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Counts what one stream brings.
fn receive(
    kernel: &Kernel,
    mut once: impl FnMut(&TcpStream, &mut [u8]) -> io::Result<usize>,
) -> Result<(), Failure> {
    let stream = accept(kernel)?;
    let mut buffer = vec![0; BLOCK];
    let mut count = Count::begin();
    while count.is_running() {
        match once(&stream, &mut buffer)? {
            0 => break,
            len => count.add(1, len as u64),
        }
    }
    peer::report(&count.figures())
}

/// Sends one stream for as long as the load lasts.
fn send(kernel: &Kernel, mut once: impl FnMut(&TcpStream) -> io::Result<usize>) -> Result<(), Failure> {
    peer::meet()?;
    let stream = TcpStream::connect(kernel, SocketAddr::from((HOST, PORT)))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let until = Instant::now() + count::LOAD;
    while Instant::now() < until {
        match once(&stream) {
            Ok(_) => {}
            // The host has counted enough.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) =>
            {
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sends each byte back until nobody sends any.
fn answer(kernel: &Kernel) -> Result<(), Failure> {
    let mut stream = accept(kernel)?;
    stream.set_nodelay(true)?;
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        stream.write_all(&byte)?;
    }
    Ok(())
}
