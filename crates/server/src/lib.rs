//! Teal's control plane: git, builds, driver, API, console, mail, certificates.
//!
//! It may stop at any instant: traffic goes on, and the next start continues every deployment where it was. It must never hold a
//! decision that is not in the store, and nothing else may depend on this crate but the `teal` binary.

pub mod api;
pub mod appconfig;
pub mod build;
pub mod certificates;
pub mod config;
pub mod console;
pub mod crash;
pub mod diagnosis;
pub mod driver;
mod examine;
pub mod git;
pub mod images;
pub mod instancelog;
pub mod keeper;
pub mod log;
pub mod manifest;
mod metrics;
pub mod notify;
pub mod platform;
pub mod portrange;
pub mod probe;
pub mod release;
pub mod routerlink;
mod runtime;
mod sampler;
pub mod secrets;
mod serve;
mod start;
pub mod store;
mod switchreport;
pub mod upkeep;
pub mod world;

pub use examine::examine;
pub use start::{Error, Facts, run};
