//! What was asked for, written down behind every change, and told to administrators. It must never hold a body or a secret.

use super::{
    Caller, Peer, Problem, Web,
    access::{holder, way_word},
    input::Asked,
};
use crate::{store, world::now};
use axum::{
    Json,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use serde::Deserialize;
use teal_core::api::{AuditView, ErrorView};

/// The longest path that is written down, in characters.
const MAX_PATH: usize = 300;
/// The most that one answer holds.
const MAX_ROWS: u32 = 1000;

/// Stands around every route: what is no mere question is written down with its answer's status before the answer goes out.
pub(super) async fn write_down(State(web): State<Web>, peer: Peer, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let path: String = request.uri().path().chars().take(MAX_PATH).collect();
    let asked = format!("{} {path}", request.method());
    let holder = holder(&web, request.headers()).await;
    let answer = next.run(request).await;
    let asked = store::Asked {
        at: now(),
        user: holder.as_ref().map(|who| who.user.clone()),
        way: holder.map(|who| way_word(who.way)),
        address: peer.0.to_string(),
        request: crate::log::harmless(&asked),
        status: answer.status().as_u16(),
    };
    // What nobody could prove anything for says nothing, and a stranger must not fill the table.
    if asked.user.is_some() {
        web.platform.wrote_down(asked).await;
    }
    answer
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    before: Option<u64>,
    limit: Option<u32>,
}

/// Changes that were asked for by the API, the CLI and the console, and the status of each answer, the newest first. Pushes are in each app's events.
#[utoipa::path(get, path = "/audit", tag = "people",
    params(("before" = Option<u64>, Query, description = "Only those with a smaller number"),
        ("limit" = Option<u32>, Query, description = "How many; 100 without it, at most 1000")),
    responses((status = 200, body = Vec<AuditView>), (status = "default", body = ErrorView)))]
pub(super) async fn list(
    State(web): State<Web>,
    _: Caller,
    Asked(asked): Asked<Before>,
) -> Result<Json<Vec<AuditView>>, Problem> {
    let limit = asked.limit.unwrap_or(100).clamp(1, MAX_ROWS);
    Ok(Json(web.platform.audit(asked.before, limit).await?))
}
