//! Reads what a request says, strictly: unknown fields, wrong types and oversized bodies are refused in the words of `ErrorView`.

use super::{Problem, Web};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;
use teal_core::id::{AppId, DeploymentId};

/// How long a request's body may take to arrive.
const BODY_TIME_LIMIT: Duration = Duration::from_secs(20);

/// A JSON body.
pub(crate) struct Input<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // A form of another site cannot send this type without asking first, which keeps strangers out once more.
        if !is_json(request.headers()) {
            let message = "the body has to be JSON";
            let hint = "send `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, Some(hint)));
        }
        let body = tokio::time::timeout(BODY_TIME_LIMIT, Bytes::from_request(request, state))
            .await
            .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive", None))?
            .map_err(unread)?;
        let value = serde_json::from_slice(&body).map_err(|error| Problem::invalid(error.to_string()))?;
        Ok(Self(value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn unread(rejection: BytesRejection) -> Problem {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(status, format!("the body is larger than {} bytes", super::MAX_BODY), None);
    }
    Problem::new(StatusCode::BAD_REQUEST, "the body broke off", None)
}

/// The query's parameters.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::<T>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::invalid(rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// The parts of the path: percent signs are decoded, nothing else is checked.
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::<T>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::not_found(rejection.body_text()))?;
        Ok(Self(value))
    }
}

#[derive(Deserialize)]
struct AppName {
    name: String,
}

/// The app that the path names.
pub(crate) struct TheApp(pub(crate) AppId);

impl FromRequestParts<Web> for TheApp {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let Named(AppName { name }) = Named::from_request_parts(parts, web).await?;
        Ok(Self(web.platform.find_app(&name).await?))
    }
}

#[derive(Deserialize)]
struct Deployed {
    id: String,
}

/// The deployment that the path names. Whether it is the app's own, the platform knows.
pub(crate) struct TheDeployment(pub(crate) DeploymentId);

impl<S: Send + Sync> FromRequestParts<S> for TheDeployment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Named(Deployed { id }) = Named::from_request_parts(parts, state).await?;
        id.parse().map(Self).map_err(|_| Problem::not_found("there is no such deployment"))
    }
}
