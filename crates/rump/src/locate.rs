//! Finds the server: the option `--server`, the variable `RUMP_SERVER`, or the default place. And this program itself.

use std::path::PathBuf;

use rumpnet::client::Address;
use rumpnet_host::machine;

/// The variable that names the server.
const VARIABLE: &str = "RUMP_SERVER";

/// The server's socket in the runtime directory, unless it is named.
const DEFAULT: &str = "default";

/// The server that is meant; if there is none, why.
pub(crate) fn address(option: Option<&str>) -> Result<Address, String> {
    if let Some(url) = option {
        return url.parse().map_err(|error| format!("--server {url}: {error}"));
    }
    match std::env::var(VARIABLE) {
        Ok(url) => url.parse().map_err(|error| format!("{VARIABLE}={url}: {error}")),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{VARIABLE}: not text")),
        Err(std::env::VarError::NotPresent) => default_address(),
    }
}

/// The default place of the user.
pub(crate) fn default_address() -> Result<Address, String> {
    let directory = runtime_directory().ok_or_else(|| {
        format!("no server is named: set {VARIABLE} or XDG_RUNTIME_DIR, or use --server unix://PATH")
    })?;
    Address::at(directory.join(DEFAULT)).map_err(|error| format!("{}: {error}", directory.display()))
}

/// This program by its path, for commands that somebody else shall run: his PATH may lead to another, or to none.
pub(crate) fn program() -> String {
    std::env::current_exe().map_or_else(|_| "rump".to_owned(), |path| path.display().to_string())
}

/// Where the user's servers are by default.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    Address::runtime_directory(machine::user(), runtime.as_deref())
}
