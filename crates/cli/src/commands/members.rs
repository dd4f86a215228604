//! `teal members`: who may do what with an app.

use crate::{
    cli::{AppName, AppOption},
    context::Context,
    error::Result,
    out::harmless,
    text,
};
use clap::{Args, Subcommand};
use teal_core::{api::MemberView, role::Role};

#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// List who may do something with the app.
    #[command(after_help = "Example:\n  teal members list shop")]
    List(AppName),
    /// Give a user a role in the app, or take it away (`none`).
    Set(SetArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  teal members set bob developer --app shop    may push, deploy, go back, change variables
  teal members set bob viewer --app shop       may look
  teal members set bob none --app shop         is no member any more")]
pub(crate) struct SetArgs {
    /// The user's name.
    #[arg(value_name = "USER")]
    user: String,
    /// none, viewer, developer or admin.
    #[arg(value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    app: AppOption,
}

/// Does it.
pub(crate) fn run(context: &Context, command: MembersCommand) -> Result<()> {
    let client = context.client()?;
    let members = match command {
        MembersCommand::List(app) => client.members(&context.app(app.given())?)?,
        MembersCommand::Set(args) => {
            client.set_member(&context.app(args.app.app.as_deref())?, &args.user, args.role)?
        }
    };
    let row = |member: &MemberView| {
        let by = if member.by_server { "on the server" } else { "in the app" };
        vec![harmless(&member.user), member.role.to_string(), by.into()]
    };
    let rows: Vec<_> = members.iter().map(row).collect();
    context.out.show(&members, |_| text::table(&["USER", "ROLE", "GIVEN"], &rows))
}
