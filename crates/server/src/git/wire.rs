//! What the hook process and the server say to each other over the push's own socket: one JSON value a line.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest request or reply, in bytes.
pub(super) const MAX_LINE: u64 = 4 * 1024 * 1024;
/// Names the push's socket to the hook.
pub(super) const SOCKET: &str = "TEAL_HOOK_SOCKET";
/// Names the `teal` binary to the hook scripts.
pub(super) const PROGRAM: &str = "TEAL_HOOK_PROGRAM";

/// Which hook asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Hook {
    /// May this push come in? Its objects are still in quarantine.
    PreReceive,
    /// Its objects are in the repository: take it.
    ProcReceive,
}

/// A reference that the client wants changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Update {
    /// Its full name.
    pub(super) name: String,
    /// What the client believes it to be; zeros: nothing.
    pub(super) old: String,
    /// What it is to be; zeros: gone.
    pub(super) new: String,
}

impl Update {
    /// Whether it deletes.
    pub(super) fn deletes(&self) -> bool {
        is_zero(&self.new)
    }

    /// Parses git's `old new name`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end_matches('\n').splitn(3, ' ');
        let (old, new, name) = (words.next()?, words.next()?, words.next()?);
        let hash = |text: &str| text.len() >= 40 && text.chars().all(|c| c.is_ascii_hexdigit());
        (hash(old) && hash(new) && name.starts_with("refs/")).then(|| Self {
            name: name.into(),
            old: old.into(),
            new: new.into(),
        })
    }
}

/// Whether this is git's "no object".
pub(super) fn is_zero(hash: &str) -> bool {
    hash.bytes().all(|byte| byte == b'0')
}

/// What the hook asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// Which hook.
    pub(super) hook: Hook,
    /// The updates.
    pub(super) updates: Vec<Update>,
    /// The client has only a part of the history and this repository does not have the rest.
    pub(super) shallow: bool,
}

/// What the server answers: lines as they come, then the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// A line for the user.
    Say(String),
    /// The verdict: refused references and why, in a few words. Empty: all is well.
    Done(BTreeMap<String, String>),
}
