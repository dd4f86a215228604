//! `teal activity`: every attempt to change what is in production, newest first.

use crate::{cli::AppName, context::Context, error::Result, out::harmless, text};
use clap::Args;
use teal_core::api::{DeploymentView, SwitchView};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  teal activity shop\n  teal activity shop --limit 5 --json")]
pub(crate) struct ActivityArgs {
    #[command(flatten)]
    app: AppName,
    /// How many, at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// What a deployment brings is shown up to so many characters; `--json` has all of it.
const NOTE: usize = 100;

/// Shows it.
pub(crate) fn run(context: &Context, args: ActivityArgs) -> Result<()> {
    let rows = context.client()?.activity(&context.app(args.app.given())?, args.limit)?;
    context.out.show(&rows, |_| {
        if rows.is_empty() {
            return "Nothing was deployed yet. `teal deploy` pushes this checkout.".into();
        }
        let lines: Vec<_> = rows.iter().map(line).collect();
        text::table(&["DEPLOYMENT", "STATE", "PHASE", "CAUSE", "AUTHOR", "BEGAN", "COMMIT"], &lines)
    })
}

/// What users noticed of the switch, in few words.
fn switch(view: &SwitchView) -> String {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "—".into(), |ms| format!("{ms:.1} ms"));
    format!(
        "  (switch: {} requests, {} failed, {} retried, p99 {} → {})",
        view.requests,
        view.failed.max(view.errors),
        view.retried,
        ms(view.p99_before_ms),
        ms(view.p99_after_ms)
    )
}

fn line(view: &DeploymentView) -> Vec<String> {
    let commit = view.commit.as_ref().map_or_else(|| "—".into(), text::commit);
    let failure =
        view.failure.as_ref().map(|f| format!("  ({}: {})", harmless(&f.stage), harmless(&f.message)));
    let note = view.note.as_ref().map(|note| format!("  [{}]", text::cut(&harmless(note), NOTE)));
    let switch = view.switch.as_ref().map(switch);
    vec![
        view.deployment.to_string(),
        harmless(&view.state),
        harmless(&view.phase),
        harmless(&view.cause),
        view.author.as_deref().map_or_else(|| "—".into(), harmless),
        text::age(&view.started_at),
        format!(
            "{commit}{}{}{}",
            failure.unwrap_or_default(),
            note.unwrap_or_default(),
            switch.unwrap_or_default()
        ),
    ]
}
