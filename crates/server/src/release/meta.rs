//! What a release is and how it runs: `meta.json` beside its tree.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt};
use teal_core::{id::ReleaseId, time::Time};
use teal_runtime::Command;

/// The types of apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Node.
    Node,
    /// Python.
    Python,
    /// Files.
    Static,
    /// Anything that says how it is built and run.
    Linux,
}

impl Kind {
    /// The type that a setting names.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Node, Self::Python, Self::Static, Self::Linux].into_iter().find(|kind| kind.word() == name)
    }

    /// As users write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Static => "static",
            Self::Linux => "linux",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A release's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The commit that it was first built from. Another commit with the same content shares the release.
    pub commit: String,
    /// The version of the image that it was built on.
    pub image: String,
    /// Its type.
    pub kind: Kind,
    /// When it was sealed.
    pub created: Time,
    /// How it runs.
    pub run: Run,
}

/// How the instances of a release run. Nothing in it names a place of this host or of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The pre-run hook, if there is one, then the app.
    pub commands: Vec<Command>,
    /// Run beside the app, in one colour only.
    pub workers: Vec<String>,
    /// Variables that the user did not set.
    pub variables: BTreeMap<String, String>,
    /// Where the app listens.
    pub port: u16,
    /// The `teal` binary has to be there: it serves static files.
    pub needs_teal: bool,
}

impl Meta {
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Plain data: it cannot fail, and an empty file would be refused by whoever reads it.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

impl Run {
    /// The name of a release with this tree that runs like this.
    pub(super) fn name(&self, kind: Kind, tree: &[u8; 32]) -> ReleaseId {
        let mut sum = Sha256::new();
        sum.update(tree);
        sum.update(kind.word());
        sum.update(serde_json::to_vec(self).unwrap_or_default());
        super::cache::named(&sum.finalize().into())
    }
}
