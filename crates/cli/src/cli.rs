//! The command line: what there is, its help, and which file does it. It must hold no behaviour of its own.

use crate::{commands, context::Context, demo, error::Result, processes, rig};
use clap::{Args, Parser, Subcommand};

/// Blue/green deployment for everything that you run: push, and it is live; one command goes back.
#[derive(Debug, Parser)]
#[command(
    name = "teal",
    version,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  teal demo                          see all of it work, on this machine, in two minutes
  teal login http://127.0.0.1:8600   tell this user's commands where the server is
  teal apps create shop              make an app, and link this checkout to it
  teal deploy                        push HEAD and wait until it is live
  teal wake                          go back to the previous version

Exit codes:
  0  done
  1  the deployment did not go live, or a check failed
  2  wrong usage or input
  3  the server knows no such thing, or refuses it
  4  the server cannot be reached
  5  anything else")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print the answer as JSON.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// The server's address, instead of the one logged in to [env: TEAL_URL].
    #[arg(long, global = true, value_name = "URL", help_heading = "Everywhere")]
    pub(crate) url: Option<String>,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the control plane: git, builds, API, console, mail.
    Server(processes::ServerArgs),
    /// Run the data plane: every socket that your users reach.
    Router(processes::RouterArgs),
    /// Show the whole of Teal on this machine, under load, counting every request.
    Demo(demo::DemoArgs),
    /// Remember a server and a token for it.
    Login(commands::login::LoginArgs),
    /// Make, list and delete apps.
    #[command(subcommand, after_help = "Example:\n  teal apps create shop")]
    Apps(commands::apps::AppsCommand),
    /// Link this checkout to an app.
    Link(commands::link::LinkArgs),
    /// Show what is head, live, spare and under way.
    Status(commands::status::StatusArgs),
    /// Show the deployments of an app, newest first.
    Activity(commands::activity::ActivityArgs),
    /// Push HEAD of this checkout, and wait for the verdict.
    Deploy(commands::deploy::DeployArgs),
    /// Wake the previous version and move the traffic back to it.
    #[command(visible_alias = "rollback")]
    Wake(commands::act::WakeArgs),
    /// Deploy a commit that was pushed before.
    Redeploy(commands::act::RedeployArgs),
    /// Cancel the deployment under way.
    Cancel(commands::act::CancelArgs),
    /// Take an app out of production.
    Stop(commands::act::StopArgs),
    /// Bring a stopped app back as it was.
    Start(commands::act::StartArgs),
    /// Deploy the live commit again, with the present variables and settings.
    Restart(commands::act::RestartArgs),
    /// Run another number of instances.
    Scale(commands::act::ScaleArgs),
    /// List and change an app's variables.
    #[command(subcommand, after_help = "Example:\n  teal env set GREETING=hello --app shop")]
    Env(commands::env::EnvCommand),
    /// List and change the host names that reach an app.
    #[command(subcommand, after_help = "Example:\n  teal domains add shop.example.org --app shop")]
    Domains(commands::domains::DomainsCommand),
    /// List and change an app's settings.
    #[command(subcommand, after_help = "Example:\n  teal config set bake_s=30 --app shop")]
    Config(commands::config::ConfigCommand),
    /// Show what an app and its builds wrote.
    Logs(commands::logs::LogsArgs),
    /// Show what moves through each app, by environment, every second.
    Top(commands::top::TopArgs),
    /// Show what an app did over the last hour, day or week, by colour.
    Metrics(commands::metrics::MetricsArgs),
    /// SSH keys that may push.
    #[command(subcommand, after_help = "Example:\n  teal keys add laptop ~/.ssh/id_ed25519.pub")]
    Keys(commands::keys::KeysCommand),
    /// Tokens for the API and for git over HTTP.
    #[command(subcommand, after_help = "Example:\n  teal tokens create ci")]
    Tokens(commands::tokens::TokensCommand),
    /// Users of this server.
    #[command(subcommand, after_help = "Example:\n  teal users set ada --email ada@example.org")]
    Users(commands::users::UsersCommand),
    /// Who may do what with an app.
    #[command(subcommand, after_help = "Example:\n  teal members set bob developer --app shop")]
    Members(commands::members::MembersCommand),
    /// Show who asked for which change.
    Audit(commands::audit::AuditArgs),
    /// Mails that say why a deployment failed.
    #[command(subcommand, after_help = "Example:\n  teal notify test")]
    Notify(commands::notify::NotifyCommand),
    /// Tell others of deployments by HTTP, signed.
    #[command(
        subcommand,
        after_help = "Example:\n  teal webhooks add ci https://ci.example.org/teal --app shop"
    )]
    Webhooks(commands::webhooks::WebhooksCommand),
    /// The base systems that environments run on.
    #[command(subcommand, after_help = "Example:\n  teal image build debian-12")]
    Image(commands::image::ImageCommand),
    /// Move apps to a newer image, and leave some alone.
    #[command(subcommand, after_help = "Example:\n  teal maintenance status --watch")]
    Maintenance(commands::maintenance::MaintenanceCommand),
    /// Say what the host can do, and what to do about the rest.
    Doctor(commands::doctor::DoctorArgs),
    /// Print the completion script of a shell.
    Completion(commands::completion::CompletionArgs),
    /// Write the manual pages into a directory.
    Man(commands::man::ManArgs),
    /// Load an app and count every request.
    #[command(name = "__rig", hide = true)]
    Rig(rig::command::RigArgs),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        match self {
            Self::Server(args) => processes::server(context, args),
            Self::Router(args) => processes::router(context, args),
            Self::Demo(args) => demo::run(context, args),
            Self::Login(args) => commands::login::run(context, args),
            Self::Apps(command) => commands::apps::run(context, command),
            Self::Link(args) => commands::link::run(context, args),
            Self::Status(args) => commands::status::run(context, args),
            Self::Activity(args) => commands::activity::run(context, args),
            Self::Deploy(args) => commands::deploy::run(context, args),
            Self::Wake(args) => commands::act::wake(context, args),
            Self::Redeploy(args) => commands::act::redeploy(context, args),
            Self::Cancel(args) => commands::act::cancel(context, args),
            Self::Stop(args) => commands::act::stop(context, args),
            Self::Start(args) => commands::act::start(context, args),
            Self::Restart(args) => commands::act::restart(context, args),
            Self::Scale(args) => commands::act::scale(context, args),
            Self::Env(command) => commands::env::run(context, command),
            Self::Domains(command) => commands::domains::run(context, command),
            Self::Config(command) => commands::config::run(context, command),
            Self::Logs(args) => commands::logs::run(context, args),
            Self::Top(args) => commands::top::run(context, args),
            Self::Metrics(args) => commands::metrics::run(context, args),
            Self::Keys(command) => commands::keys::run(context, command),
            Self::Tokens(command) => commands::tokens::run(context, command),
            Self::Users(command) => commands::users::run(context, command),
            Self::Members(command) => commands::members::run(context, command),
            Self::Audit(args) => commands::audit::run(context, &args),
            Self::Notify(command) => commands::notify::run(context, command),
            Self::Webhooks(command) => commands::webhooks::run(context, command),
            Self::Image(command) => commands::image::run(context, command),
            Self::Maintenance(command) => commands::maintenance::run(context, command),
            Self::Doctor(args) => commands::doctor::run(context, args),
            Self::Completion(args) => commands::completion::run(context, args),
            Self::Man(args) => commands::man::run(context, args),
            Self::Rig(args) => rig::command::run(context, args),
        }
    }
}

/// The app that a command is about.
#[derive(Debug, Clone, Args)]
pub(crate) struct AppName {
    /// The app [default: the one that this checkout is linked to].
    #[arg(value_name = "APP")]
    pub(crate) app: Option<String>,
    /// The same as an option.
    #[arg(
        long = "app",
        short = 'a',
        value_name = "APP",
        conflicts_with = "app",
        id = "app_option",
        hide = true
    )]
    pub(crate) option: Option<String>,
}

/// The app that a command is about, where the line's first place is taken by something else.
#[derive(Debug, Clone, Args)]
pub(crate) struct AppOption {
    /// The app [default: the one that this checkout is linked to].
    #[arg(long = "app", short = 'a', value_name = "APP", id = "app_option")]
    pub(crate) app: Option<String>,
}

impl AppName {
    /// The name that was given, if one was.
    pub(crate) fn given(&self) -> Option<&str> {
        self.app.as_deref().or(self.option.as_deref())
    }
}
