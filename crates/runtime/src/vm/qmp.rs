//! The emulator's control protocol, as far as it is needed: stop, go on, save, restore.
//!
//! A client of our own: ten commands, and descriptors that have to be passed along, are less than a library. It blocks, with a deadline for
//! each answer. The emulator has seen the machine's data, so it is not trusted either: lines are bounded.

use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, IoSlice, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::{Duration, Instant},
};
use teal_core::machine::{CONTROL_NAME, Lines};

/// How long a command may take that does next to nothing. The emulator serves one client at a time: another's may have to end first.
const ANSWER: Duration = Duration::from_secs(20);

/// The longest line of an emulator, in bytes.
const MAX_LINE: usize = 1024 * 1024;

/// Lines that were read and not looked at yet, at most; all that follow are lost.
const MAX_HELD: usize = 1024;

/// A connection to an emulator.
#[derive(Debug)]
pub(super) struct Qmp {
    stream: UnixStream,
    lines: Lines,
    held: Vec<Value>,
}

impl Qmp {
    /// Connects to the emulator whose run directory this is.
    pub(super) fn connect(run: &Path) -> io::Result<Self> {
        // Through a descriptor of the directory: the path may be longer than a socket address.
        let directory = File::open(run)?;
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/{CONTROL_NAME}", directory.as_raw_fd()))?;
        let mut qmp = Self { stream, lines: Lines::new(MAX_LINE), held: Vec::new() };
        qmp.await_line(ANSWER, |line| line.get("QMP").is_some())?;
        qmp.ask("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Is the machine being executed?
    pub(super) fn runs(&mut self) -> io::Result<bool> {
        Ok(self.ask("query-status", json!({}))?["running"] == json!(true))
    }

    /// Has its memory been copied out since it was last executed?
    pub(super) fn is_copied(&mut self) -> io::Result<bool> {
        Ok(self.ask("query-status", json!({}))?["status"] == json!("postmigrate"))
    }

    /// Executes it no longer. Idempotent.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        self.ask("stop", json!({})).map(drop)
    }

    /// Executes it again. Idempotent.
    pub(super) fn go_on(&mut self) -> io::Result<()> {
        self.ask("cont", json!({})).map(drop)
    }

    /// Copies the machine's memory and devices into `to`, within `limit`.
    pub(super) fn copy_out(&mut self, to: &impl AsFd, limit: Duration) -> io::Result<()> {
        // The default would take minutes so as not to disturb a network.
        self.ask("migrate-set-parameters", json!({ "max-bandwidth": 10_u64 << 30 }))?;
        self.pass("memory", to)?;
        self.transfer("migrate", "fd:memory", limit)
    }

    /// Fills a machine that waits for it from `from`, within `limit`.
    pub(super) fn copy_in(&mut self, from: &impl AsFd, limit: Duration) -> io::Result<()> {
        self.pass("memory", from)?;
        self.transfer("migrate-incoming", "fd:memory", limit)
    }

    fn transfer(&mut self, command: &str, uri: &str, limit: Duration) -> io::Result<()> {
        let events = json!({ "capabilities": [{ "capability": "events", "state": true }] });
        self.ask("migrate-set-capabilities", events)?;
        // The state of an earlier one is no answer: only what is told from here on counts.
        self.held.clear();
        self.ask(command, json!({ "uri": uri }))?;
        let over = |line: &Value| {
            line["event"] == "MIGRATION"
                && matches!(line["data"]["status"].as_str(), Some("completed" | "failed"))
        };
        let end = self.await_line(limit, over)?;
        if end["data"]["status"] == "completed" {
            Ok(())
        } else {
            Err(io::Error::other("the emulator gave up"))
        }
    }

    /// Gives the emulator a descriptor under a name.
    fn pass(&mut self, name: &str, fd: &impl AsFd) -> io::Result<()> {
        use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
        let text = serde_json::to_vec(&json!({ "execute": "getfd", "arguments": { "fdname": name } }))?;
        let fds = [fd.as_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let sent =
            sendmsg::<()>(self.stream.as_raw_fd(), &[IoSlice::new(&text)], &rights, MsgFlags::empty(), None)?;
        self.stream.write_all(&text[sent..])?;
        self.answer("getfd").map(drop)
    }

    fn ask(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        let text = json!({ "execute": command, "arguments": arguments }).to_string();
        self.stream.write_all(text.as_bytes())?;
        self.answer(command)
    }

    fn answer(&mut self, command: &str) -> io::Result<Value> {
        let mut line =
            self.await_line(ANSWER, |line| line.get("return").is_some() || line.get("error").is_some())?;
        match line["error"]["desc"].as_str() {
            Some(why) => Err(io::Error::other(format!("the emulator refused `{command}`: {why}"))),
            None => Ok(line["return"].take()),
        }
    }

    /// The first line that is wanted; the others are kept for who wants them.
    fn await_line(&mut self, limit: Duration, wanted: impl Fn(&Value) -> bool) -> io::Result<Value> {
        let until = Instant::now() + limit;
        loop {
            if let Some(at) = self.held.iter().position(&wanted) {
                return Ok(self.held.swap_remove(at));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the emulator does not answer"));
            }
            self.stream.set_read_timeout(Some(left))?;
            self.read()?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let read = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the emulator has gone")),
            Ok(n) => n,
            // Looked at by the deadline.
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let lines = self.lines.take(&buffer[..read]);
        self.held.extend(lines.iter().filter_map(|line| serde_json::from_slice(line).ok()));
        self.held.truncate(MAX_HELD);
        Ok(())
    }
}
