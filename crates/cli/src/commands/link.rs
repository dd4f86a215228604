//! `teal link`: writes the `.teal` file of this checkout.

use crate::{
    context::Context,
    error::{Error, Result},
    link::{self, Link},
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cd ~/src/shop && teal link shop && teal deploy")]
pub(crate) struct LinkArgs {
    /// The app.
    #[arg(value_name = "APP")]
    app: String,
}

/// Links this checkout to an app that is there.
pub(crate) fn run(context: &Context, args: LinkArgs) -> Result<()> {
    let top = context.checkout()?.ok_or_else(|| {
        Error::usage("this is no git checkout").hint("run `git init` first, or change into the checkout")
    })?;
    let client = context.client()?;
    let app = client.app(&args.app)?;
    let link = Link { app: app.name.clone(), url: Some(client.url().to_owned()) };
    let path = link::write(&top, &link)?;
    context.out.show(&link, |_| format!("Linked {} to {}.", path.display(), app.name))
}
