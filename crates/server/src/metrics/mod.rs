//! What is counted, as Prometheus reads it (text format 0.0.4). Pure: rows and counts in, text out.
//!
//! An environment's series carry what never changes of it (app, environment, colour); what it is for at present is in `teal_environment_info`, so that a switch
//! breaks no series. No name, label or value holds a secret.

mod maintenance;
mod page;
mod platform;
mod router;

pub(crate) use maintenance::Maintenance;
pub(crate) use page::Page;
pub(crate) use platform::role;

use crate::store::Ends;
use std::collections::BTreeMap;
use teal_core::{deploy::Rows, id::EnvironmentId, metrics::Metrics};

/// The content type of the page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that there is to tell.
pub(crate) struct Facts<'a> {
    /// Every app.
    pub(crate) apps: &'a [Rows],
    /// Deployments that are over, by how they ended.
    pub(crate) ends: &'a Ends,
    /// What the router counts, if it answers.
    pub(crate) router: Option<&'a Metrics>,
    /// The generation of the router's table.
    pub(crate) generation: Option<u64>,
    /// The image, and how apps are moved to it.
    pub(crate) maintenance: &'a Maintenance,
}

/// Whose an environment is: the labels of its series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whose {
    pub(crate) app: String,
    pub(crate) colour: &'static str,
}

/// The page.
pub(crate) fn render(facts: &Facts<'_>) -> String {
    let mut page = Page::default();
    platform::write(&mut page, facts);
    maintenance::write(&mut page, facts);
    if let Some(metrics) = facts.router {
        router::edge(&mut page, metrics);
        router::environments(&mut page, metrics, &owners(facts.apps));
    }
    page.into_text()
}

/// Who has which environment. One that is gone has no row any more: its series end.
fn owners(apps: &[Rows]) -> BTreeMap<&EnvironmentId, Whose> {
    let mut owners = BTreeMap::new();
    for rows in apps {
        for environment in &rows.environments {
            let whose = Whose { app: rows.app.name.clone(), colour: environment.colour.word() };
            owners.insert(&environment.id, whose);
        }
    }
    owners
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::Read;
