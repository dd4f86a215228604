//! TLS towards clients: which certificate a name gets, and how a handshake is made. Certificates come from the server and are used as they are;
//! this module obtains nothing, and no private key ever leaves it.

mod index;
mod stream;

pub(crate) use stream::Tls;

use crate::{error::Error, state::Given};
use arc_swap::ArcSwap;
use index::Index;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::sync::Arc;

/// The protocols that are offered, the best first.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", PROOF];
/// What a certificate authority speaks to see a proof (RFC 8737).
pub(crate) const PROOF: &[u8] = b"acme-tls/1";

/// All certificates, read by every handshake without a lock and swapped whole.
#[derive(Debug, Default)]
pub(crate) struct Certificates(ArcSwap<Index>);

impl Certificates {
    /// Uses these from now on; handshakes under way keep what they have. What cannot be used is said and left out.
    pub(crate) fn replace(&self, given: &Given) {
        let (index, troubles) = Index::of(given);
        troubles.iter().for_each(|trouble| tracing::error!("{trouble}"));
        self.0.store(Arc::new(index));
    }

    /// The answer to a certificate authority that looks for a proof over plain HTTP.
    pub(crate) fn proof(&self, domain: &str, token: &str) -> Option<String> {
        self.0.load().answer(domain, token).map(ToOwned::to_owned)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let index = self.0.load();
        let asks_for_proof = hello.alpn().is_some_and(|offers| offers.eq([PROOF]));
        if asks_for_proof { index.proof(name) } else { index.certificate(name) }
    }
}

/// How handshakes are made: rustls's safe protocols and suites (TLS 1.2 with forward secrecy, TLS 1.3), resumption by tickets.
pub(crate) fn config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, Error> {
    let failed = |error: rustls::Error| Error::Start { part: "TLS", source: std::io::Error::other(error) };
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    // Ours is the order of suites: what clients offer first is not always what is best, and testssl.sh asks for it.
    config.ignore_client_order = true;
    // Its keys change every six hours, so that a stolen one opens little.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(failed)?;
    Ok(Arc::new(config))
}

pub(crate) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}
