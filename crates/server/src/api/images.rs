//! Routes about images: the versions, the build that goes on, what a rebuild would change.

use super::{
    Caller, Problem, Web,
    input::{Asked, Input, Named},
};
use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use teal_core::{
    api::{
        ErrorView,
        image::{ImageBuildView, ImageCheckView, ImageDetails, ImageRequest, ImageView},
    },
    image::Change,
};

/// All versions of images, the newest first.
#[utoipa::path(get, path = "/images", tag = "images",
    responses((status = 200, body = Vec<ImageView>), (status = "default", body = ErrorView)))]
pub(super) async fn list(State(web): State<Web>) -> Result<Json<Vec<ImageView>>, Problem> {
    Ok(Json(web.platform.image_list().await?))
}

/// Begins to build an image, or follows the build of it that goes on. One is built at a time.
#[utoipa::path(post, path = "/images", tag = "images", request_body = ImageRequest,
    responses((status = 202, body = ImageBuildView), (status = "default", body = ErrorView)))]
pub(super) async fn build(
    State(web): State<Web>,
    caller: Caller,
    Input(ImageRequest { name }): Input<ImageRequest>,
) -> Result<(StatusCode, Json<ImageBuildView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(web.platform.build_image(&caller.who, &name)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    after: Option<u64>,
}

/// How far the build of an image is, or how the last one ended.
#[utoipa::path(get, path = "/images/build", tag = "images",
    params(("after" = Option<u64>, Query, description = "Only lines after so many; all without it")),
    responses((status = 200, body = ImageBuildView), (status = "default", body = ErrorView)))]
pub(super) async fn progress(
    State(web): State<Web>,
    Asked(asked): Asked<After>,
) -> Result<Json<ImageBuildView>, Problem> {
    Ok(Json(web.platform.image_build(asked.after.unwrap_or_default())?))
}

/// Ends the build that goes on. What it made is gone once its state is `cancelled`; one that was faster is `built`.
#[utoipa::path(delete, path = "/images/build", tag = "images",
    responses((status = 202, body = ImageBuildView), (status = "default", body = ErrorView)))]
pub(super) async fn cancel(
    State(web): State<Web>,
    caller: Caller,
) -> Result<(StatusCode, Json<ImageBuildView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(web.platform.cancel_image_build(&caller.who)?)))
}

/// Asks the host's apt what would change if the image were built again.
#[utoipa::path(post, path = "/images/check", tag = "images", request_body = ImageRequest,
    responses((status = 200, body = ImageCheckView), (status = "default", body = ErrorView)))]
pub(super) async fn check(
    State(web): State<Web>,
    Input(ImageRequest { name }): Input<ImageRequest>,
) -> Result<Json<ImageCheckView>, Problem> {
    Ok(Json(web.platform.check_image(&name).await?))
}

/// One version with all of its packages.
#[utoipa::path(get, path = "/images/{version}", tag = "images", params(("version" = String, Path, description = "The version")),
    responses((status = 200, body = ImageDetails), (status = "default", body = ErrorView)))]
pub(super) async fn show(
    State(web): State<Web>,
    Named(version): Named<String>,
) -> Result<Json<ImageDetails>, Problem> {
    Ok(Json(web.platform.image(&version).await?))
}

/// Removes a version that nothing runs on.
#[utoipa::path(delete, path = "/images/{version}", tag = "images", params(("version" = String, Path, description = "The version")),
    responses((status = 204), (status = "default", body = ErrorView)))]
pub(super) async fn remove(
    State(web): State<Web>,
    caller: Caller,
    Named(version): Named<String>,
) -> Result<StatusCode, Problem> {
    web.platform.remove_image(&caller.who, &version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How another version differs from this one.
#[utoipa::path(get, path = "/images/{version}/diff/{other}", tag = "images",
    params(("version" = String, Path, description = "The older version"), ("other" = String, Path, description = "The newer one")),
    responses((status = 200, body = Vec<Change>), (status = "default", body = ErrorView)))]
pub(super) async fn diff(
    State(web): State<Web>,
    Named((version, other)): Named<(String, String)>,
) -> Result<Json<Vec<Change>>, Problem> {
    Ok(Json(web.platform.image_diff(&version, &other)?))
}
