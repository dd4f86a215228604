//! What a release is and how it runs: `meta.json` beside its tree.

use super::Run;
use crate::manifest::Manifest;
use serde::{Deserialize, Serialize};
use std::fmt;
use teal_core::time::Time;

/// The types of apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Node.
    Node,
    /// Python.
    Python,
    /// Ruby.
    Ruby,
    /// PHP.
    Php,
    /// Go.
    Go,
    /// Rust.
    Rust,
    /// Java, and what else becomes a jar.
    Java,
    /// Files.
    Static,
    /// Anything that says how it is built and run.
    Linux,
}

impl Kind {
    /// All of them, in the order in which a commit is looked at: the last one is the least demanding.
    pub const ALL: [Self; 9] = [
        Self::Node,
        Self::Python,
        Self::Ruby,
        Self::Php,
        Self::Go,
        Self::Rust,
        Self::Java,
        Self::Static,
        Self::Linux,
    ];

    /// The type that a setting names.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == name)
    }

    /// Every name, for a sentence.
    #[must_use]
    pub fn names() -> String {
        let (last, others) =
            Self::ALL.split_last().map_or((Self::Linux, &[][..]), |(last, rest)| (*last, rest));
        let others: Vec<_> = others.iter().map(|kind| kind.word()).collect();
        format!("{} or {last}", others.join(", "))
    }

    /// As users write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Go => "go",
            Self::Rust => "rust",
            Self::Java => "java",
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
    /// What its repository says about itself.
    #[serde(default, skip_serializing_if = "Manifest::is_empty")]
    pub manifest: Manifest,
}

impl Meta {
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Plain data: it cannot fail, and an empty file would be refused by whoever reads it.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}
