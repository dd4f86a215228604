//! Teal's pure heart: the deployment machine, the route table, and the types that processes share.
//!
//! Nothing in this crate may touch a clock, a file, a socket or a thread: decisions are pure functions of rows and a
//! given instant, so that the simulation can try every order of events. Keep its dependencies light.

pub mod access;
pub mod agent;
pub mod api;
pub mod certificate;
pub mod control;
pub mod cron;
pub mod deploy;
pub mod domain;
pub mod engine;
pub mod error;
pub mod histogram;
pub mod hook;
pub mod id;
pub mod image;
pub mod machine;
pub mod metrics;
pub mod role;
pub mod route;
pub mod sample;
pub mod time;
pub mod traffic;
pub mod upkeep;
pub mod worker;
