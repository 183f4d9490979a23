//! The process at the far end of a trial, seen from both sides.
//!
//! A peer is this program again with the word `peer`. It says `ready`, waits for `go`, and may end with a line of
//! figures. It is killed when its owner is done with it, and ends by itself when its time is over.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    Failure, Figures,
    trial::{Arm, Load},
};

/// Seconds after which a peer ends whatever happens.
const LIFETIME: u32 = 30;

/// A running peer.
pub(crate) struct Peer {
    child: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a peer in this process's namespace.
    pub(crate) fn start(arm: Arm, load: Load) -> Result<Self, Failure> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["peer", arm.name(), load.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let words = child.stdin.take().ok_or("a peer without input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("a peer without output")?);
        Ok(Self { child, words, answers })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says `word`.
    pub(crate) fn expect(&mut self, word: &str) -> Result<(), Failure> {
        let line = self.line()?;
        if line == word { Ok(()) } else { Err(format!("a peer said '{line}' for '{word}'").into()) }
    }

    /// Says `word` to it.
    pub(crate) fn tell(&mut self, word: &str) -> Result<(), Failure> {
        Ok(writeln!(self.words, "{word}")?)
    }

    /// Waits for its figures.
    pub(crate) fn figures(&mut self) -> Result<Figures, Failure> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("a peer ended early".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Peer {
    /// Ends the process and waits for it; it may be gone already.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a peer: sees to it that it ends in time.
pub(crate) fn limit_lifetime() {
    nix::unistd::alarm::set(LIFETIME);
}

/// In a peer: says `word` to the owner.
pub(crate) fn say(word: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}")?;
    Ok(out.flush()?)
}

/// In a peer: waits until the owner says `word`.
pub(crate) fn hear(word: &str) -> Result<(), Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if line.trim_end() == word {
        Ok(())
    } else {
        Err(format!("the owner said '{}' for '{word}'", line.trim_end()).into())
    }
}

/// In a peer: says that it is ready and waits for the start.
pub(crate) fn meet() -> Result<(), Failure> {
    say("ready")?;
    hear("go")
}

/// In a trial or a peer: hands the figures over.
pub(crate) fn report(figures: &Figures) -> Result<(), Failure> {
    say(&serde_json::to_string(figures)?)
}

/// In a peer: stays until the owner has had enough, because a link that goes early fails the load on its other side.
pub(crate) fn linger() {
    let _ = std::io::stdin().lock().read_line(&mut String::new());
}
