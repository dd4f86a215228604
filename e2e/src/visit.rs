//! Requests as browsers and slow clients make them: with headers of their own, and some that do not end until they are told to.

use crate::Host;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

/// An answer of the edge.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// `name=value` of the cookie that it sets, if it sets one.
    pub cookie: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// Its body as JSON; null if it is none.
    pub body: Value,
}

impl Answer {
    /// What the application of the tests says of itself.
    #[must_use]
    pub fn version(&self) -> &str {
        self.body["version"].as_str().unwrap_or_default()
    }

    /// The instance that answered.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.body["environment"]["INSTANCE_ID"].as_str().unwrap_or_default()
    }
}

/// A request whose body is still on its way.
pub struct Held {
    stream: BufReader<TcpStream>,
}

impl Host {
    /// GET through the router, for this domain and with these headers.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn ask(&self, domain: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false);
        let agent: ureq::Agent = config.build().into();
        let request = agent.get(format!("http://{}{path}", self.http())).header("host", domain);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut response = request.call()?;
        let text = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let cookie = text("set-cookie").and_then(|line| line.split(';').next().map(ToOwned::to_owned));
        let (status, retry_after) = (response.status().as_u16(), text("retry-after"));
        let body = serde_json::from_str(&response.body_mut().read_to_string()?).unwrap_or_default();
        Ok(Answer { status, cookie, retry_after, body })
    }

    /// Begins a POST through the router, and keeps its body back.
    ///
    /// # Errors
    /// If the router cannot be reached.
    pub fn hold(&self, domain: &str, headers: &[(&str, &str)]) -> Result<Held> {
        let mut stream = TcpStream::connect(self.http())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "POST / HTTP/1.1\r\nHost: {domain}\r\nContent-Length: 2\r\n{lines}\r\n")?;
        Ok(Held { stream: BufReader::new(stream) })
    }
}

impl Held {
    /// Sends the body; the answer's status.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn finish(mut self) -> Result<u16> {
        self.stream.get_mut().write_all(b"ok")?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 "), "no answer: {line:?}");
        line.split(' ').nth(1).context("no status")?.parse().context("no status")
    }
}
