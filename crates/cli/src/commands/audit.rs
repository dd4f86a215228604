//! `teal audit`: who asked for which change, and what became of it.

use crate::{context::Context, error::Result, out::harmless, text};
use clap::Args;
use teal_core::api::AuditView;

#[derive(Debug, Args)]
#[command(after_help = "Pushes and deployments are in each app's activity.

Examples:
  teal audit
  teal audit --limit 1000 --json | jq '.[] | select(.user == \"ada\")'")]
pub(crate) struct AuditArgs {
    /// How many, at most 1000.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u32,
}

/// Shows them, the newest first.
pub(crate) fn run(context: &Context, args: &AuditArgs) -> Result<()> {
    let asked = context.client()?.audit(args.limit)?;
    let row = |asked: &AuditView| {
        let word = |word: &Option<String>| word.as_deref().map_or_else(|| "?".into(), harmless);
        let (user, way) = (word(&asked.user), word(&asked.way));
        let request = harmless(&asked.request);
        vec![text::age(&asked.at), user, way, harmless(&asked.address), asked.status.to_string(), request]
    };
    let rows: Vec<_> = asked.iter().map(row).collect();
    context.out.show(&asked, |_| text::table(&["WHEN", "WHO", "BY", "FROM", "STATUS", "REQUEST"], &rows))
}
