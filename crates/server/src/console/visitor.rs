//! Who looks at a page: somebody with a session, or they are sent to log in. It must never let a form through without its CSRF token.

use super::session::Session;
use crate::{
    api::{Caller, Problem, Web, no_csrf, session_of},
    platform::Principal,
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};

/// Somebody who logged in.
pub(crate) struct Visitor {
    pub(crate) caller: Caller,
    session: Session,
    /// What the forms of the page send along.
    pub(crate) csrf: String,
}

impl Visitor {
    /// Who it is.
    pub(crate) fn who(&self) -> &Principal {
        &self.caller.who
    }

    /// Refuses a form that no page of this session made.
    pub(crate) fn check(&self, web: &Web, csrf: &str) -> Result<(), Refusal> {
        if web.sessions.csrf_matches(&self.session, csrf) { Ok(()) } else { Err(no_csrf().into()) }
    }
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Refusal> {
        let Some((caller, session)) = session_of(web, &parts.headers).await? else {
            return Err(Refusal::Elsewhere(Box::new(to_login(parts))));
        };
        let csrf = web.sessions.csrf(&session);
        Ok(Self { caller, session, csrf })
    }
}

/// A page that is not shown: a problem, or another page instead.
pub(crate) enum Refusal {
    Problem(Box<Problem>),
    Elsewhere(Box<Response>),
}

impl<E: Into<Problem>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Problem(Box::new(error.into()))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => {
                let mut response = (problem.status, Html(super::pages::problem(&problem))).into_response();
                if let Some(seconds) = problem.retry_after_s {
                    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                }
                response
            }
            Self::Elsewhere(response) => *response,
        }
    }
}

fn to_login(parts: &Parts) -> Response {
    let page = parts.uri.path_and_query().map_or("/", |page| page.as_str());
    if parts.headers.contains_key("hx-request") || says(&parts.headers, header::ACCEPT, "text/event-stream") {
        // A script asked: the page that it runs in is what has to go.
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", "/login")]).into_response();
    }
    let linked = says(&parts.headers, "sec-fetch-site", "cross-site");
    if linked && parts.method.is_safe() {
        // The cookie is strict: a browser that follows a link in a mail leaves it at home, and brings it when we ask once more.
        return Html(super::pages::once_more(page)).into_response();
    }
    let next = if parts.method.is_safe() { page } else { "/" };
    Redirect::to(&format!("/login?next={}", encode(next))).into_response()
}

fn says(headers: &HeaderMap, name: impl header::AsHeaderName, word: &str) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(word))
}

/// Percent-encodes everything that means something in a query.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Where to go after the login: a page of this console, whatever the link said.
pub(crate) fn safe_next(next: &str) -> &str {
    let ours = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t']);
    if ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_leads_to_pages_of_this_console_only() {
        assert_eq!(safe_next("/apps/shop?after=1"), "/apps/shop?after=1");
        for bad in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example"] {
            assert_eq!(safe_next(bad), "/", "{bad}");
        }
    }

    #[test]
    fn what_follows_the_login_stays_one_parameter() {
        assert_eq!(encode("/apps/shop?after=1&x=é"), "/apps/shop%3Fafter%3D1%26x%3D%C3%A9");
    }
}
