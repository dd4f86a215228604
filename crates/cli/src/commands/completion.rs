//! `teal completion`: the completion script of a shell.

use crate::{
    cli::Cli,
    context::Context,
    error::{Error, Result},
};
use clap::{Args, CommandFactory};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal completion bash > /etc/bash_completion.d/teal")]
pub(crate) struct CompletionArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(crate) fn run(context: &Context, args: CompletionArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "teal", &mut script);
    let script = String::from_utf8(script).map_err(|e| Error::because("the script is no text", e))?;
    context.out.raw(script.trim_end())
}
