//! Routes about maintenance: how far it is, orders, and apps that are left alone.

use super::{
    Caller, Problem, Web,
    input::{Input, TheApp},
};
use axum::{Json, extract::State, http::StatusCode};
use teal_core::api::{Accepted, ErrorView, MaintenanceRequest, MaintenanceView, PinRequest, PinView};

/// The image that pushes are built on, the window, the newest rollout with its apps, and the pins.
#[utoipa::path(get, path = "/maintenance", tag = "maintenance",
    responses((status = 200, body = MaintenanceView), (status = "default", body = ErrorView)))]
pub(super) async fn show(State(web): State<Web>) -> Result<Json<MaintenanceView>, Problem> {
    Ok(Json(web.platform.maintenance().await?))
}

/// Starts a rollout to the present image without waiting for the window, goes on after a halt, or ends it.
#[utoipa::path(post, path = "/maintenance/actions", tag = "maintenance", request_body = MaintenanceRequest,
    responses((status = 202, body = MaintenanceView), (status = "default", body = ErrorView)))]
pub(super) async fn act(
    State(web): State<Web>,
    caller: Caller,
    Input(MaintenanceRequest { action }): Input<MaintenanceRequest>,
) -> Result<(StatusCode, Json<MaintenanceView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(web.platform.maintain(&caller.who, action).await?)))
}

/// Leaves the app alone until a date: maintenance does not move it to another image.
#[utoipa::path(put, path = "/apps/{name}/pin", tag = "maintenance", request_body = PinRequest,
    params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = PinView), (status = "default", body = ErrorView)))]
pub(super) async fn pin(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    Input(PinRequest { until }): Input<PinRequest>,
) -> Result<Json<PinView>, Problem> {
    Ok(Json(web.platform.pin(&caller.who, &app, &until).await?))
}

/// Lets maintenance move the app again.
#[utoipa::path(delete, path = "/apps/{name}/pin", tag = "maintenance", params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = Accepted), (status = "default", body = ErrorView)))]
pub(super) async fn unpin(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
) -> Result<Json<Accepted>, Problem> {
    Ok(Json(web.platform.unpin(&caller.who, &app).await?))
}
