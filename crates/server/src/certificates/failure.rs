//! Why a name got no certificate, in words for whoever owns it: what happened and what to do. What an authority wrote is shortened and made
//! harmless; it must never reach a terminal or a page as it came.

use super::{http::Pause, pause::Retry};
use crate::{config::Challenge, routerlink, store};
use instant_acme::Problem;
use teal_core::error::in_full;

/// The longest text of an authority, in characters.
const MAX_TEXT: usize = 300;
/// What problems of authorities are called begins like this.
const PREFIX: &str = "urn:ietf:params:acme:error:";

/// What can go wrong on the way to a certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The authority, or the way to it.
    #[error(transparent)]
    Acme(#[from] instant_acme::Error),
    /// The authority looked, and the domain was not proved.
    #[error("{0}")]
    Unproved(Problem),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The router did not take what proves the domain.
    #[error(transparent)]
    Router(#[from] routerlink::Error),
    /// A key or a request cannot be made.
    #[error(transparent)]
    Forge(#[from] rcgen::Error),
    /// It took longer than anybody waits.
    #[error("the authority did not decide in time")]
    Slow,
    /// Anything else, in a sentence.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The authority's problem, if it is one.
    fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Acme(instant_acme::Error::Api(problem)) | Self::Unproved(problem) => Some(problem),
            _ => None,
        }
    }

    fn pause(&self) -> Option<&Pause> {
        match self {
            Self::Acme(instant_acme::Error::Other(error)) => error.downcast_ref(),
            _ => None,
        }
    }

    /// The last part of the problem's type.
    pub(super) fn kind(&self) -> &str {
        let kind = self.problem().and_then(|problem| problem.r#type.as_deref());
        kind.map_or("", |kind| kind.strip_prefix(PREFIX).unwrap_or(kind))
    }

    /// The authority refused what was asked.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Acme(instant_acme::Error::Api(_)))
    }

    /// The authority refused something about the order itself: it is of no use any more.
    pub(super) fn ends_order(&self) -> bool {
        let refused = self.problem().is_some_and(|problem| problem.status.unwrap_or(400) < 500);
        refused && !["badNonce", "rateLimited", "orderNotReady", "serverInternal"].contains(&self.kind())
    }

    /// The authority does not know us any more.
    pub(super) fn ends_account(&self) -> bool {
        self.kind() == "accountDoesNotExist"
    }

    /// How soon to try again.
    pub(super) fn retry(&self) -> Retry {
        match (self.pause(), self.problem()) {
            (Some(pause), _) => Retry::After(pause.ms),
            (None, Some(_)) if self.ends_account() => Retry::Soon,
            (None, Some(_)) => Retry::Later,
            (None, None) => match self {
                Self::Router(_) | Self::Store(_) => Retry::Soon,
                Self::Acme(_) | Self::Unproved(_) | Self::Forge(_) | Self::Slow | Self::Other(_) => {
                    Retry::Later
                }
            },
        }
    }
}

/// What is shown of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// What happened.
    pub(super) problem: String,
    /// What to do about it.
    pub(super) remedy: String,
}

/// What to say of a failure for this name.
#[must_use]
pub(super) fn words(error: &Error, name: &str, challenge: Challenge) -> Words {
    let said = said(error);
    let (place, port) = place(name, challenge);
    let (problem, remedy) = match error {
        Error::Router(_) => (
            format!("the router does not take what proves {name}: {said}"),
            "start or upgrade the router (`systemctl restart teal-router`); it is tried again by itself"
                .into(),
        ),
        Error::Store(_) | Error::Forge(_) => {
            (said, "see the server's log; it is tried again by itself".into())
        }
        Error::Slow => (said, "nothing: it goes on by itself".into()),
        _ if error.pause().is_some() => (
            format!("the CA asks for a pause: {said}"),
            "nothing: it is tried again when the CA allows it".into(),
        ),
        Error::Unproved(_) => unproved(error.kind(), &said, name, &place, port),
        Error::Acme(instant_acme::Error::Api(_)) | Error::Other(_) => refused(error.kind(), &said, name),
        Error::Acme(_) => (
            format!("the CA cannot be reached: {said}"),
            "check this server's way to `[acme] directory`, and `ca_file` if the CA is a private one".into(),
        ),
    };
    Words { problem, remedy }
}

/// What it means, by its kind (RFC 8555, 6.7), that the authority looked and was not convinced.
fn unproved(kind: &str, said: &str, name: &str, place: &str, port: u16) -> (String, String) {
    match kind {
        "connection" | "tls" => (
            format!("the CA could not reach {place}: {said}"),
            format!("point its A/AAAA record at this server and open port {port}"),
        ),
        "dns" => (
            format!("the CA found no address of {name}: {said}"),
            format!("set an A/AAAA record for {name} that names this server"),
        ),
        "caa" => caa(said, name),
        "unauthorized" | "incorrectResponse" => (
            format!("the CA did not get Teal's answer at {place}: {said}"),
            format!(
                "point its A/AAAA record at this server and at no other; port {port} must lead to Teal's router"
            ),
        ),
        _ => (
            format!("the CA looked at {place} and refused: {said}"),
            format!("point its A/AAAA record at this server and open port {port}"),
        ),
    }
}

/// What it means that the authority refused before it looked, or afterwards.
fn refused(kind: &str, said: &str, name: &str) -> (String, String) {
    match kind {
        "caa" => caa(said, name),
        "rejectedIdentifier" | "unsupportedIdentifier" => (
            format!("the CA gives no certificate for {name}: {said}"),
            "remove the domain, or use a certificate by file (`[[certificates]]`)".into(),
        ),
        "rateLimited" => {
            (format!("the CA was asked too often: {said}"), "nothing: it is tried again later".into())
        }
        "externalAccountRequired" => (
            format!("the CA wants an account that was made elsewhere: {said}"),
            "use a directory that does not want one".into(),
        ),
        "userActionRequired" => {
            (format!("the CA wants something of its user: {said}"), "do what it says".into())
        }
        _ => (
            format!("the CA refused it: {said}"),
            "it is tried again by itself; the server's log says more".into(),
        ),
    }
}

fn caa(said: &str, name: &str) -> (String, String) {
    (
        format!("the CAA record of {name} forbids it: {said}"),
        "allow this CA there, or remove the record".into(),
    )
}

/// What the authority looks at, and on which port.
fn place(name: &str, challenge: Challenge) -> (String, u16) {
    match challenge {
        Challenge::Http => (format!("http://{name}/.well-known/acme-challenge/"), 80),
        Challenge::TlsAlpn => (format!("{name}:443"), 443),
    }
}

/// The words of whoever failed.
fn said(error: &Error) -> String {
    let text = match error.problem() {
        Some(problem) => problem.detail.clone().unwrap_or_else(|| error.kind().to_owned()),
        None => in_full(error),
    };
    let text = crate::log::harmless(&text.replace(['\r', '\n'], " "));
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        Problem {
            r#type: Some(format!("{PREFIX}{kind}")),
            detail: Some(detail.into()),
            status: Some(400),
            subproblems: Vec::new(),
        }
    }

    fn api(kind: &str, detail: &str) -> Error {
        Error::Acme(instant_acme::Error::Api(problem(kind, detail)))
    }

    #[test]
    fn each_trouble_says_what_to_do() {
        let say = |error: &Error| words(error, "shop.example", Challenge::Http);
        for (looked, kind, happened, remedy) in [
            (true, "connection", "http://shop.example/.well-known/", "open port 80"),
            (true, "dns", "no address of shop.example", "A/AAAA record for shop.example"),
            (true, "unauthorized", "did not get Teal's answer", "at no other"),
            (true, "caa", "CAA record", "allow this CA"),
            (true, "brandNew", "looked at http://shop.example/", "A/AAAA record"),
            (false, "caa", "CAA record", "allow this CA"),
            (false, "rejectedIdentifier", "no certificate for shop.example", "[[certificates]]"),
            (false, "unauthorized", "refused it: oh no", "by itself"),
        ] {
            let problem = problem(kind, "oh no");
            let error = if looked {
                Error::Unproved(problem)
            } else {
                Error::Acme(instant_acme::Error::Api(problem))
            };
            let words = say(&error);
            assert!(words.problem.contains(happened) && words.problem.contains("oh no"), "{words:?}");
            assert!(words.remedy.contains(remedy), "{words:?}");
            assert!(error.ends_order());
        }
        let alpn = words(&Error::Unproved(problem("connection", "")), "shop.example", Challenge::TlsAlpn);
        assert!(alpn.remedy.contains("port 443"), "{alpn:?}");
        let router = say(&Error::Router(routerlink::Error::Refused("no TLS".into())));
        assert!(router.problem.contains("no TLS") && router.remedy.contains("teal-router"), "{router:?}");
    }

    #[test]
    fn what_an_authority_wrote_is_short_and_harmless() {
        let words =
            words(&api("dns", &format!("a\u{1b}[2Jb\r\n{}", "x".repeat(5_000))), "a.test", Challenge::Http);
        assert!(!words.problem.contains(['\u{1b}', '\n', '\r']), "{words:?}");
        assert!(words.problem.chars().count() < MAX_TEXT + 100);
    }

    #[test]
    fn how_soon_and_what_ends() {
        let pause = Pause { ms: 9_000, detail: "later".into() };
        let pause = Error::Acme(instant_acme::Error::Other(Box::new(pause)));
        assert_eq!((pause.retry(), pause.ends_order()), (Retry::After(9_000), false));
        for (kind, retry, order, account) in [
            ("badNonce", Retry::Later, false, false),
            ("rateLimited", Retry::Later, false, false),
            ("malformed", Retry::Later, true, false),
            ("unauthorized", Retry::Later, true, false),
            ("accountDoesNotExist", Retry::Soon, true, true),
        ] {
            let error = api(kind, "");
            assert_eq!(
                (error.retry(), error.ends_order(), error.ends_account()),
                (retry, order, account),
                "{kind}"
            );
        }
        assert_eq!(Error::Router(routerlink::Error::Confused).retry(), Retry::Soon);
        assert!(!Error::Slow.ends_order());
    }
}
