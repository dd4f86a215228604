//! `teal config`: an app's settings, such as its times and its health check.

use crate::{
    cli::{AppName, AppOption},
    context::Context,
    error::{Error, Result},
    out::harmless,
};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List all settings, with the defaults filled in.
    #[command(after_help = "Example:\n  teal config list shop")]
    List(AppName),
    /// Change settings.
    Set(SetArgs),
    /// Go back to the defaults.
    Unset(UnsetArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "A value that is JSON (a number, true, a list) is taken as such; anything else is a text.

Examples:
  teal config set bake_s=30 off_after_s=3600 --app shop
  teal config set tcp_port=auto health=tcp --app broker
  teal config set tcp_port=auto tcp_instance_port=5672 --app queue
  teal config set tls_passthrough=true health=tcp --app vault"
)]
pub(crate) struct SetArgs {
    /// NAME=VALUE.
    #[arg(value_name = "NAME=VALUE", required = true)]
    pairs: Vec<String>,
    #[command(flatten)]
    app: AppOption,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal config unset bake_s --app shop")]
pub(crate) struct UnsetArgs {
    /// Their names.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    app: AppOption,
}

/// Does it.
pub(crate) fn run(context: &Context, command: ConfigCommand) -> Result<()> {
    let config = match command {
        ConfigCommand::List(app) => context.client()?.config(&context.app(app.given())?)?,
        ConfigCommand::Set(args) => {
            let changes = args.pairs.iter().map(|pair| setting(pair)).collect::<Result<BTreeMap<_, _>>>()?;
            context.client()?.set_config(&context.app(args.app.app.as_deref())?, &changes)?
        }
        ConfigCommand::Unset(args) => {
            let changes = args.names.into_iter().map(|name| (name, Value::Null)).collect();
            context.client()?.set_config(&context.app(args.app.app.as_deref())?, &changes)?
        }
    };
    context.out.show(&config, |_| {
        let line = |(name, value): (&String, &Value)| match value {
            Value::String(text) => format!("{}={}", harmless(name), harmless(text)),
            other => format!("{}={}", harmless(name), harmless(&other.to_string())),
        };
        config.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// `NAME=VALUE`: JSON where it parses, else a text.
pub(crate) fn setting(pair: &str) -> Result<(String, Value)> {
    let (name, value) = pair
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| Error::usage(format!("`{pair}` is not NAME=VALUE")).hint("for example bake_s=30"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_look_like() {
        let value = |pair| setting(pair).expect("legal").1;
        assert_eq!(value("a=30"), Value::from(30));
        assert_eq!(value("a=true"), Value::from(true));
        assert_eq!(value("a=/health"), Value::from("/health"));
        assert_eq!(value("a=x=y"), Value::from("x=y"));
        assert!(setting("a").is_err() && setting("=1").is_err());
    }
}
