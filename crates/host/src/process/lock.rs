//! A file that one process holds, with its number inside, and that goes when it does.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::{HostError, Operation};

/// A lock, and the file that shows it.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    /// Open as long as the lock holds; the kernel lets go of it even after kill -9.
    file: File,
}

impl LockFile {
    /// Takes the lock at `path`; `EAGAIN`, naming the holder, if another process has it.
    pub fn acquire(path: impl AsRef<Path>) -> Result<Self, HostError> {
        let path = path.as_ref();
        loop {
            let file = open(path).map_err(|error| refused(path, &error))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // The one before us may have removed the file between the two calls: then ours is nobody's.
                Ok(()) if !is_at(&file, path) => {}
                Ok(()) => return Self::of(path, file).map_err(|error| refused(path, &error)),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let error = HostError::new(Operation::Lock, path.display().to_string(), errno);
                    return Err(error.with_hint(format!("held by pid {}", holder(&file))));
                }
            }
        }
    }

    fn of(path: &Path, mut file: File) -> io::Result<Self> {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes the number of this process anew, after it went to the background.
    pub fn renew(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        io::Seek::rewind(&mut self.file)?;
        writeln!(self.file, "{}", std::process::id())
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Removed while still locked, so that nobody else's is removed. A fork's parent leaves it to the child.
        if holder(&self.file) == std::process::id().to_string() && is_at(&self.file, &self.path) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// The file, made for this user alone whatever the umask, and not by way of somebody's link.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(held), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (held.dev(), held.ino()) == (there.dev(), there.ino())
}

/// The number in the file, as text.
fn holder(mut file: &File) -> String {
    let mut text = String::new();
    let _unknown = io::Seek::rewind(&mut file).and_then(|()| file.take(32).read_to_string(&mut text));
    text.trim().to_owned()
}

fn refused(path: &Path, error: &io::Error) -> HostError {
    let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    HostError::new(Operation::Lock, path.display().to_string(), errno)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn path(test: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("rumpnet-lock-{}-{test}", std::process::id()));
        let _old = fs::remove_file(&path);
        path
    }

    #[test]
    fn one_holds_it_the_other_learns_who_and_it_goes_with_its_holder() {
        let path = path("held");
        let mut lock = LockFile::acquire(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        lock.renew().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let error = LockFile::acquire(&path).unwrap_err();
        assert_eq!(error.errno, libc::EAGAIN);
        assert!(error.hint.unwrap().contains(&std::process::id().to_string()));
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over_and_a_link_is_not_followed() {
        let path = path("dead");
        fs::write(&path, "999999999\n").unwrap();
        drop(LockFile::acquire(&path).unwrap());
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(LockFile::acquire(&path).unwrap_err().errno, libc::ELOOP);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn of_many_that_come_and_go_one_holds_it_at_a_time() {
        let path = path("many");
        let holders = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let Ok(lock) = LockFile::acquire(&path) else { continue };
                        assert_eq!(holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}
