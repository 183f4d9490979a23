//! What `--so_flags` says: addresses, the link's MTU, and variables by the names that Linux has for them.
//!
//! Whatever is not known, or cannot be honoured, is refused: a script must not believe in a setting that does nothing.

use std::net::Ipv4Addr;

use rumpnet_stack::{Config, EcnMode};

/// How a world begins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The stack's address and its prefix length.
    pub local: (Ipv4Addr, u8),
    /// The router of everything beyond, at the far end of the link.
    pub gateway: Ipv4Addr,
    /// The MTU of the link, in bytes.
    pub mtu: u32,
    /// What the stack's random numbers come from.
    pub seed: u64,
    /// The limits and defaults of the stack.
    pub config: Config,
}

impl Default for Settings {
    /// The addresses that packetdrill gives its tun device.
    fn default() -> Self {
        Self {
            local: (Ipv4Addr::new(192, 168, 0, 1), 16),
            gateway: Ipv4Addr::new(192, 168, 0, 2),
            mtu: 1500,
            seed: 0,
            config: Config::default(),
        }
    }
}

/// Variables of Linux that say how this stack is anyway: name, and the values that are true.
const AS_IT_IS: [(&str, &[i64]); 9] = [
    ("net.ipv4.tcp_dsack", &[1]),
    ("net.ipv4.tcp_fastopen", &[0]),
    ("net.ipv4.tcp_frto", &[1, 2]),
    ("net.ipv4.tcp_recovery", &[1]),
    ("net.ipv4.tcp_sack", &[1]),
    ("net.ipv4.tcp_slow_start_after_idle", &[1]),
    ("net.ipv4.tcp_syncookies", &[1]),
    ("net.ipv4.tcp_timestamps", &[1]),
    ("net.ipv4.tcp_window_scaling", &[1]),
];

impl Settings {
    /// Reads `local=192.168.0.1/16,gateway=192.168.0.2,mtu=1500,seed=7,sysctl:net.ipv4.tcp_ecn=1`; an error says what is wrong.
    pub fn parse(flags: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for item in flags.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) =
                item.split_once('=').ok_or_else(|| format!("`{item}` is not of the form NAME=VALUE"))?;
            settings.set(name.trim(), value.trim())?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("`{value}` is no value of `{name}`");
        match name {
            "local" => self.local = prefix(value).ok_or_else(wrong)?,
            "gateway" => self.gateway = value.parse().map_err(|_| wrong())?,
            "mtu" => self.mtu = in_range(value, 68, 65_521).ok_or_else(wrong)? as u32,
            "seed" => self.seed = value.parse().map_err(|_| wrong())?,
            _ => match name.strip_prefix("sysctl:") {
                Some(variable) => return self.set_variable(variable, value),
                None => return Err(format!("no flag is called `{name}`")),
            },
        }
        Ok(())
    }

    fn set_variable(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("`{name}` cannot be `{value}` here");
        let config = &mut self.config;
        match name {
            // 0, refusing peers who ask, is not to be had; 2 is to ask nobody and refuse nobody.
            "net.ipv4.tcp_ecn" => {
                let modes = [EcnMode::Off, EcnMode::Ask, EcnMode::Agree];
                config.tcp_ecn = modes[in_range(value, 0, 2).ok_or_else(wrong)? as usize];
            }
            "net.ipv4.ip_default_ttl" => config.ttl = in_range(value, 1, 255).ok_or_else(wrong)? as u8,
            "net.core.rmem_default" => {
                config.udp_receive_bytes = in_range(value, 256, 1 << 26).ok_or_else(wrong)? as u32;
            }
            "net.core.wmem_default" => {
                config.udp_send_bytes = in_range(value, 256, 1 << 26).ok_or_else(wrong)? as u32;
            }
            "net.ipv4.icmp_msgs_per_sec" => {
                config.icmp_errors_per_second = in_range(value, 0, 1 << 31).ok_or_else(wrong)? as u32;
            }
            "net.ipv4.icmp_echo_ignore_broadcasts" => {
                config.icmp_broadcast_echo = in_range(value, 0, 1).ok_or_else(wrong)? == 0;
            }
            "net.ipv4.tcp_rmem" => {
                // The ceiling of receive buffers is a constant here.
                let [_, default, _] =
                    spaces(value).filter(|[.., most]| *most == RECEIVE_CEILING).ok_or_else(wrong)?;
                config.tcp_receive_bytes = default;
            }
            "net.ipv4.tcp_wmem" => {
                let [_, default, most] = spaces(value).ok_or_else(wrong)?;
                (config.tcp_send_bytes, config.tcp_send_most_bytes) = (default, most);
            }
            "net.ipv4.conf.all.accept_redirects" => {
                config.accept_redirects = in_range(value, 0, 1).ok_or_else(wrong)? == 1;
            }
            "net.ipv4.tcp_congestion_control" if value == "cubic" => {}
            _ => {
                let known = AS_IT_IS.iter().find(|(known, _)| *known == name);
                let (_, values) = known.ok_or_else(|| format!("no variable `{name}` can be set here"))?;
                value.parse().ok().filter(|value| values.contains(value)).ok_or_else(wrong)?;
            }
        }
        Ok(())
    }
}

fn in_range(value: &str, least: i64, greatest: i64) -> Option<i64> {
    value.parse().ok().filter(|value| (least..=greatest).contains(value))
}

/// The most that a receive buffer grows to.
const RECEIVE_CEILING: u32 = 16 * 1024 * 1024;

/// `4096 131072 16777216`: the least, the first and the most bytes of a buffer, none less than the one before.
fn spaces(value: &str) -> Option<[u32; 3]> {
    let numbers: Option<Vec<u32>> = value
        .split_whitespace()
        .map(|number| in_range(number, 2048, 1 << 26).map(|number| number as u32))
        .collect();
    <[u32; 3]>::try_from(numbers?).ok().filter(|numbers| numbers.is_sorted())
}

fn prefix(value: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, len) = value.split_once('/').unwrap_or((value, "16"));
    Some((address.parse().ok()?, in_range(len, 1, 32)? as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_set_addresses_link_and_variables() {
        let flags = "local=10.1.2.3/8, gateway=10.0.0.1,mtu=9000,seed=7,sysctl:net.ipv4.tcp_ecn=1,sysctl:net.ipv4.tcp_sack=1";
        let settings = Settings::parse(flags).expect("good flags");
        assert_eq!(settings.local, (Ipv4Addr::new(10, 1, 2, 3), 8));
        assert_eq!((settings.gateway, settings.mtu), (Ipv4Addr::new(10, 0, 0, 1), 9000));
        assert!(settings.config.tcp_ecn == EcnMode::Ask && settings.seed == 7);
        let buffers =
            "sysctl:net.ipv4.tcp_rmem=4096 131072 16777216,sysctl:net.ipv4.tcp_wmem=4096 16384 4194304";
        let config = Settings::parse(buffers).expect("good flags").config;
        let sizes = (config.tcp_receive_bytes, config.tcp_send_bytes, config.tcp_send_most_bytes);
        assert_eq!(sizes, (131_072, 16_384, 4_194_304));
        assert_eq!(Settings::parse("").expect("none").local.0, Ipv4Addr::new(192, 168, 0, 1));
    }

    #[test]
    fn what_is_unknown_or_cannot_be_honoured_is_refused_by_name() {
        for (flags, told) in [
            ("speed=9", "no flag is called `speed`"),
            ("local", "`local` is not of the form"),
            ("local=fd3d::1/64", "no value of `local`"),
            ("mtu=67", "no value of `mtu`"),
            ("sysctl:net.ipv4.tcp_sack=0", "`net.ipv4.tcp_sack` cannot be `0` here"),
            ("sysctl:net.ipv4.tcp_ecn=3", "`net.ipv4.tcp_ecn` cannot be `3` here"),
            ("sysctl:net.ipv4.tcp_rmem=4096 131072 6291456", "`net.ipv4.tcp_rmem` cannot be"),
            ("sysctl:net.ipv4.tcp_wmem=4096 2048 8192", "`net.ipv4.tcp_wmem` cannot be"),
            ("sysctl:net.ipv4.tcp_magic=1", "no variable `net.ipv4.tcp_magic`"),
        ] {
            let error = Settings::parse(flags).expect_err(flags);
            assert!(error.contains(told), "{flags}: {error}");
        }
    }
}
