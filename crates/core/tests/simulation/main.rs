//! The machine in a world that may crash before and after every call, answer "unknown", kill instances and reboot the host.
//!
//! Stories say what must come out; promises are checked at every instant and at rest; random runs find what nobody thought of.
//! `TEAL_SEEDS=n` sets the number of random runs, `TEAL_SEED=n` runs one again and prints its activity.

#![allow(
    clippy::disallowed_methods,
    reason = "the number of runs and the seed come from the environment; core itself has none"
)]
#![allow(clippy::print_stderr, reason = "a seed that is run again tells its story")]

mod crashes;
mod driver;
mod effects;
mod promises;
mod random;
mod rng;
mod stories;
mod tables;
mod world;
