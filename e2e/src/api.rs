//! The API as a program would use it, with the administrator's token.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use teal_core::{
    api::{Accepted, Action, DeploymentView, EventView, LogView, StatusView},
    id::DeploymentId,
};

/// A client of one server.
#[derive(Clone)]
pub struct Api {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl Api {
    /// A client with this token.
    #[must_use]
    pub fn new(url: String, token: String) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false);
        Self { agent: config.build().into(), url, token }
    }

    /// The server's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The secret.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// GET.
    ///
    /// # Errors
    /// If the server cannot be reached or does not answer with 2xx.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self
            .agent
            .get(format!("{}/api/v1{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token));
        answer(path, request.call().with_context(|| path.to_owned())?)
    }

    /// POST, PATCH or DELETE with a body.
    ///
    /// # Errors
    /// If the server cannot be reached or does not answer with 2xx.
    pub fn send<T: DeserializeOwned>(&self, method: &str, path: &str, body: &Value) -> Result<T> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("x-teal-client", "cli")
            .body(body.to_string())?;
        answer(path, self.agent.run(request).with_context(|| path.to_owned())?)
    }

    /// Makes an app with these settings and variables.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn create(&self, app: &str, config: Value, variables: Value) -> Result<()> {
        self.send::<Value>("POST", "/apps", &json!({"name": app, "config": config}))?;
        self.send::<Value>("PATCH", &format!("/apps/{app}/variables"), &variables)?;
        Ok(())
    }

    /// The status.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn status(&self, app: &str) -> Result<StatusView> {
        self.get(&format!("/apps/{app}/status"))
    }

    /// The newest deployments first.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn activity(&self, app: &str) -> Result<Vec<DeploymentView>> {
        self.get(&format!("/apps/{app}/activity?limit=200"))
    }

    /// One deployment.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn deployment(&self, app: &str, id: &DeploymentId) -> Result<DeploymentView> {
        self.get(&format!("/apps/{app}/deployments/{id}"))
    }

    /// Its log.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn log(&self, app: &str, id: &DeploymentId) -> Result<Vec<LogView>> {
        self.get(&format!("/apps/{app}/deployments/{id}/log?limit=1000"))
    }

    /// All events, oldest first.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn events(&self, app: &str) -> Result<Vec<EventView>> {
        self.get(&format!("/apps/{app}/events?limit=1000"))
    }

    /// Asks for something.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn act(&self, app: &str, action: &Action) -> Result<Accepted> {
        self.send("POST", &format!("/apps/{app}/actions"), &serde_json::to_value(action)?)
    }
}

fn answer<T: DeserializeOwned>(path: &str, mut response: ureq::http::Response<ureq::Body>) -> Result<T> {
    let status = response.status();
    let text = response.body_mut().read_to_string()?;
    if !status.is_success() {
        bail!("{path}: {status}: {text}");
    }
    let text = if text.is_empty() { "null" } else { &text };
    serde_json::from_str(text).with_context(|| format!("{path}: {text}"))
}
