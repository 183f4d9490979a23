//! Going to the background, seen from outside: each test forks a process of one thread.

use std::{
    io::Read,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
};

use rumpnet_host::process::{Background, Child, fork_to_background};
use rustix::{io::Errno, pipe::pipe, stdio::dup2_stdin};

/// Starts a shell that first goes to the background, and returns the status with which the parent ends.
fn status_of(script: &str, inherited: Option<OwnedFd>, child: fn(Child) -> std::io::Result<()>) -> i32 {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::null());
    let split = move || match fork_to_background()? {
        // SAFETY: _exit takes a number and does not return.
        Background::Parent(parent) => unsafe { libc::_exit(parent.wait().into()) },
        Background::Child(ready) => {
            child(ready)?;
            // Kept where nobody else looks, because the rest is /dev/null by now.
            Ok(inherited.as_ref().map_or(Ok(()), dup2_stdin)?)
        }
    };
    // SAFETY: the C library lets a child of fork(2) allocate, and the closure touches no lock of the test's.
    unsafe { command.pre_exec(split) };
    command.status().expect("sh is there").code().expect("it was not killed")
}

#[test]
fn the_parent_ends_well_once_the_child_is_ready_in_a_session_of_its_own_without_a_terminal() {
    let (reader, writer) = pipe().unwrap();
    let script = "ends=$(readlink /proc/$$/fd/1 /proc/$$/fd/2); { cut -d' ' -f6 /proc/$$/stat; echo $$; echo \"$ends\"; } >&0";
    assert_eq!(status_of(script, Some(writer), |child| Ok(child.ready()?)), 0);
    let mut told = String::new();
    std::fs::File::from(reader).read_to_string(&mut told).unwrap();
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told[0], told[1], "the session is the child's");
    assert_eq!(told[2..], ["/dev/null", "/dev/null"]);
}

#[test]
fn the_parent_ends_as_the_child_says() {
    assert_eq!(status_of("exit 0", None, |child| Ok(child.failed(3)?)), 3);
}

#[test]
fn the_parent_of_a_child_that_dies_without_a_word_says_so() {
    // SAFETY: _exit takes a number and does not return.
    assert_eq!(status_of("true", None, |_| unsafe { libc::_exit(7) }), 7);
    // SAFETY: as above.
    assert_eq!(status_of("true", None, |_| unsafe { libc::_exit(0) }), 1);
    // SAFETY: the signal goes to the child itself.
    assert_eq!(status_of("true", None, |_| unsafe { libc::abort() }), 128 + libc::SIGABRT);
}

#[test]
fn a_process_of_several_threads_does_not_split() {
    let other = std::thread::spawn(|| fork_to_background().map(drop));
    assert_eq!(other.join().unwrap(), Err(Errno::BUSY));
}
