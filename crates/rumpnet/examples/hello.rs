//! An HTTP server with an IP address of its own: `cargo run -p rumpnet --example hello`, as root.
//!
//! Then, in another terminal: `ip addr add 10.0.0.1/24 dev tap0; curl http://10.0.0.2/`.

use std::{
    io::{BufRead as _, BufReader, Result, Write as _},
    thread,
};

use rumpnet::{Kernel, TcpListener, TcpStream};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let kernel = Kernel::boot()?;
    kernel.create("virt0")?;
    kernel.add_address("virt0", "10.0.0.2/24".parse()?)?;
    let listener = TcpListener::bind(&kernel, "10.0.0.2:80")?;
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that breaks off is its own affair.
        thread::spawn(move || drop(serve(stream)));
    }
    Ok(())
}

/// Answers one request after another, until the client has no more.
fn serve(mut stream: TcpStream) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(request) = lines.next().transpose()? {
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let page = format!("hello, {}\nyou asked: {request}\n", stream.peer_addr()?);
        let length = page.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{page}"
        )?;
    }
    Ok(())
}
