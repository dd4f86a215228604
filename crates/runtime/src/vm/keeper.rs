//! Starting a keeper and hearing from it until its machine runs. All calls block, with a deadline.

use crate::sandbox::launcher::{Dialogue, Program};
use std::{io, time::Duration};
use teal_core::{
    agent::MAX_LAUNCH,
    machine::{Kept, Machine, Span},
};

/// Up to a running emulator: nothing of the machine itself.
const START: Duration = Duration::from_secs(60);

/// A keeper that starts its machine.
#[derive(Debug)]
pub(super) struct Keeper {
    dialogue: Dialogue,
    /// Its process.
    pub(super) pid: u32,
}

impl Keeper {
    /// Starts one, and waits until the emulator runs and the interface is there.
    pub(super) fn start(program: &Program, machine: &Machine) -> io::Result<Self> {
        let mut dialogue = program.start("keep", &machine.name)?;
        dialogue.send(machine, MAX_LAUNCH)?;
        match dialogue.receive(START)? {
            Kept::Started { keeper } => Ok(Self { dialogue, pid: keeper }),
            other => Err(unexpected(other)),
        }
    }

    /// Waits until the machine's kernel has reached its agent.
    pub(super) fn await_up(&mut self, limit: Duration) -> io::Result<()> {
        match self.dialogue.receive(limit)? {
            Kept::Up => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Waits until the app is being run, and answers what took how long.
    pub(super) fn await_begun(&mut self, limit: Duration) -> io::Result<Vec<Span>> {
        match self.dialogue.receive(limit)? {
            Kept::Begun { stages } => Ok(stages),
            other => Err(unexpected(other)),
        }
    }
}

fn unexpected(said: Kept) -> io::Error {
    match said {
        Kept::Failed { message } => io::Error::other(message),
        other => io::Error::other(format!("the keeper said out of turn: {other:?}")),
    }
}
