//! The certificate of the bench, and what a client needs to believe in it.

use anyhow::Result;
use std::{path::PathBuf, sync::Arc};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore,
        client::Resumption,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

/// The name on the certificate.
pub(crate) const NAMES: &str = "*.bench.test";

/// The certificate.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    pub(crate) chain: String,
    pub(crate) key: String,
    /// The same as files: the chain, the key, and both in one.
    pub(crate) files: Files,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

/// Where the files are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) both: PathBuf,
}

impl Trust {
    /// A new one (ECDSA P-256), with files in `directory`.
    pub(crate) fn new(directory: &std::path::Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAMES.to_owned()])?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let place = |name: &str| directory.join(name);
        let files = Files { chain: place("edge.crt"), key: place("edge.key"), both: place("edge.pem") };
        std::fs::write(&files.chain, &chain)?;
        std::fs::write(&files.key, &key)?;
        std::fs::write(&files.both, format!("{chain}{key}"))?;
        let (http1, http2) = (config(&chain, "http/1.1")?, config(&chain, "h2")?);
        Ok(Self { chain, key, files, http1, http2 })
    }

    /// A handshake over `stream`, whole each time.
    pub(crate) async fn shake<S: super::Stream>(
        &self,
        stream: S,
        host: String,
        h2: bool,
    ) -> Result<TlsStream<S>> {
        let config = if h2 { &self.http2 } else { &self.http1 };
        let name = ServerName::try_from(host)?;
        Ok(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
    }
}

fn config(chain: &str, protocol: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(chain.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
