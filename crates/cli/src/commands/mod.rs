//! User commands, one small file each. They ask the API and show the answer; they must never know a route or print by themselves.

pub(crate) mod act;
pub(crate) mod activity;
pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod deploy;
pub(crate) mod doctor;
pub(crate) mod domains;
pub(crate) mod env;
pub(crate) mod image;
pub(crate) mod keys;
pub(crate) mod link;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod maintenance;
pub(crate) mod man;
pub(crate) mod members;
pub(crate) mod metrics;
pub(crate) mod notify;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod top;
pub(crate) mod users;
pub(crate) mod wait;
pub(crate) mod webhooks;
