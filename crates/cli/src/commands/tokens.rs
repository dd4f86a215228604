//! `teal tokens`: what proves who asks, for the API and for git over HTTP.

use crate::{context::Context, error::Result, out::harmless, text};
use clap::{Args, Subcommand};
use teal_core::{api::TokenRequest, role::Role};

#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// List them, without their secrets.
    #[command(after_help = "Example:\n  teal tokens list")]
    List,
    /// Make a token; its secret is shown this once.
    Create(CreateArgs),
    /// End a token.
    #[command(after_help = "Example:\n  teal tokens revoke t-01jx0000000000000000000000")]
    Revoke {
        /// Its id, as `teal tokens list` shows it.
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  teal tokens create ci --user ada --json | jq -r .secret > ci-token
  teal tokens create ci --role developer --app shop --days 90     may push to shop, and nothing else")]
pub(crate) struct CreateArgs {
    /// What it is for.
    #[arg(value_name = "NAME")]
    name: String,
    /// Whose it is [default: yours].
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// It may do no more than this: viewer, developer or admin [default: all that its user may].
    #[arg(long, value_name = "ROLE")]
    role: Option<Role>,
    /// It is for this app only; may be repeated.
    #[arg(long = "app", value_name = "APP")]
    apps: Vec<String>,
    /// It ends by itself after so many days.
    #[arg(long, value_name = "DAYS")]
    days: Option<u32>,
}

/// Does it.
pub(crate) fn run(context: &Context, command: TokensCommand) -> Result<()> {
    let client = context.client()?;
    match command {
        TokensCommand::List => {
            let tokens = client.tokens()?;
            let row = |t: &teal_core::api::TokenView| {
                let apps = t.apps.as_ref().map_or_else(|| "all".into(), |apps| harmless(&apps.join(" ")));
                let ends = t.expires_at.as_deref().map_or("never", |at| at.split('T').next().unwrap_or(at));
                let (id, user, made) = (harmless(&t.id), harmless(&t.user), text::age(&t.created_at));
                vec![id, user, made, t.role.to_string(), apps, ends.into(), harmless(&t.name)]
            };
            let rows: Vec<_> = tokens.iter().map(row).collect();
            context.out.show(&tokens, |_| {
                text::table(&["ID", "USER", "MADE", "AT MOST", "APPS", "ENDS", "NAME"], &rows)
            })
        }
        TokensCommand::Create(args) => {
            let CreateArgs { name, user, role, apps, days } = args;
            let apps = (!apps.is_empty()).then_some(apps);
            let made = client.create_token(&TokenRequest { name, user, role, apps, days })?;
            context.out.show(&made, |_| {
                let (id, user) = (harmless(&made.token.id), harmless(&made.token.user));
                format!("Token {id} for {user}. Its secret is shown only now:\n{}", harmless(&made.secret))
            })
        }
        TokensCommand::Revoke { id } => {
            client.remove_token(&id)?;
            context
                .out
                .show(&serde_json::json!({ "revoked": id }), |_| format!("{id} is of no use any more."))
        }
    }
}
