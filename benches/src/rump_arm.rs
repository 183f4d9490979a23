//! The rump kernel over a tap, by nothing but the public face of the library.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use rumpnet::{Bytes, Kernel, SocketOption, UdpSocket, proto::CreateOptions, wire::ethernet};

use crate::{
    Failure,
    count::{self, Count},
    kernel_socket::{BATCH, PORT, RECEIVE_BUFFER, SEGMENT, SEGMENTS, SMALL},
    namespace::{HOST, PEER, PEER_LINK},
    peer, tcp_arm,
    trial::Load,
};

/// Runs the far side of `load`.
pub(crate) fn run(load: Load) -> Result<(), Failure> {
    let kernel = boot()?;
    match load {
        Load::PingPinned | Load::Ping => answer(&kernel),
        Load::UdpReceive | Load::TrainReceive => receive(&kernel),
        Load::UdpSend => send(&kernel, |socket| socket.send(&[0x55; SMALL]).map(drop)),
        Load::UdpSendTrains => {
            let batch = [&[0x55; SMALL][..]; BATCH];
            send(&kernel, |socket| socket.send_batch(&batch, None).map(drop))
        }
        Load::UdpSendMixed => {
            let batch: [&[u8]; BATCH] = std::array::from_fn(|at| &[0x55; SMALL + 1][at % 2..]);
            send(&kernel, |socket| socket.send_batch(&batch, None).map(drop))
        }
        Load::TrainSend => {
            let train = Bytes::from(vec![0x55; SEGMENT * SEGMENTS]);
            send(&kernel, |socket| socket.send_train(train.clone(), SEGMENT as u16, None))
        }
        load => tcp_arm::run(&kernel, load),
    }
}

/// A kernel whose `virt0` is on the trial's tap.
pub(crate) fn boot() -> Result<Kernel, Failure> {
    let kernel = Kernel::boot()?;
    configure(&kernel)?;
    Ok(kernel)
}

/// Puts `virt0` on the trial's tap.
pub(crate) fn configure(kernel: &Kernel) -> Result<(), Failure> {
    let options =
        CreateOptions { link_address: Some(ethernet::Address(PEER_LINK)), ..CreateOptions::default() };
    kernel.create_with("virt0", &options)?;
    kernel.add_address("virt0", format!("{}/24", Ipv4Addr::from(PEER)).parse()?)?;
    Ok(())
}

/// Answers pings for as long as anybody asks.
fn answer(kernel: &Kernel) -> Result<(), Failure> {
    peer::meet()?;
    // The reactor answers; this process is killed when the trial is over.
    kernel.wait_halt(None);
    Ok(())
}

/// Sends to the host's socket again and again for as long as the load lasts.
fn send(kernel: &Kernel, mut once: impl FnMut(&UdpSocket) -> io::Result<()>) -> Result<(), Failure> {
    let socket = UdpSocket::bind(kernel, SocketAddr::from(([0; 4], PORT)))?;
    socket.connect(SocketAddr::from((HOST, PORT)))?;
    peer::meet()?;
    let until = Instant::now() + count::LOAD;
    while Instant::now() < until {
        once(&socket)?;
    }
    Ok(())
}

/// Counts what the socket gives.
fn receive(kernel: &Kernel) -> Result<(), Failure> {
    let socket = UdpSocket::bind(kernel, SocketAddr::from(([0; 4], PORT)))?;
    socket.set_option(SocketOption::ReceiveBuffer(RECEIVE_BUFFER as u32))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    peer::meet()?;
    let mut count = Count::begin();
    let mut trains = Vec::new();
    while count.is_running() {
        match socket.recv_trains(&mut trains, BATCH) {
            Ok(_) => {
                let packets: usize = trains.iter().map(|train| train.datagrams()).sum();
                let bytes: usize = trains.iter().map(|train| train.len()).sum();
                count.add(packets as u64, bytes as u64);
                trains.clear();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    peer::report(&count.figures())
}
