//! `teal doctor`: what a host can do, with remedies. Exits 1 if something is not as it should be.

use crate::{
    context::Context,
    error::{Error, Kind, Result},
    out::{Out, Paint, harmless},
    processes,
};
use clap::Args;
use std::path::PathBuf;
use teal_core::api::FindingView;

#[derive(Debug, Args)]
#[command(
    after_help = "With --local as root, KVM is tried by a boot, as the server does it: that takes up to ten seconds.

Examples:
  teal doctor
  sudo teal doctor --local
  sudo teal doctor --local --image /srv/images/debian-12-3f9a2c81d0b4"
)]
pub(crate) struct DoctorArgs {
    /// Examine this host, without a server.
    #[arg(long)]
    local: bool,
    /// With --local: the image's version whose kernel tries KVM [default: the newest of this host].
    #[arg(long, value_name = "DIR", requires = "local")]
    image: Option<PathBuf>,
}

/// Examines the server's host, or this one.
pub(crate) fn run(context: &Context, args: DoctorArgs) -> Result<()> {
    let findings =
        if args.local { processes::examine(args.image.as_deref()) } else { context.client()?.doctor()? };
    let bad = findings.iter().filter(|f| !f.ok).count();
    context
        .out
        .show(&findings, |out| findings.iter().map(|f| line(out, f)).collect::<Vec<_>>().join("\n"))?;
    if bad == 0 {
        return Ok(());
    }
    let message = format!("{bad} of {} findings are not as they should be", findings.len());
    Err(Error::new(Kind::Verdict, message).hint("each says its remedy above"))
}

fn line(out: &Out, finding: &FindingView) -> String {
    let (mark, word) = match (finding.ok, &finding.remedy) {
        (true, None) => (out.paint(Paint::Good, "ok "), ""),
        (true, Some(_)) => (out.paint(Paint::Dim, "ok?"), "better"),
        (false, _) => (out.paint(Paint::Bad, "NO "), "remedy"),
    };
    let remedy =
        finding.remedy.as_deref().map(|r| format!("\n    {word}: {}", harmless(r))).unwrap_or_default();
    format!("{mark} {}: {}{remedy}", harmless(&finding.name), harmless(&finding.detail))
}
