//! `teal tokens`: what proves who asks, for the API and for git over HTTP.

use crate::{context::Context, error::Result, out::harmless, text};
use clap::{Args, Subcommand};

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
#[command(after_help = "Example:\n  teal tokens create ci --user ada --json | jq -r .secret > ci-token")]
pub(crate) struct CreateArgs {
    /// What it is for.
    #[arg(value_name = "NAME")]
    name: String,
    /// Whose it is [default: yours].
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, command: TokensCommand) -> Result<()> {
    let client = context.client()?;
    match command {
        TokensCommand::List => {
            let tokens = client.tokens()?;
            let row = |t: &teal_core::api::TokenView| {
                vec![harmless(&t.id), harmless(&t.user), text::age(&t.created_at), harmless(&t.name)]
            };
            let rows: Vec<_> = tokens.iter().map(row).collect();
            context.out.show(&tokens, |_| text::table(&["ID", "USER", "MADE", "NAME"], &rows))
        }
        TokensCommand::Create(args) => {
            let made = client.create_token(args.user.as_deref(), &args.name)?;
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
