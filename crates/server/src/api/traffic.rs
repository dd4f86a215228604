//! Routes about what moves: rates for people, a page for Prometheus.

use super::{
    Caller, Problem, Web,
    input::{Asked, TheApp},
};
use crate::metrics::CONTENT_TYPE;
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::time::Duration;
use teal_core::{
    api::{ErrorView, MetricsView},
    traffic::TrafficView,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    span_ms: Option<u64>,
}

impl Span {
    fn duration(&self) -> Duration {
        Duration::from_millis(self.span_ms.unwrap_or(1000))
    }
}

/// What moves through all apps, by environment: rates and percentiles of the span of time that begins with the request.
#[utoipa::path(get, path = "/traffic", tag = "traffic",
    params(("span_ms" = Option<u64>, Query, description = "How long to look; 1000 without it, from 100 to 10000")),
    responses((status = 200, body = Vec<TrafficView>), (status = "default", body = ErrorView)))]
pub(super) async fn all_traffic(
    State(web): State<Web>,
    caller: Caller,
    Asked(span): Asked<Span>,
) -> Result<Json<Vec<TrafficView>>, Problem> {
    Ok(Json(web.platform.traffic(&caller.who, None, span.duration()).await?))
}

/// What moves through one app, by environment: rates and percentiles of the span of time that begins with the request.
#[utoipa::path(get, path = "/apps/{name}/traffic", tag = "traffic",
    params(("name" = String, Path, description = "The app's name"),
        ("span_ms" = Option<u64>, Query, description = "How long to look; 1000 without it, from 100 to 10000")),
    responses((status = 200, body = Vec<TrafficView>), (status = "default", body = ErrorView)))]
pub(super) async fn app_traffic(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    Asked(span): Asked<Span>,
) -> Result<Json<Vec<TrafficView>>, Problem> {
    Ok(Json(web.platform.traffic(&caller.who, Some(&app), span.duration()).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Over {
    window: Option<String>,
}

/// What one app did over the last hour, day or week, by colour, with the deployments in between.
#[utoipa::path(get, path = "/apps/{name}/metrics", tag = "traffic",
    params(("name" = String, Path, description = "The app's name"),
        ("window" = Option<String>, Query, description = "`hour` (by 10 s; without it this one), `day` (by 2 min) or `week` (by 15 min)")),
    responses((status = 200, body = MetricsView), (status = "default", body = ErrorView)))]
pub(super) async fn app_metrics(
    State(web): State<Web>,
    TheApp(app): TheApp,
    Asked(over): Asked<Over>,
) -> Result<Json<MetricsView>, Problem> {
    Ok(Json(web.platform.metrics(&app, over.window.as_deref().unwrap_or("hour")).await?))
}

/// Everything that is counted, in Prometheus's text format. Not part of the document: its form is Prometheus's.
pub(super) async fn metrics(State(web): State<Web>) -> Result<Response, Problem> {
    let page = web.platform.metrics_page().await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response())
}
