//! The vm runtime on this host: real machines of the image that `TEAL_IMAGE` names. Emulated, so that it can be tested everywhere.
//!
//! Every test has its own data directory, subtree, pool and table, and looks at the end that nothing of it is left on the host. Times are printed
//! (`cargo test -p teal-runtime --test vm -- --nocapture 2>&1 | grep figure`) and never judged.

#![allow(clippy::print_stderr, reason = "a skipped test and a measured figure must be seen")]

mod common;
#[path = "vm/isolation.rs"]
mod isolation;
#[path = "vm/life.rs"]
mod life;
#[path = "vm/neighbours.rs"]
mod neighbours;
#[path = "vm/proof.rs"]
mod proof;
#[path = "vm/recovery.rs"]
mod recovery;
#[path = "vm/rig.rs"]
mod rig;
#[path = "vm/sleep.rs"]
mod sleep;
