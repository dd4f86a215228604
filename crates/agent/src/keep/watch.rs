//! The keeper's one loop: the emulator's end, the machine's words, its log, its console, and the server's requests.

use crate::{
    error::{Doing, Error},
    keep::{
        calls::Calls, console::Console, descriptors::Ends, emulator::Emulator, logs::Logs, post::Post, tell,
    },
    pid1::{
        channel::Channel,
        clients::Clients,
        output::{self, Outputs},
    },
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signalfd::SignalFd,
};
use std::os::fd::AsFd;
use teal_core::{
    agent::{Reply, Request},
    machine::{Begin, Kept, Numbered, Order, Word},
};

/// What the log calls the machine itself.
const STAGE: &str = "machine";

/// The keeper's state.
pub(crate) struct Watch {
    emulator: Emulator,
    post: Post,
    logs: Logs,
    console: Console,
    signals: SignalFd,
    clients: Clients,
    calls: Calls,
    outputs: Outputs,
    begin: Option<Box<Begin>>,
    up: bool,
    begun: bool,
}

impl Watch {
    /// Nothing was seen yet.
    pub(crate) fn new(
        emulator: Emulator,
        ends: Ends,
        signals: SignalFd,
        clients: Clients,
        outputs: Outputs,
        begin: Option<Box<Begin>>,
    ) -> Result<Self, Error> {
        let Ends { agent, log, console } = ends;
        Ok(Self {
            emulator,
            // Time only grows, and much faster than anybody asks: no two keepers give the same number.
            post: Post::new(agent, output::now_ms() << 16),
            logs: Logs::new(log),
            console: Console::new(console),
            signals,
            clients,
            calls: Calls::default(),
            outputs,
            begin,
            up: false,
            begun: false,
        })
    }

    /// Watches until the machine has ended.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        loop {
            let ready = self.wait()?;
            let [signals, agent, log, console] = ready[..4] else { return Ok(()) };
            if console {
                self.console.read();
            }
            // What an answer speaks of was written to the log before it: so the log is read after the answer and stored before it is passed on.
            let words = if agent { self.post.read() } else { Vec::new() };
            if agent || log {
                self.outputs.store(self.logs.read(output::now_ms()));
            }
            self.post.send();
            for word in words {
                self.hear(word)?;
            }
            for (client, request) in self.clients.requests(&ready[4..]) {
                self.pass_on(client, request);
            }
            if signals && let Some(how) = self.take_end() {
                return self.farewell(&how);
            }
        }
    }

    fn wait(&self) -> Result<Vec<bool>, Error> {
        let agent =
            if self.post.is_waiting() { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let mut polled = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.post.descriptor(), agent),
            PollFd::new(self.logs.descriptor(), PollFlags::POLLIN),
            PollFd::new(self.console.descriptor(), PollFlags::POLLIN),
        ];
        polled.extend(self.clients.descriptors().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => Err(error).doing("wait for the machine")?,
        }
        Ok(polled.iter().map(|fd| fd.revents().is_some_and(|r| !r.is_empty())).collect())
    }

    fn hear(&mut self, word: Numbered<Word>) -> Result<(), Error> {
        match word.what {
            // Said once, by a machine that has just booted.
            Word::Up if !self.up => {
                self.up = true;
                tell(&Kept::Up)?;
                if let Some(begin) = self.begin.take() {
                    self.post.say(Order::Begin(begin)).doing("tell the machine what to run")?;
                }
            }
            Word::Begun(stages) if !self.begun => {
                self.begun = true;
                // The app runs: a server that has gone meanwhile finds it by its record, or ends it.
                let _ = tell(&Kept::Begun { stages });
            }
            Word::Failed(message) => return Err(Error::Refused(message)),
            Word::Reply(reply) => {
                if let Some(client) = self.calls.answered(word.id) {
                    self.clients.answer(client, &reply);
                }
            }
            // Said again by a machine that is not ours any more.
            Word::Up | Word::Begun(_) => {}
        }
        Ok(())
    }

    fn pass_on(&mut self, client: u64, request: Request) {
        match self.post.say(Order::Ask(request)) {
            Ok(number) => self.calls.asked(number, client),
            Err(error) => self.clients.answer(client, &Reply::Refused { reason: error.to_string() }),
        }
    }

    fn take_end(&mut self) -> Option<String> {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        self.emulator.ended()
    }

    /// The machine has ended: why, for the server that waits for it and for the log.
    fn farewell(mut self, how: &str) -> Result<(), Error> {
        self.console.read();
        self.outputs.store(self.logs.read(output::now_ms()));
        let words = self.console.last_words();
        let words =
            if words.is_empty() { String::new() } else { format!("; its console's last words: {words}") };
        let message = format!("The virtual machine ended: {how}{words}");
        message.lines().for_each(|line| self.outputs.say(STAGE, line));
        Err(Error::Refused(message))
    }
}
