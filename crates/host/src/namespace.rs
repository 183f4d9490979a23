//! A network of our own: a network namespace, and for an ordinary user a user namespace around it.
//!
//! Inside, we may make taps, pairs and addresses without any privilege on the host. Where the host refuses, it
//! says EPERM for half a dozen reasons; here they are told apart, each with the command that lifts it.

use std::fs;

use rustix::{
    io::Errno,
    process::{getegid, geteuid},
    thread::{UnshareFlags, unshare_unsafe},
};

use crate::{HostError, Operation, interface::Control};

/// How we got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// A network namespace, because we are privileged.
    Network,
    /// A user namespace, in which we are root, and its network namespace.
    UserAndNetwork,
}

/// Settings of the host that refuse namespaces to ordinary users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Settings {
    max_user_namespaces: Option<u64>,
    max_network_namespaces: Option<u64>,
    unprivileged_clone: Option<u64>,
    apparmor_restricts: Option<u64>,
    threads: usize,
}

/// Moves this process into a network namespace of its own, with the loopback interface up.
///
/// A process of several threads can do so only if it is privileged, and then moves the calling thread alone.
pub fn enter_own_network() -> Result<Own, HostError> {
    let own = match unshare(UnshareFlags::NEWNET) {
        Ok(()) => Own::Network,
        Err(Errno::PERM) => {
            enter_user()?;
            Own::UserAndNetwork
        }
        Err(errno) => return Err(refused("network", errno)),
    };
    let loopback = Control::open().and_then(|control| control.set_up("lo", true));
    loopback.map_err(|errno| refused("network", errno))?;
    Ok(own)
}

/// Becomes root of a user namespace that holds this user and group alone.
fn enter_user() -> Result<(), HostError> {
    // What we are called outside cannot be asked for inside.
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET).map_err(|errno| refused("user", errno))?;
    let maps = [
        // Without this the kernel lets nobody without privilege map groups: see user_namespaces(7).
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ];
    maps.iter().try_for_each(|(path, text)| {
        fs::write(path, text).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            refused("user", errno)
        })
    })
}

fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: neither memory nor descriptors are taken apart, only what this thread sees of users and networks.
    unsafe { unshare_unsafe(flags) }
}

fn refused(kind: &str, errno: Errno) -> HostError {
    let error = HostError::new(Operation::EnterNamespace, format!("a {kind} namespace"), errno);
    error.with_hint(determine_obstacle(errno, Settings::read()))
}

/// What stands in the way, and what lifts it.
fn determine_obstacle(errno: Errno, settings: Settings) -> &'static str {
    let is_zero = |setting| setting == Some(0);
    match errno {
        Errno::INVAL if settings.threads > 1 => "this process has several threads; ask before they start",
        Errno::INVAL | Errno::NOSYS => "this kernel has no user namespaces (CONFIG_USER_NS, CONFIG_NET_NS)",
        _ if is_zero(settings.unprivileged_clone) => "sysctl -w kernel.unprivileged_userns_clone=1 (as root)",
        _ if is_zero(settings.max_user_namespaces) => "sysctl -w user.max_user_namespaces=15000 (as root)",
        _ if is_zero(settings.max_network_namespaces) => "sysctl -w user.max_net_namespaces=15000 (as root)",
        Errno::NOSPC | Errno::USERS => {
            "too many namespaces: sysctl -w user.max_user_namespaces=N user.max_net_namespaces=N (as root)"
        }
        _ if settings.apparmor_restricts.is_some_and(|value| value != 0) => {
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (as root), or an AppArmor profile with userns"
        }
        Errno::PERM | Errno::ACCESS => {
            "a seccomp filter, a security module or a chroot forbids it (a container: --security-opt seccomp=unconfined)"
        }
        _ => "see user_namespaces(7)",
    }
}

impl Settings {
    fn read() -> Self {
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        Self {
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            max_network_namespaces: number("/proc/sys/user/max_net_namespaces"),
            unprivileged_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            threads: fs::read_dir("/proc/self/task").map_or(1, Iterator::count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_is_told_with_what_lifts_it() {
        let open = Settings {
            max_user_namespaces: Some(100),
            max_network_namespaces: Some(100),
            unprivileged_clone: Some(1),
            apparmor_restricts: Some(0),
            threads: 1,
        };
        let rows = [
            (Errno::INVAL, Settings { threads: 2, ..open }, "threads"),
            (Errno::INVAL, open, "CONFIG_USER_NS"),
            (
                Errno::PERM,
                Settings { unprivileged_clone: Some(0), ..open },
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                Errno::NOSPC,
                Settings { max_user_namespaces: Some(0), ..open },
                "user.max_user_namespaces=15000",
            ),
            (
                Errno::NOSPC,
                Settings { max_network_namespaces: Some(0), ..open },
                "user.max_net_namespaces=15000",
            ),
            (Errno::NOSPC, open, "too many"),
            (Errno::ACCESS, Settings { apparmor_restricts: Some(1), ..open }, "apparmor_restrict"),
            (Errno::PERM, open, "seccomp"),
            (Errno::PERM, Settings::default(), "seccomp"),
        ];
        for (errno, settings, expected) in rows {
            let obstacle = determine_obstacle(errno, settings);
            assert!(obstacle.contains(expected), "{errno:?} {settings:?}: {obstacle}");
        }
    }
}
