//! Routes about an app as a whole: list, make, delete, status, activity, events, and what a user can ask of it.

use super::{
    Caller, Problem, Web,
    input::{Asked, Input, TheApp},
    stream,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use teal_core::api::{Accepted, Action, AppView, DeploymentView, ErrorView, EventView, NewApp, StatusView};

/// The most rows that one answer holds.
const MAX_ROWS: u32 = 1000;

/// All apps that you may see, by name.
#[utoipa::path(get, path = "/apps", tag = "apps",
    responses((status = 200, body = Vec<AppView>), (status = "default", body = ErrorView)))]
pub(super) async fn list(State(web): State<Web>, caller: Caller) -> Result<Json<Vec<AppView>>, Problem> {
    Ok(Json(web.platform.apps(&caller.who).await?))
}

/// Makes an app. Nothing runs until the first push.
#[utoipa::path(post, path = "/apps", tag = "apps", request_body = NewApp,
    responses((status = 201, body = AppView), (status = "default", body = ErrorView)))]
pub(super) async fn create(
    State(web): State<Web>,
    caller: Caller,
    Input(new): Input<NewApp>,
) -> Result<(StatusCode, Json<AppView>), Problem> {
    Ok((StatusCode::CREATED, Json(web.platform.create_app(&caller.who, new).await?)))
}

/// One app.
#[utoipa::path(get, path = "/apps/{name}", tag = "apps", params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = AppView), (status = "default", body = ErrorView)))]
pub(super) async fn show(State(web): State<Web>, TheApp(app): TheApp) -> Result<Json<AppView>, Problem> {
    Ok(Json(web.platform.app(&app).await?))
}

/// Deletes the app and everything that it has, in the background.
#[utoipa::path(delete, path = "/apps/{name}", tag = "apps", params(("name" = String, Path, description = "The app's name")),
    responses((status = 202, body = Accepted), (status = "default", body = ErrorView)))]
pub(super) async fn delete(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(web.platform.delete_app(&caller.who, &app).await?)))
}

/// What is head, live (as served by the router), spare, and under way.
#[utoipa::path(get, path = "/apps/{name}/status", tag = "apps", params(("name" = String, Path, description = "The app's name")),
    responses((status = 200, body = StatusView), (status = "default", body = ErrorView)))]
pub(super) async fn status(State(web): State<Web>, TheApp(app): TheApp) -> Result<Json<StatusView>, Problem> {
    Ok(Json(web.platform.status(&app).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    limit: Option<u32>,
}

/// The newest deployments, the newest first.
#[utoipa::path(get, path = "/apps/{name}/activity", tag = "apps",
    params(("name" = String, Path, description = "The app's name"),
        ("limit" = Option<u32>, Query, description = "How many; 20 without it, at most 1000")),
    responses((status = 200, body = Vec<DeploymentView>), (status = "default", body = ErrorView)))]
pub(super) async fn activity(
    State(web): State<Web>,
    TheApp(app): TheApp,
    Asked(newest): Asked<Newest>,
) -> Result<Json<Vec<DeploymentView>>, Problem> {
    let limit = newest.limit.unwrap_or(20).clamp(1, MAX_ROWS);
    Ok(Json(web.platform.activity(&app, limit).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    after: Option<u64>,
    limit: Option<u32>,
}

/// The app's events, oldest first: its timeline and its audit log.
///
/// With `Accept: text/event-stream` they come as they happen, each as an event `event` whose id is its number, from those after
/// `Last-Event-ID` or `after`; without either only new ones. The stream ends with an event `gone` if the app is deleted.
#[utoipa::path(get, path = "/apps/{name}/events", tag = "apps",
    params(("name" = String, Path, description = "The app's name"),
        ("after" = Option<u64>, Query, description = "Only events with a greater number"),
        ("limit" = Option<u32>, Query, description = "How many; 100 without it, at most 1000; ignored by a stream"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Where a stream goes on")),
    responses((status = 200, content((Vec<EventView> = "application/json"), (String = "text/event-stream"))),
        (status = "default", body = ErrorView)))]
pub(super) async fn events(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    Asked(asked): Asked<After>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if stream::is_wanted(&headers) {
        let after = match stream::last_event_id(&headers)?.or(asked.after) {
            Some(after) => after,
            None => web.platform.last_event(&app).await?,
        };
        return stream::events(&web, caller.proof, app, after);
    }
    let limit = asked.limit.unwrap_or(100).clamp(1, MAX_ROWS);
    Ok(Json(web.platform.events(&app, asked.after.unwrap_or(0), limit).await?).into_response())
}

/// Asks for a wake, a redeploy, a restart, another scale, a stop, a start, a cancellation, or lets a held deployment go live.
#[utoipa::path(post, path = "/apps/{name}/actions", tag = "apps", request_body = Action,
    params(("name" = String, Path, description = "The app's name")),
    responses((status = 202, body = Accepted), (status = "default", body = ErrorView)))]
pub(super) async fn act(
    State(web): State<Web>,
    caller: Caller,
    TheApp(app): TheApp,
    Input(given): Input<serde_json::Value>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let action = read_action(given).map_err(Problem::invalid)?;
    Ok((StatusCode::ACCEPTED, Json(web.platform.act(&caller.who, &app, action).await?)))
}

/// serde lets unknown fields pass beside the tag of a variant that has no fields; we do not.
fn read_action(given: serde_json::Value) -> Result<Action, String> {
    let extra = given.as_object().and_then(|fields| fields.keys().find(|name| *name != "action").cloned());
    let action = serde_json::from_value(given).map_err(|error| error.to_string())?;
    match (&action, extra) {
        (Action::Wake | Action::Restart | Action::Stop | Action::Start, Some(field)) => {
            Err(format!("unknown field `{field}`: this action takes none"))
        }
        _ => Ok(action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn actions_are_read_strictly() {
        assert_eq!(read_action(json!({"action": "wake"})), Ok(Action::Wake));
        assert_eq!(read_action(json!({"action": "cancel"})), Ok(Action::Cancel { deployment: None }));
        assert_eq!(
            read_action(json!({"action": "scale", "instances": 2})),
            Ok(Action::Scale { instances: 2 })
        );
        for bad in [
            json!({"action": "wake", "force": true}),
            json!({"action": "scale", "instances": 2, "force": true}),
            json!({"action": "scale"}),
            json!({"action": "explode"}),
            json!({}),
            json!([]),
            json!("wake"),
        ] {
            assert!(read_action(bad.clone()).is_err(), "{bad}");
        }
    }
}
