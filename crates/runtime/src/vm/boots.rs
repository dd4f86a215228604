//! What took how long in the newest boots, for whoever measures. Bounded; nothing is decided by it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use teal_core::{id::InstanceId, machine::Span};

/// So many boots are kept.
const KEPT: usize = 64;

/// One boot, each part from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Of which instance.
    pub instance: InstanceId,
    /// From the sealed release to a running emulator: disks are packed, an address is found, a keeper started.
    pub emulator: Duration,
    /// From there until the machine's kernel has reached its agent.
    pub agent: Duration,
    /// From there until the app's first command is being run.
    pub app: Duration,
    /// The parts of it by the machine's own clock.
    pub stages: Vec<Span>,
}

/// The newest boots.
#[derive(Debug, Default)]
pub(super) struct Boots(Mutex<VecDeque<Boot>>);

impl Boots {
    pub(super) fn add(&self, boot: Boot) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.pop_front();
        }
        all.push_back(boot);
    }

    pub(super) fn all(&self) -> Vec<Boot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
