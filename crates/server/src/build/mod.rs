//! From a commit to a sealed release: the tree of the commit, the plan for it, and the sandbox in which the plan is carried out.
//!
//! Code of users never runs outside an instance of the runtime, and nothing here may follow a link that such code made.
//! What is kept of a build is in [`crate::release`]; who wants it built, and when, is the driver's.

pub mod builder;
mod cache;
mod course;
pub mod detect;
#[cfg(test)]
mod detect_tests_support;
mod disk;
mod follow;
mod job;
mod kinds;
mod notes;
mod production;
mod quiet;
mod script;
pub mod site;
pub mod submodules;
#[cfg(test)]
mod table_tests;
mod tail;
pub mod tree;
pub mod variables;

pub use detect::{Plan, plan};
