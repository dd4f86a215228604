//! The API as the CLI uses it: one agent, one place that turns answers into errors, and the routes.
//! It must never retry a request that changes something, and never send the token to another host.

pub(crate) mod routes;

use crate::{
    credentials::Credentials,
    error::{Error, Kind, Result},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{io::BufReader, time::Duration};
use teal_core::api::ErrorView;
use ureq::{Agent, Body, http};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// How long a request may take, except a followed log.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server that is asked.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    credentials: Credentials,
}

impl Client {
    /// A client of this server. Nothing is sent yet.
    pub(crate) fn new(credentials: Credentials) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .user_agent(concat!("teal/", env!("CARGO_PKG_VERSION")));
        if crate::git::is_loopback(&credentials.url) {
            config = config.proxy(None);
        }
        Self { agent: config.build().new_agent(), credentials }
    }

    /// The server's address.
    pub(crate) fn url(&self) -> &str {
        &self.credentials.url
    }

    /// What proves who asks; git over HTTP needs it too.
    pub(crate) fn token(&self) -> &str {
        &self.credentials.token
    }

    fn request<B: Serialize>(
        &self,
        method: &str,
        path: &str,
        body: Option<&B>,
    ) -> Result<http::Response<Body>> {
        let text = body.map(serde_json::to_vec).transpose();
        let text = text.map_err(|e| Error::because("the request does not turn into JSON", e))?;
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/{path}", self.credentials.url))
            .header("Authorization", format!("Bearer {}", self.credentials.token))
            .header("X-Teal-Client", "cli")
            .header("Accept", "application/json");
        let sent = match text {
            Some(text) => request
                .header("Content-Type", "application/json")
                .body(text)
                .map_err(ureq::Error::Http)
                .and_then(|r| self.configured(r, Some(TIMEOUT))),
            None => {
                request.body(()).map_err(ureq::Error::Http).and_then(|r| self.configured(r, Some(TIMEOUT)))
            }
        };
        let response = sent.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response)) }
    }

    fn configured<S: ureq::AsSendBody>(
        &self,
        request: http::Request<S>,
        timeout: Option<Duration>,
    ) -> std::result::Result<http::Response<Body>, ureq::Error> {
        let configured = self.agent.configure_request(request).timeout_global(timeout);
        let request = configured.build();
        self.agent.run(request)
    }

    /// Asks for something.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(self.request::<()>("GET", path, None)?)
    }

    /// Changes something: `POST`, `PUT`, `PATCH` or `DELETE` with a body.
    pub(crate) fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &B,
    ) -> Result<T> {
        read(self.request(method, path, Some(body))?)
    }

    /// Removes something that answers.
    pub(crate) fn remove<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        read(self.request::<()>("DELETE", path, None)?)
    }

    /// Removes something; the answer, if any, is not read.
    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        self.request::<()>("DELETE", path, None).map(drop)
    }

    fn unreachable(&self, error: &ureq::Error) -> Error {
        let message = format!("the server at {} cannot be reached: {error}", self.credentials.url);
        Error::new(Kind::Unreachable, message)
            .hint("check the address (`teal login URL` or TEAL_URL) and that `teal server` runs there")
    }

    fn refusal(&self, mut response: http::Response<Body>) -> Error {
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string().unwrap_or_default();
        let Ok(view) = serde_json::from_str::<ErrorView>(&text) else {
            let message =
                format!("the server at {} answered {status} without saying why", self.credentials.url);
            return Error::new(kind_of(status), message)
                .hint("check that the address is that of a Teal server of this version");
        };
        let hint = match view.kind.as_str() {
            // The server speaks to any client; ours has commands for it.
            "unauthorised" => Some("log in again with `teal login`, or check TEAL_TOKEN".into()),
            "internal" => view.hint.or_else(|| Some("the server's own log says more".into())),
            _ => view.hint.map(|hint| crate::out::harmless(&hint)),
        };
        Error { kind: kind_of(status), message: crate::out::harmless(&view.message), hint }
    }
}

fn kind_of(status: u16) -> Kind {
    if status < 500 { Kind::Refused } else { Kind::Other }
}

fn read<T: DeserializeOwned>(response: http::Response<Body>) -> Result<T> {
    let body = response.into_body();
    let reader = BufReader::new(body.into_with_config().limit(MAX_ANSWER).reader());
    serde_json::from_reader(reader).map_err(|e| {
        Error::because("the server's answer is not understood", e)
            .hint("check that `teal` and the server have the same version")
    })
}

/// A name as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'~')
            || (byte == b'.' && text.len() > 2)
        {
            safe.push(byte as char);
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_can_leave_its_segment() {
        assert_eq!(segment("shop-1"), "shop-1");
        assert_eq!(segment("../users?x=1#"), "..%2Fusers%3Fx%3D1%23");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("SHA256:a/b+c"), "SHA256%3Aa%2Fb%2Bc");
    }

    #[test]
    fn a_server_that_is_not_there_is_unreachable() {
        // A port that was free a moment ago and that nobody listens on.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let client = Client::new(Credentials { url, token: "teal_secret".into() });
        let error = client.get::<Vec<String>>("apps").expect_err("nobody is there");
        assert_eq!(error.kind, Kind::Unreachable);
        assert!(!format!("{error:?}").contains("teal_secret"));
    }
}
