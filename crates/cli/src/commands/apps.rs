//! `teal apps`: makes, lists, shows and deletes apps.

use crate::{
    cli::AppName,
    client::Client,
    context::Context,
    error::{Error, Result},
    link::{self, Link},
    out::{Paint, harmless},
    text,
};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use teal_core::api::{AppView, NewApp};

#[derive(Debug, Subcommand)]
pub(crate) enum AppsCommand {
    /// Make an app; inside a checkout that has no link yet, link it.
    Create(CreateArgs),
    /// List all apps.
    #[command(after_help = "Example:\n  teal apps list --json")]
    List,
    /// Show one app: its host names, and where to push.
    #[command(after_help = "Example:\n  teal apps info shop")]
    Info(AppName),
    /// Delete an app with everything that it has.
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  teal apps create shop
  teal apps create shop --set bake_s=30 --set type=python")]
pub(crate) struct CreateArgs {
    /// Lower-case letters, digits and `-`; a letter first; at most 30 characters.
    #[arg(value_name = "NAME")]
    name: String,
    /// A setting that differs from its default; see `teal config list`.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Do not link this checkout to it.
    #[arg(long)]
    no_link: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal apps delete shop")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    app: AppName,
    /// Do not ask for the name again.
    #[arg(long)]
    yes: bool,
}

/// Does it.
pub(crate) fn run(context: &Context, command: AppsCommand) -> Result<()> {
    match command {
        AppsCommand::Create(args) => create(context, args),
        AppsCommand::List => list(context),
        AppsCommand::Info(name) => info(context, &name),
        AppsCommand::Delete(args) => delete(context, &args),
    }
}

fn create(context: &Context, args: CreateArgs) -> Result<()> {
    let mut config = BTreeMap::new();
    for pair in &args.set {
        let (name, value) = super::config::setting(pair)?;
        config.insert(name, value);
    }
    let client = context.client()?;
    let app = client.create_app(&NewApp { name: args.name, config })?;
    let linked = if args.no_link { None } else { link_here(context, &client, &app)? };
    context.out.show(&app, |out| {
        let mut lines = vec![format!("Made {}.", out.paint(Paint::Bold, &app.name))];
        lines.extend(linked);
        lines.push(format!("Push to it:  git push {} HEAD:main", remote(&app)));
        lines.push("Or simply:   teal deploy".into());
        lines.join("\n")
    })
}

/// Links the checkout that we are in, unless it is linked already; the sentence that says so.
fn link_here(context: &Context, client: &Client, app: &AppView) -> Result<Option<String>> {
    let Some(top) = context.checkout()? else { return Ok(None) };
    if top.join(link::FILE).exists() {
        return Ok(Some(
            "This checkout is linked to another app already and stays so (`teal link` changes it).".into(),
        ));
    }
    let path = link::write(&top, &Link { app: app.name.clone(), url: Some(client.url().to_owned()) })?;
    Ok(Some(format!("Linked this checkout to it ({}).", path.display())))
}

fn remote(app: &AppView) -> String {
    harmless(app.git_ssh.as_deref().unwrap_or(&app.git_http))
}

fn list(context: &Context) -> Result<()> {
    let apps = context.client()?.apps()?;
    context.out.show(&apps, |_| {
        if apps.is_empty() {
            return "There are no apps yet. Make one with `teal apps create NAME`.".into();
        }
        let rows: Vec<_> = apps.iter().map(row).collect();
        text::table(&["NAME", "STATUS", "DOMAINS", "LIVE"], &rows)
    })
}

fn row(app: &AppView) -> Vec<String> {
    let live = app.live.as_ref().map_or_else(|| "—".into(), text::commit);
    vec![harmless(&app.name), harmless(&app.status), harmless(&app.domains.join(", ")), live]
}

fn info(context: &Context, name: &AppName) -> Result<()> {
    let app = context.client()?.app(&context.app(name.given())?)?;
    context.out.show(&app, |out| {
        let none = || "—".to_owned();
        [
            out.paint(Paint::Bold, harmless(&app.name)),
            format!("  id       {}", app.id),
            format!("  status   {}", harmless(&app.status)),
            format!("  live     {}", app.live.as_ref().map_or_else(none, text::commit)),
            format!("  domains  {}", harmless(&app.domains.join(", "))),
            format!("  ssh      {}", app.git_ssh.as_deref().map_or_else(none, harmless)),
            format!("  http     {}", harmless(&app.git_http)),
        ]
        .join("\n")
    })
}

fn delete(context: &Context, args: &DeleteArgs) -> Result<()> {
    // Deleting what a directory happens to be linked to is too easy a mistake: the name is always said.
    let name =
        args.app.given().map(str::to_owned).ok_or_else(|| {
            Error::usage("say which app to delete").hint("for example `teal apps delete shop`")
        })?;
    if !args.yes {
        let question = format!(
            "This deletes {name} with its repository, releases and variables. Type its name to go on:"
        );
        let answer = context.out.ask(&question).ok_or_else(|| {
            Error::usage("nobody is there to confirm the deletion").hint("add --yes if you mean it")
        })?;
        if answer != name {
            return Err(Error::usage("that is not its name: nothing was deleted"));
        }
    }
    let accepted = context.client()?.delete_app(&name)?;
    context.out.show(&accepted, |_| harmless(&accepted.message))
}
