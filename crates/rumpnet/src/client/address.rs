//! Where a server is reached: the URL `unix://PATH`, or `unix://PATH#HOST` for a host of a lab, and the place where one is looked for by default.
//!
//! Pure: who reads the environment is the caller's affair.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The longest path of a UNIX socket in bytes: `sun_path` less its terminator (unix(7)).
const PATH_LIMIT: usize = 107;

/// Where servers of root are.
const RUNTIME_OF_ROOT: &str = "/run/rump";

/// The socket at which a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    path: PathBuf,
    /// The host of a lab that is meant, if the server is one.
    host: Option<String>,
}

/// Why a URL does not name a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is not `scheme://…`.
    NoScheme,
    /// Its scheme is not `unix`.
    Scheme(String),
    /// Nothing stands after `unix://`.
    NoPath,
    /// Nothing stands after the `#` behind which the host of a lab is named.
    NoHost,
    /// The path has a zero byte.
    ZeroByte,
    /// The path has so many bytes, more than a socket's path may have.
    TooLong(usize),
}

impl Address {
    /// The socket at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, AddressError> {
        let path = path.into();
        let bytes = path.as_os_str().as_encoded_bytes();
        match bytes.len() {
            0 => Err(AddressError::NoPath),
            _ if bytes.contains(&0) => Err(AddressError::ZeroByte),
            length if length > PATH_LIMIT => Err(AddressError::TooLong(length)),
            _ => Ok(Self { path, host: None }),
        }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The host of the lab at this address: `unix://PATH#HOST`.
    #[must_use]
    pub fn of_host(self, host: impl Into<String>) -> Self {
        Self { host: Some(host.into()), ..self }
    }

    /// The host of the lab that is meant, if one is.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The same with an absolute path, for who is about to change the working directory.
    pub fn absolute(&self) -> std::io::Result<Self> {
        std::path::absolute(&self.path).map(|path| Self { path, host: self.host.clone() })
    }

    /// The directory in which a user's servers are: `/run/rump` for root, else `rump` in `runtime`, his XDG_RUNTIME_DIR.
    pub fn runtime_directory(user: u32, runtime: Option<&Path>) -> Option<PathBuf> {
        let given = || runtime.filter(|path| path.is_absolute()).map(|path| path.join("rump"));
        if user == 0 { Some(PathBuf::from(RUNTIME_OF_ROOT)) } else { given() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        let (scheme, path) = url.split_once("://").ok_or(AddressError::NoScheme)?;
        if scheme != "unix" {
            return Err(AddressError::Scheme(scheme.to_owned()));
        }
        match path.rsplit_once('#') {
            Some((_, "")) => Err(AddressError::NoHost),
            Some((path, host)) => Self::at(path).map(|address| address.of_host(host)),
            None => Self::at(path),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.path.display())?;
        self.host.iter().try_for_each(|host| write!(f, "#{host}"))
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str("malformed URL, it must be unix://PATH"),
            Self::Scheme(scheme) if matches!(scheme.as_str(), "tcp" | "tcp6") => {
                write!(f, "{scheme}:// is not supported, nothing listens on the network; use unix://PATH")
            }
            Self::Scheme(scheme) => write!(f, "unknown scheme `{scheme}`, the URL must be unix://PATH"),
            Self::NoPath => f.write_str("no path in the URL, it must be unix://PATH"),
            Self::NoHost => f.write_str("no host after the #, a host of a lab is unix://PATH#HOST"),
            Self::ZeroByte => f.write_str("zero byte in the path"),
            Self::TooLong(length) => {
                write!(f, "path of {length} bytes, a socket's path may have {PATH_LIMIT}")
            }
        }
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_unix_and_a_path_relative_or_absolute() {
        let path = |url: &str| url.parse::<Address>().map(|address| address.path);
        assert_eq!(path("unix:///run/k"), Ok("/run/k".into()));
        assert_eq!(path("unix://k"), Ok("k".into()));
        assert_eq!(
            "unix:///run/k".parse::<Address>().map(|address| address.to_string()),
            Ok("unix:///run/k".into())
        );
    }

    #[test]
    fn a_host_of_a_lab_stands_behind_the_path() {
        let address: Address = "unix:///run/lab#pc1".parse().expect("an address");
        assert_eq!((address.path(), address.host()), (Path::new("/run/lab"), Some("pc1")));
        assert_eq!(address.to_string(), "unix:///run/lab#pc1");
        assert_eq!(address.absolute().expect("a directory").host(), Some("pc1"));
        assert_eq!("unix:///run/lab#".parse::<Address>(), Err(AddressError::NoHost));
    }

    #[test]
    fn malformed_urls_say_what_is_wrong() {
        let wrong = |url: &str| url.parse::<Address>().map_err(|error| error.to_string());
        for (url, reason) in [
            ("", "malformed URL"),
            ("/run/k", "malformed URL"),
            ("unix:/run/k", "malformed URL"),
            ("unix://", "no path"),
            ("tcp://127.0.0.1:4711", "not supported"),
            ("tcp6://[::1]:4711", "not supported"),
            ("http://k", "unknown scheme `http`"),
            ("unix://a\0b", "zero byte"),
        ] {
            let said = wrong(url);
            assert!(said.as_ref().is_err_and(|text| text.contains(reason)), "{url:?}: {said:?}");
        }
    }

    #[test]
    fn a_path_fills_a_socket_address_and_no_more() {
        assert!(Address::at("x".repeat(PATH_LIMIT)).is_ok());
        assert_eq!(Address::at("x".repeat(108)), Err(AddressError::TooLong(108)));
    }

    #[test]
    fn root_has_a_directory_of_his_own_and_others_must_have_one() {
        let directory =
            |user, runtime: Option<&str>| Address::runtime_directory(user, runtime.map(Path::new));
        assert_eq!(directory(0, Some("/run/user/0")), Some("/run/rump".into()));
        assert_eq!(directory(1000, Some("/run/user/1000")), Some("/run/user/1000/rump".into()));
        assert_eq!(directory(1000, None), None);
        assert_eq!(directory(1000, Some("relative")), None);
    }
}
