//! Who may ask for what: one line for every route of the API and the console. What has no line is refused to everybody, and `docs/people.md` holds
//! the same table for people (a test compares them). It must never look into a body: what depends on one is the platform's to refuse.

use super::{Problem, Web, input::Named};
use crate::platform::{Principal, no_such_app};
use axum::{
    extract::{FromRequestParts, MatchedPath},
    http::{Method, StatusCode, request::Parts},
};
use serde::Deserialize;
use teal_core::role::Role::{self, Admin, Developer, Viewer};

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Somebody who is known: the answer holds what is theirs.
    Known,
    /// That role in the app that the path names.
    App(Role),
    /// That role on the server.
    Server(Role),
}
use Need::{App, Known, Server};

/// Everything that can be asked for.
pub(super) const RULES: &[(&str, &str, Need)] = &[
    ("GET", "/api/v1/whoami", Known),
    ("GET", "/api/v1/apps", Known),
    ("POST", "/api/v1/apps", Server(Developer)),
    ("GET", "/api/v1/apps/{name}", App(Viewer)),
    ("DELETE", "/api/v1/apps/{name}", App(Admin)),
    ("GET", "/api/v1/apps/{name}/status", App(Viewer)),
    ("GET", "/api/v1/apps/{name}/activity", App(Viewer)),
    ("GET", "/api/v1/apps/{name}/events", App(Viewer)),
    ("POST", "/api/v1/apps/{name}/actions", App(Developer)),
    ("GET", "/api/v1/apps/{name}/traffic", App(Viewer)),
    ("GET", "/api/v1/apps/{name}/metrics", App(Viewer)),
    ("GET", "/api/v1/apps/{name}/deployments/{id}", App(Viewer)),
    ("GET", "/api/v1/apps/{name}/deployments/{id}/log", App(Viewer)),
    ("GET", "/api/v1/apps/{name}/variables", App(Developer)),
    ("PATCH", "/api/v1/apps/{name}/variables", App(Developer)),
    ("GET", "/api/v1/apps/{name}/domains", App(Viewer)),
    ("PATCH", "/api/v1/apps/{name}/domains", App(Developer)),
    ("GET", "/api/v1/apps/{name}/certificates", App(Viewer)),
    ("GET", "/api/v1/apps/{name}/config", App(Viewer)),
    ("PATCH", "/api/v1/apps/{name}/config", App(Developer)),
    ("PUT", "/api/v1/apps/{name}/pin", App(Developer)),
    ("DELETE", "/api/v1/apps/{name}/pin", App(Developer)),
    ("GET", "/api/v1/apps/{name}/members", App(Viewer)),
    ("PUT", "/api/v1/apps/{name}/members/{user}", App(Admin)),
    ("GET", "/api/v1/traffic", Known),
    ("GET", "/api/v1/users", Server(Viewer)),
    ("POST", "/api/v1/users", Server(Admin)),
    ("DELETE", "/api/v1/users/{name}", Server(Admin)),
    ("GET", "/api/v1/tokens", Known),
    ("POST", "/api/v1/tokens", Known),
    ("DELETE", "/api/v1/tokens/{id}", Known),
    ("GET", "/api/v1/keys", Known),
    ("POST", "/api/v1/keys", Known),
    ("DELETE", "/api/v1/keys/{fingerprint}", Known),
    ("GET", "/api/v1/audit", Server(Admin)),
    ("GET", "/api/v1/images", Server(Viewer)),
    ("POST", "/api/v1/images", Server(Admin)),
    ("GET", "/api/v1/images/build", Server(Viewer)),
    ("DELETE", "/api/v1/images/build", Server(Admin)),
    ("POST", "/api/v1/images/check", Server(Viewer)),
    ("GET", "/api/v1/images/{version}", Server(Viewer)),
    ("DELETE", "/api/v1/images/{version}", Server(Admin)),
    ("GET", "/api/v1/images/{version}/diff/{other}", Server(Viewer)),
    ("GET", "/api/v1/maintenance", Server(Viewer)),
    ("POST", "/api/v1/maintenance/actions", Server(Admin)),
    ("GET", "/api/v1/webhooks", Server(Admin)),
    ("POST", "/api/v1/webhooks", Server(Admin)),
    ("DELETE", "/api/v1/webhooks/{id}", Server(Admin)),
    ("POST", "/api/v1/webhooks/{id}/test", Server(Admin)),
    ("GET", "/api/v1/webhooks/{id}/deliveries", Server(Admin)),
    ("POST", "/api/v1/notify/test", Known),
    ("GET", "/api/v1/doctor", Server(Viewer)),
    ("GET", "/metrics", Server(Viewer)),
    ("GET", "/", Known),
    ("GET", "/list", Known),
    ("GET", "/changes", Known),
    ("GET", "/maintenance", Server(Viewer)),
    ("POST", "/maintenance", Server(Admin)),
    ("GET", "/maintenance/now", Server(Viewer)),
    ("GET", "/webhooks", Server(Admin)),
    ("POST", "/webhooks", Server(Admin)),
    ("GET", "/webhooks/{id}", Server(Admin)),
    ("POST", "/webhooks/{id}/test", Server(Admin)),
    ("POST", "/webhooks/{id}/remove", Server(Admin)),
    ("POST", "/apps/{name}/pin", App(Developer)),
    ("GET", "/login", Known),
    ("POST", "/login", Known),
    ("POST", "/logout", Known),
    ("GET", "/apps/{name}", App(Viewer)),
    ("GET", "/apps/{name}/now", App(Viewer)),
    ("GET", "/apps/{name}/changes", App(Viewer)),
    ("GET", "/apps/{name}/metrics", App(Viewer)),
    ("GET", "/apps/{name}/metrics/now", App(Viewer)),
    ("GET", "/apps/{name}/start", App(Developer)),
    ("POST", "/apps/{name}/start", App(Developer)),
    ("POST", "/apps/{name}/cancel", App(Developer)),
    ("GET", "/apps/{name}/deployments/{id}", App(Viewer)),
    ("POST", "/apps/{name}/deployments/{id}/redeploy", App(Developer)),
    ("GET", "/assets/{version}/{file}", Known),
    ("GET", "/favicon.ico", Known),
];

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// Refuses what this user may not ask for.
pub(super) async fn permit(web: &Web, who: &Principal, parts: &mut Parts) -> Result<(), Problem> {
    let path = MatchedPath::from_request_parts(parts, web).await.ok();
    // HEAD is GET without a body.
    let method = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    match need(method.as_str(), path) {
        Some(Known) => Ok(()),
        Some(Server(role)) => enough(who.rights.on_server(), role, "on this server"),
        Some(App(role)) => {
            let Named(Name { name }) = Named::from_request_parts(parts, web).await?;
            let held = who.rights.on(&web.platform.find_app(&name).await?);
            if held == Role::None {
                return Err(no_such_app(&name).into());
            }
            enough(held, role, "in this app")
        }
        // Nobody may do what nobody thought of. A method that the path does not answer is refused behind this.
        None if RULES.iter().any(|(_, known, _)| *known == path) => Ok(()),
        None => Err(Problem::new(StatusCode::FORBIDDEN, "nobody may ask for this", None)),
    }
}

fn need(method: &str, path: &str) -> Option<Need> {
    let rule = RULES.iter().find(|(known, of, _)| *known == method && *of == path);
    rule.map(|(_, _, need)| *need)
}

fn enough(held: Role, needed: Role, place: &str) -> Result<(), Problem> {
    if held >= needed {
        return Ok(());
    }
    let message = format!("this needs the role `{needed}` {place}, and you have `{held}`");
    Err(Problem::new(StatusCode::FORBIDDEN, message, Some("ask an administrator, or use another token")))
}
