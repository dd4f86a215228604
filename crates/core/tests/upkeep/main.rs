//! Rollouts in a world that crashes between any two steps, whose deployments answer as they like, and whose users push, stop, pin and give orders meanwhile.
//!
//! `TEAL_SEEDS=n` sets the number of random runs, `TEAL_SEED=n` runs one again and prints its story.

#![allow(
    clippy::disallowed_methods,
    reason = "the number of runs and the seed come from the environment; core itself has none"
)]
#![allow(clippy::print_stderr, reason = "a seed that is run again tells its story")]

#[path = "../simulation/rng.rs"]
mod rng;

mod random;
mod stories;
mod world;
