//! One probe of an instance, from the router's side of the network: a TCP connect, then GET, read to the end, never following a redirect.
//! It must never take an open port for health, unless the app's owner said so: a frozen process accepts connections, too.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use std::{fmt, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::Instant};

/// How long one probe may take in all, body included, where nothing slows the app down.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// More of a body than this is not read; the probe is then good as far as it goes.
const MAX_BODY: usize = 1024 * 1024;

/// What one probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The path that was asked for; empty if none was, only a connection.
    pub path: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// What came of it.
    pub finding: Finding,
}

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nobody accepts connections there.
    NotListening,
    /// A connection, which was all that was asked for.
    Accepts,
    /// A whole response.
    Status {
        /// Its code.
        code: u16,
        /// Where it redirects to, if it does.
        location: Option<String>,
    },
    /// A connection, but no whole response: why, in words.
    Broken(String),
}

impl Finding {
    /// Healthy: 200–299, or exactly 200 if `strict`.
    #[must_use]
    pub fn good(&self, strict: bool) -> bool {
        match self {
            Self::Accepts => true,
            Self::Status { code, .. } => {
                if strict {
                    *code == 200
                } else {
                    (200..300).contains(code)
                }
            }
            Self::NotListening | Self::Broken(_) => false,
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, elapsed_ms, finding } = self;
        match finding {
            Finding::Accepts => write!(f, "TCP: connections are accepted (after {elapsed_ms} ms)"),
            Finding::NotListening if path.is_empty() => write!(f, "TCP: nothing is listening"),
            Finding::NotListening => write!(f, "GET {path}: nothing is listening"),
            Finding::Status { code, location: Some(to) } => {
                write!(
                    f,
                    "GET {path} returned {code} after {elapsed_ms} ms: a redirect to {to}, which is not followed"
                )
            }
            Finding::Status { code, location: None } => {
                write!(f, "GET {path} returned {code} after {elapsed_ms} ms")
            }
            Finding::Broken(why) => write!(f, "GET {path} {why} (after {elapsed_ms} ms)"),
        }
    }
}

/// Probes once; it is broken if it takes longer than `patience`.
pub async fn probe(address: SocketAddr, host: &str, path: &str, patience: Duration) -> Probe {
    let begin = Instant::now();
    let finding = match tokio::time::timeout(patience, get(address, host, path)).await {
        Ok(finding) => finding,
        Err(_) => Finding::Broken(format!("did not answer completely within {} s", patience.as_secs())),
    };
    let elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    Probe { path: path.to_owned(), elapsed_ms, finding }
}

/// Looks whether connections are accepted.
pub async fn connect(address: SocketAddr) -> Probe {
    let begin = Instant::now();
    let finding = match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Finding::Accepts,
        Ok(Err(_)) | Err(_) => Finding::NotListening,
    };
    let elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    Probe { path: String::new(), elapsed_ms, finding }
}

async fn get(address: SocketAddr, host: &str, path: &str) -> Finding {
    let Ok(stream) = TcpStream::connect(address).await else { return Finding::NotListening };
    let broken = |what: &str, error: hyper::Error| Finding::Broken(format!("{what}: {error}"));
    let (mut sender, connection) = match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
        Ok(pair) => pair,
        Err(error) => return broken("could not be asked", error),
    };
    let driver = tokio::spawn(connection);
    let request = http::Request::get(path)
        .header("host", host)
        .header("user-agent", "teal-health/1")
        .header("connection", "close");
    let Ok(request) = request.body(Empty::<Bytes>::new()) else {
        return Finding::Broken("is not a path that can be asked for".into());
    };
    let finding = match sender.send_request(request).await {
        Ok(response) => whole(response).await,
        Err(error) => broken("gave no answer", error),
    };
    driver.abort();
    finding
}

/// Reads the body to its end, so that an answer that never ends is not taken for a good one.
async fn whole(response: http::Response<hyper::body::Incoming>) -> Finding {
    let code = response.status().as_u16();
    let location = response.headers().get("location").filter(|_| (300..400).contains(&code));
    let location = location.map(|value| crate::log::harmless(&String::from_utf8_lossy(value.as_bytes())));
    let mut body = response.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => read += frame.data_ref().map_or(0, Bytes::len),
            Err(error) => return Finding::Broken(format!("broke off in the middle of its answer: {error}")),
        }
        if read > MAX_BODY {
            break;
        }
    }
    Finding::Status { code, location }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    async fn answer(bytes: &'static [u8]) -> Probe {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await;
            stream.write_all(bytes).await.expect("writes");
        });
        probe(address, "app.localhost", "/p", PATIENCE).await
    }

    #[tokio::test]
    async fn verdicts_are_exact() {
        assert!(answer(b"HTTP/1.1 204 No Content\r\n\r\n").await.finding.good(false));
        assert!(!answer(b"HTTP/1.1 204 No Content\r\n\r\n").await.finding.good(true));
        let redirect = answer(b"HTTP/1.1 301 Moved\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n").await;
        assert!(
            !redirect.finding.good(false) && redirect.to_string().contains("redirect to /login"),
            "{redirect}"
        );
        let empty = answer(b"").await;
        assert!(empty.to_string().contains("gave no answer"), "{empty}");
        let short = answer(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
        assert!(short.to_string().contains("broke off"), "{short}");
        let closed = probe("127.0.0.1:1".parse().expect("address"), "a", "/", PATIENCE).await;
        assert_eq!(closed.finding, Finding::NotListening);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        assert!(connect(address).await.finding.good(true));
        drop(listener);
        let closed = connect(address).await;
        assert_eq!(
            (closed.finding.good(false), closed.to_string().as_str()),
            (false, "TCP: nothing is listening")
        );
    }
}
