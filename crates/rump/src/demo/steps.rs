//! The steps of the demo: which one the host allows, setting it up, undoing it.

use std::{io, net::IpAddr, process, time::Duration};

use rumpnet::{Config, Kernel, link, wire::ip::Cidr};
use rumpnet_host::{
    HostError, Operation, Tap, TapOptions, machine,
    namespace::{self, Own},
    netlink::{HostAddress, Netlink},
};
use rumpnet_proto::CreateOptions;

use super::{
    Wanted,
    network::{Known, Network},
    page,
};
use crate::{locate, output};

/// The most taps that are looked at for a free name.
const NAMES: u32 = 1000;

/// How long connections may take to say what they have to say when the demo ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How the demo will be shown.
pub(super) enum Stage {
    /// On a tap of the host.
    Tap { tap: String, network: Network },
    /// In a network of our own, which we have entered.
    Namespace { own: Own, network: Network },
    /// Two kernels in this process.
    Pair { network: Network },
}

/// An interface of the host by its index, and the address that we gave it.
type Given = Option<(u32, Cidr)>;

/// A stage that is set: what plays on it.
pub(super) struct Set {
    /// The kernel that is shown.
    pub(super) kernel: Kernel,
    /// What to say about it.
    pub(super) text: String,
    /// Where its status page is, and what to say before a command that shall reach it; none if nobody can.
    browse: Option<(IpAddr, String)>,
    /// The other kernel of a pair.
    other: Option<Kernel>,
    /// Whom the one kernel of a pair pings.
    target: Option<Cidr>,
    /// An address that we gave to an interface of the host that may outlive us.
    given: Given,
}

/// Finds out what the host allows, and says why it is not more. To be called while there is one thread.
pub(super) fn determine(wanted: &Wanted) -> Result<Stage, String> {
    let refusal = match try_tap(wanted)? {
        Ok(stage) => return Ok(stage),
        Err(refusal) => refusal,
    };
    if wanted.require_tap {
        return Err(in_words("no tap", &refusal));
    }
    say(&in_words("The host refuses a tap", &refusal));
    let network = wanted.network.unwrap_or_default();
    let refusal = match namespace::enter_own_network() {
        Ok(own) => {
            say("Going on in a network namespace of its own.");
            return Ok(Stage::Namespace { own, network });
        }
        Err(refusal) => refusal,
    };
    say(&in_words("The host refuses a namespace, too", &refusal));
    say("Going on with two kernels joined in this process.");
    Ok(Stage::Pair { network })
}

fn say(line: &str) {
    // Nobody reads: what is said next will show that.
    let _unread = output::print(&format!("{line}\n"));
}

/// A refusal and the command that lifts it, or what is the matter where none does.
fn in_words(what: &str, refusal: &HostError) -> String {
    let reason = io::Error::from_raw_os_error(refusal.errno);
    let cause = format!("{what}: {} {}: {reason}", refusal.operation, refusal.object);
    let is_ours = matches!(reason.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::ResourceBusy);
    let remedy = refusal.hint.as_deref().map(|hint| match is_ours {
        true => format!(" ({hint})"),
        false => format!("\n  what lifts it: {hint}"),
    });
    cause + &remedy.unwrap_or_default()
}

/// A refusal of privilege, with every step to a demo on that tap: root has to give it all that we may not.
fn with_all_steps(refusal: HostError, tap: &str, network: &Network) -> HostError {
    if io::Error::from_raw_os_error(refusal.errno).kind() != io::ErrorKind::PermissionDenied {
        return refusal;
    }
    let node = if refusal.operation == Operation::OpenNode { "chmod 666 /dev/net/tun; " } else { "" };
    let (program, user, host) = (locate::program(), machine::user(), network.host);
    refusal.with_hint(format!(
        "{node}{program} host tap create {tap} --owner {user} --address {host} --up (as root), then {program} demo --tap {tap}"
    ))
}

/// What the host has before we come.
struct Surroundings {
    /// The networks that it knows, those of the tap that we shall use left out.
    known: Known,
    /// The names of its interfaces.
    names: Vec<String>,
    /// The IPv4 address that this tap has already.
    own: Option<Cidr>,
}

/// The tap step: a network that the host does not know, a tap that is not there, and whether the host lets us make it.
fn try_tap(wanted: &Wanted) -> Result<Result<Stage, HostError>, String> {
    let around = look_around(wanted).map_err(|error| format!("the host's networks: {error}"))?;
    let free = (0..NAMES).map(|number| format!("tap{number}")).find(|name| !around.names.contains(name));
    let Some(tap) = wanted.tap.clone().or(free) else { return Err("every tap's name is taken".to_owned()) };
    // Made and removed again: the kernel makes its own, and a process with threads could no longer enter a namespace.
    let probe = Tap::open(&TapOptions { up: false, ..TapOptions::new(&tap) });
    if let Err(refusal) = probe {
        let free = Network::free(&around.known).map(|(network, _)| network);
        let network = wanted.network.or_else(|| free.ok()).unwrap_or_default();
        return Ok(Err(with_all_steps(refusal, &tap, &network)));
    }
    drop(probe);
    let network = determine_network(wanted, &around)?;
    Ok(Ok(Stage::Tap { tap, network }))
}

/// The network that is wanted, the one that the tap is in already, or one that the host does not know.
fn determine_network(wanted: &Wanted, around: &Surroundings) -> Result<Network, String> {
    if let Some(network) = wanted.network {
        return match around.known.overlap(network.address) {
            Some(words) if wanted.tap.is_none() => {
                Err(format!("{} overlaps with the host's {words}", network.address.network()))
            }
            _ => Ok(network),
        };
    }
    if let Some(network) = Network::wanted(None, around.own)? {
        return Ok(network);
    }
    let (network, told) = Network::free(&around.known)?;
    told.iter().for_each(|line| say(&format!("{line}; taking another network.")));
    Ok(network)
}

fn look_around(wanted: &Wanted) -> io::Result<Surroundings> {
    let mut netlink = Netlink::open()?;
    let (links, mut addresses, mut routes) = (netlink.links()?, netlink.addresses()?, netlink.routes()?);
    let tap = links.iter().find(|link| Some(&link.name) == wanted.tap.as_ref()).map(|link| link.index);
    let is_own = |address: &&HostAddress| Some(address.index) == tap && address.address.is_ipv4();
    let own = addresses.iter().find(is_own).and_then(|own| Cidr::new(own.address, own.prefix_len));
    addresses.retain(|address| Some(address.index) != tap);
    routes.retain(|route| tap.is_none() || route.index != tap);
    let names = links.into_iter().map(|link| link.name).collect();
    Ok(Surroundings { known: Known::new(&addresses, &routes), names, own })
}

impl Stage {
    /// Boots what the stage needs.
    pub(super) fn set(self) -> Result<Set, String> {
        match self {
            Self::Tap { tap, network } => {
                let (kernel, given) = on_host(&tap, &network)?;
                let (address, host) = (network.address, network.host);
                let target = address.address();
                let text = format!(
                    "A kernel answers at {address}, on virt0; its cable ends at {tap} of this host, {host}.\nTry, from another terminal:\n  ping {target}\n"
                );
                let browse = Some((target, String::new()));
                Ok(Set { kernel, text, browse, other: None, target: None, given })
            }
            Self::Namespace { own, network } => {
                let (kernel, given) = on_host("tap0", &network)?;
                let (address, host, target) = (network.address, network.host, network.address.address());
                let enter = match own {
                    Own::Network => format!("nsenter -t {} -n", process::id()),
                    Own::UserAndNetwork => {
                        format!("nsenter -t {} -U -n --preserve-credentials", process::id())
                    }
                };
                let text = format!(
                    "A kernel answers at {address}, on virt0; its cable ends in a namespace of its own, {host}.\nTry, from another terminal:\n  {enter} ping {target}\n"
                );
                let browse = Some((target, format!("{enter} ")));
                Ok(Set { kernel, text, browse, other: None, target: None, given })
            }
            Self::Pair { network } => pair(&network),
        }
    }
}

/// A kernel whose virt0 ends at an interface of the host, with an address at both ends.
fn on_host(tap: &str, network: &Network) -> Result<(Kernel, Given), String> {
    let kernel = boot("demo")?;
    let options = CreateOptions { host_end: Some(tap.to_owned()), ..CreateOptions::default() };
    kernel.create_with("virt0", &options).map_err(|error| error.to_string())?;
    kernel.add_address("virt0", network.address).map_err(|error| error.to_string())?;
    let given = give_address(tap, network.host).map_err(|error| {
        kernel.shutdown();
        let (host, is_refused) = (network.host, error.kind() == io::ErrorKind::PermissionDenied);
        let remedy = is_refused.then(|| format!("\n  what lifts it: ip addr add {host} dev {tap} (as root)"));
        format!("{tap}: {host}: {error}{}", remedy.unwrap_or_default())
    })?;
    Ok((kernel, given))
}

/// Gives the host's end its address; none if it had it before.
fn give_address(tap: &str, address: Cidr) -> io::Result<Given> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link(tap)?.index;
    let has = |known: &HostAddress| known.index == index && known.address == address.address();
    // Asked before, for an ordinary user's request is refused even so.
    if netlink.addresses()?.iter().any(has) {
        return Ok(None);
    }
    match netlink.add_address(index, address.address(), address.prefix_len()).map_err(io::Error::from) {
        Ok(()) => Ok(Some((index, address))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

/// Two kernels, virt0 of the one joined with virt0 of the other.
fn pair(network: &Network) -> Result<Set, String> {
    let (one_end, other_end) = link::channel::pair();
    let (kernel, other) = (boot("demo")?, boot("demo-peer")?);
    for (kernel, end, address) in [(&kernel, one_end, network.host), (&other, other_end, network.address)] {
        kernel.attach("virt0", Box::new(end), None).map_err(|error| error.to_string())?;
        kernel.add_address("virt0", address).map_err(|error| error.to_string())?;
    }
    let text = format!(
        "Two kernels, {} and {}, are joined in this process. One pings the other:\n",
        network.host, network.address
    );
    let target = Some(network.address);
    Ok(Set { kernel, text, browse: None, other: Some(other), target, given: None })
}

fn boot(name: &str) -> Result<Kernel, String> {
    let kernel = Kernel::builder().name(name).config(Config::server()).boot();
    kernel.map_err(|error| format!("cannot boot: {error}"))
}

impl Set {
    /// Begins to serve the status page, and says where it is.
    pub(super) fn serve_page(&self) -> String {
        let Some((address, enter)) = &self.browse else { return String::new() };
        match page::serve(&self.kernel, *address) {
            Ok(()) => {
                format!("  {enter}curl http://{address}/    (or in a browser: the kernel's status, live)\n")
            }
            Err(error) => format!("  no status page: {error}\n"),
        }
    }

    /// The words of a ping from the one kernel of a pair to the other.
    pub(super) fn ping_words(&self) -> Option<Vec<String>> {
        let target = self.target?.address().to_string();
        Some(["ping", "-c", "5", &target].map(str::to_owned).to_vec())
    }

    /// Undoes everything: the host is left as it was found.
    pub(super) fn undo(self) {
        if let (Some((index, address)), Ok(mut netlink)) = (self.given, Netlink::open()) {
            // It goes with a tap of our making; on one that was there before, it must go by itself.
            let _gone = netlink.delete_address(index, address.address(), address.prefix_len());
        }
        // Whoever is just reading the page gets the rest of it.
        let _told = self.kernel.shutdown_within(LAST_WORDS);
        self.other.iter().for_each(Kernel::shutdown);
    }
}
