//! Passes data between the network and standard input and output, each way by a buffer, until both ways have ended (readwrite() of netcat).

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rumpnet_host::readiness::{Interest, wait_for, write_now};

use super::{far_end::FarEnd, options::Options};

/// Octets that a direction holds at most; the longest datagram is less.
const BUFFER: usize = 64 * 1024;

const ROOM: Interest = Interest { readable: false, writable: true };

/// The descriptors that are waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Input,
    Output,
    Network,
}

/// One relay.
struct Relay<'a> {
    far_end: &'a FarEnd,
    options: &'a Options,
    input: File,
    output: File,
    /// Which ends are open still.
    reads_input: bool,
    reads_network: bool,
    writes_network: bool,
    writes_output: bool,
    /// On their way to the network, and to standard output.
    up: Vec<u8>,
    down: Vec<u8>,
    /// Reads from the network that may still be made.
    reads_left: Option<u64>,
    /// When it ends for standard input having ended.
    quits_at: Option<Instant>,
}

/// Passes data until nothing more can be.
pub(super) fn relay(far_end: &FarEnd, options: &Options) -> io::Result<()> {
    let mut relay = Relay {
        far_end,
        options,
        input: io::stdin().as_fd().try_clone_to_owned()?.into(),
        output: io::stdout().as_fd().try_clone_to_owned()?.into(),
        reads_input: options.reads_input,
        reads_network: true,
        writes_network: true,
        writes_output: true,
        up: Vec::new(),
        down: Vec::new(),
        reads_left: options.receive_limit,
        quits_at: None,
    };
    while !relay.is_over() && relay.step()? {}
    Ok(())
}

impl Relay<'_> {
    fn is_over(&self) -> bool {
        let is_flushed = self.up.is_empty() && self.down.is_empty();
        let is_mute = !self.writes_network && !self.writes_output;
        let is_read = !self.reads_network && (!self.reads_input || self.options.listen);
        is_flushed && is_read || is_mute
    }

    /// Waits for what is next and does it; false when the time is over.
    fn step(&mut self) -> io::Result<bool> {
        let wanted = self.wanted();
        let asked: Vec<_> = wanted
            .iter()
            .map(|(place, interest)| match place {
                Place::Input => (self.input.as_fd(), *interest),
                Place::Output => (self.output.as_fd(), *interest),
                Place::Network => (self.far_end.as_fd(), *interest),
            })
            .collect();
        let events = wait_for(&asked, self.patience())?;
        let quits = self.quits_at.is_some_and(|at| at <= Instant::now());
        if events.is_empty() || quits {
            return Ok(false);
        }
        for event in events {
            match wanted.get(event.token as usize).map(|(place, _)| *place) {
                Some(Place::Input) => self.read_input()?,
                Some(Place::Output) => self.write_output()?,
                Some(Place::Network) => self.exchange(event.readable || event.failed)?,
                None => {}
            }
        }
        self.end_directions();
        Ok(true)
    }

    /// What there is something to be done with. A descriptor of which nothing is wanted is left out, for its end would be told for ever.
    fn wanted(&self) -> Vec<(Place, Interest)> {
        let network = Interest {
            readable: self.reads_network && self.down.is_empty(),
            writable: self.writes_network && !self.up.is_empty(),
        };
        let mut wanted = Vec::with_capacity(3);
        if self.reads_input && self.up.is_empty() {
            wanted.push((Place::Input, Interest::READABLE));
        }
        if self.writes_output && !self.down.is_empty() {
            wanted.push((Place::Output, ROOM));
        }
        if network.readable || network.writable {
            wanted.push((Place::Network, network));
        }
        wanted
    }

    fn patience(&self) -> Option<Duration> {
        let quits_in = self.quits_at.map(|at| at.saturating_duration_since(Instant::now()));
        self.options.wait.into_iter().chain(quits_in).min()
    }

    fn read_input(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; self.far_end.piece()];
        match self.input.read(&mut buffer) {
            Ok(0) => {
                self.reads_input = false;
            }
            Ok(len) => self.up = with_line_ends(&buffer[..len], self.options.crlf),
            Err(error) if is_no_news(&error) => {}
            // As netcat: what cannot be read is at its end.
            Err(_) => self.reads_input = false,
        }
        Ok(())
    }

    fn write_output(&mut self) -> io::Result<()> {
        match write_now(&self.output, &self.down) {
            Ok(len) => drop(self.down.drain(..len)),
            Err(error) if is_no_news(&error) => {}
            Err(_) => {
                self.writes_output = false;
                self.reads_network = false;
                self.down.clear();
            }
        }
        Ok(())
    }

    fn exchange(&mut self, readable: bool) -> io::Result<()> {
        if readable && self.reads_network && self.down.is_empty() {
            self.read_network()?;
        }
        if self.writes_network && !self.up.is_empty() {
            match self.far_end.send(&self.up) {
                Ok(len) => drop(self.up.drain(..len)),
                Err(error) if is_no_news(&error) => {}
                Err(_) => {
                    self.writes_network = false;
                    self.up.clear();
                }
            }
        }
        Ok(())
    }

    fn read_network(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        match self.far_end.receive(&mut buffer) {
            Ok(Some(len)) => {
                buffer.truncate(len);
                self.down = buffer;
                if let Some(left) = &mut self.reads_left {
                    *left -= 1;
                    self.reads_network = *left > 0;
                }
            }
            Ok(None) => self.reads_network = false,
            Err(error) if is_no_news(&error) => {}
            // As netcat: a connection that failed is at its end.
            Err(_) => self.reads_network = false,
        }
        // With nothing more to be said by the peer, all reads that were wanted are done.
        if self.reads_left == Some(0) {
            self.reads_input = false;
        }
        Ok(())
    }

    /// Carries over what has ended.
    fn end_directions(&mut self) {
        if !self.reads_input && self.up.is_empty() && self.writes_network {
            if self.options.ends {
                self.far_end.end();
            }
            self.writes_network = false;
            self.quits_at = self.options.quit.map(|quit| Instant::now() + quit);
        }
        if !self.reads_network && self.down.is_empty() {
            self.writes_output = false;
        }
        if !self.writes_network {
            self.reads_input = false;
        }
    }
}

fn is_no_news(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The octets, with a carriage return before each line feed if that is wanted.
fn with_line_ends(octets: &[u8], crlf: bool) -> Vec<u8> {
    if !crlf {
        return octets.to_vec();
    }
    octets
        .iter()
        .flat_map(|octet| if *octet == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(octet) })
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_feeds_get_carriage_returns_if_that_is_wanted() {
        assert_eq!(with_line_ends(b"a\nb\n", true), b"a\r\nb\r\n");
        assert_eq!(with_line_ends(b"a\nb\n", false), b"a\nb\n");
    }
}
