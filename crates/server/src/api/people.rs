//! Routes about the server: who may use it and with what, whether its mail leaves, what its host can do.

use super::{
    Caller, Problem, Web,
    access::way_word,
    input::{Input, Named},
};
use axum::{Json, extract::State, http::StatusCode};
use teal_core::api::{
    Accepted, ErrorView, FindingView, KeyRequest, KeyView, NewToken, TokenRequest, TokenView, UserRequest,
    UserView, WhoAmI,
};

/// Whose token this is.
#[utoipa::path(get, path = "/whoami", tag = "server",
    responses((status = 200, body = WhoAmI), (status = "default", body = ErrorView)))]
pub(super) async fn whoami(caller: Caller) -> Result<Json<WhoAmI>, Problem> {
    let way = way_word(caller.who.way).to_owned();
    let role = caller.who.rights.on_server();
    Ok(Json(WhoAmI { user: caller.who.user, way, token: caller.token, role }))
}

/// All users.
#[utoipa::path(get, path = "/users", tag = "people",
    responses((status = 200, body = Vec<UserView>), (status = "default", body = ErrorView)))]
pub(super) async fn users(State(web): State<Web>) -> Result<Json<Vec<UserView>>, Problem> {
    Ok(Json(web.platform.users().await?))
}

/// Adds a user, or changes the mail address or the role of one.
#[utoipa::path(post, path = "/users", tag = "people", request_body = UserRequest,
    responses((status = 200, body = UserView), (status = "default", body = ErrorView)))]
pub(super) async fn set_user(
    State(web): State<Web>,
    caller: Caller,
    Input(user): Input<UserRequest>,
) -> Result<Json<UserView>, Problem> {
    Ok(Json(web.platform.set_user(&caller.who, user).await?))
}

/// Removes a user with their tokens and keys; the last one stays.
#[utoipa::path(delete, path = "/users/{name}", tag = "people", params(("name" = String, Path, description = "The login name")),
    responses((status = 204), (status = "default", body = ErrorView)))]
pub(super) async fn remove_user(
    State(web): State<Web>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    web.platform.remove_user(&caller.who, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Your tokens, and everybody's for an administrator, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "people",
    responses((status = 200, body = Vec<TokenView>), (status = "default", body = ErrorView)))]
pub(super) async fn tokens(State(web): State<Web>, caller: Caller) -> Result<Json<Vec<TokenView>>, Problem> {
    Ok(Json(web.platform.tokens(&caller.who).await?))
}

/// Makes a token. Its secret is in this answer and never again.
#[utoipa::path(post, path = "/tokens", tag = "people", request_body = TokenRequest,
    responses((status = 201, body = NewToken), (status = "default", body = ErrorView)))]
pub(super) async fn create_token(
    State(web): State<Web>,
    caller: Caller,
    Input(new): Input<TokenRequest>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
    Ok((StatusCode::CREATED, Json(web.platform.create_token(&caller.who, new).await?)))
}

/// Ends a token, and every session of the console that began with it.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "people", params(("id" = String, Path, description = "The token's id")),
    responses((status = 204), (status = "default", body = ErrorView)))]
pub(super) async fn remove_token(
    State(web): State<Web>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<StatusCode, Problem> {
    web.platform.remove_token(&caller.who, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Your SSH keys, and everybody's for an administrator.
#[utoipa::path(get, path = "/keys", tag = "people",
    responses((status = 200, body = Vec<KeyView>), (status = "default", body = ErrorView)))]
pub(super) async fn keys(State(web): State<Web>, caller: Caller) -> Result<Json<Vec<KeyView>>, Problem> {
    Ok(Json(web.platform.keys(&caller.who).await?))
}

/// Registers an SSH public key for the asking user.
#[utoipa::path(post, path = "/keys", tag = "people", request_body = KeyRequest,
    responses((status = 201, body = KeyView), (status = "default", body = ErrorView)))]
pub(super) async fn add_key(
    State(web): State<Web>,
    caller: Caller,
    Input(KeyRequest { name, key }): Input<KeyRequest>,
) -> Result<(StatusCode, Json<KeyView>), Problem> {
    Ok((StatusCode::CREATED, Json(web.platform.add_key(&caller.who, &name, &key).await?)))
}

/// Removes an SSH key.
#[utoipa::path(delete, path = "/keys/{fingerprint}", tag = "people",
    params(("fingerprint" = String, Path, description = "`SHA256:…`, its `/` and `+` percent-encoded")),
    responses((status = 204), (status = "default", body = ErrorView)))]
pub(super) async fn remove_key(
    State(web): State<Web>,
    caller: Caller,
    Named(fingerprint): Named<String>,
) -> Result<StatusCode, Problem> {
    web.platform.remove_key(&caller.who, &fingerprint).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test mail to the asking user. The answer says what the mail server said.
#[utoipa::path(post, path = "/notify/test", tag = "server",
    responses((status = 200, body = Accepted), (status = "default", body = ErrorView)))]
pub(super) async fn test_mail(State(web): State<Web>, caller: Caller) -> Result<Json<Accepted>, Problem> {
    Ok(Json(web.platform.test_mail(&caller.who).await?))
}

/// What this host can do, with remedies.
#[utoipa::path(get, path = "/doctor", tag = "server",
    responses((status = 200, body = Vec<FindingView>), (status = "default", body = ErrorView)))]
pub(super) async fn doctor(State(web): State<Web>) -> Result<Json<Vec<FindingView>>, Problem> {
    Ok(Json(web.platform.doctor().await?))
}
