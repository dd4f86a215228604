//! The machine's log, as it comes out of the machine: lines that may be anything.

use std::{
    io::{ErrorKind, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};
use teal_core::{
    agent::{LogLine, MAX_LINE},
    machine::Lines,
};

/// The longest line as JSON: every byte of a text may be escaped in six, and there is a little around it.
const MAX_JSON: usize = 6 * MAX_LINE + 4096;

/// The longest name of a stage.
const MAX_STAGE: usize = 64;

/// Read per turn, so that a flood starves nobody.
const CHUNK: usize = 256 * 1024;

/// The port's end, and what has come of a line that is not whole.
pub(crate) struct Logs {
    stream: UnixStream,
    lines: Lines,
}

impl Logs {
    /// Nothing has come yet.
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, lines: Lines::new(MAX_JSON) }
    }

    /// What to poll.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The lines that have come, with the host's time: the machine's clock is the machine's affair.
    pub(crate) fn read(&mut self, now_ms: u64) -> Vec<LogLine> {
        let mut buffer = [0; 16 * 1024];
        let (mut read, mut whole) = (0, Vec::new());
        while read < CHUNK {
            match self.stream.read(&mut buffer) {
                Ok(n) if n > 0 => {
                    read += n;
                    whole.extend(self.lines.take(&buffer[..n]));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        whole.iter().filter_map(|line| parse(line, now_ms)).collect()
    }
}

fn parse(line: &[u8], now_ms: u64) -> Option<LogLine> {
    let mut line: LogLine = serde_json::from_slice(line).ok()?;
    line.at = now_ms;
    cut(&mut line.stage, MAX_STAGE);
    cut(&mut line.text, MAX_LINE);
    Some(line)
}

/// Shortens a text between two characters.
fn cut(text: &mut String, limit: usize) {
    let end = (0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_a_machine_writes_is_bounded_and_gets_the_hosts_time() {
        let (mut machine, host) = UnixStream::pair().expect("a pair");
        host.set_nonblocking(true).expect("set");
        let mut logs = Logs::new(host);
        let long =
            format!("{{\"at\":9,\"stage\":\"{}\",\"text\":\"{}\"}}\n", "s".repeat(99), "é".repeat(12_000));
        machine.write_all(b"no JSON\n{\"at\":1,\"stage\":\"start\",\"text\":\"hello\"}\n").expect("written");
        machine.write_all(long.as_bytes()).expect("written");
        let lines = logs.read(42);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((lines[0].at, lines[0].text.as_str()), (42, "hello"));
        assert_eq!((lines[1].stage.len(), lines[1].text.len()), (MAX_STAGE, MAX_LINE));
    }
}
