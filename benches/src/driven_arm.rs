//! The rump kernel without a thread of its own: the loop that answers requests turns it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use rumpnet::{Kernel, TcpListener, TcpStream};

use crate::{Failure, kernel_socket::PORT, namespace::PEER, peer, rump_arm, trial::Load};

/// The longest turn; the trial ends by a kill.
const TURN: Duration = Duration::from_secs(1);

/// Runs the far side of `load`: sends each byte back on as many connections as it has.
pub(crate) fn run(load: Load) -> Result<(), Failure> {
    if !matches!(load, Load::RequestPinned | Load::Request | Load::Requests) {
        return Err(format!("the driven kernel is not measured under {}", load.name()).into());
    }
    let kernel = Kernel::builder().driven().boot()?;
    rump_arm::configure(&kernel)?;
    let listener = TcpListener::bind(&kernel, SocketAddr::from((PEER, PORT)))?;
    listener.set_nonblocking(true)?;
    peer::meet()?;
    let mut streams = Vec::new();
    loop {
        kernel.turn(Some(TURN));
        if streams.len() < load.width()
            && let Ok((stream, _)) = listener.accept()
        {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            streams.push(stream);
        }
        for stream in &mut streams {
            if !answer(stream)? {
                return Ok(());
            }
        }
    }
}

/// Sends back what has come; false at the end of the stream.
fn answer(stream: &mut TcpStream) -> Result<bool, Failure> {
    let mut bytes = [0; 16];
    match stream.read(&mut bytes) {
        Ok(0) => Ok(false),
        Ok(len) => {
            stream.write_all(&bytes[..len])?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error.into()),
    }
}
