//! `teal image`: the base systems that environments run on. What is built is said while it happens; a build goes on without its reader.

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    interrupt,
    out::{Out, Paint, harmless},
    text,
};
use clap::{Args, Subcommand};
use std::{path::PathBuf, time::Duration};
use teal_core::{
    api::image::{ImageBuildView, ImageCheckView, ImageDetails, ImageView},
    image::Change,
};
use teal_server::images::Stop;

/// How often a build is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// The image that is meant where none is named.
const DEFAULT: &str = "debian-12";

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Build a new version from the host's own apt sources, and wait for it.
    Build(BuildArgs),
    /// End the build that goes on. Everything that it made goes.
    #[command(after_help = "Example:\n  teal image cancel")]
    Cancel,
    /// List the versions that are here.
    #[command(after_help = "Example:\n  teal image list")]
    List,
    /// Show a version with all of its packages.
    #[command(after_help = "Example:\n  teal image show debian-12-3f9a2c81d0b4")]
    Show {
        /// The version.
        #[arg(value_name = "VERSION")]
        version: String,
    },
    /// Show how a version differs from another.
    Diff(DiffArgs),
    /// Remove a version that nothing runs on.
    #[command(after_help = "Example:\n  teal image remove debian-12-3f9a2c81d0b4")]
    Remove {
        /// The version.
        #[arg(value_name = "VERSION")]
        version: String,
    },
    /// Ask apt what a rebuilt image would differ in. Nothing is changed.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-C ends the waiting, not the build, which goes on at the server until `teal image cancel` ends it. With --directory it ends the build.

Examples:
  teal image build
  teal image build debian-12 --no-wait
  sudo teal image build debian-12 --directory /srv/images    without a server, to copy it to one"
)]
pub(crate) struct BuildArgs {
    /// Which image.
    #[arg(value_name = "NAME", default_value = DEFAULT)]
    name: String,
    /// Do not wait until it is built.
    #[arg(long)]
    no_wait: bool,
    /// Build here, into this directory, without a server; needs root.
    #[arg(long, value_name = "DIR", conflicts_with = "no_wait")]
    directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal image diff debian-12-3f9a2c81d0b4 debian-12-77b1f0c2a9de")]
pub(crate) struct DiffArgs {
    /// The older version.
    #[arg(value_name = "VERSION")]
    version: String,
    /// The newer version.
    #[arg(value_name = "OTHER")]
    other: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  teal image check\n  teal image check debian-12 --json")]
pub(crate) struct CheckArgs {
    /// Which image.
    #[arg(value_name = "NAME", default_value = DEFAULT)]
    name: String,
}

/// Does it.
pub(crate) fn run(context: &Context, command: ImageCommand) -> Result<()> {
    match command {
        ImageCommand::Build(args) => build(context, &args),
        ImageCommand::Cancel => cancel(context),
        ImageCommand::List => {
            let images = context.client()?.images()?;
            context.out.show(&images, |_| list(&images))
        }
        ImageCommand::Show { version } => {
            let details = context.client()?.image(&version)?;
            context.out.show(&details, |_| show(&details))
        }
        ImageCommand::Diff(args) => {
            let changes = context.client()?.image_diff(&args.version, &args.other)?;
            context.out.show(&changes, |out| differences(out, &changes))
        }
        ImageCommand::Remove { version } => {
            context.client()?.remove_image(&version)?;
            let removed = serde_json::json!({ "removed": version });
            context.out.show(&removed, |_| format!("{version} is removed."))
        }
        ImageCommand::Check(args) => {
            let mut progress = context.out.progress();
            progress.now("apt is asked");
            let check = context.client()?.check_image(&args.name)?;
            drop(progress);
            context.out.show(&check, |out| checked(out, &check))
        }
    }
}

fn build(context: &Context, args: &BuildArgs) -> Result<()> {
    if let Some(directory) = &args.directory {
        return here(context, directory, &args.name);
    }
    let client = context.client()?;
    let begun = client.build_image(&args.name)?;
    if args.no_wait {
        return context
            .out
            .show(&begun, |_| format!("{} is being built; `teal image list` will show it.", begun.name));
    }
    interrupt::listen()?;
    let asked = |after| if interrupt::is() { Err(left(&args.name)) } else { client.image_build(after) };
    let built = follow(context, asked)?;
    finished(context, &built)
}

/// Whoever has waited goes, and the build stays.
fn left(name: &str) -> Error {
    Error::new(Kind::Other, format!("{} goes on being built at the server", harmless(name)))
        .hint("`teal image build` follows it again, `teal image cancel` ends it")
}

/// Says what the build says, until it has ended.
fn follow(context: &Context, ask: impl Fn(u64) -> Result<ImageBuildView>) -> Result<ImageBuildView> {
    let mut progress = context.out.progress();
    let mut after = 0;
    loop {
        let view = super::wait::patient(&mut progress, || ask(after))?;
        after = view.said;
        view.lines.iter().for_each(|line| progress.now(&harmless(line)));
        if view.state != "building" {
            return Ok(view);
        }
        std::thread::sleep(LOOK);
    }
}

fn cancel(context: &Context) -> Result<()> {
    let client = context.client()?;
    let after = client.cancel_image_build()?.said;
    let ended = follow(context, |said| client.image_build(said.max(after)))?;
    match ended.state.as_str() {
        "cancelled" => {
            let line = format!("The build of {} is ended; nothing of it is left.", harmless(&ended.name));
            context.out.show(&ended, |_| line)
        }
        "built" => {
            let version = harmless(ended.version.as_deref().unwrap_or_default());
            let late = Error::new(Kind::Verdict, format!("it was faster: {version} is built"));
            Err(late.hint(format!("`teal image remove {version}` removes it, once nothing runs on it")))
        }
        _ => finished(context, &ended),
    }
}

fn finished(context: &Context, built: &ImageBuildView) -> Result<()> {
    if let Some(why) = &built.failure {
        return Err(Error::new(Kind::Verdict, format!("{} was not built: {}", built.name, harmless(why))));
    }
    let version = built.version.as_deref().unwrap_or_default();
    context.out.show(built, |_| format!("{} is built.", harmless(version)))
}

/// Without a server. What it says goes where progress goes.
fn here(context: &Context, directory: &std::path::Path, name: &str) -> Result<()> {
    interrupt::listen()?;
    let progress = std::cell::RefCell::new(context.out.progress());
    let say = |line: &str| progress.borrow_mut().now(line);
    let stop = Stop::default();
    let ended = stop.clone();
    // It ends with this process.
    std::thread::spawn(move || {
        while !interrupt::is() {
            std::thread::sleep(LOOK);
        }
        ended.stop("Ctrl-C");
    });
    let built = teal_server::images::build_into(directory, name, &stop, &say);
    drop(progress);
    let manifest =
        built.map_err(|error| Error::new(Kind::Verdict, format!("{name} was not built: {error}")))?;
    context.out.show(&manifest, |_| {
        format!("{} is built: {}", manifest.version, directory.join(&manifest.version).display())
    })
}

fn list(images: &[ImageView]) -> String {
    if images.is_empty() {
        return "No image was built here: environments run on the host's own system. `teal image build` makes one.".into();
    }
    let row = |image: &ImageView| {
        let apps = if image.apps.is_empty() { "—".to_owned() } else { image.apps.join(", ") };
        vec![
            harmless(&image.version),
            text::age(&image.built_at),
            harmless(&image.kernel),
            image.packages.to_string(),
            mib(image.bytes),
            if image.current { "yes" } else { "" }.to_owned(),
            harmless(&apps),
        ]
    };
    let rows: Vec<_> = images.iter().map(row).collect();
    text::table(&["VERSION", "BUILT", "KERNEL", "PACKAGES", "SIZE", "CURRENT", "APPS"], &rows)
}

fn show(details: &ImageDetails) -> String {
    let rows: Vec<_> =
        details.packages.iter().map(|(name, version)| vec![harmless(name), harmless(version)]).collect();
    format!(
        "{}\n\n{}",
        list(std::slice::from_ref(&details.image)),
        text::table(&["PACKAGE", "VERSION"], &rows)
    )
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn differences(out: &Out, changes: &[Change]) -> String {
    if changes.is_empty() {
        return "The same packages in the same versions.".into();
    }
    let rows: Vec<_> = changes.iter().map(|change| row(out, change)).collect();
    text::table(&["PACKAGE", "FROM", "TO", ""], &rows)
}

fn row(out: &Out, change: &Change) -> Vec<String> {
    let version = |version: &Option<String>| version.as_deref().map_or_else(|| "—".to_owned(), harmless);
    let why = if change.security { out.paint(Paint::Warn, "security") } else { String::new() };
    vec![harmless(&change.package), version(&change.from), version(&change.to), why]
}

fn checked(out: &Out, check: &ImageCheckView) -> String {
    let Some(version) = &check.version else {
        return format!("{0} was never built here: `teal image build {0}` builds it.", harmless(&check.name));
    };
    if !check.differs {
        return format!("{} is up to date.", harmless(version));
    }
    let security = check.changes.iter().filter(|change| change.security).count();
    let agent = if check.agent { "\nThis server has another agent than that version." } else { "" };
    let head = format!(
        "A rebuilt {} would differ from {} in {} packages, {security} of them for security.{agent}",
        harmless(&check.name),
        harmless(version),
        check.changes.len()
    );
    if check.changes.is_empty() { head } else { format!("{head}\n\n{}", differences(out, &check.changes)) }
}
