//! What tells this machine and this network namespace from others.

use std::{fs, os::unix::fs::MetadataExt as _};

/// The host's name, or `localhost` if it has none that is text.
pub fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().ok().filter(|name| !name.is_empty()).unwrap_or("localhost").to_owned()
}

/// The machine's id (machine-id(5)); empty on a machine without one.
pub fn machine_id() -> Vec<u8> {
    let id = fs::read("/etc/machine-id").or_else(|_| fs::read("/var/lib/dbus/machine-id"));
    id.unwrap_or_default().trim_ascii().to_vec()
}

/// The number of the calling thread's network namespace; 0 where it cannot be told.
pub fn network_namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino())
}

/// The user whose rights this process has (the effective one).
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_one_namespace_say_the_same() {
        let other = std::thread::spawn(network_namespace).join().expect("no panic");
        assert_eq!(network_namespace(), other);
        assert_ne!(other, 0);
        assert!(!host_name().is_empty());
    }
}
