//! The route, computed from the rows: the commit that gives a deployment its turn *is* the cut-over.

use super::{app::Rows, environment::Environment};
use crate::{
    id::EnvironmentId,
    route::{Absent, AppRoute, Target},
};

/// Where the app's traffic goes; `None`: the app is not in the table (it is deleted).
#[must_use]
pub fn route(rows: &Rows) -> Option<AppRoute> {
    if rows.app.deleted.is_some() {
        return None;
    }
    let running = rows.live().filter(|_| rows.app.stopped.is_none());
    let live = running.and_then(target);
    let standby = live.as_ref().and_then(|_| rows.standby()).and_then(target);
    let absent = live.is_none().then(|| absent(rows));
    let settings = &rows.app.settings;
    Some(AppRoute {
        name: rows.app.name.clone(),
        domains: rows.app.domains.clone(),
        force_https: settings.force_https,
        sticky_sessions: settings.sticky_sessions,
        max_requests: settings.max_requests,
        max_requests_per_client: settings.max_requests_per_client,
        tcp_port: settings.tcp_port,
        tls_passthrough: settings.tls_passthrough,
        live,
        standby,
        absent,
    })
}

/// Does this route send traffic to that environment, be it as the standby?
#[must_use]
pub fn mentions(route: Option<&AppRoute>, environment: &EnvironmentId) -> bool {
    let Some(route) = route else { return false };
    [&route.live, &route.standby].into_iter().flatten().any(|target| target.environment == *environment)
}

fn target(environment: &Environment) -> Option<Target> {
    environment.serves().then(|| Target {
        environment: environment.id.clone(),
        colour: environment.colour,
        instances: environment.backends(),
    })
}

fn absent(rows: &Rows) -> Absent {
    if rows.deployments.iter().any(|d| d.phase.is_attempt()) {
        Absent::Starting
    } else if rows.app.stopped.is_some() {
        Absent::Stopped
    } else if rows.live().is_some() {
        Absent::Starting
    } else {
        Absent::NeverDeployed
    }
}
