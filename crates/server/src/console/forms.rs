//! What the console's forms do: log in and out, start, cancel, redeploy. Each change needs the session's CSRF token, and ends with the
//! page that shows what became of it.

use super::{
    pages,
    visitor::{Refusal, Visitor, safe_next},
};
use crate::{
    api::{Peer, Problem, TheApp, TheDeployment, Web, authenticate},
    platform::Way,
};
use axum::{
    Form,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use std::collections::HashMap;
use teal_core::{api::Action, id::DeploymentId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    token: String,
    #[serde(default)]
    next: String,
}

/// Begins a session.
pub(crate) async fn login(
    State(web): State<Web>,
    peer: Peer,
    headers: HeaderMap,
    Form(Login { token, next }): Form<Login>,
) -> Result<Response, Refusal> {
    let next = safe_next(&next);
    // There is no session yet that a CSRF token could belong to: the browser says whose page the form was on.
    let site = headers.get("sec-fetch-site").map_or("same-origin", |site| site.to_str().unwrap_or("?"));
    if !["same-origin", "none"].contains(&site) {
        return Err(crate::api::no_csrf().into());
    }
    match authenticate(&web, peer, token.trim(), Way::Console).await {
        Ok(_) => {
            let cookie = web.sessions.begin(token.trim(), jiff::Timestamp::now());
            let cookie = cookie.map_err(|_| crate::platform::Error::Internal("no randomness".into()))?;
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
        }
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
            let page =
                pages::login_page(next, Some("No such token. It begins with teal_ and may have been ended."));
            Ok((StatusCode::UNAUTHORIZED, Html(page)).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plain {
    csrf: String,
}

/// Ends the session.
pub(crate) async fn logout(
    State(web): State<Web>,
    visitor: Visitor,
    Form(form): Form<Plain>,
) -> Result<Response, Refusal> {
    visitor.check(&web, &form.csrf)?;
    Ok(([(header::SET_COOKIE, web.sessions.end())], Redirect::to("/login")).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    csrf: String,
    commit: String,
    wakes: bool,
}

/// The button *Start last pushed commit*, confirmed. It starts what the page named, or nothing.
pub(crate) async fn start(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
    Path(path): Path<HashMap<String, String>>,
    Form(form): Form<Start>,
) -> Result<Redirect, Refusal> {
    visitor.check(&web, &form.csrf)?;
    let button = web.platform.status(&app).await?.button;
    if button.is_none_or(|button| button.commit.id != form.commit || button.wakes != form.wakes) {
        let message = "meanwhile something else went live: the button would start another commit now";
        let hint = "go back to the overview and look at what it names";
        return Err(Problem::new(StatusCode::CONFLICT, message, Some(hint)).into());
    }
    web.platform.act(visitor.who(), &app, Action::Wake).await?;
    Ok(to_overview(&path))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    csrf: String,
    deployment: DeploymentId,
}

/// Cancels the deployment that the page showed.
pub(crate) async fn cancel(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
    Path(path): Path<HashMap<String, String>>,
    Form(form): Form<Cancel>,
) -> Result<Redirect, Refusal> {
    visitor.check(&web, &form.csrf)?;
    let action = Action::Cancel { deployment: Some(form.deployment) };
    web.platform.act(visitor.who(), &app, action).await?;
    Ok(to_overview(&path))
}

/// Deploys the commit of an earlier deployment again.
pub(crate) async fn redeploy(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
    TheDeployment(deployment): TheDeployment,
    Path(path): Path<HashMap<String, String>>,
    Form(form): Form<Plain>,
) -> Result<Redirect, Refusal> {
    visitor.check(&web, &form.csrf)?;
    let commit = web.platform.deployment(&app, &deployment).await?.commit;
    let commit = commit.ok_or_else(|| Problem::invalid("this deployment has no commit to deploy again"))?;
    web.platform.act(visitor.who(), &app, Action::Redeploy { commit: commit.id }).await?;
    Ok(to_overview(&path))
}

pub(crate) fn to_overview(path: &HashMap<String, String>) -> Redirect {
    let name = path.get("name").map_or("", String::as_str);
    Redirect::to(&format!("/apps/{name}"))
}
