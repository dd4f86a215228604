//! Answers that say no: one type, [`Problem`], with the right status and an `ErrorView` that a person can act on.
//!
//! Teal's own trouble goes to the operator's log; the user reads only that there was some.

use crate::platform;
use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use teal_core::api::ErrorView;

/// Why a request was not answered as asked.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) view: ErrorView,
    /// Seconds after which it may be tried again.
    pub(crate) retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem with its fixed word, which follows from the status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>, hint: Option<&str>) -> Self {
        let view =
            ErrorView { kind: kind(status).into(), message: message.into(), hint: hint.map(str::to_owned) };
        Self { status, view, retry_after_s: None }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message, None)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message, None)
    }

    pub(crate) fn unauthorised(message: impl Into<String>) -> Self {
        let hint = "send `Authorization: Bearer teal_…`, or log in to the console";
        Self::new(StatusCode::UNAUTHORIZED, message, Some(hint))
    }

    pub(crate) fn too_many(message: impl Into<String>, retry_after_s: u64) -> Self {
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, message, None);
        problem.view.hint = Some(format!("try again in {retry_after_s} s"));
        problem.retry_after_s = Some(retry_after_s);
        problem
    }
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "unauthorised",
        403 => "forbidden",
        404 => "not_found",
        405 => "not_allowed",
        409 => "refused",
        413 => "too_large",
        400 | 415 | 422 => "invalid",
        429 => "too_many",
        408 | 503 => "timeout",
        _ => "internal",
    }
}

impl From<platform::Error> for Problem {
    fn from(error: platform::Error) -> Self {
        use platform::Error;
        let (status, message, hint) = match error {
            Error::NotFound(message) => (StatusCode::NOT_FOUND, message, None),
            Error::Invalid { message, hint } => (StatusCode::UNPROCESSABLE_ENTITY, message, hint),
            Error::Refused { message, hint } => (StatusCode::CONFLICT, message, hint),
            Error::Forbidden(message) => (StatusCode::FORBIDDEN, message, None),
            Error::Internal(source) => {
                tracing::error!(%source, "a request failed for a reason of the server's own");
                let message = String::from("Teal could not do it, for a reason of its own");
                let hint = String::from("the server's log says why; `teal doctor` looks at the host");
                (StatusCode::INTERNAL_SERVER_ERROR, message, Some(hint))
            }
        };
        Self::new(status, message, hint.as_deref())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.view)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"teal\""));
        }
        response
    }
}

/// What is served where nothing is: JSON under `/api`, a page elsewhere.
pub(crate) async fn no_such_page(request: Request) -> Response {
    let path = request.uri().path();
    let problem = Problem::not_found(format!("there is nothing at {}", shorten(path)));
    answer(path, problem)
}

/// What is served where the path is right and the method is not.
pub(crate) async fn no_such_method(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!("{} does not answer {}", shorten(path), request.method());
    answer(path, Problem::new(StatusCode::METHOD_NOT_ALLOWED, message, None))
}

fn answer(path: &str, problem: Problem) -> Response {
    if path.starts_with("/api/") {
        return problem.into_response();
    }
    (problem.status, Html(crate::console::pages::problem(&problem))).into_response()
}

fn shorten(path: &str) -> String {
    path.chars().take(100).collect()
}
