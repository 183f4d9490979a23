//! `rump demo` on hosts that allow everything, less, and nothing: each step shows a kernel that answers, and leaves no trace.

mod support;

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use support::{Directory, Namespace, Said, eventually, require};

const RUMP: &str = env!("CARGO_BIN_EXE_rump");

/// A demo under way, killed when the test is over.
struct Demo {
    child: Child,
    directory: Directory,
}

impl Demo {
    /// Runs a shell line, which ends with the demo, in a namespace, and waits until it has said what to try.
    fn start(namespace: &Namespace, line: &str) -> Self {
        let directory = Directory::new();
        let log = fs::File::create(directory.path().join("log")).expect("a writable directory");
        let mut command = namespace.command("sh");
        command.args(["-c", line]).env_remove("XDG_RUNTIME_DIR");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("one more descriptor")).stderr(log);
        let mut demo = Self { child: command.spawn().expect("ip is there"), directory };
        eventually("the demo has said what to try", || {
            assert!(
                demo.child.try_wait().expect("it can be waited for").is_none(),
                "it ended: {}",
                demo.said()
            );
            demo.said().contains("Ctrl-C")
        });
        demo
    }

    fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Sends it a signal and waits for its end; what it has said.
    fn end(mut self, signal: &str) -> String {
        let pid = self.child.id();
        let sent = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
        let mut status = None;
        eventually("the demo ends", || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", self.said());
        let said = self.said();
        assert!(said.contains("everything is undone"), "{said}");
        said
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The command that the demo says to try, with which it answers a ping.
fn ping_as_told(said: &str, as_user: &str) {
    let line = said.lines().find(|line| line.contains("ping 10.")).expect("it says how to ping");
    let pinged = Command::new("sh").args(["-c", &format!("{as_user} {line} -c 2 -i 0.2 -W 2")]).output();
    let answer = Said::from(pinged.expect("sh is there")).ok();
    assert!(answer.contains("2 packets transmitted, 2 received, 0% packet loss"), "{answer}");
}

#[test]
fn on_a_tap_of_its_own_making_the_host_pings_it_and_nothing_is_left() {
    require("ping", "iputils-ping");
    let namespace = Namespace::new();
    let before = namespace.sh("ip addr; ip route").ok();
    for signal in ["INT", "TERM"] {
        let demo = Demo::start(&namespace, &format!("exec {RUMP} demo"));
        namespace.sh("ping -c 2 -i 0.1 -W 2 10.0.0.2").ok();
        let said = demo.said();
        let told = said.lines().find(|line| line.ends_with("ifconfig -a")).expect("it says how to ask it");
        let asked = Command::new("sh").args(["-c", told]).output();
        assert!(Said::from(asked.expect("sh is there")).ok().contains("inet 10.0.0.2/24"));
        demo.end(signal);
        assert_eq!(namespace.sh("ip addr; ip route").ok(), before, "{signal}");
    }
}

#[test]
fn a_network_that_the_host_knows_is_not_taken_and_it_says_so() {
    let namespace = Namespace::new();
    namespace.sh("ip link add b0 type bridge && ip link set b0 up && ip addr add 10.0.0.9/24 dev b0").ok();
    namespace.sh("ip route add 10.73.0.0/16 via 10.0.0.1").ok();
    let demo = Demo::start(&namespace, &format!("exec {RUMP} demo"));
    let said = demo.said();
    assert!(said.contains("10.0.0.0/24 overlaps with the host's address 10.0.0.9/24"), "{said}");
    assert!(said.contains("10.73.0.0/24 overlaps with the host's route to 10.73.0.0/16"), "{said}");
    namespace.sh("ping -c 1 -W 2 10.173.0.2").ok();
    demo.end("INT");
    let refused = namespace.rump("demo --address 10.0.0.2/24").refused();
    assert!(refused.contains("overlaps with the host's address 10.0.0.9/24"), "{refused}");
    assert_ne!(namespace.sh("ip link show tap0").status, 0);
}

#[test]
fn addresses_can_be_chosen_and_nonsense_is_refused() {
    let namespace = Namespace::new();
    let demo = Demo::start(
        &namespace,
        &format!("exec {RUMP} demo --address 10.9.8.7/28 --host-address 10.9.8.6/28"),
    );
    namespace.sh("ping -c 1 -W 2 10.9.8.7").ok();
    demo.end("INT");
    for words in [
        "--address 10.0.0.2",
        "--address 10.0.0.2/33",
        "--address 10.0.0.2/24 --host-address 10.0.1.1/24",
        "--require fd",
    ] {
        namespace.rump(&format!("demo {words}")).refused();
    }
}

#[test]
fn a_tap_that_was_there_is_left_alone_unless_it_is_named() {
    let namespace = Namespace::new();
    namespace.sh("ip tuntap add dev tap0 mode tap").ok();
    let demo = Demo::start(&namespace, &format!("exec {RUMP} demo"));
    assert!(demo.said().contains("ends at tap1"), "{}", demo.said());
    demo.end("INT");
    let demo = Demo::start(&namespace, &format!("exec {RUMP} demo --tap tap0"));
    assert!(demo.said().contains("ends at tap0"), "{}", demo.said());
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
    demo.end("INT");
    let left = namespace.sh("ip addr show tap0").ok();
    assert!(!left.contains("10.0.0.1"), "{left}");
    let refused = namespace.rump("demo --require tap --tap lo").refused();
    assert!(
        refused.contains("Invalid argument (os error 22) (an interface of this name that is no tap"),
        "{refused}"
    );
    assert!(!refused.contains("what lifts it"), "{refused}");
}

#[test]
fn an_ordinary_user_gets_a_namespace_of_his_own_and_the_way_into_it() {
    require("setpriv", "util-linux");
    require("nsenter", "util-linux");
    require("ping", "iputils-ping");
    const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let namespace = Namespace::new();
    let before = namespace.sh("ip addr").ok();
    let demo = Demo::start(&namespace, &format!("exec {NOBODY} {RUMP} demo"));
    let said = demo.said();
    assert!(said.contains("The host refuses a tap: ") && said.contains("what lifts it: "), "{said}");
    assert!(said.contains("-U -n --preserve-credentials ping 10.0.0.2"), "{said}");
    assert!(said.contains("XDG_RUNTIME_DIR names no place for its socket"), "{said}");
    ping_as_told(&said, NOBODY);
    assert_eq!(namespace.sh("ip addr").ok(), before);
    demo.end("INT");
    let refused = namespace.sh(&format!("{NOBODY} {RUMP} demo --require tap")).refused();
    assert!(refused.contains("no tap: ") && refused.contains("what lifts it: "), "{refused}");
}

/// A node of taps that everybody may open, as most hosts have it, and what follows as an ordinary user.
const AS_USER_WITH_NODE: &str = "mount -t tmpfs -o mode=755 none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec setpriv --reuid 65534 --regid 65534 --clear-groups";

#[test]
fn with_the_node_of_taps_an_ordinary_user_has_a_tap_in_his_namespace() {
    require("setpriv", "util-linux");
    require("nsenter", "util-linux");
    require("ping", "iputils-ping");
    let namespace = Namespace::new();
    let demo = Demo::start(&namespace, &format!("{AS_USER_WITH_NODE} {RUMP} demo"));
    let said = demo.said();
    assert!(said.contains("attach tap0: Operation not permitted"), "{said}");
    ping_as_told(&said, "setpriv --reuid 65534 --regid 65534 --clear-groups");
    let enter = said.lines().find_map(|line| line.split_once(" ping ")).expect("it says how to ping").0;
    let link = Command::new("sh").args(["-c", &format!("{enter} ip -d link show tap0")]).output();
    let link = Said::from(link.expect("sh is there")).ok();
    assert!(link.contains("qlen 2000") && link.contains("tun type tap"), "{link}");
    demo.end("INT");
}

#[test]
fn what_lifts_a_refused_tap_does_lift_it() {
    require("setpriv", "util-linux");
    require("ping", "iputils-ping");
    let namespace = Namespace::new();
    let refused = namespace.sh(&format!("{AS_USER_WITH_NODE} {RUMP} demo --require tap")).refused();
    let remedy = refused.lines().find_map(|line| line.trim().strip_prefix("what lifts it: "));
    let (by_root, by_user) =
        remedy.and_then(|remedy| remedy.split_once(" (as root), then ")).expect("two steps");
    namespace.sh(by_root).ok();
    let demo = Demo::start(&namespace, &format!("{AS_USER_WITH_NODE} {by_user}"));
    assert!(demo.said().contains("ends at tap0 of this host, 10.0.0.1/24"), "{}", demo.said());
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
    demo.end("INT");
    let left = namespace.sh("ip addr show tap0").ok();
    assert!(left.contains("10.0.0.1/24"), "{left}");
    // Without its address the tap is half of what is needed, and the other half is named.
    namespace.sh("ip addr flush dev tap0").ok();
    let refused = namespace.sh(&format!("{AS_USER_WITH_NODE} {RUMP} demo --tap tap0")).refused();
    assert!(refused.contains("ip addr add 10.0.0.1/24 dev tap0 (as root)"), "{refused}");
}

#[test]
fn without_the_node_of_taps_a_packet_socket_does_in_a_namespace() {
    require("nsenter", "util-linux");
    require("ping", "iputils-ping");
    let namespace = Namespace::new();
    let demo = Demo::start(&namespace, &format!("mount -t tmpfs none /dev/net && exec {RUMP} demo"));
    let said = demo.said();
    assert!(said.contains("open /dev/net/tun: No such file") && said.contains("modprobe tun"), "{said}");
    ping_as_told(&said, "");
    demo.end("INT");
}

#[test]
fn where_everything_is_refused_two_kernels_ping_each_other() {
    require("unshare", "util-linux");
    let namespace = Namespace::new();
    // Root of a user namespace that may have no others, on a network that is not its own.
    let line =
        format!("exec unshare -U -r sh -c 'echo 0 > /proc/sys/user/max_net_namespaces && exec {RUMP} demo'");
    let demo = Demo::start(&namespace, &line);
    eventually("the ping is over", || demo.said().contains("packet loss"));
    let said = demo.end("INT");
    assert!(said.contains("The host refuses a tap: "), "{said}");
    assert!(
        said.contains("The host refuses a namespace, too: ") && said.contains("max_net_namespaces"),
        "{said}"
    );
    assert!(said.contains("5 packets transmitted, 5 packets received, 0.0% packet loss"), "{said}");
}

#[test]
fn its_status_page_comes_over_its_own_tcp_to_a_browser_of_the_host() {
    require("curl", "curl");
    let namespace = Namespace::new();
    let demo = Demo::start(&namespace, &format!("exec {RUMP} demo"));
    assert!(demo.said().contains("curl http://10.0.0.2/"), "{}", demo.said());
    let curl = |words: &str| namespace.sh(&format!("curl -s -m 10 {words}"));
    let page = curl("http://10.0.0.2/").ok();
    for part in ["<h2>Interfaces</h2>", "virt0: flags=", "10.0.0.2.80", "ESTABLISHED", "</html>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let sockets: serde_json::Value =
        serde_json::from_str(&curl("http://10.0.0.2/sockets.json").ok()).expect("JSON");
    assert_eq!(sockets.pointer("/sockets/0/state"), Some(&"LISTEN".into()), "{sockets}");
    let status = |words: &str| curl(&format!("-o /dev/null -w %{{http_code}} {words}")).ok();
    assert_eq!(status("http://10.0.0.2/none"), "404");
    assert_eq!(status("-X POST http://10.0.0.2/"), "405");
    // Many at once, each answered in full.
    let many =
        namespace.sh("seq 100 | xargs -P 8 -I{} curl -s -m 20 http://10.0.0.2/?{} | grep -c '</html>'").ok();
    assert_eq!(many.trim(), "100");
    demo.end("INT");
}
