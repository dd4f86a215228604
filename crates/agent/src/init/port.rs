//! The agent's port: numbered messages, one per line, from the keeper and back.

use crate::pid1::channel::Channel;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};
use teal_core::{
    agent::{Reply, Request},
    machine::{Begin, Lines, MAX_ORDER, MAX_WORD, Numbered, Order, Word, line},
};

/// The port, and what has come of a line that is not whole yet.
pub(crate) struct Port {
    file: Arc<File>,
    lines: Lines,
}

impl Port {
    /// Nothing has come yet.
    pub(crate) fn new(file: File) -> Self {
        Self { file: Arc::new(file), lines: Lines::new(MAX_ORDER) }
    }

    /// The same port for the supervisor, which alone reads from it from then on.
    pub(crate) fn clone_for_good(&mut self) -> Self {
        let lines = std::mem::replace(&mut self.lines, Lines::new(MAX_ORDER));
        Self { file: Arc::clone(&self.file), lines }
    }

    /// Says something about the message of this number.
    pub(crate) fn say(&self, id: u64, word: &Word) -> io::Result<()> {
        let message = Numbered { id, what: word.clone() };
        // With an end of line before it, it is whole even if whoever wrote last had not come to the end of his.
        let mut text = b"\n".to_vec();
        text.extend(line(&message, MAX_WORD).map_err(io::Error::other)?);
        (&*self.file).write_all(&text)
    }

    /// Waits until it is told what to run.
    pub(crate) fn await_begin(&mut self) -> io::Result<(u64, Box<Begin>)> {
        loop {
            for message in self.read()? {
                if let Order::Begin(begin) = message.what {
                    return Ok((message.id, begin));
                }
            }
        }
    }

    /// What has come. Lines that are no messages are left out: the keeper asks again.
    fn read(&mut self) -> io::Result<Vec<Numbered<Order>>> {
        let mut buffer = [0; 16 * 1024];
        match (&*self.file).read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(self
                .lines
                .take(&buffer[..n])
                .iter()
                .filter_map(|l| serde_json::from_slice(l).ok())
                .collect()),
        }
    }
}

impl Channel for Port {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.file.as_fd()]
    }

    fn requests(&mut self, ready: &[bool]) -> Vec<(u64, Request)> {
        if ready.first() != Some(&true) {
            return Vec::new();
        }
        // Without its keeper the machine has no future; until it ends there is nothing to ask.
        let messages = self.read().unwrap_or_default();
        let asked = |message: Numbered<Order>| match message.what {
            Order::Ask(request) => Some((message.id, request)),
            Order::Begin(_) => None,
        };
        messages.into_iter().filter_map(asked).collect()
    }

    fn answer(&mut self, id: u64, reply: &Reply) {
        let _ = self.say(id, &Word::Reply(reply.clone()));
    }
}
