//! Parts of Teal that are started by Teal or by git and never by people: wired before the command line is parsed, so that they start fast
//! and no flag or variable of users can reach them.

use crate::{git, out::Out};
use std::process::ExitCode;

/// Runs the hidden part that the first argument names, if it names one.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    let part = args.next()?;
    let rest: Vec<String> = if part.starts_with("__") { args.collect() } else { return None };
    match part.as_str() {
        "__credential" => Some(credential(rest.first().map(String::as_str))),
        _ => None,
    }
}

fn credential(action: Option<&str>) -> ExitCode {
    match git::credential(action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Out::new(false).fail(&error);
            ExitCode::from(error.kind.code())
        }
    }
}
