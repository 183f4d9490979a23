//! `rump host tap`: taps that stay, made for a user whose server has no privilege.

use std::{fmt, fs, io};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rumpnet::wire::ip::Cidr;
use rumpnet_host::{
    HostError, Layer, Tap, TapOptions, holder,
    netlink::{HostLink, Netlink},
};
use rumpnet_tools::Status;
use serde_json::{Value, json};

use crate::output;

/// The name under which commands complain.
const PROGRAM: &str = "rump host tap";

/// Frames that wait in a tap until its server reads them; the host's default of 1000 is short for a flood.
const QUEUE: u32 = 2000;

/// Where the users of the host are.
const USERS: &str = "/etc/passwd";

pub(crate) fn command() -> Command {
    let name = || Arg::new("NAME").required(true).help("The tap, such as tap0");
    let create = Command::new("create")
        .about("Make a tap that stays")
        .arg(name())
        .arg(
            Arg::new("owner")
                .long("owner")
                .value_name("USER")
                .help("The user, by name or number, who may use it"),
        )
        .arg(Arg::new("up").long("up").action(ArgAction::SetTrue).help("Bring it up"))
        .arg(
            Arg::new("address")
                .long("address")
                .value_name("ADDRESS/LENGTH")
                .value_parser(value_parser!(Cidr))
                .action(ArgAction::Append)
                .help("Give the host's end an address"),
        )
        .arg(
            Arg::new("mtu")
                .long("mtu")
                .value_name("BYTES")
                .value_parser(value_parser!(u32).range(68..=65_521))
                .help("Its MTU; 1500 by default"),
        );
    let json =
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the report as one JSON value");
    Command::new("tap")
        .about("Make, remove and list the host's taps")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(create)
        .subcommand(Command::new("destroy").about("Remove a tap that nobody uses").arg(name()))
        .subcommand(Command::new("list").about("List the taps, their users and their addresses").arg(json))
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    let done = match matches.subcommand() {
        Some(("create", matches)) => create(matches),
        Some(("destroy", matches)) => destroy(name(matches)),
        Some(("list", matches)) => return list(matches.get_flag("json")),
        // Clap wants one of the commands above.
        _ => return Status::FAILURE,
    };
    done.map_or_else(|reason| output::failed(PROGRAM, reason), |()| Status::SUCCESS)
}

fn name(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("NAME").map(String::as_str).unwrap_or_default()
}

/// Makes a tap; it stays only when all else has succeeded, so that a failure leaves nothing behind.
fn create(matches: &ArgMatches) -> Result<(), String> {
    let name = name(matches);
    let owner = matches.get_one::<String>("owner").map(|user| user_number(user)).transpose()?;
    let mtu = matches.get_one("mtu").copied();
    let up = matches.get_flag("up");
    let options = TapOptions { up, queue_len: Some(QUEUE), mtu, ..TapOptions::new(name) };
    let refused = |error: HostError| error.to_string();
    let tap = Tap::open(&options).map_err(refused)?;
    if tap.existed_before() {
        return Err(format!("{name}: File exists"));
    }
    if let Some(owner) = owner {
        tap.set_owner(owner).map_err(refused)?;
    }
    let index = tap.index().map_err(refused)?;
    let mut netlink = Netlink::open().map_err(|errno| said(name, errno))?;
    for address in matches.get_many::<Cidr>("address").into_iter().flatten() {
        let added = netlink.add_address(index, address.address(), address.prefix_len());
        added.map_err(|errno| said(&address.to_string(), errno))?;
    }
    tap.set_persistent(true).map_err(refused)
}

/// Removes a tap unless somebody uses it, or it is none.
fn destroy(name: &str) -> Result<(), String> {
    let mut netlink = Netlink::open().map_err(|errno| said(name, errno))?;
    let link = netlink.link(name).map_err(|errno| said(name, errno))?;
    if link.tun.is_none() {
        return Err(format!("{name}: not a tap"));
    }
    // Whoever can attach to it knows that nobody else has; its holder is named by the refusal.
    let layer = if link.tun.is_some_and(|tun| tun.is_tap) { Layer::Ethernet } else { Layer::Ip };
    let options = TapOptions { layer, create: false, up: false, ..TapOptions::new(name) };
    drop(Tap::open(&options).map_err(|error| error.to_string())?);
    netlink.delete_link(link.index).map_err(|errno| said(name, errno))
}

fn said(object: &str, error: impl Into<io::Error>) -> String {
    format!("{object}: {}", error.into())
}

/// A tap as it is listed.
struct Listed {
    link: HostLink,
    owner: Option<String>,
    addresses: Vec<String>,
    holders: Vec<holder::Holder>,
}

fn list(in_json: bool) -> Status {
    let listed = match Netlink::open().and_then(|mut netlink| {
        let addresses = netlink.addresses()?;
        Ok((netlink.links()?, addresses))
    }) {
        Ok((links, addresses)) => {
            let taps = links.into_iter().filter(|link| link.tun.is_some_and(|tun| tun.is_tap));
            taps.map(|link| Listed::new(link, &addresses)).collect::<Vec<_>>()
        }
        Err(errno) => return output::failed(PROGRAM, io::Error::from(errno)),
    };
    let json = in_json.then(|| json!({ "taps": listed.iter().map(Listed::json).collect::<Vec<_>>() }));
    output::report(json, &listed.iter().map(Listed::to_string).collect::<String>())
}

impl Listed {
    fn new(link: HostLink, addresses: &[rumpnet_host::netlink::HostAddress]) -> Self {
        let own = addresses.iter().filter(|address| address.index == link.index);
        let addresses = own.map(|address| format!("{}/{}", address.address, address.prefix_len)).collect();
        let owner = link.tun.and_then(|tun| tun.owner).map(user_name);
        let holders = holder::holders(&link.name);
        Self { link, owner, addresses, holders }
    }

    fn is_persistent(&self) -> bool {
        self.link.tun.is_some_and(|tun| tun.is_persistent)
    }

    fn json(&self) -> Value {
        json!({
            "name": self.link.name, "up": self.link.is_up, "carrier": self.link.has_carrier, "mtu_bytes": self.link.mtu,
            "persistent": self.is_persistent(), "owner": self.owner, "addresses": self.addresses,
            "holders": self.holders.iter().map(|holder| json!({ "process_id": holder.pid, "command": holder.command })).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}, mtu {}",
            self.link.name,
            if self.link.is_up { "up" } else { "down" },
            self.link.mtu
        )?;
        if self.is_persistent() {
            f.write_str(", stays")?;
        }
        self.owner.iter().try_for_each(|owner| write!(f, ", owner {owner}"))?;
        self.addresses.iter().try_for_each(|address| write!(f, ", {address}"))?;
        self.holders.iter().try_for_each(|holder| write!(f, ", held by {holder}"))?;
        f.write_str("\n")
    }
}

/// The number of a user, given by it or by name.
fn user_number(user: &str) -> Result<u32, String> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let users = fs::read_to_string(USERS).map_err(|error| format!("{USERS}: {error}"))?;
    let found = parse_users(&users).find(|(name, _)| *name == user);
    found
        .map(|(_, number)| number)
        .ok_or_else(|| format!("no user {user} in {USERS}; give his number instead"))
}

fn user_name(number: u32) -> String {
    let users = fs::read_to_string(USERS).unwrap_or_default();
    let found = parse_users(&users).find(|(_, known)| *known == number);
    found.map_or_else(|| number.to_string(), |(name, _)| name.to_owned())
}

/// Names and numbers of passwd(5).
fn parse_users(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, number.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\nbroken\nnobody:x:65534:65534::/:\n";
        assert_eq!(parse_users(text).collect::<Vec<_>>(), [("root", 0), ("nobody", 65_534)]);
        assert_eq!(user_number("0"), Ok(0));
        assert_eq!(user_number("root"), Ok(0));
        assert!(user_number("no such user").is_err());
    }
}
