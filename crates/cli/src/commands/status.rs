//! `teal status`: head, live, spare and what is under way, as the router serves it.

use crate::{cli::AppName, context::Context, error::Result, text};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  teal status shop\n  teal status shop --json | jq .live.commit.id")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    app: AppName,
}

/// Shows it.
pub(crate) fn run(context: &Context, args: StatusArgs) -> Result<()> {
    let view = context.client()?.status(&context.app(args.app.given())?)?;
    context.out.show(&view, |out| text::status(out, &view))
}
