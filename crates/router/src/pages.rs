//! The router's own pages: small, self-contained, and honest about what is wrong. Plain text unless the client asks for HTML.

use crate::{body::Answer, headers::Refusal};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use teal_core::route::Absent;

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For programs and terminals.
    Text,
    /// For browsers.
    Html,
}

impl Form {
    /// The form that these request headers ask for.
    pub(crate) fn asked(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        let html = lines.flat_map(|line| line.split(',')).any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/html")
        });
        if html { Self::Html } else { Self::Text }
    }
}

/// What the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// The request itself cannot be forwarded.
    Refused(Refusal),
    /// No app has this domain.
    Unknown(String),
    /// The app has no live environment.
    Absent(String, Option<Absent>),
    /// No instance took the request.
    Unreachable(String),
    /// The instance broke off before it answered.
    Broken(String),
    /// The instance did not answer in time.
    Slow(String),
    /// The environment was closed while the request was in flight.
    Closed(String),
    /// The client's own body broke off.
    Abandoned,
}

impl Page {
    fn status(&self) -> StatusCode {
        match self {
            Self::Refused(Refusal::Method) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Refused(_) | Self::Abandoned => StatusCode::BAD_REQUEST,
            Self::Unknown(_) | Self::Absent(_, Some(Absent::NeverDeployed)) => StatusCode::NOT_FOUND,
            Self::Absent(..) | Self::Closed(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable(_) | Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Refused(Refusal::NoHost) => "The request has no Host header.".into(),
            Self::Refused(Refusal::TwoHosts) => "The request names more than one host.".into(),
            Self::Refused(Refusal::BadHost) => "The request's Host header is not a host name.".into(),
            Self::Refused(Refusal::Method) => "CONNECT is not offered here.".into(),
            Self::Abandoned => "The request's body broke off.".into(),
            Self::Unknown(domain) => format!("No app has the domain {domain}."),
            Self::Absent(app, Some(Absent::NeverDeployed)) => {
                format!("{app} was never deployed. Push a commit to it: git push teal main.")
            }
            Self::Absent(app, Some(Absent::Stopped)) => format!("{app} is stopped."),
            Self::Absent(app, _) => format!("{app} is starting. Try again in a moment."),
            Self::Unreachable(app) => format!("No instance of {app} accepts connections."),
            Self::Broken(app) => format!("{app} closed the connection before it answered."),
            Self::Slow(app) => format!("{app} did not answer in time."),
            Self::Closed(app) => format!("This version of {app} was replaced before it answered. Try again."),
        }
    }

    fn retry_after(&self) -> bool {
        matches!(self, Self::Absent(_, None | Some(Absent::Starting)) | Self::Closed(_))
    }

    /// The whole response.
    pub(crate) fn answer(&self, form: Form) -> Response<Answer> {
        let status = self.status();
        let html = form == Form::Html;
        let text = if html { document(status, &self.sentence()) } else { self.sentence() + "\n" };
        let kind = if html { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
        let mut response = Response::new(Answer::Page(Full::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Self::Refused(_) | Self::Closed(_) | Self::Abandoned) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn document(status: StatusCode, sentence: &str) -> String {
    let sentence = sentence.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let reason = status.canonical_reason().unwrap_or_default();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{status}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1rem;\
         color:#123;background:#fff}}h1{{font-size:1.1rem;color:#0a7c7c}}@media(prefers-color-scheme:dark){{body{{color:#dee;\
         background:#122}}}}</style><h1>{} {reason}</h1><p>{sentence}</p></html>\n",
        status.as_u16()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_bring_markup_along() {
        assert!(!document(StatusCode::NOT_FOUND, "<script>").contains("<script>"));
    }

    #[test]
    fn only_a_starting_app_says_when_to_come_back() {
        let page = |absent| Page::Absent("shop".into(), Some(absent)).answer(Form::Text);
        assert!(page(Absent::Starting).headers().contains_key(header::RETRY_AFTER));
        assert!(!page(Absent::Stopped).headers().contains_key(header::RETRY_AFTER));
        assert_eq!(page(Absent::Stopped).status(), 503);
        assert_eq!(page(Absent::NeverDeployed).status(), 404);
    }

    #[test]
    fn the_client_chooses_the_form() {
        let mut asked = HeaderMap::new();
        let kind = |asked: &HeaderMap| {
            Page::Unknown("a".into()).answer(Form::asked(asked)).headers()["content-type"].clone()
        };
        assert_eq!(kind(&asked), "text/plain; charset=utf-8");
        asked.insert("accept", HeaderValue::from_static("text/html,application/xhtml+xml;q=0.9"));
        assert_eq!(kind(&asked), "text/html; charset=utf-8");
    }
}
