//! Certificates, and proofs that a domain is ours, on their way from the server to the router. The server obtains and keeps them; the router only
//! uses what it was given, also when no server is there.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The names that it is used for: host names in lower case, or `*.example.org` for one label more.
    pub names: Vec<String>,
    /// The chain as PEM, the certificate itself first.
    pub chain: String,
    /// Its private key.
    pub key: PrivateKey,
}

/// What a certificate authority asks for before it believes that a domain is ours (RFC 8555, RFC 8737).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Proof {
    /// `GET http://<domain>/.well-known/acme-challenge/<token>` is answered with this text.
    Http {
        /// The domain.
        domain: String,
        /// The last part of the path: letters, digits, `-` and `_`.
        token: String,
        /// The whole body of the answer.
        answer: String,
    },
    /// A TLS hello for the domain that offers only `acme-tls/1` is answered with this certificate. The proof is a critical extension in it, which
    /// ordinary checks do not know and refuse: it is to be used unchecked.
    Alpn {
        /// The domain.
        domain: String,
        /// The certificate as PEM.
        chain: String,
        /// Its key.
        key: PrivateKey,
    },
}

/// A private key as PEM (PKCS #8). It is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(String);

impl PrivateKey {
    /// A key from its PEM text.
    #[must_use]
    pub fn new(pem: String) -> Self {
        Self(pem)
    }

    /// The PEM text: for whoever signs with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let certificate = Certificate {
            names: vec!["a.test".into()],
            chain: String::new(),
            key: PrivateKey::new("secret".into()),
        };
        assert!(!format!("{certificate:?}").contains("secret"));
    }
}
