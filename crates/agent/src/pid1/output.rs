//! What the app writes: pipes are read without waiting, cut into lines, and written to the log within a budget.
//!
//! Nothing here can make the app wait for long, and nothing that it writes can make the agent grow: one unfinished line per pipe is kept.

use crate::pid1::{budget::Budget, channel::Sink};
use nix::{errno::Errno, fcntl::OFlag, unistd};
use std::{
    borrow::Cow,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use teal_core::agent::{LogLine, MAX_LINE};

/// Read from one pipe per turn of the loop, so that a flood on one does not starve the others.
const CHUNK: usize = 64 * 1024;

/// Read from one pipe when its command has ended, at most: what a pipe can hold on any host.
const REST: usize = 1024 * 1024;

/// More pipes than this only exist when orphans keep old ones open; the oldest is given up then.
const MAX_PIPES: usize = 256;

#[derive(Debug)]
struct Pipe {
    from: OwnedFd,
    stage: String,
    error: bool,
    partial: Vec<u8>,
}

/// All pipes, and the log that they end in.
pub(crate) struct Outputs {
    pipes: Vec<Pipe>,
    log: Box<dyn Sink>,
    budget: Budget,
    dropped: u64,
}

impl Outputs {
    /// Without pipes yet.
    pub(crate) fn new(log: Box<dyn Sink>, now: Instant) -> Self {
        Self { pipes: Vec::new(), log, budget: Budget::new(now), dropped: 0 }
    }

    /// The writing ends of two new pipes, for standard output and standard error of a command.
    pub(crate) fn pair(&mut self, stage: &str) -> io::Result<(OwnedFd, OwnedFd)> {
        Ok((self.pipe(stage, false)?, self.pipe(stage, true)?))
    }

    /// The descriptors to poll, in the order that [`Outputs::read`] counts them.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().map(|pipe| pipe.from.as_fd())
    }

    /// Reads from the pipes whose place in [`Outputs::descriptors`] is `true` in `ready`.
    pub(crate) fn read(&mut self, ready: &[bool]) {
        let mut lines = Vec::new();
        for (pipe, _) in self.pipes.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            pipe.fill(CHUNK, &mut lines);
        }
        self.store(lines);
        self.pipes.retain(|pipe| !pipe.stage.is_empty());
    }

    /// Reads what is there already: before a command's end is told, its last words are in the log.
    pub(crate) fn drain(&mut self) {
        let mut lines = Vec::new();
        for pipe in &mut self.pipes {
            pipe.fill(REST, &mut lines);
        }
        self.store(lines);
        self.pipes.retain(|pipe| !pipe.stage.is_empty());
    }

    /// The agent's own words about a command.
    pub(crate) fn say(&mut self, stage: &str, text: &str) {
        self.store(vec![line(stage, true, text.as_bytes())]);
    }

    fn pipe(&mut self, stage: &str, error: bool) -> io::Result<OwnedFd> {
        let (from, to) = unistd::pipe2(OFlag::O_CLOEXEC)?;
        // Only the agent's end: programs do not expect to be told to try again by their own standard output.
        nix::fcntl::fcntl(&from, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        if self.pipes.len() >= MAX_PIPES {
            self.pipes.remove(0);
        }
        self.pipes.push(Pipe { from, stage: stage.to_owned(), error, partial: Vec::new() });
        Ok(to)
    }

    /// Writes what fits the budget.
    pub(crate) fn store(&mut self, lines: Vec<LogLine>) {
        let now = Instant::now();
        let mut batch = Vec::new();
        for line in lines {
            self.budgeted(&line, now, &mut batch);
        }
        if !batch.is_empty() {
            self.log.append(&batch);
        }
    }

    fn budgeted(&mut self, line: &LogLine, now: Instant, batch: &mut Vec<u8>) {
        // What surrounds a text in the file counts too: a flood of empty lines is a flood.
        if !self.budget.take(line.text.len() as u64 + 64, now) {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            let text = format!(
                "{} lines were dropped here: the instance wrote more than its log takes",
                self.dropped
            );
            let note = LogLine { at: line.at, stage: line.stage.clone(), error: true, text };
            self.dropped = 0;
            write(&note, batch);
        }
        write(line, batch);
    }
}

fn write(line: &LogLine, batch: &mut Vec<u8>) {
    // Strings and numbers always serialise, and memory takes them.
    if serde_json::to_writer(&mut *batch, line).is_ok() {
        batch.push(b'\n');
    }
}

impl Pipe {
    /// Reads at most `limit` bytes. At the end of the pipe its stage becomes empty, by which it is removed.
    fn fill(&mut self, limit: usize, lines: &mut Vec<LogLine>) {
        let mut buffer = [0; 16 * 1024];
        let mut read = 0;
        while read < limit {
            match unistd::read(&self.from, &mut buffer) {
                Ok(0) => return self.end(lines),
                Ok(n) => {
                    read += n;
                    self.cut(&buffer[..n], lines);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => return self.end(lines),
            }
        }
    }

    fn cut(&mut self, bytes: &[u8], lines: &mut Vec<LogLine>) {
        self.partial.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            let rest = &self.partial[start..];
            let newline = rest.iter().take(MAX_LINE + 1).position(|b| *b == b'\n');
            let (length, skip) = match newline {
                Some(at) => (at, 1),
                None if rest.len() >= MAX_LINE => (whole_characters(&rest[..MAX_LINE]), 0),
                None => break,
            };
            let text = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
            lines.push(line(&self.stage, self.error, text));
            start += length + skip;
        }
        self.partial.drain(..start);
    }

    fn end(&mut self, lines: &mut Vec<LogLine>) {
        if !self.partial.is_empty() {
            lines.push(line(&self.stage, self.error, &self.partial));
        }
        self.partial = Vec::new();
        self.stage = String::new();
    }
}

/// How much of `bytes` to take so that no character is cut in two.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(e) if e.error_len().is_none() && e.valid_up_to() > 0 => e.valid_up_to(),
        _ => bytes.len(),
    }
}

fn line(stage: &str, error: bool, text: &[u8]) -> LogLine {
    let mut text = String::from_utf8_lossy(text);
    if text.len() > MAX_LINE {
        // Each byte that was no UTF-8 became three.
        text = Cow::Owned(text.replace(char::REPLACEMENT_CHARACTER, "?"));
    }
    LogLine { at: now_ms(), stage: stage.to_owned(), error, text: text.into_owned() }
}

/// The time, as logs have it.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let (from, _to) = unistd::pipe().expect("pipe");
        let mut pipe = Pipe { from, stage: "start".to_owned(), error: false, partial: Vec::new() };
        let mut lines = Vec::new();
        for chunk in chunks {
            pipe.cut(chunk, &mut lines);
        }
        pipe.end(&mut lines);
        lines.into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        assert_eq!(cut(&[b"a", b"b\nc\r\n\nd"]), ["ab", "c", "", "d"]);
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let long = "é".repeat(MAX_LINE);
        let lines = cut(&[b"x", long.as_bytes()]);
        assert!(lines.iter().all(|l| l.len() <= MAX_LINE));
        assert_eq!(lines.concat(), format!("x{long}"));
    }

    #[test]
    fn bytes_that_are_no_text_stay_bounded() {
        let lines = cut(&[&vec![0xff; 3 * MAX_LINE]]);
        assert!(
            lines.iter().all(|l| l.len() <= MAX_LINE),
            "{:?}",
            lines.iter().map(String::len).collect::<Vec<_>>()
        );
        assert_eq!(lines.len(), 3);
    }
}
