//! Routes about who may do something with an app.

use super::{
    Caller, Problem, Web,
    input::{Input, Named, TheApp},
};
use axum::{Json, extract::State};
use serde::Deserialize;
use teal_core::api::{ErrorView, MemberRequest, MemberView};

/// Who may do something with the app, by name.
#[utoipa::path(get, path = "/apps/{name}/members", tag = "people", params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = Vec<MemberView>), (status = "default", body = ErrorView)))]
pub(super) async fn list(
    State(web): State<Web>,
    TheApp(app): TheApp,
) -> Result<Json<Vec<MemberView>>, Problem> {
    Ok(Json(web.platform.members(&app).await?))
}

#[derive(Deserialize)]
pub(super) struct Member {
    user: String,
}

/// Gives a user a role in the app, or takes it away; answers who may do something with it now.
#[utoipa::path(put, path = "/apps/{name}/members/{user}", tag = "people", request_body = MemberRequest,
    params(("name" = String, Path, description = "The app's name"), ("user" = String, Path, description = "The user's name")),
    responses((status = 200, body = Vec<MemberView>), (status = "default", body = ErrorView)))]
pub(super) async fn set(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    Named(Member { user }): Named<Member>,
    Input(MemberRequest { role }): Input<MemberRequest>,
) -> Result<Json<Vec<MemberView>>, Problem> {
    Ok(Json(web.platform.set_member(&caller.who, &app, &user, role).await?))
}
