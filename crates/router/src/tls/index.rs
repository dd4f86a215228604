//! Certificates by name, and proofs by domain: made whole from what the server gave, then never changed.

use super::provider;
use crate::state::Given;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use std::{collections::HashMap, sync::Arc};
use teal_core::certificate::{PrivateKey, Proof};

/// The most names and proofs together.
const MAX: usize = 1_000_000;

/// What a name gets.
#[derive(Debug, Default)]
pub(crate) struct Index {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the star and its dot.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    proofs: HashMap<String, Arc<CertifiedKey>>,
    answers: HashMap<(String, String), String>,
}

impl Index {
    /// The index of what was given, and what of it cannot be used and why: one bad certificate must not cost the others.
    pub(crate) fn of(given: &Given) -> (Self, Vec<String>) {
        let (mut index, mut troubles) = (Self::default(), Vec::new());
        let provider = provider();
        let mut read = |names: &str, chain: &str, key: &PrivateKey, proof: bool| {
            let read = certified(&provider, chain, key, proof);
            read.map_err(|why| troubles.push(format!("the certificate for {names} cannot be used: {why}")))
                .ok()
        };
        for certificate in given.certificates.iter().take(MAX) {
            let Some(key) = read(&certificate.names.join(", "), &certificate.chain, &certificate.key, false)
            else {
                continue;
            };
            for name in &certificate.names {
                match name.strip_prefix("*.") {
                    Some(rest) => index.wildcard.insert(rest.to_owned(), Arc::clone(&key)),
                    None => index.exact.insert(name.clone(), Arc::clone(&key)),
                };
            }
        }
        for proof in given.proofs.iter().take(MAX) {
            match proof {
                Proof::Http { domain, token, answer } => {
                    index.answers.insert((domain.clone(), token.clone()), answer.clone());
                }
                Proof::Alpn { domain, chain, key } => {
                    let key = read(domain, chain, key, true);
                    index.proofs.extend(key.map(|key| (domain.clone(), key)));
                }
            }
        }
        (index, troubles)
    }

    /// The certificate for a name: its own, else that of a wildcard one label up.
    pub(crate) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(wildcard).cloned()
    }

    /// The certificate that proves to an authority that the domain is ours.
    pub(crate) fn proof(&self, domain: &str) -> Option<Arc<CertifiedKey>> {
        self.proofs.get(&domain.to_ascii_lowercase()).cloned()
    }

    /// The text that proves it over plain HTTP.
    pub(crate) fn answer(&self, domain: &str, token: &str) -> Option<&str> {
        // Borrowed pairs cannot be looked up in a map of owned ones; proofs are few and asked for seldom.
        self.answers.get(&(domain.to_ascii_lowercase(), token.to_owned())).map(String::as_str)
    }
}

/// A proof is not looked into: it carries a critical extension of its own, which whoever verifies certificates refuses.
fn certified(
    provider: &rustls::crypto::CryptoProvider,
    chain: &str,
    key: &PrivateKey,
    proof: bool,
) -> Result<Arc<CertifiedKey>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("its chain is no PEM: {error}"))?;
    if chain.is_empty() {
        return Err("its chain is empty".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes());
    let key = key.map_err(|error| format!("its key is no PEM: {error}"))?;
    let certified = match proof {
        true => provider.key_provider.load_private_key(key).map(|key| CertifiedKey::new(chain, key)),
        false => CertifiedKey::from_der(chain, key, provider),
    };
    certified.map(Arc::new).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::certificate::Certificate;

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names.clone()).expect("makes");
        Certificate { names, chain: made.cert.pem(), key: PrivateKey::new(made.signing_key.serialize_pem()) }
    }

    #[test]
    fn a_name_gets_its_own_certificate_before_a_wildcards() {
        let certificates = vec![certificate(&["*.shop.test"]), certificate(&["a.shop.test", "shop.test"])];
        let (index, troubles) = Index::of(&Given { certificates, proofs: Vec::new() });
        assert!(troubles.is_empty(), "{troubles:?}");
        let of = |name| index.certificate(name);
        let (wildcard, own) = (of("b.shop.test").expect("there"), of("A.shop.test").expect("there"));
        assert!(!Arc::ptr_eq(&wildcard, &own) && Arc::ptr_eq(&own, &of("shop.test").expect("there")));
        assert!(of("a.b.shop.test").is_none() && of("test").is_none() && of("").is_none());
    }

    #[test]
    fn one_bad_certificate_does_not_cost_the_others() {
        let mut bad = certificate(&["bad.test"]);
        bad.key = certificate(&["other.test"]).key;
        let empty = Certificate { chain: String::new(), ..certificate(&["empty.test"]) };
        let given = Given { certificates: vec![bad, empty, certificate(&["good.test"])], proofs: Vec::new() };
        let (index, troubles) = Index::of(&given);
        assert!(index.certificate("good.test").is_some() && index.certificate("bad.test").is_none());
        assert_eq!(troubles.len(), 2, "{troubles:?}");
    }

    /// As RFC 8737 has it: with a critical extension that nobody else knows.
    fn proof(domain: &str) -> Certificate {
        let mut parameters = rcgen::CertificateParams::new([domain.to_owned()]).expect("legal");
        parameters.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
        let key = rcgen::KeyPair::generate().expect("makes");
        let made = parameters.self_signed(&key).expect("signs");
        let key = PrivateKey::new(key.serialize_pem());
        Certificate { names: vec![domain.to_owned()], chain: made.pem(), key }
    }

    #[test]
    fn proofs_are_only_for_those_who_ask_for_them() {
        let made = proof("shop.test");
        let proofs = vec![
            Proof::Alpn { domain: "shop.test".into(), chain: made.chain, key: made.key },
            Proof::Http { domain: "shop.test".into(), token: "t".into(), answer: "t.x".into() },
        ];
        let (index, troubles) = Index::of(&Given { certificates: Vec::new(), proofs });
        assert!(troubles.is_empty(), "{troubles:?}");
        assert!(index.proof("shop.test").is_some() && index.certificate("shop.test").is_none());
        assert_eq!((index.answer("SHOP.test", "t"), index.answer("shop.test", "u")), (Some("t.x"), None));
    }
}
