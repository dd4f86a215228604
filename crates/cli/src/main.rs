//! The `teal` binary: server, router and every user command in one file to install.
//! It must decide nothing itself: hidden parts first (they are not for people), then the command line.

mod cli;
mod client;
mod commands;
mod context;
mod credentials;
mod demo;
mod error;
mod git;
mod hidden;
mod interrupt;
mod link;
mod out;
mod processes;
mod rig;
mod text;

use clap::Parser;
use std::process::ExitCode;

/// For all processes: the router asks it for every request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = hidden::dispatch() {
        return code;
    }
    let cli = cli::Cli::parse();
    let context = context::Context::new(cli.global.json, cli.global.url);
    match cli.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of a pipe left: it has what it wanted.
        Err(error) if error.message.is_empty() => ExitCode::SUCCESS,
        Err(error) => {
            context.out.fail(&error);
            ExitCode::from(error.kind.code())
        }
    }
}
