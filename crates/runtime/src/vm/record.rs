//! What is known of a machine, on disk: written before the effects that it speaks of, so that a later server finds or cleans all of it.
//!
//! Holds nothing secret: variables and scripts are given again whenever an instance is started.

use super::argv::Shape;
use crate::{Image, Inspection, State, sandbox::record::Process, whole};
use serde::{Deserialize, Serialize};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

const NAME: &str = "record.json";

/// One machine. Without a keeper and not asleep on disk, or once it is ending, it is half-started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The boot in which it was started: after another one nothing of it but files is left.
    pub(super) boot: String,
    /// The emulator's id on the host; the next one is the keeper's.
    pub(super) user: u32,
    /// The port that the app is expected to listen on.
    pub(super) port: Option<u16>,
    /// The second one, for what is no HTTP.
    pub(super) tcp_port: Option<u16>,
    /// What its last command is called.
    pub(super) stage: String,
    /// May it reach the outside?
    pub(super) egress: bool,
    /// What it runs on.
    pub(super) image: Image,
    /// The release, as the machine mounts it.
    pub(super) tree: PathBuf,
    /// Further directories, as the machine mounts them.
    pub(super) further: Vec<PathBuf>,
    /// What its limits on the host are, in MiB and thousandths of a core.
    pub(super) host_limits: (u64, u64),
    /// What it is made of; known once it has an address.
    pub(super) shape: Option<Shape>,
    /// Its keeper, once the app runs.
    pub(super) keeper: Option<Process>,
    /// Where its memory is, if it sleeps or is about to.
    pub(super) asleep: Option<Asleep>,
    /// It is being ended: whatever of it still runs is not to be counted on.
    #[serde(default)]
    pub(super) ending: bool,
}

/// Where a sleeper's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asleep {
    /// With the emulator, which does not run it.
    Memory,
    /// In a file; there is no emulator.
    Disk,
}

impl Record {
    /// The record in `run`; `None` if there is none, or one that does not parse: then the machine is half-started.
    pub(super) fn load(run: &Path) -> io::Result<Option<Self>> {
        let text = whole::read(&run.join(NAME))?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Replaces the record in `run`; durable when this returns.
    pub(super) fn save(&self, run: &Path) -> io::Result<()> {
        whole::write(&run.join(NAME), self)
    }

    /// Is there a machine, or its whole memory?
    pub(super) fn is_whole(&self) -> bool {
        self.asleep == Some(Asleep::Disk) || self.keeper.is_some()
    }

    /// Does its keeper live, and with it the machine?
    pub(super) fn lives(&self) -> bool {
        self.keeper.as_ref().is_some_and(Process::alive)
    }

    /// What a look at it answers.
    pub(super) fn inspection(&self, state: State, memory_bytes: u64) -> Inspection {
        let address = self.shape.as_ref().map(|shape| shape.address);
        let socket = |port: Option<u16>| Some(SocketAddr::new(IpAddr::V4(address?), port?));
        Inspection {
            state,
            address: socket(self.port),
            tcp_address: socket(self.tcp_port),
            memory_bytes: Some(memory_bytes),
        }
    }
}

/// The host's end of the network that has this address: the first of its four.
pub(super) fn gateway(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() - 1)
}
