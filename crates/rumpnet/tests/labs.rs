//! Labs: topologies as kernels of this process, and their hosts as clients find them.

use std::{env, fs, path::PathBuf, process, sync::Arc, time::Duration};

use rumpnet::{
    Config, Kernel, Lab, LabError,
    client::{Address, Client, PATIENCE},
    proto::{Counter, EchoOptions, EchoOutcome, Errno, KernelInfo, Reply, Request, topology::Topology},
    server::{Limits, Listener, Server},
};

const OFFICE: &str = r#"
    lab.routes = "auto"
    bus.lan.prefix = "192.168.1.0/24"
    bus.uplink.prefix = "10.0.0.0/24"
    host.router = { forwarding = true, bus0 = { bus = "lan", address = "+1" }, bus1 = { bus = "uplink" } }
    host.pc = { count = 3, bus0 = { bus = "lan" } }
    host.server.bus0 = { bus = "uplink", address = "+80" }
"#;

fn topology(text: &str) -> Topology {
    rumpnet_sim::topology::parse("lab.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn office() -> Lab {
    Lab::up(topology(OFFICE)).expect("it comes up")
}

fn kernel<'lab>(lab: &'lab Lab, name: &str) -> &'lab Kernel {
    lab.host(name).expect("a host of the lab")
}

/// Whether an address answers an echo request within five seconds.
fn answers(from: &Kernel, to: &str) -> bool {
    let destination = to.parse().expect("an address");
    let options = EchoOptions { size: 8, ..EchoOptions::to(destination) };
    let Ok(Reply::Echo { echo, .. }) = from.control(Request::EchoOpen(options)) else { return false };
    from.control(Request::EchoSend { echo, sequence: 1 }).expect("an open session");
    let timeout_ns = Duration::from_secs(5).as_nanos() as u64;
    let answer = from.control(Request::EchoReceive { echo, timeout_ns });
    from.control(Request::EchoClose { echo }).expect("open until now");
    matches!(answer, Ok(Reply::EchoReplies(replies)) if replies.iter().any(|reply| reply.outcome == EchoOutcome::Reply))
}

#[test]
fn hosts_of_a_lab_reach_each_other_over_their_router() {
    let lab = office();
    assert!(answers(kernel(&lab, "pc3"), "10.0.0.80"));
    assert!(answers(kernel(&lab, "server"), "192.168.1.2"));
    assert_eq!(kernel(&lab, "pc1").name(), "pc1");
    assert_eq!(lab.names(Some("pc2")).collect::<Vec<_>>(), ["pc3", "router", "server"]);
}

#[test]
fn two_labs_of_one_topology_share_nothing() {
    let (one, other) = (office(), office());
    let heard =
        |lab: &Lab| lab.kernels().iter().map(|kernel| kernel.counter(Counter::IcmpEchoRequests)).sum::<u64>();
    assert!(answers(kernel(&one, "pc1"), "10.0.0.80"));
    assert_eq!((heard(&one), heard(&other)), (1, 0));
    drop(one);
    assert!(answers(kernel(&other, "pc1"), "10.0.0.80"), "the other one goes on");
}

#[test]
fn what_a_kernel_refuses_takes_the_lab_down_and_is_told_with_its_line() {
    let mut plan = topology(OFFICE);
    plan.hosts[4].sysctls.push(("net.no".to_owned(), 1));
    let refused = Lab::up(plan).expect_err("there is no such variable");
    assert!(matches!(refused, LabError::Refused(_)));
    assert!(refused.to_string().starts_with("lab.toml:7: host `server`: "), "{refused}");
}

/// A lab that is served, in a directory of its own.
struct Served {
    directory: PathBuf,
    address: Address,
    server: Option<Server>,
}

impl Served {
    fn new(test: &str) -> Self {
        let directory = env::temp_dir().join(format!("rumpnet-labs-{test}-{}", process::id()));
        fs::create_dir_all(&directory).expect("a directory of our own");
        let address = Address::at(directory.join("s")).expect("a short path");
        let listener = Listener::bind(address.path()).expect("a free path");
        let kernel = Kernel::builder().name("office").config(Config::tiny()).boot().expect("it boots");
        let server = Server::start_lab(listener, kernel, Arc::new(office()), Limits::default());
        Self { directory, address, server: Some(server.expect("it starts")) }
    }

    fn client(&self, host: &str) -> Result<Client, rumpnet::ControlError> {
        Client::connect(&self.address.clone().of_host(host), PATIENCE)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.server.take());
        fs::remove_dir_all(&self.directory).expect("it was ours");
    }
}

fn who(client: &Client) -> KernelInfo {
    match client.call(Request::Kernel) {
        Ok(Reply::Kernel(info)) => info,
        other => panic!("not who it is: {other:?}"),
    }
}

#[test]
fn a_client_enters_the_host_that_its_url_names() {
    let served = Served::new("enters");
    let client = served.client("pc2").expect("a host");
    assert_eq!(who(&client).name, "pc2");
    let again = client.call(Request::Enter { host: "pc1".into() }).expect_err("it has entered one");
    assert_eq!(again.errno, Errno::Busy);
    let destination = [10, 0, 0, 80].into();
    let options = EchoOptions { size: 8, ..EchoOptions::to(destination) };
    let Ok(Reply::Echo { echo, source }) = client.call(Request::EchoOpen(options)) else {
        panic!("no session")
    };
    assert_eq!(source.to_string(), "192.168.1.3");
    client.call(Request::EchoSend { echo, sequence: 0 }).expect("sent");
    let received = client.call(Request::EchoReceive { echo, timeout_ns: 5_000_000_000 });
    assert!(matches!(received, Ok(Reply::EchoReplies(replies)) if replies.len() == 1));
}

#[test]
fn a_client_without_a_host_asks_the_lab_itself_and_hears_of_its_hosts() {
    let served = Served::new("itself");
    let client = Client::connect(&served.address, PATIENCE).expect("a server");
    assert_eq!(who(&client).name, "office");
    let hosts = |after: Option<&str>| client.call(Request::Hosts { after: after.map(str::to_owned) });
    let names = ["pc1", "pc2", "pc3", "router", "server"].map(str::to_owned);
    assert_eq!(hosts(None), Ok(Reply::Names(names.to_vec())));
    assert_eq!(hosts(Some("server")), Ok(Reply::Names(Vec::new())));
}

#[test]
fn an_unknown_host_is_refused_with_the_nearest_name_and_a_server_that_is_no_lab_says_so() {
    let served = Served::new("unknown");
    let refused = served.client("rounter").err().expect("there is none");
    assert_eq!((refused.errno, refused.object.ends_with("#rounter")), (Errno::NoEnt, true));
    assert!(refused.to_string().contains("did you mean router?"), "{refused}");
    let path = served.directory.join("plain");
    let listener = Listener::bind(&path).expect("a free path");
    let kernel = Kernel::builder().config(Config::tiny()).boot().expect("it boots");
    let _server = Server::start(listener, kernel, Limits::default()).expect("it starts");
    let address = Address::at(path).expect("a short path").of_host("pc1");
    let refused = Client::connect(&address, PATIENCE).err().expect("it is no lab");
    assert_eq!(refused.errno, Errno::OpNotSupp);
}
