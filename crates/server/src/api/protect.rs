//! What every answer gets, whoever asked: security headers, no caching, and a limit on how long a request may take.

use super::Problem;
use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::time::Duration;

/// How long a request may take until its answer begins. A stream has begun by then, and may go on.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Nothing but Teal's own files: no inline script or style, no other host, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Sets the headers that no answer may lack. A handler may say otherwise about caching, and about nothing else.
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Ends the wait of whoever asked. What they asked for goes on where it changes something: neither a client that hangs up nor a
/// slow disk may stop a change half-way.
pub(crate) async fn time_limit(request: Request, next: Next) -> Response {
    let safe = request.method().is_safe();
    let answer = next.run(request);
    let answer = if safe {
        tokio::time::timeout(TIME_LIMIT, answer).await.ok()
    } else {
        tokio::time::timeout(TIME_LIMIT, tokio::spawn(answer)).await.ok().map(finished)
    };
    answer.unwrap_or_else(|| {
        let message = format!("no answer within {} s", TIME_LIMIT.as_secs());
        let hint = "it may still happen: look at the app's activity before you ask again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, message, Some(hint)).into_response()
    })
}

fn finished(joined: Result<Response, tokio::task::JoinError>) -> Response {
    joined.unwrap_or_else(|source| {
        tracing::error!(%source, "a handler ended without an answer");
        let message = "Teal could not do it, for a reason of its own";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message, None).into_response()
    })
}
