//! What a command can end with: one error of four parts (kind, what happened and why, its sources, what to do next), and the exit codes.
//! It must never carry a secret: whatever it holds is printed.

use std::fmt;

/// What every command returns.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Which exit code an error has. The codes are documented in `docs/operating.md` and in `teal --help`; scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The deployment ended without going live, or a demo or a check was red: 1.
    Verdict,
    /// The command line or its input is wrong: 2.
    Usage,
    /// The server knows no such thing, or refuses it: 3.
    Refused,
    /// The server does not answer: 4.
    Unreachable,
    /// Anything else: a file, git, the server's own trouble: 5.
    Other,
}

impl Kind {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Verdict => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Other => 5,
        }
    }

    /// The word in `--json`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Error {
    /// Its exit code.
    pub(crate) kind: Kind,
    /// What happened, and why.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Error {
    /// An error of this kind.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The input is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Something else failed, with the reason that the system gave.
    pub(crate) fn because(what: impl fmt::Display, source: impl fmt::Display) -> Self {
        Self::new(Kind::Other, format!("{what}: {source}"))
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Other, format!("{error:#}"))
    }
}
