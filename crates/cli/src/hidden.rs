//! Parts of Teal that are started by Teal or by git and never by people: wired before the command line is parsed, so that they start fast
//! and no flag or variable of users can reach them.

use crate::{
    error::{Error, Kind, Result},
    git,
    out::Out,
};
use std::{path::Path, process::ExitCode};

/// Runs the hidden part that the first argument names, if it names one.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let mut args = std::env::args().skip(1);
    let part = args.next()?;
    let rest: Vec<String> = if part.starts_with("__") { args.collect() } else { return None };
    match part.as_str() {
        "__hook" => Some(teal_server::git::hook_main(&rest)),
        "__static" => Some(site(rest.first().map(Path::new))),
        "__instance" => Some(teal_runtime::process::supervisor::main()),
        "__credential" => Some(credential(rest.first().map(String::as_str))),
        _ => None,
    }
}

/// `teal __static ROOT`: the server of static sites, inside an instance.
fn site(root: Option<&Path>) -> ExitCode {
    code(serve(root))
}

fn serve(root: Option<&Path>) -> Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::because("the static server cannot start", e))?;
    let served = runtime.block_on(teal_server::build::site::run(root.unwrap_or(Path::new(".")), port));
    served.map_err(|e| Error::new(Kind::Other, format!("the static server ended: {e}")))
}

fn credential(action: Option<&str>) -> ExitCode {
    code(git::credential(action))
}

fn code(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Out::new(false).fail(&error);
            ExitCode::from(error.kind.code())
        }
    }
}
