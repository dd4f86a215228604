//! Routes about one deployment: what became of it, and its log, read or followed.

use super::{
    Caller, Problem, Web,
    input::{Asked, TheApp, TheDeployment},
    stream,
};
use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use teal_core::{
    api::{DeploymentView, ErrorView, LogView},
    id::DeploymentId,
};

/// The most lines that one answer holds.
const MAX_LINES: usize = 10_000;

/// One deployment: its phases, its verdict, its failure.
#[utoipa::path(get, path = "/apps/{name}/deployments/{id}", tag = "deployments",
    params(("name" = String, Path, description = "The app's name"), ("id" = String, Path, description = "The deployment's id")),
    responses((status = 200, body = DeploymentView), (status = "default", body = ErrorView)))]
pub(super) async fn show(
    State(web): State<Web>,
    TheApp(app): TheApp,
    TheDeployment(deployment): TheDeployment,
) -> Result<Json<DeploymentView>, Problem> {
    Ok(Json(web.platform.deployment(&app, &deployment).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lines {
    after: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

/// The deployment's log, oldest line first.
///
/// With `Accept: text/event-stream` the lines come as they are written, each as an event `line` whose id is its number, from those
/// after `Last-Event-ID` or `after`; without either from the first. The stream ends with an event `end` that carries the deployment
/// with its verdict, unless `follow=true`: then it goes on with what its instances write. It ends with `gone` if the app is deleted.
#[utoipa::path(get, path = "/apps/{name}/deployments/{id}/log", tag = "deployments",
    params(("name" = String, Path, description = "The app's name"), ("id" = String, Path, description = "The deployment's id"),
        ("after" = Option<u64>, Query, description = "Only lines with a greater number"),
        ("limit" = Option<u32>, Query, description = "How many; 1000 without it, at most 10000; ignored by a stream"),
        ("follow" = Option<bool>, Query, description = "A stream goes on after the verdict"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Where a stream goes on")),
    responses((status = 200, content((Vec<LogView> = "application/json"), (String = "text/event-stream"))),
        (status = "default", body = ErrorView)))]
pub(super) async fn log(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    TheDeployment(deployment): TheDeployment,
    Asked(lines): Asked<Lines>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Whether it is this app's deployment, the platform knows; the log does not.
    web.platform.deployment(&app, &deployment).await?;
    if stream::is_wanted(&headers) {
        let after = stream::last_event_id(&headers)?.or(lines.after).unwrap_or(0);
        return stream::log(&web, caller.proof, app, deployment, after, lines.follow);
    }
    let limit = lines.limit.unwrap_or(1000).clamp(1, MAX_LINES);
    Ok(Json(read(&web, &deployment, lines.after.unwrap_or(0), limit).await?).into_response())
}

/// Reads lines of a log away from the threads that serve requests.
pub(crate) async fn read(
    web: &Web,
    deployment: &DeploymentId,
    after: u64,
    limit: usize,
) -> Result<Vec<LogView>, Problem> {
    let (logs, deployment) = (web.platform.logs().clone(), deployment.clone());
    let lines = tokio::task::spawn_blocking(move || logs.read(&deployment, after, limit));
    let lines = lines.await.map_err(std::io::Error::other).and_then(|lines| lines);
    Ok(lines.map_err(|source| crate::platform::Error::Internal(format!("a log cannot be read: {source}")))?)
}
