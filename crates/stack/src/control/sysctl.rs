//! Variables by their sysctl(7) names.

use rumpnet_proto::{
    ControlError, Errno, Operation, Reply,
    sysctl::{VARIABLES, variable},
};

use crate::{
    Stack,
    config::{EcnMode, ReversePath},
    time::Duration,
};

pub(super) fn names() -> Reply {
    Reply::Names(VARIABLES.iter().map(|variable| variable.name.into()).collect())
}

impl Stack {
    /// The value before the call; ENOENT for an unknown name, EINVAL for a value out of range, EPERM for what is only measured.
    pub(super) fn sysctl(&mut self, name: &str, value: Option<i64>) -> Result<i64, ControlError> {
        let refuse = |errno| ControlError::new(Operation::Sysctl, name, errno);
        let variable = variable(name).ok_or_else(|| refuse(Errno::NoEnt))?;
        let fits = match (value, variable.range) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Errno::Perm),
            (Some(value), Some((least, greatest))) if value < least || value > greatest => Err(Errno::Inval),
            (Some(_), Some(_)) => Ok(()),
        };
        fits.and_then(|()| self.exchange_variable(name, value)).map_err(|errno| match variable.takes() {
            Some(takes) if errno == Errno::Inval => refuse(errno).with_hint(takes),
            None if errno == Errno::Perm => refuse(errno).with_hint("it is only measured"),
            _ => refuse(errno),
        })
    }

    /// Reads a variable that there is, and sets it to a value in its range.
    // long: an arm for each variable.
    fn exchange_variable(&mut self, name: &str, value: Option<i64>) -> Result<i64, Errno> {
        let config = &mut self.cx.config;
        match name {
            "net.inet.ip.ttl" => exchange(&mut config.ttl, value),
            "net.inet.ip.dad_count" => exchange(&mut config.dad_count, value),
            "net.inet.ip.dad_optimistic" => switch(&mut config.dad_optimistic, value),
            "net.inet.icmp.bmcastecho" => switch(&mut config.icmp_broadcast_echo, value),
            "net.inet.icmp.errppslimit" => exchange(&mut config.icmp_errors_per_second, value),
            "net.inet.tcp.ecn.enable" => {
                let mut number = config.tcp_ecn as u8;
                let before = exchange(&mut number, value)?;
                config.tcp_ecn = [EcnMode::Off, EcnMode::Ask, EcnMode::Agree][usize::from(number)];
                Ok(before)
            }
            "net.inet.tcp.pacing" => switch(&mut config.tcp_pacing, value),
            "net.inet.tcp.recvspace" => exchange(&mut config.tcp_receive_bytes, value),
            "net.inet.tcp.sendspace" => exchange(&mut config.tcp_send_bytes, value),
            "net.inet.tcp.sendbuf_max" => exchange(&mut config.tcp_send_most_bytes, value),
            memory if memory.starts_with("net.inet.tcp.mem_") => self.memory_variable(memory, value),
            "net.inet.icmp.errpplimit" => exchange(&mut config.icmp_errors_per_peer, value),
            "net.inet.icmp.maskrepl" => switch(&mut config.icmp_mask_reply, value),
            "net.inet.icmp.tstamprepl" => switch(&mut config.icmp_timestamp_reply, value),
            "net.inet.icmp.returndatabytes" => exchange(&mut config.icmp_return_bytes, value),
            "net.inet.icmp.rediraccept" => switch(&mut config.accept_redirects, value),
            "net.inet.icmp.redirtimeout" => exchange(&mut config.redirect_lifetime, value),
            "net.inet.udp.recvspace" => exchange(&mut config.udp_receive_bytes, value),
            "net.inet.udp.sendspace" => exchange(&mut config.udp_send_bytes, value),
            "net.inet.arp.keep" => {
                let mut seconds = config.neighbor_lifetime.as_secs();
                let before = exchange(&mut seconds, value)?;
                config.neighbor_lifetime = Duration::from_secs(seconds);
                self.inet.neighbors.set_lifetime(config.neighbor_lifetime);
                Ok(before)
            }
            "net.inet.ip.maxfragpackets" => {
                let before = exchange(&mut config.fragment_datagrams, value)?;
                self.inet.reassembly.limit_datagrams(config.fragment_datagrams);
                Ok(before)
            }
            "net.inet.igmp.max_memberships" => exchange(&mut config.memberships, value),
            "net.inet.igmp.max_msf" => exchange(&mut config.group_sources, value),
            "net.inet.ip.mtudisc" => switch(&mut config.mtu_discovery, value),
            "net.inet.ip.mtudisctimeout" => exchange(&mut config.mtu_discovery_lifetime, value),
            "net.inet.ip.forwarding" => switch(&mut config.forwarding, value),
            "net.inet.ip.redirect" => switch(&mut config.redirects, value),
            "net.inet.ip.directed-broadcast" => switch(&mut config.directed_broadcast, value),
            "net.inet.ip.rpfilter" => {
                let mut number = config.reverse_path as u8;
                let before = exchange(&mut number, value)?;
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
                return Ok(bytes as i64);
            }
        };
        let before = exchange(variable, value)?;
        if limits.low > limits.pressure || limits.pressure > limits.max {
            return Err(Errno::Inval);
        }
        self.cx.limit_memory(limits);
        Ok(before)
    }
}

fn exchange<T>(variable: &mut T, value: Option<i64>) -> Result<i64, Errno>
where
    T: Copy + TryFrom<i64> + TryInto<i64>,
{
    let before = (*variable).try_into().map_err(|_| Errno::Range)?;
    if let Some(value) = value {
        *variable = T::try_from(value).map_err(|_| Errno::Inval)?;
    }
    Ok(before)
}

fn switch(variable: &mut bool, value: Option<i64>) -> Result<i64, Errno> {
    let mut number = u8::from(*variable);
    let before = exchange(&mut number, value)?;
    *variable = number != 0;
    Ok(before)
}
