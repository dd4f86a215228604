//! `teal users`: who may use this server, and where their mails go.

use crate::{context::Context, error::Result, out::harmless, text};
use clap::{Args, Subcommand};
use teal_core::{
    api::{UserRequest, UserView},
    role::Role,
};

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List them.
    #[command(after_help = "Example:\n  teal users list")]
    List,
    /// Add a user, or change the mail address or the role of one.
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
#[command(after_help = "Examples:
  teal users set ada --email ada@example.org
  teal users set ada --role developer          in every app; for one app: teal members set")]
pub(crate) struct SetArgs {
    /// The user's name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Where mails go; nowhere if it is empty [default: as before].
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// What they may do with every app and with the server: none, viewer, developer or admin [default: as before].
    #[arg(long, value_name = "ROLE")]
    role: Option<Role>,
}

/// Does it.
pub(crate) fn run(context: &Context, command: UsersCommand) -> Result<()> {
    let client = context.client()?;
    match command {
        UsersCommand::List => {
            let users = client.users()?;
            let rows: Vec<_> = users.iter().map(row).collect();
            context.out.show(&users, |_| text::table(&["NAME", "ROLE", "EMAIL"], &rows))
        }
        UsersCommand::Set(args) => {
            let user =
                client.set_user(&UserRequest { name: args.name, email: args.email, role: args.role })?;
            context.out.show(&user, |_| row(&user).join(" · "))
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
    let email = user.email.as_deref().map_or_else(|| "no mails".into(), harmless);
    vec![harmless(&user.name), user.role.to_string(), email]
}
