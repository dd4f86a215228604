//! The keeper's end of the agent's port: numbered lines out, numbered lines in.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};
use teal_core::machine::{Lines, MAX_ORDER, MAX_WORD, Numbered, Order, Word, line};

/// What may wait for a machine that does not listen, in bytes: a little more than the one long message that it begins with.
const MAX_WAITING: usize = MAX_ORDER + 1024 * 1024;

/// Read per turn.
const CHUNK: usize = 256 * 1024;

/// The port.
pub(crate) struct Post {
    stream: UnixStream,
    lines: Lines,
    waiting: Vec<u8>,
    next: u64,
}

impl Post {
    /// Nothing was said yet. `first` is the first number: a machine that slept may still answer an earlier keeper.
    pub(crate) fn new(stream: UnixStream, first: u64) -> Self {
        // Whatever an earlier keeper had begun to say ends here.
        Self { stream, lines: Lines::new(MAX_WORD), waiting: b"\n".to_vec(), next: first }
    }

    /// What to poll.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Is there something that the machine has not taken yet?
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Says something and answers its number.
    pub(crate) fn say(&mut self, order: Order) -> io::Result<u64> {
        let id = self.next;
        let text = line(&Numbered { id, what: order }, MAX_ORDER).map_err(io::Error::other)?;
        if self.waiting.len() + text.len() > MAX_WAITING {
            return Err(io::Error::other("the machine does not listen"));
        }
        self.next += 1;
        self.waiting.extend_from_slice(&text);
        self.send();
        Ok(id)
    }

    /// Passes on what waits, as far as the machine takes it.
    pub(crate) fn send(&mut self) {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(n) => drop(self.waiting.drain(..n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // It is full; or the machine has gone, which its end tells.
                Err(_) => return,
            }
        }
        self.waiting = Vec::new();
    }

    /// What has come.
    pub(crate) fn read(&mut self) -> Vec<Numbered<Word>> {
        let mut buffer = [0; 16 * 1024];
        let (mut read, mut words) = (0, Vec::new());
        while read < CHUNK {
            match self.stream.read(&mut buffer) {
                Ok(n) if n > 0 => {
                    read += n;
                    let lines = self.lines.take(&buffer[..n]);
                    words.extend(lines.iter().filter_map(|line| serde_json::from_slice(line).ok()));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        words
    }
}
