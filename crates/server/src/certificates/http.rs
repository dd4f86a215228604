//! HTTP to a certificate authority: TLS with a provider that is named (the process may hold two), a limit on time and length, and the pause
//! that an authority asks for, which the library above would drop. It must never follow anything but `https://`.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer, in bytes: a chain has some thousands.
const MAX_BODY: usize = 1024 * 1024;

/// The authority asks for a pause.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Pause {
    /// In milliseconds.
    pub(super) ms: u64,
    /// What it says.
    pub(super) detail: String,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Http {
    /// A client that trusts what `ca_file` has signed, or without it what this host trusts.
    ///
    /// # Errors
    /// If there is nothing that it could trust.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let wrong = |why: String| format!("`ca_file` {} cannot be used: {why}", path.display());
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(
            "this host trusts no certificate authority: install `ca-certificates`, or set `ca_file`".into()
        );
    }
    Ok(roots)
}

impl HttpClient for Http {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = self.0.request(request);
        Box::pin(async move {
            let whole = async {
                let (parts, body) = answer.await.map_err(|error| Error::Other(Box::new(error)))?.into_parts();
                let body = Limited::new(body, MAX_BODY).collect().await.map_err(Error::Other)?;
                Ok::<_, Error>((parts, body.to_bytes()))
            };
            let (parts, body) = timeout(PATIENCE, whole)
                .await
                .map_err(|_| Error::Other("it did not answer in time".into()))??;
            match pause(&parts, &body) {
                Some(pause) => Err(Error::Other(Box::new(pause))),
                None => Ok(BytesResponse { parts, body: Box::new(body) }),
            }
        })
    }
}

/// The pause that a refusal asks for.
fn pause(parts: &http::response::Parts, body: &[u8]) -> Option<Pause> {
    let refused = [http::StatusCode::TOO_MANY_REQUESTS, http::StatusCode::SERVICE_UNAVAILABLE];
    let after = parts.headers.get(http::header::RETRY_AFTER).filter(|_| refused.contains(&parts.status))?;
    let problem = serde_json::from_slice::<Problem>(body).ok().and_then(|problem| problem.detail);
    let detail = problem.unwrap_or_else(|| format!("it answered {}", parts.status));
    Some(Pause { ms: span(after.to_str().ok()?, crate::world::now().0)?, detail })
}

/// `Retry-After`: seconds, or a date.
fn span(text: &str, now_ms: u64) -> Option<u64> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(u64::try_from(date.as_millisecond()).ok()?.saturating_sub(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_date_and_only_in_a_refusal() {
        assert_eq!(span("120", 0), Some(120_000));
        assert_eq!(span("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777_000 - 5_000), Some(5_000));
        assert_eq!(span("Sun, 06 Nov 1994 08:49:37 GMT", u64::MAX), Some(0));
        assert_eq!(span("soon", 0), None);
        let parts = |status: u16| {
            let answer = http::Response::builder().status(status).header("retry-after", "7").body(());
            answer.expect("legal").into_parts().0
        };
        let body = br#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}"#;
        let found = pause(&parts(429), body).expect("a pause");
        assert_eq!((found.ms, found.detail.as_str()), (7_000, "too many"));
        assert!(pause(&parts(503), b"<html>").is_some());
        assert!(pause(&parts(200), b"").is_none());
        assert!(pause(&parts(400), body).is_none());
    }

    #[test]
    fn a_file_without_certificates_is_nothing_to_trust() {
        let error = roots(Some(Path::new("/nowhere/ca.pem"))).expect_err("refused");
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
        assert!(roots(Some(Path::new("/dev/null"))).is_err());
    }
}
