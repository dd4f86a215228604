//! The access log: one line per request or stream, written by a thread of its own.
//!
//! A request never waits for it. Each worker writes into a bounded sheet of its own and hands full sheets over by a bounded channel; where either is
//! full, lines are dropped and counted. Of a request's headers it sees the few that it names, so that no credential can get into a log; a path is logged with its query.

mod line;
mod noted;
mod sheet;
mod writer;

pub(crate) use line::Outcome;
pub(crate) use noted::{Noted, Protocol};
pub(crate) use sheet::Sheet;
pub(crate) use writer::{Log, Writer};

use std::path::PathBuf;
use teal_core::access::LogForm;

/// Where the access log goes, and how it is written.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    /// Off, or one of two forms.
    pub form: LogForm,
    /// Appended to, made with mode 0640 if missing, and opened anew when it was renamed; without one the lines go to standard output.
    pub file: Option<PathBuf>,
}
