//! What instances cost: boots by their stages, memory awake and asleep, saving and waking, and how many fit. Each kind of runtime by itself, with an
//! app of Python's standard library. It prints figures and judges nothing; what it starts it removes.

mod app;
mod fit;
mod kind;
mod look;
mod report;
mod round;

use anyhow::{Context, Result, bail};
use kind::Kind;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Needs root. Virtual machines are emulated unless `--kvm` is given, and need an image (`cargo xtask image`).

Examples:
  cargo xtask instances
  cargo xtask instances --rounds 9 --only sandbox
  sudo TEAL_IMAGE=/srv/images/debian-12-3f9a2c81d0b4 teal-bench instances --fit 20 --memory-mib 8192 --json"
)]
pub(crate) struct Instances {
    /// Rounds; each boots one instance, puts it to sleep in memory and on disk, and wakes it from both.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only this runtime: `sandbox` or `vm`.
    #[arg(long)]
    only: Option<Kind>,
    /// The image's version that instances run on; without it sandboxes run on the host's own system, and there are no machines.
    #[arg(long, env = "TEAL_IMAGE", value_name = "DIR")]
    image: Option<PathBuf>,
    /// The processor executes machines.
    #[arg(long)]
    kvm: bool,
    /// An app's memory limit.
    #[arg(long, default_value_t = 160, value_name = "MIB")]
    limit_mib: u64,
    /// How many idle instances are started together, to check what is computed.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    fit: u32,
    /// The memory that they are to fit into; without it what is available here.
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<u64>,
    /// Addresses for instances: a range that nothing here uses.
    #[arg(long, default_value = "10.187.0.0/24")]
    pool: String,
    /// As JSON, with every round.
    #[arg(long)]
    json: bool,
}

/// Measures, and prints.
pub(crate) fn run(wanted: &Instances) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("instances need root: run it with sudo");
    }
    let runtime = tokio::runtime::Runtime::new().context("threads cannot be started")?;
    let mut reports = Vec::new();
    for kind in
        [Kind::Sandbox, Kind::Vm].into_iter().filter(|kind| wanted.only.is_none_or(|only| only == *kind))
    {
        if kind == Kind::Vm && wanted.image.is_none() {
            eprintln!(
                "vm: left out: machines need an image; `cargo xtask image` builds one, and --image names it"
            );
            continue;
        }
        reports.push(runtime.block_on(measure(wanted, kind))?);
    }
    if wanted.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        reports.iter().for_each(report::print);
    }
    Ok(())
}

/// One runtime, from opened to left; also when something fails in between.
async fn measure(wanted: &Instances, kind: Kind) -> Result<report::Report> {
    let directory = tempfile::tempdir().context("no directory to work in")?;
    let bench = kind::Bench::open(wanted, kind, directory.path())?;
    let measured = all(wanted, &bench, directory.path()).await;
    let left = bench.leave().await;
    let report = measured?;
    left?;
    Ok(report)
}

async fn all(wanted: &Instances, bench: &kind::Bench, directory: &std::path::Path) -> Result<report::Report> {
    let release = app::seal(directory)?;
    let mut rounds = Vec::new();
    for number in 0..wanted.rounds {
        let spec = app::spec(&format!("e-{number}-0"), &release, wanted.limit_mib, bench.image.clone())?;
        rounds
            .push(round::run(bench, &spec).await.with_context(|| format!("{} round {number}", bench.kind))?);
        eprintln!("{}: round {} of {}", bench.kind, number + 1, wanted.rounds);
    }
    let fit = fit::check(wanted, bench, &release).await?;
    Ok(report::Report::new(bench, wanted.rounds, rounds, fit, wanted.memory_mib))
}
