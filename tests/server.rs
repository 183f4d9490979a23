//! Servers and those who ask them: taking the socket, going and being found gone, limits, privilege, names.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixDatagram, UnixListener},
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{Directory, Namespace, Said, Server, eventually, require};

const RUMP: &str = env!("CARGO_BIN_EXE_rump");

/// Runs a tool of the host's, such as kill(1), which must succeed.
#[track_caller]
fn host(line: &str) -> String {
    Said::from(Command::new("sh").args(["-c", line]).output().expect("sh is there")).ok()
}

/// Runs `rump` outside of any namespace, with a variable.
fn rump(server: &str, words: &str) -> Said {
    Command::new(RUMP)
        .args(words.split_whitespace())
        .env("RUMP_SERVER", server)
        .output()
        .expect("rump was built")
        .into()
}

/// A server that a failing test leaves behind must not hold the pipes of the test.
fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Waits for a child to end by itself.
#[track_caller]
fn ended(child: &mut std::process::Child) -> std::process::ExitStatus {
    let mut status = None;
    eventually("the child ends", || {
        status = child.try_wait().expect("it can be waited for");
        status.is_some()
    });
    status.expect("it has ended")
}

#[test]
fn a_second_server_on_a_live_socket_is_refused_and_the_first_goes_on() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    let refused = rump("", &format!("server {}", server.url())).refused();
    assert!(refused.contains(&format!("{}: Address already in use", server.url())), "{refused}");
    assert_eq!(server.rump("ifconfig -l").ok().trim(), "lo0");
}

#[test]
fn what_is_no_socket_is_not_taken_over() {
    let directory = Directory::new();
    let path = directory.path().join("s");
    fs::write(&path, "precious").expect("a writable directory");
    let refused = rump("", &format!("server unix://{}", path.display())).refused();
    assert!(refused.contains("Address already in use"), "{refused}");
    assert_eq!(fs::read_to_string(&path).expect("it is still there"), "precious");
}

#[test]
fn the_socket_is_for_its_user_alone_and_goes_with_the_server() {
    let namespace = Namespace::new();
    let mut server = Server::start(&namespace, &[]);
    let path = PathBuf::from(server.url().trim_start_matches("unix://"));
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    require("setpriv", "util-linux");
    host(&format!("chmod 755 {}", path.parent().expect("a directory").display()));
    let stranger = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", RUMP, "ifconfig", "-l"])
        .env("RUMP_SERVER", server.url())
        .output();
    let refused = Said::from(stranger.expect("setpriv is there")).refused();
    assert!(refused.contains("Permission denied"), "{refused}");
    server.rump("halt").ok();
    assert!(server.end().success());
    assert!(!path.exists());
}

#[test]
fn a_halted_server_ends_with_success_and_takes_its_taps_along() {
    let namespace = Namespace::new();
    let mut server = Server::start(&namespace, &[]);
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt1 create").ok();
    server.rump("halt").ok();
    assert!(server.end().success());
    assert_ne!(namespace.sh("ip link show tap0").status, 0);
    assert_ne!(namespace.sh("ip link show tap1").status, 0);
}

#[test]
fn signals_end_a_server_as_halt_does() {
    for signal in ["TERM", "INT"] {
        let namespace = Namespace::new();
        let mut server = Server::start(&namespace, &[]);
        server.rump("ifconfig virt0 create").ok();
        host(&format!("kill -{signal} {}", server.pid()));
        assert!(server.end().success(), "{signal}");
        assert_ne!(namespace.sh("ip link show tap0").status, 0, "{signal}");
        assert!(!PathBuf::from(server.url().trim_start_matches("unix://")).exists(), "{signal}");
    }
}

#[test]
fn malformed_urls_name_what_is_wrong_and_where_they_come_from() {
    for (url, reason) in [
        ("foo", "RUMP_SERVER=foo: malformed URL"),
        ("unix://", "no path"),
        ("tcp://127.0.0.1:4711", "not supported"),
        ("http://x", "unknown scheme"),
    ] {
        let refused = rump(url, "ifconfig -l").refused();
        assert!(refused.starts_with("ifconfig: ") && refused.contains(reason), "{url}: {refused}");
    }
    let refused = rump("unix:///tmp/x", "--server bar ifconfig -l").refused();
    assert!(refused.contains("--server bar: malformed URL"), "{refused}");
    let said = rump("foo", "ifconfig -l --json");
    let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let message = report.pointer("/error/message").and_then(serde_json::Value::as_str).unwrap_or_default();
    assert!(said.status == 1 && message.contains("RUMP_SERVER=foo: malformed URL"), "{}", said.out);
    let long = format!("unix:///tmp/{}", "x".repeat(110));
    assert!(rump(&long, "ifconfig -l").refused().contains("107"));
}

#[test]
fn a_server_that_is_not_there_and_one_that_is_dead_are_told_apart() {
    let directory = Directory::new();
    let url = format!("unix://{}/s", directory.path().display());
    let refused = rump(&url, "ifconfig -l").refused();
    assert!(refused.contains(&format!("rump client {url}: No such file or directory")), "{refused}");
    drop(UnixListener::bind(directory.path().join("s")));
    let refused = rump(&url, "ifconfig -l").refused();
    assert!(!refused.contains("No such file"), "{refused}");
    let url = format!("unix://{}", directory.path().display());
    let refused = rump(&url, "ifconfig -l").refused();
    assert!(refused.contains("Connection refused (what is there is no socket)"), "{refused}");
}

#[test]
fn a_hung_server_is_a_time_out() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    host(&format!("kill -STOP {}", server.pid()));
    let begun = Instant::now();
    let refused = server.rump("--timeout 1 ifconfig -l").refused();
    let took = begun.elapsed();
    host(&format!("kill -CONT {}", server.pid()));
    assert!(refused.contains("Operation timed out") && refused.contains("within 1 s"), "{refused}");
    assert!((Duration::from_secs(1)..Duration::from_secs(8)).contains(&took), "{took:?}");
    assert_eq!(server.rump("ifconfig -l").ok().trim(), "lo0");
}

#[test]
fn a_server_that_goes_in_mid_call_is_named() {
    let namespace = Namespace::new();
    let mut server = Server::start(&namespace, &[]);
    host(&format!("kill -STOP {}", server.pid()));
    let tool = Command::new(RUMP)
        .args(["ifconfig", "-l"])
        .env("RUMP_SERVER", server.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rump was built");
    eventually("the tool waits for its answer", || {
        fs::read_to_string(format!("/proc/{}/wchan", tool.id()))
            .is_ok_and(|place| place.contains("epoll") || place.contains("ep_poll"))
    });
    server.kill();
    let refused = Said::from(tool.wait_with_output().expect("it ends")).refused();
    assert!(refused.contains(&server.url()) && refused.contains("the server is gone"), "{refused}");
}

/// Runs a program that speaks to a server by itself: `connect()` gives a socket, `ask()` what a tool says meanwhile, `ask_until_answered()` waits for a good
/// answer.
#[track_caller]
fn speak(namespace: &Namespace, server: &Server<'_>, program: &str) {
    let common = format!(
        r#"
import os, random, socket, subprocess, time
def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("{path}")
    s.settimeout(10)
    return s
def ask():
    return subprocess.run(["{RUMP}", "ifconfig", "-l"], env=dict(os.environ, RUMP_SERVER="{url}"), capture_output=True, text=True, timeout=10)
def ask_until_answered():
    for _ in range(500):
        said = ask()
        if said.returncode == 0: break
        time.sleep(0.01)
    assert said.returncode == 0, said
"#,
        path = server.url().trim_start_matches("unix://"),
        url = server.url()
    );
    namespace.python(&(common + program)).ok();
}

#[test]
fn too_many_clients_are_told_so_and_room_is_found_again() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    let program = r#"
clients = [connect() for _ in range(256)]
said = ask()
assert said.returncode == 1 and "Too many open files in system" in said.stderr, said
for client in clients[:10]:
    client.close()
ask_until_answered()
"#;
    speak(&namespace, &server, program);
}

#[test]
fn a_server_without_descriptors_left_says_so_and_finds_room_again() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    require("prlimit", "util-linux");
    host(&format!("prlimit --pid {} --nofile=24", server.pid()));
    let program = r#"
clients = [connect() for _ in range(24)]
said = ask()
assert said.returncode == 1 and ": Too many open files" in said.stderr and "gone" not in said.stderr, said
for client in clients:
    client.close()
ask_until_answered()
"#;
    speak(&namespace, &server, program);
}

#[test]
fn a_client_that_does_not_read_or_talks_nonsense_harms_nobody_else() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    let program = r#"
random.seed(11)
# Version 2, call 7, the first request; answers are never read.
deaf = connect()
deaf.setblocking(False)
try:
    for _ in range(100000):
        deaf.send(b"\x00\x01\x07\x00")
except BlockingIOError:
    pass
# Another version is told so, with call number 0.
other = connect()
other.send(b"\x00\x63\x07\x00")
answer = other.recv(65536)
assert answer[:3] == b"\x00\x01\x00", answer
assert other.recv(65536) == b""
for _ in range(300):
    one = connect()
    try:
        one.send(b"\x00\x01" + random.randbytes(random.randrange(0, 200)))
        one.recv(65536)
    except OSError:
        pass
    one.close()
long = connect()
try:
    long.send(b"\x00\x01" + bytes(70000))
    assert long.recv(65536)[:3] == b"\x00\x01\x00"
except OSError:
    pass
said = ask()
assert said.stdout == "lo0\n", said
"#;
    speak(&namespace, &server, program);
}

#[test]
fn what_a_dead_client_opened_is_closed() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    // More than a kernel has: 64 captures.
    for _ in 0..70 {
        let mut tool = Command::new(RUMP)
            .args(["tcpdump", "-i", "lo0", "-w", "-"])
            .env("RUMP_SERVER", server.url())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("rump was built");
        let mut first = [0; 4];
        std::io::Read::read_exact(tool.stdout.as_mut().expect("it is piped"), &mut first)
            .expect("a capture begins");
        assert_eq!(first, [0x0a, 0x0d, 0x0d, 0x0a], "the type of a section");
        tool.kill().expect("it runs");
        tool.wait().expect("it ends");
    }
    for _ in 0..5 {
        let mut tool = Command::new(RUMP);
        let tool = tool.args(["ping", "-i", "60", "127.0.0.1"]).env("RUMP_SERVER", server.url());
        let mut tool = tool.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("rump was built");
        let mut first = [0; 4];
        std::io::Read::read_exact(tool.stdout.as_mut().expect("it is piped"), &mut first).expect("it begins");
        tool.kill().expect("it runs");
        tool.wait().expect("it ends");
    }
    eventually("threads and descriptors are given back", || {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs").count();
        let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count();
        tasks < 8 && descriptors < 20
    });
    server.rump("ping -c 1 127.0.0.1").ok();
}

#[test]
fn no_descriptor_of_a_server_outlives_exec() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    server.rump("ifconfig virt0 create").ok();
    let mut tool = Command::new(RUMP);
    let tool = tool.args(["tcpdump", "-i", "virt0", "-w", "-"]).env("RUMP_SERVER", server.url());
    let mut tool = tool.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("rump was built");
    let mut first = [0; 4];
    std::io::Read::read_exact(tool.stdout.as_mut().expect("it is piped"), &mut first).expect("it begins");
    let of_server =
        outliving_exec(&host(&format!("cd /proc/{}/fdinfo && grep -Hs ^flags: * || true", server.pid())));
    tool.kill().expect("it runs");
    tool.wait().expect("it ends");
    // Whatever a shell started here holds, too, it was given.
    let given = outliving_exec(&namespace.sh("cd /proc/$$/fdinfo && grep -Hs ^flags: * || true").ok());
    assert!(of_server.is_subset(&given), "{of_server:?} {given:?}");
}

/// The descriptors without O_CLOEXEC, of the flags in proc_pid_fdinfo(5).
fn outliving_exec(flags: &str) -> BTreeSet<u32> {
    let described = flags.lines().map(|line| {
        let (number, flags) = line.split_once(":flags:").expect("a file and its line");
        let flags = u32::from_str_radix(flags.trim(), 8).expect("octal");
        (number.parse().expect("a descriptor"), flags & 0o2_000_000 != 0)
    });
    described.filter(|(_, closed)| !closed).map(|(number, _)| number).collect()
}

#[test]
fn a_capture_whose_reader_goes_ends_without_a_packet() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    let mut tool = Command::new("sh")
        .args(["-c", &format!("{RUMP} tcpdump -i lo0 -w - | head -c 4 >/dev/null")])
        .env("RUMP_SERVER", server.url())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh is there");
    eventually("a capture is under way", || {
        server.rump("ping -c 1 127.0.0.1").ok();
        tool.try_wait().expect("it can be waited for").is_some()
    });
    eventually("the capture's thread has ended", || {
        fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs").count() <= 4
    });
}

#[test]
fn a_reader_that_goes_ends_a_tool_quietly() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    let said = namespace.sh(&format!("RUMP_SERVER={} {RUMP} ifconfig -a | true", server.url()));
    assert_eq!((said.status, said.err.as_str()), (0, ""));
}

#[test]
fn links_have_netbsds_names_and_work() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    let directory = Directory::new();
    let links = directory.path().join("bin");
    for _ in 0..2 {
        rump("", &format!("links {}", links.display())).ok();
    }
    let run = |name: &str, words: &[&str]| -> Said {
        Command::new(links.join(name))
            .args(words)
            .env("RUMP_SERVER", server.url())
            .output()
            .expect("a link")
            .into()
    };
    assert_eq!(run("rump.ifconfig", &["-l"]).ok().trim(), "lo0");
    assert_eq!(run("rump.ifconfig", &["--server", &server.url(), "-l"]).ok().trim(), "lo0");
    let refused = run("rump.ifconfig", &["virt9"]).refused();
    assert!(refused.contains("SIOCGIFFLAGS virt9: Device not configured"), "{refused}");
    let refused = run("rump_server", &[&server.url()]).refused();
    assert!(refused.contains("Address already in use"), "{refused}");
    for name in ["rump.ping", "rump.arp", "rump.halt", "rump.tcpdump", "rump_allserver"] {
        assert!(links.join(name).is_symlink(), "{name}");
    }
    fs::remove_file(links.join("rump.ping")).expect("it is there");
    fs::write(links.join("rump.ping"), "mine").expect("a writable directory");
    assert!(rump("", &format!("links {}", links.display())).refused().contains("rump.ping"));
}

#[test]
fn netbsds_server_daemonises_once_it_can_be_reached() {
    let namespace = Namespace::new();
    let directory = Directory::new();
    rump("", &format!("links {}", directory.path().display())).ok();
    let url = format!("unix://{}/k", directory.path().display());
    let program = directory.path().join("rump_server").display().to_string();
    namespace.sh(&format!("{program} -lrumpnet -lrumpnet_net -lrumpnet_netinet -lrumpnet_virtif {url}")).ok();
    // No waiting: the parent has ended, so the server can be reached.
    assert_eq!(rump(&url, "ifconfig -l").ok().trim(), "lo0");
    let refused = namespace.sh(&format!("{program} {url}")).refused();
    assert!(refused.starts_with("rump_server: ") && refused.contains("Address already in use"), "{refused}");
    rump(&url, "ifconfig virt0 create").ok();
    namespace.sh("ip link show tap0").ok();
    rump(&url, "halt").ok();
    eventually("the server is gone", || !directory.path().join("k").exists());
}

#[test]
fn netbsds_server_refuses_what_it_has_not_and_names_it() {
    let directory = Directory::new();
    rump("", &format!("links {}", directory.path().display())).ok();
    let program = directory.path().join("rump_server");
    let run =
        |words: &[&str]| -> Said { Command::new(&program).args(words).output().expect("a link").into() };
    let url = format!("unix://{}/k", directory.path().display());
    let refused = run(&["-lrumpnet_shmif", "-l", "rumpfs_ffs", &url]).refused();
    assert!(refused.contains("rumpnet_shmif, rumpfs_ffs"), "{refused}");
    assert!(run(&[]).refused().contains("URL"));
    assert!(run(&["/no/url"]).refused().contains("malformed URL"));
    assert!(run(&["unix:///no/such/directory/k"]).refused().contains("No such file or directory"));
    assert!(!directory.path().join("k").exists());
}

#[test]
fn an_unprivileged_server_uses_a_tap_made_for_its_user() {
    require("setpriv", "util-linux");
    require("ping", "iputils-ping");
    let namespace = Namespace::new();
    let directory = Directory::new();
    host(&format!("chown 65534:65534 {}", directory.path().display()));
    namespace.rump("host tap create tap0 --owner nobody --up --address 10.0.0.1/24 --mtu 1400").ok();
    let url = format!("unix://{}/s", directory.path().display());
    // The host's node may be for root alone; what is under test is the tap's owner.
    let script = format!(
        "mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all {RUMP} server {url}"
    );
    let mut server = namespace.command("sh");
    let mut server = quiet(server.args(["-c", &script])).spawn().expect("ip is there");
    eventually("the server answers", || rump(&url, "ifconfig -l").status == 0);
    rump(&url, "ifconfig virt0 create").ok();
    rump(&url, "ifconfig virt0 inet 10.0.0.2/24").ok();
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
    let refused = rump(&url, "ifconfig virt1 create").refused();
    assert!(
        refused.contains("Operation not permitted") && refused.contains("rump host tap create"),
        "{refused}"
    );
    let busy = namespace.rump("host tap destroy tap0").refused();
    assert!(busy.contains("tap0") && busy.contains("(rump)"), "its holder is named: {busy}");
    rump(&url, "halt").ok();
    assert!(ended(&mut server).success());
    assert!(namespace.sh("ip -d link show tap0").ok().contains("persist on"));
    let listed = namespace.rump("host tap list").ok();
    assert!(listed.contains("tap0") && listed.contains("nobody"), "{listed}");
    namespace.rump("host tap destroy tap0").ok();
    assert_ne!(namespace.sh("ip link show tap0").status, 0);
    assert!(namespace.rump("host tap destroy tap0").refused().contains("tap0"));
}

#[test]
fn servers_at_the_default_place_are_found_and_listed() {
    require("setpriv", "util-linux");
    let directory = Directory::new();
    host(&format!("chown 65534:65534 {}", directory.path().display()));
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", RUMP]).args(words);
        command.env("XDG_RUNTIME_DIR", directory.path()).env_remove("RUMP_SERVER");
        command
    };
    let run = |words: &[&str]| -> Said { as_nobody(words).output().expect("setpriv is there").into() };
    assert_eq!(run(&["list"]).ok(), "");
    let mut server = as_nobody(&["server", "--name", "found"]);
    let mut server = quiet(&mut server).spawn().expect("rump was built");
    eventually("the server answers", || run(&["ifconfig", "-l"]).status == 0);
    let listed = run(&["list"]).ok();
    assert!(listed.contains("/rump/default: found, process "), "{listed}");
    let report: serde_json::Value = serde_json::from_str(&run(&["list", "--json"]).ok()).expect("JSON");
    assert_eq!(report.pointer("/servers/0/name").and_then(serde_json::Value::as_str), Some("found"));
    let kept = fs::metadata(directory.path().join("rump")).expect("made by the server").permissions().mode();
    assert_eq!(kept & 0o777, 0o700);
    run(&["halt"]).ok();
    assert!(ended(&mut server).success());
    assert_eq!(run(&["list"]).ok(), "");
}

#[test]
fn the_lines_of_the_readme_do_what_it_says() {
    require("tshark", "tshark");
    require("ping", "iputils-ping");
    let (namespace, directory) = (Namespace::new(), Directory::new());
    let readme = include_str!("../README.md").split_once("## A kernel as a process").expect("its heading").1;
    let block = readme.split("```").nth(1).expect("its block").strip_prefix("sh\n").expect("for sh");
    let bin = directory.path().display();
    // Neither is anything installed nor another user asked: the program is where cargo has put it, and its links beside.
    let lines = block
        .replace("cargo install --path crates/rump ", &format!("mkdir -p {bin} && ln -s {RUMP} {bin}/rump "))
        .replace("sudo ", "")
        .replace("~/.cargo/bin", &bin.to_string())
        .replace("unix:///tmp/k", &format!("unix://{bin}/k"));
    // Something is to be seen from when the kernel answers until it is halted.
    let pings = "(until ping -c 1 -W 1 10.0.0.2; do sleep 0.1; done; exec ping -c 500 -i 0.2 10.0.0.2) >/dev/null 2>&1 & pings=$!";
    let line = format!("set -e; PATH={bin}:$PATH USER=root\n{pings}\n{lines}kill $pings");
    let said = namespace.sh(&line).ok();
    assert!(said.contains("3 packets transmitted, 3 packets received, 0.0% packet loss"), "{said}");
    assert!(said.contains("? (10.0.0.1) at ") && said.contains(" on virt0"), "{said}");
    assert!(said.contains("ICMP") && said.contains("Echo (ping) request"), "{said}");
    assert!(!directory.path().join("k").exists(), "it was halted");
}

#[test]
fn a_server_without_a_url_listens_where_tools_would_look_for_it() {
    let directory = Directory::new();
    let (by_option, by_variable) = (
        format!("unix://{}/o", directory.path().display()),
        format!("unix://{}/v", directory.path().display()),
    );
    for (url, words) in [(&by_option, &["--server", &by_option, "server"][..]), (&by_variable, &["server"])] {
        let mut server = Command::new(RUMP);
        let mut server =
            quiet(server.args(words).env("RUMP_SERVER", &by_variable)).spawn().expect("rump was built");
        eventually("the server answers", || rump(url, "ifconfig -l").status == 0);
        rump(url, "halt").ok();
        assert!(ended(&mut server).success());
    }
    assert!(rump("foo", "server").refused().contains("RUMP_SERVER=foo: malformed URL"));
}

#[test]
fn a_tap_is_handed_over_as_a_descriptor() {
    require("ping", "iputils-ping");
    let namespace = Namespace::new();
    let directory = Directory::new();
    let url = format!("unix://{}/s", directory.path().display());
    // The parent opens the tap and gives it to the server as descriptor 3.
    let program = format!(
        r#"
import fcntl, os, struct, subprocess
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"given0", 0x5002))
subprocess.check_call(["ip", "addr", "add", "10.0.0.1/24", "dev", "given0"])
subprocess.check_call(["ip", "link", "set", "given0", "up"])
os.dup2(tap, 30)
server = subprocess.Popen(["{RUMP}", "server", "--tap", "virt0=fd:30", "{url}"], pass_fds=[30], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
os.close(tap); os.close(30)
env = dict(os.environ, RUMP_SERVER="{url}")
import time
for _ in range(500):
    if subprocess.run(["{RUMP}", "ifconfig", "-l"], env=env, capture_output=True).returncode == 0: break
    time.sleep(0.01)
subprocess.check_call(["{RUMP}", "ifconfig", "virt0", "create"], env=env)
subprocess.check_call(["{RUMP}", "ifconfig", "virt0", "inet", "10.0.0.2/24"], env=env)
subprocess.check_call(["ping", "-c", "1", "-W", "2", "10.0.0.2"])
subprocess.check_call(["{RUMP}", "halt"], env=env)
assert server.wait(10) == 0
"#
    );
    namespace.python(&program).ok();
}

#[test]
fn the_service_manager_is_told_when_it_begins_and_ends() {
    let directory = Directory::new();
    let manager = UnixDatagram::bind(directory.path().join("notify")).expect("a free path");
    manager.set_read_timeout(Some(Duration::from_secs(10))).expect("a span");
    let heard = || {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).expect("it is told within ten seconds");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let url = format!("unix://{}/s", directory.path().display());
    let mut server = Command::new(RUMP);
    server.args(["server", &url]).env("NOTIFY_SOCKET", directory.path().join("notify"));
    let mut server = quiet(&mut server).spawn().expect("rump was built");
    assert_eq!(heard(), "READY=1");
    // No waiting: ready means that it answers.
    rump(&url, "halt").ok();
    assert_eq!(heard(), "STOPPING=1");
    assert!(ended(&mut server).success());
}

#[test]
fn a_verbose_server_prints_its_limits_and_what_it_reports() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &["-v", "--preset", "tiny", "--name", "small"]);
    eventually("the limits are printed", || server.log().contains("8667136 bytes"));
    eventually("its messages are printed", || server.log().contains(&format!("serves at {}", server.url())));
    for words in ["server --preset huge", "server --tap virt0", "server --tap virt0=fd:x", "server unix://"] {
        rump("", words).refused();
    }
}

#[test]
fn a_server_stays_small() {
    require("ping", "iputils-ping");
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt0 inet 10.0.0.2/24").ok();
    namespace.sh("ip addr add 10.0.0.1/24 dev tap0 && ping -q -f -c 5000 -s 1400 10.0.0.2").ok();
    for _ in 0..20 {
        server.rump("ifconfig -a").ok();
    }
    // What the program itself takes depends on how it was built; this is what it asks for.
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let asked = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel says");
    let kilobytes: u32 = asked.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 2048, "{kilobytes} kB");
}

#[test]
fn the_doctor_names_each_limit_and_what_lifts_it() {
    require("setpriv", "util-linux");
    let namespace = Namespace::new();
    let healthy = namespace.rump("doctor").ok();
    assert!(healthy.contains("capability CAP_NET_ADMIN: ok: held"), "{healthy}");
    assert!(healthy.contains("network namespaces: ok: can be made"), "{healthy}");
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all";
    let said = namespace.sh(&format!("mount -t tmpfs none /dev/net && {nobody} {RUMP} doctor")).ok();
    assert!(said.contains("tap node: limited: ") && said.contains("modprobe tun"), "{said}");
    assert!(said.contains("CAP_NET_ADMIN: limited: ") && said.contains("rump host tap create"), "{said}");
    let report: serde_json::Value =
        serde_json::from_str(&namespace.rump("doctor --json").ok()).expect("JSON");
    assert_eq!(report.pointer("/findings").and_then(|findings| findings.as_array()).map(Vec::len), Some(6));
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = rump("", &format!("completions {shell}")).ok();
        for word in ["ifconfig", "server", "demo", "--server"] {
            assert!(script.contains(word.trim_start_matches("--")), "{shell}: {word}");
        }
    }
    rump("", "completions tcsh").refused();
}

#[test]
fn what_is_no_command_is_refused_and_help_is_success() {
    for words in ["", "nonsense", "--server", "--timeout 0 ifconfig", "--timeout x ifconfig", "links"] {
        rump("unix:///tmp/none", words).refused();
    }
    let help = rump("", "--help").ok();
    assert!(help.contains("ifconfig") && help.contains("RUMP_SERVER"), "{help}");
    assert!(rump("", "--version").ok().starts_with("rump "));
    assert!(rump("", "server --help").ok().contains("--preset"));
    for words in ["", "ping", "server", "host tap create"] {
        assert_eq!(
            rump("", &format!("help {words}")).ok(),
            rump("", &format!("{words} --help")).ok(),
            "{words}"
        );
    }
    rump("", "help nonsense").refused();
}
