//! The terminal as a program sees it that draws on the whole of it: its size, and keys as they are pressed.

use std::{
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Keys without their echo and without the end of a line that they otherwise wait for; signals are made by keys as before. The terminal is again as it
/// was when this is dropped.
#[derive(Debug)]
pub struct Keys {
    before: Termios,
}

impl Keys {
    /// Takes the keys of standard input; none if it or standard output is no terminal.
    pub fn take() -> Option<Self> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok()?;
        let mut wanted = before.clone();
        wanted.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &wanted).ok()?;
        Some(Self { before })
    }

    /// The next key of those that were pressed, of which there must be one; none once the terminal is gone.
    pub fn next(&self) -> Option<u8> {
        let mut key = [0];
        match rustix::io::read(io::stdin(), &mut key) {
            Ok(1) => Some(key[0]),
            _ => None,
        }
    }

    /// Columns and rows of the terminal that standard output is.
    pub fn screen(&self) -> Option<(u16, u16)> {
        let size = tcgetwinsize(io::stdout()).ok()?;
        // One that has never been told its size is taken for the usual one.
        Some(if size.ws_col == 0 || size.ws_row == 0 { (80, 24) } else { (size.ws_col, size.ws_row) })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // A terminal that is gone needs it not.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

impl AsFd for Keys {
    /// Readable when a key was pressed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        rustix::stdio::stdin()
    }
}
