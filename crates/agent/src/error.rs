//! What can go wrong, in words that the runtime passes on to the operator.

use std::io;

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel refused a step.
    #[error("cannot {what}")]
    System {
        /// What was tried, as the end of "cannot …".
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A frame was not as agreed.
    #[error("the runtime and the agent do not understand each other")]
    Frame(#[from] teal_core::agent::Error),
    /// The host lacks something, or the request makes no sense.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The whole chain in one line.
    pub(crate) fn chain(&self) -> String {
        teal_core::error::in_full(self)
    }
}

/// Says what was tried when a system call fails.
pub(crate) trait Doing<T> {
    /// Completes "cannot …".
    fn doing(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::System { what: what.into(), source: source.into() })
    }
}
