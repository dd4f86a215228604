//! `teal man`: the manual pages, one for each command.

use crate::{
    cli::Cli,
    context::Context,
    error::{Error, Result},
};
use clap::{Args, CommandFactory};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Where to write them; made if missing.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(context: &Context, args: ManArgs) -> Result<()> {
    let failed = |e| Error::because(format!("{} cannot be written", args.directory.display()), e);
    std::fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(failed)?;
    let view = serde_json::json!({ "directory": args.directory });
    context.out.show(&view, |_| format!("Wrote the manual pages into {}.", args.directory.display()))
}
