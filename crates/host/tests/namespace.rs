//! A network of our own: for root, and for an ordinary user. Each test forks a process of one thread. Needs root.

mod world;

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use rumpnet_host::{
    FrameDevice, PacketOptions, PacketSocket,
    namespace::{Own, enter_own_network},
};
use world::{frames, without_privilege};

/// What a shell prints in a network of its own, entered by root or by an ordinary user in the way expected.
fn printed(script: &str, expected: Own) -> String {
    printed_after(script, expected, || Ok(()))
}

/// The same after something was done inside.
fn printed_after(script: &str, expected: Own, inside: fn() -> std::io::Result<()>) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let enter = move || {
        if expected == Own::UserAndNetwork {
            without_privilege();
            // SAFETY: a number. Who changes his user loses his own files in /proc until then.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        }
        let own = enter_own_network()?;
        assert_eq!(own, expected);
        inside()
    };
    // SAFETY: the C library lets a child of fork(2) allocate, and the closure touches no lock of the test's.
    unsafe { command.pre_exec(enter) };
    let output = command.output().expect("the namespace is entered");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

const LINKS: &str = "ls /proc/self/net/dev_snmp6; ip -o link show up; id -u; cat /proc/self/uid_map";

#[test]
fn root_gets_a_network_with_nothing_but_loopback_up() {
    let text = printed(LINKS, Own::Network);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "lo");
    assert!(lines[1].starts_with("1: lo:") && lines[1].contains("LOWER_UP"), "{text}");
    assert_eq!(lines[2], "0");
}

#[test]
fn an_ordinary_user_is_root_of_his_own_and_may_make_interfaces() {
    let script = format!("ip link add v0 type veth peer name v1 && {LINKS}");
    let text = printed(&script, Own::UserAndNetwork);
    assert!(text.contains("v0") && text.contains("v1"), "{text}");
    assert!(text.lines().any(|line| line == "0"));
    let map: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", &world::USER.to_string(), "1"]);
}

#[test]
fn an_ordinary_user_carries_frames_in_his_own_network() {
    let printed = printed_after("ip -o link show tap0", Own::UserAndNetwork, || {
        let pair = PacketOptions { name: "virt0".into(), peer: Some("tap0".into()), up: true, mtu: None };
        let packet = PacketSocket::open(&pair)?;
        let device = FrameDevice::from(packet);
        frames::address(&device);
        frames::assert_that_the_host_takes_a_super_frame(&device);
        frames::assert_that_the_host_gives_a_super_frame(&device);
        // Left open, so that the shell finds it; the namespace ends with the shell.
        std::mem::forget(device);
        Ok(())
    });
    assert!(printed.contains("tap0@virt0") && printed.contains("LOWER_UP"), "{printed}");
}

#[test]
fn an_ordinary_user_among_threads_is_told_to_ask_earlier() {
    let asked = std::thread::spawn(|| {
        without_privilege();
        enter_own_network().unwrap_err()
    });
    let error = asked.join().unwrap();
    assert_eq!(error.errno, libc::EINVAL);
    assert!(error.to_string().contains("several threads"), "{error}");
}
