//! The control plane's own series: apps, environments and deployments as the store has them.

use super::{
    Facts,
    page::{Kind, Page},
};
use std::collections::BTreeMap;
use teal_core::deploy::{Role, Rows};

/// Phases of deployments that are not over.
const PHASES: [&str; 7] = ["queued", "building", "ready", "starting", "checking", "held", "live"];
/// How deployments end.
const ENDS: [&str; 4] = ["ok", "failed", "cancelled", "superseded"];

/// Writes them.
pub(crate) fn write(page: &mut Page, facts: &Facts<'_>) {
    page.family("teal_build_info", Kind::Gauge, "The version of the server; always 1.");
    page.sample("teal_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let up = u8::from(facts.router.is_some());
    page.single("teal_router_up", Kind::Gauge, "The router answers, and says what it counts.", up);
    if let Some(generation) = facts.generation {
        let help = "The generation of the router's table: grows with each change of a route.";
        page.single("teal_router_table_generation", Kind::Gauge, help, generation);
    }
    page.single("teal_apps", Kind::Gauge, "Apps on this server.", facts.apps.len());
    deployments(page, facts);
    environments(page, facts.apps);
}

fn deployments(page: &mut Page, facts: &Facts<'_>) {
    let under_way = facts.apps.iter().flat_map(|rows| &rows.deployments).filter(|d| !d.is_over());
    let mut phases: BTreeMap<&str, u64> = PHASES.map(|phase| (phase, 0)).into();
    for deployment in under_way {
        *phases.entry(deployment.phase.word()).or_default() += 1;
    }
    page.family("teal_deployments_under_way", Kind::Gauge, "Deployments that are not over, by phase.");
    for (phase, count) in phases {
        page.sample("teal_deployments_under_way", &[("phase", phase)], count);
    }
    let help = "Deployments that are over, by outcome, of apps that still exist.";
    page.family("teal_deployments_ended", Kind::Gauge, help);
    for outcome in ENDS {
        let count = facts.ends.get(outcome).copied().unwrap_or(0);
        page.sample("teal_deployments_ended", &[("outcome", outcome)], count);
    }
}

fn environments(page: &mut Page, apps: &[Rows]) {
    page.family(
        "teal_environment_info",
        Kind::Gauge,
        "What an environment is for, and what it runs; always 1.",
    );
    for rows in apps {
        for environment in &rows.environments {
            let labels = [
                ("app", rows.app.name.as_str()),
                ("environment", environment.id.as_str()),
                ("colour", environment.colour.word()),
                ("role", role(rows.role(&environment.id))),
                ("commit", environment.commit.id.as_str()),
            ];
            page.sample("teal_environment_info", &labels, 1);
        }
    }
}

/// The word for what an environment is for.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Candidate => "candidate",
        Role::Live => "live",
        Role::Parked => "parked",
        Role::Standby => "standby",
        Role::Spare => "spare",
        Role::Unwanted => "unwanted",
    }
}
