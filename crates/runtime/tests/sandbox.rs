//! Sandboxes on the real kernel. Needs root, namespaces, `nft`, loop devices and python3; skipped loudly without root.
//!
//! Every test has its own data directory, subtree, pool and table, and looks at the end that nothing of it is left on the host.

#![allow(clippy::print_stderr, reason = "a skipped test and a measured figure must be seen")]

mod common;
#[path = "sandbox/image.rs"]
mod image;
#[path = "sandbox/isolation.rs"]
mod isolation;
#[path = "sandbox/life.rs"]
mod life;
#[path = "sandbox/limits.rs"]
mod limits;
#[path = "sandbox/neighbours.rs"]
mod neighbours;
#[path = "sandbox/recovery.rs"]
mod recovery;
#[path = "sandbox/rig.rs"]
mod rig;
#[path = "sandbox/trees.rs"]
mod trees;
#[path = "sandbox/workers.rs"]
mod workers;
