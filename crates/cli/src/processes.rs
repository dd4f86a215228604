//! `teal server` and `teal router`: reads the operator's configuration and hands over to the crates that do the work. It must hold no
//! behaviour of theirs.

use crate::{
    context::Context,
    error::{Error, Kind, Result},
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use teal_core::{access::LogForm, api::FindingView, error::in_full};
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
    after_help = "It reads its addresses from the server's configuration and its last table from the data directory: it serves without the server. With --supervise a worker that dies is started again on the same sockets.

Examples:
  teal router
  teal router --supervise --config ./server.toml
  teal router upgrade
  teal router --access-log combined --access-log-file /var/log/teal/access.log"
)]
pub(crate) struct RouterArgs {
    #[command(subcommand)]
    command: Option<RouterCommand>,
    /// The server's configuration [default: /etc/teal/server.toml, if it is there].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Start the worker again when it dies.
    #[arg(long)]
    supervise: bool,
    /// A worker of the supervisor, which hands it its sockets.
    #[arg(long, hide = true, conflicts_with = "supervise")]
    inherited: bool,
    /// Log each request: `off`, `json` or `combined` [default: `access_log` of the configuration].
    #[arg(long, value_name = "FORM")]
    access_log: Option<LogForm>,
    /// Append the log to this file [default: `access_log_file` of the configuration, else standard output].
    #[arg(long, value_name = "FILE")]
    access_log_file: Option<PathBuf>,
    /// Write the addresses that it listens on into this file, once it serves.
    #[arg(long, value_name = "FILE")]
    ready: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum RouterCommand {
    /// Put the installed version in the place of the running one: nobody is refused, no connection breaks.
    #[command(
        after_help = "A worker of the installed version starts beside the old one, takes over, and the old one keeps the clients that it has until they go. The supervisor follows. If the new one does not
come up, nothing changes and the reason is said. The configuration is read again, but for the addresses: those need a restart.

Examples:
  teal router upgrade
  teal router upgrade --config ./server.toml"
    )]
    Upgrade,
}

/// `teal server`: serves until told to stop.
pub(crate) fn server(context: &Context, args: ServerArgs) -> Result<()> {
    let mut config = configuration(args.config.as_deref())?;
    config.insecure_http |= args.insecure_http;
    log();
    let program =
        std::env::current_exe().map_err(|e| Error::because("the path of this program is unknown", e))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::because("the server's threads cannot start", e))?;
    let ended = runtime.block_on(teal_server::run(config, program, |facts| announce(context, facts)));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended.map_err(|error| match error {
        teal_server::Error::Config(message) => Error::usage(message),
        other => Error::new(Kind::Other, in_full(&other)),
    })
}

/// Says where the server is, and where its first token is: the token itself goes into no log.
fn announce(context: &Context, facts: &teal_server::Facts) {
    let ssh = facts.ssh.map(|ssh| format!(", git over SSH on {ssh}")).unwrap_or_default();
    context
        .out
        .say(format!("Teal serves on http://{}{ssh}; instances run under `{}`", facts.http, facts.runtime));
    if let Some(token) = &facts.admin_token {
        let token = token.display();
        context.out.say(format!("log in with: teal login http://{} --token-file {token}", facts.http));
    }
}

/// `teal router`: serves until told to stop.
pub(crate) fn router(context: &Context, args: RouterArgs) -> Result<()> {
    match args.command {
        None => (),
        Some(RouterCommand::Upgrade) if args.supervise || args.inherited || args.ready.is_some() => {
            return Err(Error::usage("`teal router upgrade` takes no option but --config"));
        }
        Some(RouterCommand::Upgrade) => return upgrade(context, args.config.as_deref()),
    }
    let config = configuration(args.config.as_deref())?;
    log();
    let mut options = teal_router::Options::new(config.router_control(), config.data.join("router"));
    options.http.clone_from(&config.router_http);
    options.https.clone_from(&config.router_https);
    options.trusted.clone_from(&config.trusted_proxies);
    options.proxy_protocol = config.proxy_protocol;
    options.limits.connections_per_client = config.connections_per_client;
    options.limits.answer_rate = config.answer_rate;
    options.access_log = teal_router::AccessLog {
        form: args.access_log.unwrap_or(config.access_log),
        file: args.access_log_file.clone().or_else(|| config.access_log_file.clone()),
    };
    options.inherited = args.inherited;
    options.ready = args.ready.clone().map_or(teal_router::Ready::Nobody, teal_router::Ready::File);
    let ended = if args.supervise {
        teal_router::supervise(&options, &worker(&args))
    } else {
        teal_router::run(options)
    };
    ended.map_err(|error| Error::new(Kind::Other, in_full(&error)))
}

/// `teal router upgrade`.
fn upgrade(context: &Context, config: Option<&Path>) -> Result<()> {
    let control = configuration(config)?.router_control();
    let failed = |error: teal_router::Error| Error::new(Kind::Other, in_full(&error));
    teal_router::upgrade(&control).map_err(failed)?;
    context.out.say("the router is upgraded: new clients meet the installed version, the old one ends with its last client");
    Ok(())
}

/// The arguments with which the supervisor starts this program again as its worker.
fn worker(args: &RouterArgs) -> Vec<std::ffi::OsString> {
    let mut line: Vec<std::ffi::OsString> = vec!["router".into(), "--inherited".into()];
    if let Some(form) = args.access_log {
        line.extend(["--access-log".into(), form.word().into()]);
    }
    let files =
        [("--config", &args.config), ("--ready", &args.ready), ("--access-log-file", &args.access_log_file)];
    for (flag, value) in files {
        if let Some(value) = value {
            line.extend([flag.into(), value.clone().into_os_string()]);
        }
    }
    line
}

/// What this host can do. The configuration says where images are; one that cannot be read leaves the usual place.
pub(crate) fn examine(image: Option<&Path>) -> Vec<FindingView> {
    let data = configuration(None).unwrap_or_default().data;
    teal_server::examine(&data, image)
}

/// Logs go to standard error; `TEAL_LOG` says how much, for example `info` or `teal_server=debug`.
fn log() {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_env("TEAL_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
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
    let wrong = |why: String| {
        Error::usage(format!("the configuration {} is not right: {why}", path.display()))
            .hint("every field is described in docs/operating.md")
    };
    let config: Config = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    config.check().map_err(wrong)?;
    Ok(config)
}
