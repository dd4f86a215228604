//! What is noted on disk about a build under way, so that a server that comes back goes on with it. One file, replaced whole.
//!
//! It holds the app's own commands, which may hold secrets: only the server's user may read it.

use super::Plan;
use crate::manifest::Manifest;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use teal_core::time::Time;
use teal_runtime::Exit;

const NAME: &str = "notes.json";

/// A build under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    /// What is built: another key is another build.
    pub(super) key: String,
    /// When it began.
    pub(super) started: Time,
    /// How often it was begun; a sandbox that disappears is replaced a few times only.
    pub(super) attempt: u32,
    /// What is run.
    pub(super) plan: Plan,
    /// What the repository says about itself.
    #[serde(default)]
    pub(super) manifest: Manifest,
    /// Its sandbox may be there. Written before it is made.
    pub(super) raised: bool,
    /// How its sandbox ended.
    pub(super) ended: Option<Ended>,
    /// Why it failed, for a caller that asks again.
    pub(super) failure: Option<String>,
}

/// How a build's sandbox ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    /// By itself; `None`: there was nothing to run.
    Exit(Option<Exit>),
    /// It took too long.
    Late {
        /// What it was at.
        stage: String,
    },
    /// The host's disk is nearly full.
    Full,
    /// Its files are larger than it may make them.
    Large,
}

impl Notes {
    /// What is noted in this directory; `None` if nothing is, or nothing that is understood.
    pub(super) fn load(home: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(home.join(NAME)).ok()?).ok()
    }

    /// Notes it durably.
    pub(super) fn save(&self, home: &Path) -> io::Result<()> {
        let (path, new) = (home.join(NAME), home.join("notes.new"));
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(home)?.sync_all()
    }
}
