//! Repository chores, the same on every machine: `cargo xtask ci` is what CI runs and nothing else is.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person who started it")]

mod arrows;
mod ci;
mod fuzz;
mod image;
mod lanes;
mod mutants;
mod packages;
mod scan;
mod tidy;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask demo|ci|e2e|tidy|mutants|fuzz|scan|packages|image|figures|instances|bench|soak
  demo      installs what is missing, builds `teal` and runs `teal demo`; further arguments (--keep) are passed on
  ci        everything that must hold before a change lands; takes about 30 minutes on two cores
  e2e       its end-to-end tests alone, in two lanes
  tidy      house laws: headers, lengths, dependency arrows, licences, names in the documents
  mutants   deliberate bugs, each of which the machine's tests must catch
  fuzz      looks for bytes that break a check of what strangers send: fuzz TARGET [--minutes N]
  scan      the router's TLS as testssl.sh and sslyze see it
  packages  installs the Debian packages that the demo and the tests need (as root), or prints the line to run
  image     builds the image that tests run on into target/images (as root), unless it is there, and prints where
  figures   push to live, Teal's share of it, flip, wake, memory: measured on this machine with released programs
  instances boots, memory, sleep and wake of sandboxes and machines, and how many fit; further arguments (--rounds, --fit, --json) are passed on
  bench     the router beside nginx, haproxy and caddy; further arguments (--rounds, --only) are passed on
  soak      the simulation and the end-to-end tests with many more seeds and rounds";

fn main() -> Result<()> {
    let command = std::env::args().nth(1);
    match command.as_deref() {
        Some("demo") => ci::demo(),
        Some("ci") => ci::ci(),
        Some("e2e") => ci::end_to_end(),
        Some("tidy") => tidy::run(),
        Some("mutants") => mutants::run(),
        Some("fuzz") => fuzz::run(),
        Some("scan") => scan::run(),
        Some("packages") => packages::install(),
        Some("image") => image::run(),
        Some("figures") => ci::figures(),
        Some("instances") => ci::instances(),
        Some("bench") => ci::bench(),
        Some("soak") => ci::soak(),
        _ => bail!("{USAGE}"),
    }
}
