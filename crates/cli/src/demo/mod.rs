//! `teal demo`: the whole of Teal on this machine, under load.

use crate::{
    context::Context,
    error::{Error, Kind, Result},
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal demo --keep")]
pub(crate) struct DemoArgs {
    /// Leave everything up at the end, and say where the console is.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Runs it.
pub(crate) fn run(_: &Context, _: DemoArgs) -> Result<()> {
    Err(Error::new(Kind::Other, "x"))
}
