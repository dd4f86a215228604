//! `teal demo`: the whole of Teal on this machine, with nothing to install: server and router as real processes, an app pushed by the real
//! git, a load client that counts every request, a mail server that gets the failure's mail. Ends well only if nothing was lost.
//!
//! It must touch nothing outside its temporary directory but what the runtime itself makes, and prove at the end that this is gone too.

mod app;
mod footprint;
mod interrupt;
mod mail;
mod mailbox;
mod net;
mod show;
mod stage;
mod story;
mod summary;

use crate::{
    context::Context,
    error::{Error, Kind, Result},
};
use clap::Args;
use show::Show;
use stage::Stage;
use story::Story;

#[derive(Debug, Args)]
#[command(
    after_help = "It works in a temporary directory, on free ports, and removes everything at the end. As root it runs instances in sandboxes;
otherwise, or where namespaces are forbidden, as plain processes, and says so.

Examples:
  teal demo
  teal demo --keep            leave it up, to look at the console
  teal demo --runtime process --rate 50"
)]
pub(crate) struct DemoArgs {
    /// Leave everything up at the end, and say where the console is.
    #[arg(long)]
    keep: bool,
    /// How instances run.
    #[arg(long, default_value = "auto", value_parser = ["auto", "sandbox", "process"])]
    runtime: String,
    /// What is deployed: a Python app, or a static site; `auto` is Python where there is one.
    #[arg(long, default_value = "auto", value_parser = ["auto", "python", "static"])]
    app: String,
    /// Requests per second that the load client begins.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(20..=5000))]
    rate: u32,
}

/// Tells the story, prints the table, and leaves nothing behind.
pub(crate) fn run(context: &Context, args: DemoArgs) -> Result<()> {
    interrupt::listen()?;
    let show = Show::new(context.out.clone());
    let mut stage = Stage::prepare(&args.runtime, &args.app)?;
    let told = tell(&show, &mut stage, args.rate);
    let summary = match told {
        Ok(summary) => summary,
        Err(error) => {
            show.trouble(&stage);
            stage.clear();
            return Err(error);
        }
    };
    let good = summary.is_good();
    if args.keep {
        stage.keep(&show)?;
    } else {
        show.chapter("Deleting the app, and looking for what is left of it");
        summary_of_leftovers(&show, &mut stage)?;
    }
    context.out.show(&summary, |out| summary.table(out))?;
    if good {
        return Ok(());
    }
    Err(Error::new(Kind::Verdict, "the demo is red: something was lost or not as it should be")
        .hint("the failures are listed above, with their instants"))
}

fn tell(show: &Show, stage: &mut Stage, rate: u32) -> Result<summary::Summary> {
    let mut story = Story::begin(show, stage, rate)?;
    story.tell()
}

fn summary_of_leftovers(show: &Show, stage: &mut Stage) -> Result<()> {
    let left = stage.delete_app();
    stage.end();
    let left = left?;
    if left.is_empty() {
        show.good("nothing is left: no process, mount, control group, address, disk or rule");
        return Ok(());
    }
    for one in &left {
        show.bad(one);
    }
    Err(Error::new(Kind::Verdict, format!("{} things were left over after the app was deleted", left.len()))
        .hint("see them above; this is a fault of Teal"))
}
