//! Routes about webhooks.

use super::{
    Caller, Problem, Web,
    input::{Input, Named},
};
use axum::{Json, extract::State, http::StatusCode};
use teal_core::api::{Accepted, ErrorView, HookDeliveryView, HookView, MadeHook, NewHook};

/// All webhooks, without their secrets and paths.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks",
    responses((status = 200, body = Vec<HookView>), (status = "default", body = ErrorView)))]
pub(super) async fn list(State(web): State<Web>) -> Result<Json<Vec<HookView>>, Problem> {
    Ok(Json(web.platform.hooks().await?))
}

/// Makes a webhook. Its secret is in this answer and never again.
#[utoipa::path(post, path = "/webhooks", tag = "webhooks", request_body = NewHook,
    responses((status = 201, body = MadeHook), (status = "default", body = ErrorView)))]
pub(super) async fn add(
    State(web): State<Web>,
    caller: Caller,
    Input(new): Input<NewHook>,
) -> Result<(StatusCode, Json<MadeHook>), Problem> {
    Ok((StatusCode::CREATED, Json(web.platform.add_hook(&caller.who, new).await?)))
}

/// Removes a webhook with what waits for it.
#[utoipa::path(delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 204), (status = "default", body = ErrorView)))]
pub(super) async fn remove(
    State(web): State<Web>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<StatusCode, Problem> {
    web.platform.remove_hook(&caller.who, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Posts a test now. The answer says what the receiver said.
#[utoipa::path(post, path = "/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 200, body = Accepted), (status = "default", body = ErrorView)))]
pub(super) async fn test(
    State(web): State<Web>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<Accepted>, Problem> {
    Ok(Json(web.platform.test_hook(&caller.who, &id).await?))
}

/// The last 100 deliveries, the newest first.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", tag = "webhooks", params(("id" = String, Path, description = "The webhook's id")),
    responses((status = 200, body = Vec<HookDeliveryView>), (status = "default", body = ErrorView)))]
pub(super) async fn deliveries(
    State(web): State<Web>,
    Named(id): Named<String>,
) -> Result<Json<Vec<HookDeliveryView>>, Problem> {
    Ok(Json(web.platform.hook_deliveries(&id).await?))
}
