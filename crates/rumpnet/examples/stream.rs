//! A TCP sink on port 9 and a TCP source on port 19, with an IP address of their own: `cargo run --release -p rumpnet --example stream`.
//!
//! Then, in another terminal: `ip addr add 10.0.0.1/24 dev tap0; nc 10.0.0.2 19 | pv > /dev/null`.

use std::{
    io::{Read as _, Write as _},
    time::Instant,
};

use rumpnet::{Kernel, TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kernel = Kernel::boot()?;
    kernel.create("virt0")?;
    kernel.add_address("virt0", "10.0.0.2/24".parse()?)?;
    let (sink, source) =
        (TcpListener::bind(&kernel, "10.0.0.2:9")?, TcpListener::bind(&kernel, "10.0.0.2:19")?);
    let sender = std::thread::spawn(move || {
        while let Ok((stream, peer)) = source.accept() {
            report("sent to", peer, send(&stream));
        }
    });
    while let Ok((stream, peer)) = sink.accept() {
        report("received from", peer, receive(&stream));
    }
    drop(sender);
    Ok(())
}

fn report(what: &str, peer: std::net::SocketAddr, transfer: (u64, Instant)) {
    let (bytes, began) = transfer;
    let seconds = began.elapsed().as_secs_f64();
    println!("{bytes} bytes {what} {peer}, {:.2} Gbit/s", bytes as f64 * 8e-9 / seconds);
}

fn receive(mut stream: &TcpStream) -> (u64, Instant) {
    let (mut total, mut buffer, began) = (0, vec![0; 256 * 1024], Instant::now());
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        total += len as u64;
    }
    (total, began)
}

fn send(mut stream: &TcpStream) -> (u64, Instant) {
    let (mut total, buffer, began) = (0, vec![0; 256 * 1024], Instant::now());
    while let Ok(len @ 1..) = stream.write(&buffer) {
        total += len as u64;
    }
    (total, began)
}
