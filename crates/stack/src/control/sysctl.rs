//! Variables by their sysctl(7) names.

use rumpnet_proto::{Errno, Reply};

use crate::{
    Stack,
    config::{EcnMode, ReversePath},
    inet::icmp::MAX_RETURNED,
    time::Duration,
};

/// Every variable, sorted; what is not here does not exist.
const NAMES: &[&str] = &[
    "net.inet.arp.keep",
    "net.inet.icmp.bmcastecho",
    "net.inet.icmp.errpplimit",
    "net.inet.icmp.errppslimit",
    "net.inet.icmp.maskrepl",
    "net.inet.icmp.rediraccept",
    "net.inet.icmp.redirtimeout",
    "net.inet.icmp.returndatabytes",
    "net.inet.icmp.tstamprepl",
    "net.inet.ip.dad_count",
    "net.inet.ip.dad_optimistic",
    "net.inet.ip.directed-broadcast",
    "net.inet.ip.forwarding",
    "net.inet.ip.maxfragpackets",
    "net.inet.ip.mtudisc",
    "net.inet.ip.mtudisctimeout",
    "net.inet.ip.redirect",
    "net.inet.ip.rpfilter",
    "net.inet.ip.ttl",
    "net.inet.tcp.ecn.enable",
    "net.inet.tcp.mem_low",
    "net.inet.tcp.mem_max",
    "net.inet.tcp.mem_peak",
    "net.inet.tcp.mem_pressure",
    "net.inet.tcp.mem_used",
    "net.inet.tcp.pacing",
    "net.inet.tcp.recvspace",
    "net.inet.tcp.sendbuf_max",
    "net.inet.tcp.sendspace",
    "net.inet.udp.recvspace",
    "net.inet.udp.sendspace",
];

pub(super) fn names() -> Reply {
    Reply::Names(NAMES.iter().map(|name| (*name).into()).collect())
}

impl Stack {
    /// The value before the call; ENOENT for an unknown name, EINVAL for a value out of range.
    pub(super) fn sysctl(&mut self, name: &str, value: Option<i64>) -> Result<i64, Errno> {
        let config = &mut self.cx.config;
        match name {
            unknown if !NAMES.contains(&unknown) => Err(Errno::NoEnt),
            "net.inet.ip.ttl" => exchange(&mut config.ttl, value, 1, 255),
            "net.inet.ip.dad_count" => exchange(&mut config.dad_count, value, 0, 100),
            "net.inet.ip.dad_optimistic" => switch(&mut config.dad_optimistic, value),
            "net.inet.icmp.bmcastecho" => switch(&mut config.icmp_broadcast_echo, value),
            "net.inet.icmp.errppslimit" => {
                exchange(&mut config.icmp_errors_per_second, value, 0, i64::from(u32::MAX))
            }
            "net.inet.tcp.ecn.enable" => {
                let mut number = config.tcp_ecn as u8;
                let before = exchange(&mut number, value, 0, 2)?;
                config.tcp_ecn = [EcnMode::Off, EcnMode::Ask, EcnMode::Agree][usize::from(number)];
                Ok(before)
            }
            "net.inet.tcp.pacing" => switch(&mut config.tcp_pacing, value),
            "net.inet.tcp.recvspace" => exchange(&mut config.tcp_receive_bytes, value, 2048, 1 << 26),
            "net.inet.tcp.sendspace" => exchange(&mut config.tcp_send_bytes, value, 2048, 1 << 26),
            "net.inet.tcp.sendbuf_max" => exchange(&mut config.tcp_send_most_bytes, value, 2048, 1 << 26),
            memory if memory.starts_with("net.inet.tcp.mem_") => self.memory_variable(memory, value),
            "net.inet.icmp.errpplimit" => {
                exchange(&mut config.icmp_errors_per_peer, value, 0, i64::from(u32::MAX))
            }
            "net.inet.icmp.maskrepl" => switch(&mut config.icmp_mask_reply, value),
            "net.inet.icmp.tstamprepl" => switch(&mut config.icmp_timestamp_reply, value),
            "net.inet.icmp.returndatabytes" => {
                exchange(&mut config.icmp_return_bytes, value, 8, i64::from(MAX_RETURNED))
            }
            "net.inet.icmp.rediraccept" => switch(&mut config.accept_redirects, value),
            "net.inet.icmp.redirtimeout" => {
                exchange(&mut config.redirect_lifetime, value, 1, i64::from(u32::MAX))
            }
            "net.inet.udp.recvspace" => exchange(&mut config.udp_receive_bytes, value, 256, 1 << 26),
            "net.inet.udp.sendspace" => exchange(&mut config.udp_send_bytes, value, 256, 1 << 26),
            "net.inet.arp.keep" => {
                let mut seconds = config.neighbor_lifetime.as_secs();
                let before = exchange(&mut seconds, value, 1, i64::from(u32::MAX))?;
                config.neighbor_lifetime = Duration::from_secs(seconds);
                self.inet.neighbors.set_lifetime(config.neighbor_lifetime);
                Ok(before)
            }
            "net.inet.ip.maxfragpackets" => {
                let before = exchange(&mut config.fragment_datagrams, value, 0, i64::from(u32::MAX))?;
                self.inet.reassembly.limit_datagrams(config.fragment_datagrams);
                Ok(before)
            }
            "net.inet.ip.mtudisc" => switch(&mut config.mtu_discovery, value),
            "net.inet.ip.mtudisctimeout" => {
                exchange(&mut config.mtu_discovery_lifetime, value, 1, i64::from(u32::MAX))
            }
            "net.inet.ip.forwarding" => switch(&mut config.forwarding, value),
            "net.inet.ip.redirect" => switch(&mut config.redirects, value),
            "net.inet.ip.directed-broadcast" => switch(&mut config.directed_broadcast, value),
            "net.inet.ip.rpfilter" => {
                let mut number = config.reverse_path as u8;
                let before = exchange(&mut number, value, 0, 2)?;
                config.reverse_path =
                    [ReversePath::Off, ReversePath::Strict, ReversePath::Loose][usize::from(number)];
                Ok(before)
            }
            _ => Err(Errno::NoEnt),
        }
    }
}

impl Stack {
    /// The memory of all socket buffers, in bytes; EINVAL if the limits would not be in order, EPERM for what is only measured.
    fn memory_variable(&mut self, name: &str, value: Option<i64>) -> Result<i64, Errno> {
        let mut limits = self.cx.config.memory;
        let variable = match name {
            "net.inet.tcp.mem_low" => &mut limits.low,
            "net.inet.tcp.mem_pressure" => &mut limits.pressure,
            "net.inet.tcp.mem_max" => &mut limits.max,
            measured => {
                let (used, peak) = self.memory();
                let bytes = if measured == "net.inet.tcp.mem_peak" { peak } else { used };
                return if value.is_some() { Err(Errno::Perm) } else { Ok(bytes as i64) };
            }
        };
        let before = exchange(variable, value, 0, 1 << 50)?;
        if limits.low > limits.pressure || limits.pressure > limits.max {
            return Err(Errno::Inval);
        }
        self.cx.limit_memory(limits);
        Ok(before)
    }
}

fn exchange<T>(variable: &mut T, value: Option<i64>, least: i64, greatest: i64) -> Result<i64, Errno>
where
    T: Copy + TryFrom<i64> + TryInto<i64>,
{
    let before = (*variable).try_into().map_err(|_| Errno::Range)?;
    if let Some(value) = value {
        if value < least || value > greatest {
            return Err(Errno::Inval);
        }
        *variable = T::try_from(value).map_err(|_| Errno::Inval)?;
    }
    Ok(before)
}

fn switch(variable: &mut bool, value: Option<i64>) -> Result<i64, Errno> {
    let mut number = u8::from(*variable);
    let before = exchange(&mut number, value, 0, 1)?;
    *variable = number != 0;
    Ok(before)
}
