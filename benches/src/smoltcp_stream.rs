//! TCP over smoltcp: one socket for each connection of a load, in its own loop.

use std::time::Instant as Clock;

use smoltcp::{iface::SocketHandle, socket::tcp, time::Duration, wire::Ipv4Address};

use crate::{
    Failure,
    count::{self, Count},
    kernel_socket::PORT,
    namespace::HOST,
    peer,
    smoltcp_arm::Stack,
    trial::Load,
};

/// Bytes that a socket holds in each direction. With fewer a window that was closed sometimes stays so, and the stream with it.
const BUFFER: usize = 4 << 20;
/// How long to wait for a frame before a count looks at its clock.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs the far side of `load`, its sockets listening before the start.
pub(crate) fn run(load: Load) -> Result<(), Failure> {
    let mut stack = Stack::open()?;
    let sockets: Vec<SocketHandle> = (0..load.width()).map(|_| stack.sockets.add(socket())).collect();
    if load == Load::StreamSend {
        peer::meet()?;
        return send(&mut stack, sockets[0]);
    }
    for socket in &sockets {
        let socket = stack.sockets.get_mut::<tcp::Socket<'_>>(*socket);
        socket.listen(PORT).map_err(|error| format!("smoltcp will not listen: {error}"))?;
    }
    peer::meet()?;
    if load == Load::Stream { receive(&mut stack, sockets[0]) } else { answer(&mut stack, &sockets) }
}

fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket
}

fn receive(stack: &mut Stack, socket: SocketHandle) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER];
    let mut count = Count::begin();
    while count.is_running() {
        stack.poll();
        let taken = stack.sockets.get_mut::<tcp::Socket<'_>>(socket).recv_slice(&mut buffer).unwrap_or(0);
        if taken > 0 {
            count.add(1, taken as u64);
        } else {
            stack.wait_at_most(PATIENCE)?;
        }
    }
    peer::report(&count.stream_figures()?)
}

fn send(stack: &mut Stack, socket: SocketHandle) -> Result<(), Failure> {
    let block = vec![0x55; BUFFER];
    let to = (Ipv4Address::from(HOST), PORT);
    let until = Clock::now() + count::LOAD;
    let Stack { interface, sockets, .. } = stack;
    sockets
        .get_mut::<tcp::Socket<'_>>(socket)
        .connect(interface.context(), to, 49_152)
        .map_err(|error| format!("smoltcp will not connect: {error}"))?;
    while Clock::now() < until {
        stack.poll();
        // A connection that the host has closed takes nothing any more.
        let taken = stack.sockets.get_mut::<tcp::Socket<'_>>(socket).send_slice(&block).unwrap_or(0);
        if taken == 0 {
            stack.wait_at_most(PATIENCE)?;
        }
    }
    Ok(())
}

/// Sends each byte back until it is killed.
fn answer(stack: &mut Stack, sockets: &[SocketHandle]) -> Result<(), Failure> {
    loop {
        stack.poll();
        let mut answered = false;
        for socket in sockets {
            let socket = stack.sockets.get_mut::<tcp::Socket<'_>>(*socket);
            let mut bytes = [0; 16];
            if let Ok(len @ 1..) = socket.recv_slice(&mut bytes) {
                answered |= socket.send_slice(&bytes[..len]).is_ok();
            }
        }
        if !answered {
            stack.wait()?;
        }
    }
}
