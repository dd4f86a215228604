//! The router's own pages: small, self-contained, and honest about what is wrong. Plain text unless the client asks for HTML.

use crate::{
    codec::{
        Name, Refusal,
        head::{Fields, line},
    },
    headers::status_line,
    text,
};
use memchr::memchr;
use teal_core::route::Absent;

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For programs and terminals.
    Text,
    /// For browsers.
    Html,
}

/// What a browser accepts.
const HTML: &[u8] = b"text/html";

impl Form {
    /// The form that these request headers ask for.
    pub(crate) fn asked(fields: Fields<'_>) -> Self {
        if fields.all(Name::Accept).any(takes_html) { Self::Html } else { Self::Text }
    }
}

/// HTML is one of the kinds in this line. Most that have it have it first: the rest is not looked at then.
fn takes_html(mut line: &[u8]) -> bool {
    loop {
        line = line.trim_ascii_start();
        if let Some((kind, rest)) = line.split_at_checked(HTML.len())
            && kind.eq_ignore_ascii_case(HTML)
            && matches!(rest.trim_ascii_start(), [] | [b';' | b',', ..])
        {
            return true;
        }
        let Some(comma) = memchr(b',', line) else { return false };
        line = &line[comma + 1..];
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
    /// The app has as many requests in flight as it may have.
    Crowded(String),
    /// The client has as many requests in flight at the app as it may have.
    Greedy(String),
    /// No instance took the request.
    Unreachable(String),
    /// The instance broke off before it answered.
    Broken(String),
    /// The instance's answer is not HTTP, or not certain to end where it says.
    Garbled(String),
    /// The instance did not answer in time.
    Slow(String),
    /// The environment was closed while the request was in flight.
    Closed(String),
    /// The client's own body broke off.
    Abandoned,
    /// The proof that a certificate authority asks for.
    Proof(String),
    /// The app wants to be asked by TLS only: here.
    Secure(String),
}

impl Page {
    /// The status that it is sent with.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Abandoned => 400,
            Self::Proof(_) => 200,
            Self::Secure(_) => 308,
            Self::Unknown(_) | Self::Absent(_, Some(Absent::NeverDeployed)) => 404,
            Self::Greedy(_) => 429,
            Self::Absent(..) | Self::Closed(_) | Self::Crowded(_) => 503,
            Self::Unreachable(_) | Self::Broken(_) | Self::Garbled(_) => 502,
            Self::Slow(_) => 504,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.sentence().into(),
            Self::Abandoned => "The request's body broke off.".into(),
            Self::Proof(answer) => answer.clone(),
            Self::Secure(to) => format!("This is at {to}"),
            Self::Unknown(domain) => format!("No app has the domain {domain}."),
            Self::Absent(app, Some(Absent::NeverDeployed)) => {
                format!("{app} was never deployed. Push a commit to it: git push teal main.")
            }
            Self::Absent(app, Some(Absent::Stopped)) => format!("{app} is stopped."),
            Self::Absent(app, _) => format!("{app} is starting. Try again in a moment."),
            Self::Crowded(app) => {
                format!(
                    "{app} has as many requests in flight as it may have (max_requests). Try again in a moment."
                )
            }
            Self::Greedy(app) => format!(
                "{app} has as many requests of yours in flight as one client may have (max_requests_per_client). Wait for them first."
            ),
            Self::Unreachable(app) => format!("No instance of {app} accepts connections."),
            Self::Broken(app) => format!("{app} closed the connection before it answered."),
            Self::Garbled(app) => format!("{app} answered with something that is not HTTP."),
            Self::Slow(app) => format!("{app} did not answer in time."),
            Self::Closed(app) => format!("This version of {app} was replaced before it answered. Try again."),
        }
    }

    fn retry_after(&self) -> bool {
        matches!(
            self,
            Self::Absent(_, None | Some(Absent::Starting))
                | Self::Closed(_)
                | Self::Crowded(_)
                | Self::Greedy(_)
        )
    }

    /// The connection ends behind it, whatever the client wants.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Closed(_) | Self::Abandoned)
    }

    /// Writes the whole response, without its body if the request was a HEAD.
    pub(crate) fn write(&self, out: &mut Vec<u8>, form: Form, close: bool, is_head: bool) {
        let status = self.status();
        let html = form == Form::Html && !matches!(self, Self::Proof(_));
        let body = if html { document(status, &self.sentence()) } else { self.sentence() + "\n" };
        status_line(out, status, reason(status));
        let kind = if html { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
        line(out, "Content-Type", kind.as_bytes());
        line(out, "Cache-Control", b"no-store");
        if let Self::Secure(to) = self {
            line(out, "Location", to.as_bytes());
        }
        if self.retry_after() {
            line(out, "Retry-After", b"1");
        }
        if close {
            line(out, "Connection", b"close");
        }
        out.extend_from_slice(b"Date: ");
        text::date(out);
        out.extend_from_slice(b"\r\nContent-Length: ");
        text::decimal(out, body.len() as u64);
        out.extend_from_slice(b"\r\n\r\n");
        if !is_head {
            out.extend_from_slice(body.as_bytes());
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

fn document(status: u16, sentence: &str) -> String {
    let sentence = sentence.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let reason = reason(status);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{status} {reason}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:18vh auto;padding:0 1rem;\
         color:#123;background:#fff}}h1{{font-size:1.1rem;color:#0a7c7c}}@media(prefers-color-scheme:dark){{body{{color:#dee;\
         background:#122}}}}</style><h1>{status} {reason}</h1><p>{sentence}</p></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::head::{MAX_LINES, Request, Space};

    fn page(page: &Page, form: Form) -> String {
        let mut out = Vec::new();
        page.write(&mut out, form, false, false);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn names_cannot_bring_markup_along() {
        assert!(!document(404, "<script>").contains("<script>"));
    }

    #[test]
    fn only_a_starting_app_says_when_to_come_back() {
        let absent = |why| page(&Page::Absent("shop".into(), Some(why)), Form::Text);
        assert!(absent(Absent::Starting).contains("Retry-After: 1\r\n"));
        assert!(!absent(Absent::Stopped).contains("Retry-After"));
        assert!(absent(Absent::Stopped).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(absent(Absent::NeverDeployed).starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn the_client_chooses_the_form() {
        let kind = |lines: &str| {
            let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
            let mut space = Space::new();
            let request = Request::parse(head.as_bytes(), &mut space, MAX_LINES).expect("legal");
            page(&Page::Unknown("a".into()), Form::asked(request.fields))
        };
        assert!(kind("").contains("Content-Type: text/plain; charset=utf-8\r\n"));
        let html = "Content-Type: text/html; charset=utf-8\r\n";
        for kinds in [
            "text/html,application/xhtml+xml;q=0.9",
            "*/*, TEXT/html ;q=0.9",
            "a/b,\ttext/html , c/d",
            "text/html",
        ] {
            assert!(kind(&format!("Accept: a/b\r\naccept: {kinds}\r\n")).contains(html), "{kinds}");
        }
        for kinds in ["text/htmlx", "text/htm", "x/text/html", "text/html x", "a/b;text/html", ",,"] {
            assert!(!kind(&format!("Accept: {kinds}\r\n")).contains(html), "{kinds}");
        }
    }
}
