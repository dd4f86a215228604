//! `teal notify`: whether mails arrive.

use crate::{context::Context, error::Result, out::harmless};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// Send a test mail to yourself, and say what the mail server said.
    #[command(after_help = "Example:\n  teal notify test")]
    Test,
}

/// Does it.
pub(crate) fn run(context: &Context, command: NotifyCommand) -> Result<()> {
    let NotifyCommand::Test = command;
    let accepted = context.client()?.test_mail()?;
    context.out.show(&accepted, |_| harmless(&accepted.message))
}
