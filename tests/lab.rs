//! `rump lab` as an ordinary user: labs up, tools on their hosts, checks, pictures, and the way back down.

mod support;

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::{Directory, Said, eventually, require};

const RUMP: &str = env!("CARGO_BIN_EXE_rump");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/labs");

/// A user without any privilege, whose servers are in a directory of his own.
struct User {
    directory: Directory,
}

/// A lab that is up; killed when the test is over.
struct Up(Child);

impl User {
    fn new() -> Self {
        require("setpriv", "util-linux");
        let directory = Directory::new();
        std::os::unix::fs::chown(directory.path(), Some(65534), Some(65534)).expect("these tests need root");
        Self { directory }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", RUMP])
            .args(words)
            .env("XDG_RUNTIME_DIR", self.directory.path())
            .env("TMPDIR", self.directory.path())
            .env_remove("RUMP_SERVER")
            .env_remove("RUMP_LAB")
            .stdin(Stdio::null());
        command
    }

    fn rump(&self, words: &[&str]) -> Said {
        self.command(words).output().expect("setpriv is there").into()
    }

    /// A file of this text.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("a directory of our own");
        path.display().to_string()
    }

    /// Brings a lab up, and waits until it is.
    fn up(&self, words: &[&str], name: &str) -> Up {
        let mut command = self.command(&[&["lab", "up"], words].concat());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("setpriv is there");
        let up = Up(child);
        let path = self.directory.path().join("rump/labs").join(name);
        eventually("the lab is up", || path.exists());
        up
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

fn example(name: &str) -> String {
    format!("{EXAMPLES}/{name}.toml")
}

#[test]
fn fifty_hosts_are_tested_without_root_in_ten_seconds() {
    let user = User::new();
    let begun = Instant::now();
    let said = user.rump(&["lab", "test", &example("ci")]).ok();
    let taken = begun.elapsed();
    assert!(said.contains("ci: 50 hosts up after ") && said.contains("211 of 211 checks hold"), "{said}");
    assert!(taken < Duration::from_secs(10), "{taken:?}");
}

#[test]
fn every_example_holds_its_checks() {
    let user = User::new();
    let files = fs::read_dir(EXAMPLES).expect("the examples are there");
    let mut names: Vec<_> = files.map(|file| file.expect("it can be read").path()).collect();
    names.sort();
    assert!(names.len() >= 3, "{names:?}");
    for path in names {
        user.rump(&["lab", "test", &path.display().to_string()]).ok();
    }
}

#[test]
fn tools_run_on_the_hosts_of_a_lab_until_it_is_taken_down() {
    let user = User::new();
    let mut up = user.up(&[&example("office")], "office");
    let said = user.rump(&["lab", "exec", "pc2", "ping", "-c", "1", "10.0.0.80"]).ok();
    assert!(said.contains("ttl=63"), "{said}");
    let interface = user.rump(&["lab", "exec", "--lab", "office", "pc1", "ifconfig", "bus0"]).ok();
    assert!(
        interface.contains("linkstr: mem:office.1/lan") && interface.contains("inet 192.168.1.2/24"),
        "{interface}"
    );
    let url = format!("unix://{}/rump/labs/office#pc5", user.directory.path().display());
    let json = user.rump(&["--server", &url, "netstat", "-rn", "--json"]).ok();
    assert!(json.contains("192.168.1.1"), "a host is found as any server is: {json}");
    assert_eq!(user.rump(&["lab", "hosts"]).ok().lines().count(), 7);
    let listed = user.rump(&["lab", "list"]).ok();
    assert!(listed.starts_with("office: 7 hosts, process "), "{listed}");
    assert!(user.rump(&["list"]).ok().contains("/rump/labs/office: office, process "));
    user.rump(&["lab", "down"]).ok();
    assert!(up.0.wait().expect("our child").success(), "it ends well");
    assert_eq!(user.rump(&["lab", "list", "--json"]).ok(), "{\n  \"labs\": [],\n  \"version\": 1\n}\n");
    assert!(user.rump(&["lab", "exec", "pc1", "arp", "-a"]).refused().contains("no lab is up"));
}

#[test]
fn labs_beside_each_other_are_told_apart_by_name() {
    let user = User::new();
    let _one = user.up(&[&example("office")], "office");
    let refused = user.rump(&["lab", "up", &example("office")]).refused();
    assert!(refused.contains("(a lab is up there; --name gives this one another name)"), "{refused}");
    let _other = user.up(&["--name", "second", &example("office")], "second");
    let refused = user.rump(&["lab", "exec", "pc1", "arp", "-a"]).refused();
    assert!(
        refused.contains("several labs are up, name one with --lab or RUMP_LAB: office, second"),
        "{refused}"
    );
    let mut command = user.command(&["lab", "exec", "pc1", "ping", "-c", "1", "192.168.1.3"]);
    let said: Said = command.env("RUMP_LAB", "second").output().expect("setpriv is there").into();
    said.ok();
    let arp = |lab: &str| user.rump(&["lab", "exec", "--lab", lab, "pc2", "arp", "-a"]).ok();
    assert!(
        arp("second").contains("192.168.1.2") && !arp("office").contains("192.168.1.2"),
        "nothing is shared"
    );
    let refused = user.rump(&["lab", "exec", "--lab", "second", "pcc1", "arp", "-a"]).refused();
    assert!(
        refused.contains("#pcc1: No such file or directory (the lab has no such host; did you mean pc1?)"),
        "{refused}"
    );
    user.rump(&["lab", "down", "second"]).ok();
    assert!(user.rump(&["lab", "list"]).ok().starts_with("office: "));
}

#[test]
fn a_check_that_fails_is_told_with_what_its_tool_said_and_its_capture_is_kept() {
    require("tshark", "tshark");
    let user = User::new();
    let text = "bus.lan.prefix = \"10.0.0.0/24\"\nhost.a.bus0.bus = \"lan\"\nhost.b.bus0.bus = \"lan\"\n\
        [[check]]\nname = \"nobody is at 9\"\nhost = \"a\"\nrun = \"ping -c 1 {b}\"\noutput = \"0 packets received\"\n\
        [[check]]\nhost = \"b\"\nrun = \"ping 10.0.0.1\"\nlimit = \"1500 ms\"\n";
    let file = user.file("bad.toml", text);
    let kept = user.directory.path().join("kept");
    let said = user.rump(&["lab", "test", "--captures", &kept.display().to_string(), &file]);
    assert_eq!((said.status, said.err.as_str()), (1, ""), "{}", said.out);
    let out = said.out;
    assert!(
        out.contains(
            "FAILED: a: nobody is at 9: no line of its output has `0 packets received`\n    PING 10.0.0.2"
        ),
        "{out}"
    );
    assert!(out.contains("FAILED: b: ping 10.0.0.1: not at its end within 1500 ms\n"), "{out}");
    assert!(out.contains("    2 packets transmitted, 2 packets received"), "{out}");
    assert!(out.contains(&format!("    captured in {}/check-1.pcapng\n", kept.display())), "{out}");
    assert!(out.contains("0 of 2 checks hold"), "{out}");
    let capture = kept.join("check-1.pcapng");
    let shown = Command::new("tshark").arg("-r").arg(&capture).output().expect("tshark is there");
    let shown = Said::from(shown).ok();
    assert!(shown.contains("Echo (ping) request") && shown.contains("Echo (ping) reply"), "{shown}");
}

#[test]
fn mistakes_in_a_file_are_told_with_their_lines_by_every_command_that_reads_one() {
    let user = User::new();
    let file =
        user.file("typo.toml", "[bus.lan]\n[host.router]\nbus0 = { bus = \"lna\" }\nforwading = true\n");
    for command in ["up", "test", "graph"] {
        let refused = user.rump(&["lab", command, &file]).refused();
        assert!(
            refused.contains(&format!("{file}:3:16: unknown bus `lna` (did you mean `lan`?)\n")),
            "{refused}"
        );
        assert!(refused.contains(&format!("{file}:4:1: unknown key `forwading`")), "{refused}");
    }
    let refused = user.rump(&["lab", "test", "/nowhere.toml"]).refused();
    assert_eq!(refused, "rump lab: /nowhere.toml: No such file or directory (os error 2)\n");
}

#[test]
fn a_lab_is_drawn_to_a_file_or_to_standard_output() {
    let user = User::new();
    let drawn = user.rump(&["lab", "graph", &example("office")]).ok();
    assert!(
        drawn.starts_with("<svg ") && drawn.contains("192.168.1.0/24") && drawn.contains("router"),
        "{drawn}"
    );
    let path = user.directory.path().join("office.svg").display().to_string();
    user.rump(&["lab", "graph", "-o", &path, &example("office")]).ok();
    assert_eq!(fs::read_to_string(path).expect("it was written"), drawn);
}

/// Runs a program on a terminal of its own that changes its size, presses q, and prints what came of it.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time

def size(rows, columns):
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

def read_until(wanted, seen=b""):
    limit = time.monotonic() + 20
    while wanted not in seen:
        if not select.select([end], [], [], limit - time.monotonic())[0]:
            sys.exit(f"no {wanted} in {seen}")
        seen += os.read(end, 65536)
    return seen

child, end = pty.fork()
if child == 0:
    # Until there is a size.
    sys.stdin.readline()
    os.execvp(sys.argv[1], sys.argv[1:])
before = termios.tcgetattr(end)
size(12, 60)
os.write(end, b"\n")
first = read_until(b"\x1b[J")
size(5, 20)
second = read_until(b"\x1b[J")
os.write(end, b"q")
rest = read_until(b"\x1b[?1049l")
_, status = os.waitpid(child, 0)
after = termios.tcgetattr(end)
lines = [shown[shown.rindex(b"\x1b[H"):].count(b"\r\n") + 1 for shown in (first, second)]
print(os.waitstatus_to_exitcode(status), before == after, lines[0] <= 12, lines[1] <= 5, b"office" in first or b"pc1" in first)
"#;

#[test]
fn top_draws_on_a_terminal_follows_its_size_and_leaves_it_as_it_was() {
    require("python3", "python3");
    let user = User::new();
    let _up = user.up(&[&example("office")], "office");
    let url = format!("unix://{}/rump/labs/office#pc1", user.directory.path().display());
    let said = Command::new("python3").args(["-c", ON_A_TERMINAL, RUMP, "--server", &url, "top"]).output();
    let said = Said::from(said.expect("python3 is there"));
    assert_eq!((said.out.as_str(), said.err.as_str()), ("0 True True True True\n", ""));
}

#[test]
fn top_counts_what_passes_a_host_of_a_lab() {
    let user = User::new();
    let _up = user.up(&[&example("office")], "office");
    user.rump(&["lab", "exec", "pc1", "ping", "-c", "1", "10.0.0.80"]).ok();
    let said = user.rump(&["lab", "exec", "pc1", "top", "-b", "-n", "2", "-d", "0.2"]).ok();
    assert_eq!(said.matches("top - pc1, up 00:00:").count(), 2, "{said}");
    assert!(said.contains("bus0            up "), "{said}");
    let line = user.rump(&["lab", "exec", "pc1", "top", "--json", "-n", "1"]).ok();
    let sample: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert!(
        sample["interfaces"][1]["output_packets_per_second"].as_f64().is_some_and(|rate| rate > 0.0),
        "{line}"
    );
    let refused = user.rump(&["lab", "exec", "pc1", "top"]).refused();
    assert_eq!(refused, "top: no terminal to draw on; -b prints without one\n");
}
