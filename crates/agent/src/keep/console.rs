//! The machine's console: its last words are kept in memory for whoever asks why it did not start.

use std::{
    collections::VecDeque,
    io::Read,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

/// What is kept, in bytes.
const KEPT: usize = 4096;

/// Read per turn.
const CHUNK: usize = 64 * 1024;

/// The console's end.
pub(crate) struct Console {
    stream: UnixStream,
    last: VecDeque<u8>,
}

impl Console {
    /// Nothing was said yet.
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, last: VecDeque::new() }
    }

    /// What to poll.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Takes note of what it says.
    pub(crate) fn read(&mut self) {
        let (mut buffer, mut read) = ([0; 4096], 0);
        while let Ok(n) = self.stream.read(&mut buffer) {
            read += n;
            self.last.extend(&buffer[..n]);
            let surplus = self.last.len().saturating_sub(KEPT);
            self.last.drain(..surplus);
            if n == 0 || read >= CHUNK {
                return;
            }
        }
    }

    /// Its last words, without what a terminal would obey.
    pub(crate) fn last_words(&self) -> String {
        let bytes: Vec<u8> = self.last.iter().copied().collect();
        let plain = |c: char| if c == '\n' || !c.is_control() { c } else { ' ' };
        String::from_utf8_lossy(&bytes).chars().map(plain).collect::<String>().trim().to_owned()
    }
}
