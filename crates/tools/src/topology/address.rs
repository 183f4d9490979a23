//! Addresses of interfaces: those that are said, those that are counted, and those that are taken from what is free.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;

use rumpnet_proto::topology::Topology;
use rumpnet_wire::ip::Cidr;

use super::{
    bus::Buses,
    host::{Hosts, Wanted, Wish},
    mistake::{Notes, Span},
};

/// Whose an address on a bus is: the place of the host, and where that is said.
type Taken = BTreeMap<(usize, Ipv4Addr), (usize, Span)>;

/// Gives every interface its addresses: first those that leave no choice.
pub(super) fn assign(_buses: &Buses, hosts: &mut Hosts<'_>, topology: &mut Topology, notes: &Notes<'_>) {
    let (mut taken, mut next) = (Taken::new(), BTreeMap::new());
    let wishes = core::mem::take(&mut hosts.wishes);
    let (free, said): (Vec<_>, Vec<_>) =
        wishes.into_iter().partition(|wish| matches!(wish.wanted, Wanted::Free | Wanted::FreeIn(_)));
    for wish in said {
        if let Some(cidr) = determine_said(&wish, topology, notes) {
            give(&wish, cidr, &mut taken, topology, notes);
        }
    }
    for wish in free {
        let bus = topology.hosts[wish.host].interfaces[wish.interface].bus;
        let network = match wish.wanted {
            Wanted::FreeIn(network) => Some(network),
            _ => topology.buses[bus].prefix,
        };
        let Some(network) = network else { continue };
        let from = next.entry((bus, network)).or_insert(1);
        match next_free(network, bus, from, &taken) {
            Some(cidr) => give(&wish, cidr, &mut taken, topology, notes),
            None => {
                let (host, bus) = (&topology.hosts[wish.host].name, &topology.buses[bus].name);
                return notes
                    .add(&wish.at, format!("{network} has no address left on bus `{bus}` for `{host}`"));
            }
        }
    }
}

/// An address that leaves no choice.
fn determine_said(wish: &Wish, topology: &Topology, notes: &Notes<'_>) -> Option<Cidr> {
    let host = &topology.hosts[wish.host];
    let bus = &topology.buses[host.interfaces[wish.interface].bus];
    match wish.wanted {
        Wanted::This(first) => {
            let found = added(first, wish.number).filter(|cidr| is_for_a_host(*cidr));
            if found.is_none() {
                notes.add(
                    &wish.at,
                    format!("behind {first} there is no address of its network for `{}`", host.name),
                );
            }
            found
        }
        Wanted::Nth(number) => {
            let Some(prefix) = bus.prefix else {
                let message = format!(
                    "+{number} is a number in the network of the bus, and bus `{}` has no prefix",
                    bus.name
                );
                notes.add(&wish.at, message);
                return None;
            };
            let offset = number as usize + wish.number_on_bus;
            let found = added(prefix, offset).filter(|cidr| is_for_a_host(*cidr));
            if found.is_none() {
                notes.add(&wish.at, format!("{prefix} has no address number {offset} for `{}`", host.name));
            }
            found
        }
        Wanted::Free | Wanted::FreeIn(_) => None,
    }
}

fn give(wish: &Wish, cidr: Cidr, taken: &mut Taken, topology: &mut Topology, notes: &Notes<'_>) {
    let IpAddr::V4(address) = cidr.address() else { return };
    let bus = topology.hosts[wish.host].interfaces[wish.interface].bus;
    if let Some((other, at)) = taken.get(&(bus, address)) {
        let message = format!(
            "{address} on bus `{}` is that of `{}` already, by line {}",
            topology.buses[bus].name,
            topology.hosts[*other].name,
            notes.line(at)
        );
        return notes.add(&wish.at, message);
    }
    taken.insert((bus, address), (wish.host, wish.at.clone()));
    topology.hosts[wish.host].interfaces[wish.interface].addresses.push(cidr);
}

/// The lowest address of a network that nobody on the bus has, from number `from` on, which is moved on.
fn next_free(network: Cidr, bus: usize, from: &mut usize, taken: &Taken) -> Option<Cidr> {
    loop {
        let cidr = added(network, *from).filter(|cidr| is_for_a_host(*cidr))?;
        *from += 1;
        if let IpAddr::V4(address) = cidr.address()
            && !taken.contains_key(&(bus, address))
        {
            return Some(cidr);
        }
    }
}

/// The address so many places behind another, if it is of the same network.
fn added(cidr: Cidr, number: usize) -> Option<Cidr> {
    let IpAddr::V4(address) = cidr.address() else { return None };
    let moved = address.to_bits().checked_add(u32::try_from(number).ok()?)?;
    let moved = IpAddr::V4(Ipv4Addr::from_bits(moved));
    Cidr::new(moved, cidr.prefix_len()).filter(|_| cidr.contains(moved))
}

/// Whether an address is neither that of its network nor its broadcast address.
fn is_for_a_host(cidr: Cidr) -> bool {
    cidr.broadcast().is_none_or(|broadcast| {
        cidr.address() != IpAddr::V4(broadcast) && cidr.address() != cidr.network().address()
    })
}

/// The network so many places behind another of the same length.
pub(super) fn nth_network(network: Cidr, number: usize) -> Option<Cidr> {
    let IpAddr::V4(address) = network.address() else { return None };
    let size = 1u64 << (32 - u32::from(network.prefix_len()));
    let moved = u64::from(address.to_bits()) + size * number as u64;
    let moved = u32::try_from(moved).ok()?;
    Cidr::new(IpAddr::V4(Ipv4Addr::from_bits(moved)), network.prefix_len())
}

/// The address, if it is of IPv4; a complaint otherwise.
pub(super) fn required_v4(address: IpAddr, at: &Span, notes: &Notes<'_>) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => {
            notes.add(at, format!("{address} is of IPv6, which kernels here do not speak yet"));
            None
        }
    }
}
