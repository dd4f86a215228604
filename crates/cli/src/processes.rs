//! `teal server` and `teal router`: reads the operator's configuration and hands over to the crates that do the work. It must hold no
//! behaviour of theirs.

use crate::{
    context::Context,
    error::{Error, Kind, Result},
};
use clap::Args;
use std::path::{Path, PathBuf};
use teal_core::api::FindingView;
use teal_server::config::Config;

/// Where the configuration is if nobody says.
const CONFIG: &str = "/etc/teal/server.toml";

#[derive(Debug, Args)]
#[command(
    after_help = "Without a configuration file the defaults hold: data in /var/lib/teal, console on 127.0.0.1:8600.
The first start makes an administrator's token and says where it is.

Examples:
  teal server
  teal server --config ./server.toml"
)]
pub(crate) struct ServerArgs {
    /// The configuration [default: /etc/teal/server.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve API, console and git in clear text on an address that is not loopback.
    #[arg(long)]
    insecure_http: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The router reads its addresses from the server's configuration, and its last table from the data directory: it serves
without the server. With --supervise it starts its worker again if that dies (where there is no systemd).

Examples:
  teal router
  teal router --supervise --config ./server.toml"
)]
pub(crate) struct RouterArgs {
    /// The server's configuration [default: /etc/teal/server.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Start the worker again when it dies.
    #[arg(long)]
    supervise: bool,
    /// Write the addresses that it listens on into this file, once it serves.
    #[arg(long, value_name = "FILE")]
    ready: Option<PathBuf>,
}

/// `teal server`.
pub(crate) fn server(_: &Context, args: ServerArgs) -> Result<()> {
    let mut config = configuration(args.config.as_deref())?;
    config.insecure_http |= args.insecure_http;
    Err(Error::new(Kind::Other, "x"))
}

/// `teal router`.
pub(crate) fn router(_: &Context, args: RouterArgs) -> Result<()> {
    let _ = (configuration(args.config.as_deref())?, args.supervise, args.ready);
    Err(Error::new(Kind::Other, "x"))
}

/// What this host can do for such a configuration.
pub(crate) fn examine(config: Option<&Path>) -> Result<Vec<FindingView>> {
    let _ = configuration(config)?;
    Err(Error::new(Kind::Other, "x"))
}

/// The configuration: the named file, else the usual one if it is there, else the defaults.
fn configuration(file: Option<&Path>) -> Result<Config> {
    let path = file.unwrap_or(Path::new(CONFIG));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Error::usage(format!(
                "the configuration {} cannot be read: {error}",
                path.display()
            ))
            .hint("name another with --config"));
        }
    };
    toml::from_str(&text).map_err(|error| {
        Error::usage(format!("the configuration {} is not right: {error}", path.display()))
            .hint("every field is described in docs/operating.md")
    })
}
