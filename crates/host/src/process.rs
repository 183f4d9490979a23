//! What a server asks of the host as a process: going to the background, signals as a descriptor, telling the service
//! manager, and a file that only one of us holds.

mod background;
mod lock;
mod signals;

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

pub use background::{Background, Child, Parent, fork_to_background};
pub use lock::LockFile;
pub use signals::{Signal, Signals, ignore_broken_pipe};

/// Tells the service manager a state, such as `READY=1` or `STOPPING=1` (sd_notify(3)). False: nobody listens.
pub fn notify(state: &str) -> io::Result<bool> {
    match env::var("NOTIFY_SOCKET") {
        Ok(path) => notify_at(&path, state).map(|()| true),
        Err(_) => Ok(false),
    }
}

/// A path, or after an `@` a name in the abstract namespace.
fn notify_at(path: &str, state: &str) -> io::Result<()> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_by_path_and_by_abstract_name() {
        let path = env::temp_dir().join(format!("rumpnet-notify-{}", std::process::id()));
        let listener = UnixDatagram::bind(&path).unwrap();
        notify_at(path.to_str().unwrap(), "READY=1").unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut buffer = [0; 32];
        let len = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"READY=1");
        let name = format!("rumpnet-notify-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify_at(&format!("@{name}"), "STOPPING=1").unwrap();
        let len = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"STOPPING=1");
        assert!(notify_at("/nowhere/at/all", "READY=1").is_err());
    }
}
