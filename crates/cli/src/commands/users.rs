//! `teal users`: who may use this server, and where their mails go.

use crate::{context::Context, error::Result, out::harmless, text};
use clap::{Args, Subcommand};
use teal_core::api::UserView;

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List them.
    #[command(after_help = "Example:\n  teal users list")]
    List,
    /// Add a user, or change the mail address of one.
    Set(SetArgs),
    /// Remove a user with their tokens and keys.
    #[command(after_help = "Example:\n  teal users remove ada")]
    Remove {
        /// The user's name.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal users set ada --email ada@example.org")]
pub(crate) struct SetArgs {
    /// The user's name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Where mails go; without it the user gets none.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, command: UsersCommand) -> Result<()> {
    let client = context.client()?;
    match command {
        UsersCommand::List => {
            let users = client.users()?;
            let rows: Vec<_> = users.iter().map(row).collect();
            context.out.show(&users, |_| text::table(&["NAME", "EMAIL"], &rows))
        }
        UsersCommand::Set(args) => {
            let user = client.set_user(&UserView { name: args.name, email: args.email })?;
            context.out.show(&user, |_| format!("{} · mails to {}", harmless(&user.name), row(&user)[1]))
        }
        UsersCommand::Remove { name } => {
            client.remove_user(&name)?;
            context
                .out
                .show(&serde_json::json!({ "removed": name }), |_| format!("{name} is no longer a user."))
        }
    }
}

fn row(user: &UserView) -> Vec<String> {
    vec![harmless(&user.name), user.email.as_deref().map_or_else(|| "nobody".into(), harmless)]
}
