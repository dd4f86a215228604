//! The bench of the router: Teal, nginx, haproxy, caddy and a bare relay, all up at once on one core, loaded from another one in turns, so
//! that whatever else the machine does falls on all of them; it touches nothing but loopback. And, by a command of its own, what instances cost. It prints
//! figures and judges nothing.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench talks to the person who started it")]

mod bare;
mod client;
mod cpu;
mod field;
mod idle;
mod instances;
mod load;
mod monotony;
mod peers;
mod rows;
mod switched;
mod switching;
mod table;
mod upstream;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

#[derive(Debug, Parser)]
#[command(about = "Measures the router beside nginx, haproxy and caddy, and what instances cost")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole bench.
    Run(Run),
    /// What instances cost: boots, memory, sleep and wake, and how many fit.
    Instances(instances::Instances),
    /// An upstream that answers with fixed bytes (started by the bench itself).
    #[command(hide = true)]
    Upstream {
        /// Where to listen.
        listen: SocketAddr,
    },
    /// A relay that copies bytes and parses nothing: the least that any proxy costs (started by the bench itself).
    #[command(hide = true)]
    Bare {
        /// Where to listen.
        listen: SocketAddr,
        /// Where to connect.
        upstream: SocketAddr,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench
  cargo xtask bench --rounds 3 --seconds 1 --only keep-alive")]
pub(crate) struct Run {
    /// The `teal` program.
    #[arg(long, default_value = "target/release/teal")]
    teal: PathBuf,
    /// Another `teal`, measured beside the first (an earlier build).
    #[arg(long)]
    against: Option<PathBuf>,
    /// Rounds; each measures every program once, in turns.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of load for each program in each round.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// Apps in each routing table.
    #[arg(long, default_value_t = 1_000)]
    apps: usize,
    /// Domains of each app.
    #[arg(long, default_value_t = 1)]
    domains: usize,
    /// How long the row with switches takes; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    switching: u64,
    /// Only rows whose name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// Without these programs (as `caddy,haproxy`).
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Run(run) => field::run(&run),
        Command::Instances(wanted) => instances::run(&wanted),
        Command::Upstream { listen } => upstream::serve(listen),
        Command::Bare { listen, upstream } => bare::serve(listen, upstream),
    }
}
