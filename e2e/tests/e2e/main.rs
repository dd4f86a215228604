//! End-to-end tests, one or more for each numbered behaviour: real git, real processes, real mail, a load client that counts every request.
//! They run one after another; each has a whole Teal of its own and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stdout, reason = "figures are printed, never asserted")]

mod bad_green;
mod broken;
mod browser;
mod build_cost;
mod cancel;
mod certificates;
mod crash;
mod drain;
mod edge;
mod figures;
mod first;
mod image;
mod kills;
mod leftovers;
mod mail;
mod maintenance;
mod newest;
mod pointer;
mod real;
mod release_command;
mod samples;
mod singletons;
mod streams;
mod switch;
mod tasks;
mod told;
mod truth;
mod types;
mod wake;

use anyhow::Result;
use serde_json::{Value, json};
use teal_core::api::StatusView;
use teal_e2e::{Behaviour, Host, Pushed, Repository, python_app, until};

/// Settings with which waiting is short.
fn quick() -> Value {
    json!({"bake_s": 1, "drain_s": 5, "off_after_s": 600, "upgraded_s": 60, "start_deadline_s": 60})
}

/// An app that is made and not deployed yet.
fn app(host: &Host, name: &str, config: Value) -> Result<Repository> {
    host.api().create(name, config, json!({}))?;
    Repository::new(host, name)
}

/// Commits and pushes the python application with this behaviour.
fn push(repository: &Repository, version: &str, behaviour: &Behaviour) -> Result<Pushed> {
    push_files(repository, version, &python_app(version, behaviour))
}

/// Commits and pushes these files.
fn push_files(repository: &Repository, version: &str, files: &[(String, String)]) -> Result<Pushed> {
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    repository.deploy(&files, version)
}

/// Pushes a version that must go live.
fn push_well(repository: &Repository, version: &str) -> Result<Pushed> {
    let pushed = push(repository, version, &Behaviour::Good)?;
    assert!(pushed.ok, "{version} did not go live:\n{}", pushed.output);
    Ok(pushed)
}

/// What the edge answers with: the version, or the status if it is not 200.
fn served(host: &Host, app: &str) -> Result<String> {
    let (status, body) = host.visit(app, "/")?;
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    Ok(value["version"].as_str().map_or_else(|| status.to_string(), ToOwned::to_owned))
}

/// Waits until the status satisfies a condition.
fn until_status(
    host: &Host,
    app: &str,
    what: &str,
    condition: impl Fn(&StatusView) -> bool,
) -> Result<StatusView> {
    until(what, || host.api().status(app).ok().filter(|status| condition(status)))
}

/// At rest: nothing under way, nothing baking.
fn at_rest(status: &StatusView) -> bool {
    status.deploying.is_none() && status.live.as_ref().is_none_or(|live| !live.baking)
}
