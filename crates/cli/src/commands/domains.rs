//! `teal domains`: the host names that reach an app.

use crate::{
    cli::{AppName, AppOption},
    context::Context,
    error::Result,
    out::harmless,
};
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum DomainsCommand {
    /// List them.
    #[command(after_help = "Example:\n  teal domains list shop")]
    List(AppName),
    /// Add host names; takes effect at once.
    #[command(after_help = "Example:\n  teal domains add shop.example.org --app shop")]
    Add(Names),
    /// Remove host names; takes effect at once.
    #[command(after_help = "Example:\n  teal domains remove shop.example.org --app shop")]
    Remove(Names),
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Host names, without scheme and port.
    #[arg(value_name = "DOMAIN", required = true)]
    domains: Vec<String>,
    #[command(flatten)]
    app: AppOption,
}

/// Does it.
pub(crate) fn run(context: &Context, command: DomainsCommand) -> Result<()> {
    let client = context.client()?;
    let domains = match command {
        DomainsCommand::List(app) => client.domains(&context.app(app.given())?)?,
        DomainsCommand::Add(names) => {
            client.set_domains(&context.app(names.app.app.as_deref())?, &names.domains, &[])?
        }
        DomainsCommand::Remove(names) => {
            client.set_domains(&context.app(names.app.app.as_deref())?, &[], &names.domains)?
        }
    };
    context.out.show(&domains, |_| domains.iter().map(|d| harmless(d)).collect::<Vec<_>>().join("\n"))
}
