//! Routes about what an app is told: its variables, its domains, its settings.

use super::{
    Caller, Problem, Web,
    input::{Asked, Input, TheApp},
};
use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use teal_core::api::{Accepted, CertificateView, DomainChange, ErrorView, VariableView};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithValues {
    #[serde(default)]
    values: bool,
}

/// The names of the app's variables; their values only if asked for.
#[utoipa::path(get, path = "/apps/{name}/variables", tag = "settings",
    params(("name" = String, Path, description = "The app's name"), ("values" = Option<bool>, Query, description = "Show the secrets")),
    responses((status = 200, body = Vec<VariableView>), (status = "default", body = ErrorView)))]
pub(super) async fn variables(
    State(web): State<Web>,
    TheApp(app): TheApp,
    Asked(asked): Asked<WithValues>,
) -> Result<Json<Vec<VariableView>>, Problem> {
    Ok(Json(web.platform.variables(&app, asked.values).await?))
}

/// Sets variables (a text) and removes them (`null`). The answer says when it takes effect.
#[utoipa::path(patch, path = "/apps/{name}/variables", tag = "settings", request_body = BTreeMap<String, Option<String>>,
    params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = Accepted), (status = "default", body = ErrorView)))]
pub(super) async fn set_variables(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    Input(changes): Input<BTreeMap<String, Option<String>>>,
) -> Result<Json<Accepted>, Problem> {
    Ok(Json(web.platform.set_variables(&caller.who, &app, changes).await?))
}

/// Domains that reach the app: host names, wildcards, and either with a path.
#[utoipa::path(get, path = "/apps/{name}/domains", tag = "settings", params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = Vec<String>), (status = "default", body = ErrorView)))]
pub(super) async fn domains(
    State(web): State<Web>,
    TheApp(app): TheApp,
) -> Result<Json<Vec<String>>, Problem> {
    Ok(Json(web.platform.app(&app).await?.domains))
}

/// The certificates of the app's domains, and what to do where one is missing.
#[utoipa::path(get, path = "/apps/{name}/certificates", tag = "settings", params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = Vec<CertificateView>), (status = "default", body = ErrorView)))]
pub(super) async fn certificates(
    State(web): State<Web>,
    TheApp(app): TheApp,
) -> Result<Json<Vec<CertificateView>>, Problem> {
    Ok(Json(web.platform.certificates(&app).await?))
}

/// Adds and removes domains, at once. The answer holds all of them.
#[utoipa::path(patch, path = "/apps/{name}/domains", tag = "settings", request_body = DomainChange,
    params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = Vec<String>), (status = "default", body = ErrorView)))]
pub(super) async fn set_domains(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    Input(DomainChange { add, remove }): Input<DomainChange>,
) -> Result<Json<Vec<String>>, Problem> {
    Ok(Json(web.platform.set_domains(&caller.who, &app, add, remove).await?))
}

/// The app's settings, all of them, with the defaults filled in.
#[utoipa::path(get, path = "/apps/{name}/config", tag = "settings", params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = BTreeMap<String, Value>), (status = "default", body = ErrorView)))]
pub(super) async fn config(
    State(web): State<Web>,
    TheApp(app): TheApp,
) -> Result<Json<BTreeMap<String, Value>>, Problem> {
    Ok(Json(web.platform.app_config(&app).await?))
}

/// Changes settings by name; `null` goes back to the default. An unknown name is refused. The answer holds all of them.
#[utoipa::path(patch, path = "/apps/{name}/config", tag = "settings", request_body = BTreeMap<String, Value>,
    params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = BTreeMap<String, Value>), (status = "default", body = ErrorView)))]
pub(super) async fn set_config(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    Input(changes): Input<BTreeMap<String, Value>>,
) -> Result<Json<BTreeMap<String, Value>>, Problem> {
    Ok(Json(web.platform.set_app_config(&caller.who, &app, changes).await?))
}
