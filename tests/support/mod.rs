//! Fixtures of the whole-system tests: a network namespace of one's own, and a server in it.
//!
//! These tests meet the host's own stack, so they need root and a few programs. What is missing fails them with the
//! name of the Debian package; nothing is ever skipped.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the fixtures")]

use std::{
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// A network namespace that is gone when the test is over.
pub struct Namespace {
    name: String,
}

/// What a command said.
pub struct Said {
    /// Its exit status; 128 and more for a signal.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// The output of a command that succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self.out
    }

    /// The complaint of a command that failed with exit status 1.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!(self.status, 1, "stdout: {}\nstderr: {}", self.out, self.err);
        self.err
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            status: output.status.code().unwrap_or(128),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Namespace {
    /// A fresh namespace whose loopback is up and whose TCP is cubic.
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("rumpnet-{}-{number}", std::process::id());
        let made = Command::new("ip")
            .args(["netns", "add", &name])
            .output()
            .expect("ip is there (package iproute2)");
        assert!(made.status.success(), "these tests need root: {}", String::from_utf8_lossy(&made.stderr));
        let namespace = Self { name };
        namespace.sh("ip link set lo up").ok();
        namespace
    }

    /// Its name, as ip-netns(8) knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a shell line in the namespace, for two minutes at most.
    pub fn sh(&self, line: &str) -> Said {
        let mut command = self.command("timeout");
        command.args(["120", "sh", "-c", line]);
        command.output().expect("timeout is there (package coreutils)").into()
    }

    /// Runs a Python program in the namespace, with raw sockets if it wants them.
    pub fn python(&self, program: &str) -> Said {
        let mut command = self.command("timeout");
        command.args(["120", "python3", "-c", program]);
        command.output().expect("python3 is there (package python3)").into()
    }
}

impl Namespace {
    /// Runs `rump` in the namespace, without a server.
    pub fn rump(&self, words: &str) -> Said {
        let mut command = self.command("timeout");
        command.args(["60", env!("CARGO_BIN_EXE_rump")]).args(words.split_whitespace());
        command.output().expect("timeout is there (package coreutils)").into()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "delete", &self.name]).status();
        assert!(deleted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// A directory that is gone when the test is over.
pub struct Directory(PathBuf);

impl Directory {
    /// A fresh one, which everybody may enter.
    pub fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rumpnet-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _kept = std::fs::remove_dir_all(&self.0);
    }
}

/// Fails unless a program is there.
#[track_caller]
pub fn require(program: &str, package: &str) {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("sh is there");
    assert!(found.status.success(), "{program} is missing: apt-get install {package}");
}

/// A server in a namespace, killed when the test is over.
pub struct Server<'a> {
    namespace: &'a Namespace,
    child: Child,
    directory: PathBuf,
}

impl<'a> Server<'a> {
    /// Starts `rump server` with further words, and waits until it answers.
    pub fn start(namespace: &'a Namespace, words: &[&str]) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("rumpnet-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let child = Self::spawn(namespace, &directory, words);
        let server = Self { namespace, child, directory };
        server.wait();
        server
    }

    fn spawn(namespace: &Namespace, directory: &std::path::Path, words: &[&str]) -> Child {
        let log = std::fs::File::create(directory.join("log")).expect("a writable directory");
        let mut command = namespace.command(env!("CARGO_BIN_EXE_rump"));
        command.arg("server").args(words).arg(format!("unix://{}/s", directory.display()));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("one more descriptor")).stderr(log);
        command.spawn().expect("rump was built")
    }

    fn wait(&self) {
        let patience = Instant::now() + Duration::from_secs(10);
        while self.rump("ifconfig -l").status != 0 {
            assert!(Instant::now() < patience, "the server does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the server has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The server's URL.
    pub fn url(&self) -> String {
        format!("unix://{}/s", self.directory.display())
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server without a word.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Waits for the server to end by itself.
    #[track_caller]
    pub fn end(&mut self) -> std::process::ExitStatus {
        let mut status = None;
        eventually("the server ends", || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Kills the server without a word and starts it anew.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.child = Self::spawn(self.namespace, &self.directory, &[]);
        self.wait();
    }

    /// Runs a tool against the server.
    pub fn rump(&self, words: &str) -> Said {
        let mut command = self.namespace.command("timeout");
        command.args(["60", env!("CARGO_BIN_EXE_rump")]).args(words.split_whitespace());
        command.env("RUMP_SERVER", self.url()).output().expect("timeout is there (package coreutils)").into()
    }

    /// The value of a counter of `ifconfig -v --json`, by its path in the report.
    pub fn interface(&self, name: &str) -> serde_json::Value {
        let said = self.rump(&format!("ifconfig --json -v {name}")).ok();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log: {}", self.log());
        }
        let _kept = std::fs::remove_dir_all(&self.directory);
    }
}

/// Tries until a condition holds, for ten seconds at most.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < patience, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
