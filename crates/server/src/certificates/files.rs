//! Certificates by file: read again at every look, so that whoever renews them only has to put the files there. What does not fit together is
//! refused with the reason, and the last good one stays in use.

use super::facts;
use crate::config::CertificateFile;
use rustls::{
    client::verify_server_name,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use std::path::Path;
use teal_core::{
    certificate::{Certificate, PrivateKey},
    time::Time,
};

/// A certificate as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loaded {
    /// For the router.
    pub(super) certificate: Certificate,
    /// Valid until.
    pub(super) not_after: Time,
}

/// Reads one.
///
/// # Errors
/// If a file cannot be read, or chain, key and names do not fit together; the text says which.
pub(super) fn load(file: &CertificateFile) -> Result<Loaded, String> {
    let (chain, key) = (read(&file.chain_file)?, read(&file.key_file)?);
    let wrong = |path: &Path, why: String| format!("{}: {why}", path.display());
    let not_after = facts::validity(&chain).map_err(|why| wrong(&file.chain_file, why))?.not_after;
    fits(&chain, &key).map_err(|why| wrong(&file.key_file, why))?;
    is_for(&chain, &file.names).map_err(|why| wrong(&file.chain_file, why))?;
    let certificate = Certificate { names: file.names.clone(), chain, key: PrivateKey::new(key) };
    Ok(Loaded { certificate, not_after })
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The key is the certificate's.
fn fits(chain: &str, key: &str) -> Result<(), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("the chain does not parse: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|error| format!("there is no private key in it: {error}"))?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    certified.map(drop).map_err(|error| format!("the key does not fit the certificate: {error}"))
}

/// The certificate is for all of these names.
fn is_for(chain: &str, names: &[String]) -> Result<(), String> {
    let der = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|error| error.to_string())?;
    let parsed = ParsedCertificate::try_from(&der).map_err(|error| error.to_string())?;
    for name in names {
        // For a wildcard any label will do.
        let host = name.replace('*', "any");
        let host = ServerName::try_from(host).map_err(|_| format!("`{name}` is not a name"))?;
        verify_server_name(&parsed, &host).map_err(|_| format!("the certificate is not for {name}"))?;
    }
    Ok(())
}

/// All certificates by file, with the last good one of each.
#[derive(Debug, Default)]
pub(super) struct Files {
    configured: Vec<CertificateFile>,
    good: Vec<Option<Loaded>>,
    complaints: Vec<Option<String>>,
}

impl Files {
    /// None is read yet.
    pub(super) fn new(configured: Vec<CertificateFile>) -> Self {
        let count = configured.len();
        Self { configured, good: vec![None; count], complaints: vec![None; count] }
    }

    /// Reads all of them; whether one changed. A trouble is logged once.
    pub(super) fn refresh(&mut self) -> bool {
        let mut changed = false;
        for (place, file) in self.configured.iter().enumerate() {
            let complaint = match load(file) {
                Ok(loaded) if self.good[place].as_ref() == Some(&loaded) => None,
                Ok(loaded) => {
                    tracing::info!(names = ?file.names, "a certificate by file is used from now on");
                    self.good[place] = Some(loaded);
                    changed = true;
                    None
                }
                Err(why) => Some(why),
            };
            if complaint.is_some() && complaint != self.complaints[place] {
                tracing::error!(names = ?file.names, why = complaint, "a certificate by file cannot be used");
            }
            self.complaints[place] = complaint;
        }
        changed
    }

    /// The good ones.
    pub(super) fn certificates(&self) -> Vec<Certificate> {
        self.good.iter().flatten().map(|loaded| loaded.certificate.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificates::forge, world::now};
    use std::fs;

    #[test]
    fn files_are_read_again_and_the_last_good_one_stays() {
        let directory = tempfile::tempdir().expect("directory");
        let path = |name: &str| directory.path().join(name);
        let file = CertificateFile {
            names: vec!["*.example.org".into()],
            chain_file: path("chain"),
            key_file: path("key"),
        };
        let mut files = Files::new(vec![file.clone()]);
        assert!(!files.refresh() && files.certificates().is_empty());
        let put = |name: &str| {
            let forged = forge::self_signed(name, now()).expect("made");
            fs::write(path("chain"), &forged.chain).expect("written");
            fs::write(path("key"), forged.key.reveal()).expect("written");
            forged
        };
        let first = put("*.example.org");
        assert!(files.refresh() && !files.refresh());
        assert_eq!(files.certificates()[0].chain, first.chain);

        put("*.example.net");
        assert!(load(&file).expect_err("refused").contains("not for *.example.org"));
        fs::write(path("key"), first.key.reveal()).expect("written");
        assert!(load(&file).expect_err("refused").contains("does not fit"));
        fs::write(path("key"), "nothing").expect("written");
        assert!(load(&file).expect_err("refused").contains("no private key"));
        assert!(!files.refresh());
        assert_eq!(files.certificates()[0].chain, first.chain, "the last good one stays");

        let second = put("*.example.org");
        assert!(files.refresh());
        assert_eq!(files.certificates()[0].chain, second.chain);
    }
}
