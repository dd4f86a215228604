//! What the router ought to have: all certificates and all proofs. Says it to the router as one set, many changes at a time, until it is
//! acknowledged. It must never give a proof away that nobody asked for.

use super::{files::Files, names};
use crate::{
    config::Config,
    routerlink::{self, RouterLink},
    store::{self, Store},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use teal_core::certificate::{Certificate, Proof};
use tokio::sync::Mutex as AsyncMutex;

/// Why the router does not have it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The router.
    #[error(transparent)]
    Router(#[from] routerlink::Error),
}

/// The shelf.
pub(super) struct Shelf {
    config: Arc<Config>,
    store: Store,
    link: Arc<RouterLink>,
    memory: Mutex<Memory>,
    /// The change that the router acknowledged last. Held during an exchange: whoever waits finds that its change was sent along.
    sent: AsyncMutex<u64>,
}

struct Memory {
    files: Files,
    proofs: BTreeMap<String, Proof>,
    /// Grows with every change.
    change: u64,
}

impl Shelf {
    /// Nothing was said yet.
    pub(super) fn new(config: Arc<Config>, store: Store, link: Arc<RouterLink>) -> Self {
        let files = Files::new(config.certificates.clone());
        let memory = Mutex::new(Memory { files, proofs: BTreeMap::new(), change: 1 });
        Self { config, store, link, memory, sent: AsyncMutex::new(0) }
    }

    /// Reads the certificates by file again. Blocks on files.
    pub(super) fn refresh_files(&self) {
        let mut memory = self.memory();
        if memory.files.refresh() {
            memory.change += 1;
        }
    }

    /// Something in the store changed.
    pub(super) fn changed(&self) {
        self.memory().change += 1;
    }

    /// A proof is wanted for this name from now on; [`Self::publish`] says when it is there.
    pub(super) fn prove(&self, name: &str, proof: Proof) {
        let mut memory = self.memory();
        memory.proofs.insert(name.to_owned(), proof);
        memory.change += 1;
    }

    /// No proof is wanted for this name any more.
    pub(super) fn withdraw(&self, name: &str) {
        let mut memory = self.memory();
        if memory.proofs.remove(name).is_some() {
            memory.change += 1;
        }
    }

    /// `Ok` when the router has everything that changed before this call.
    ///
    /// # Errors
    /// If the store cannot be read, or the router cannot be reached or refuses.
    pub(super) async fn publish(&self) -> Result<(), Error> {
        let wanted = self.memory().change;
        let mut sent = self.sent.lock().await;
        if *sent >= wanted {
            return Ok(());
        }
        let (change, files, proofs) = {
            let memory = self.memory();
            (memory.change, memory.files.certificates(), memory.proofs.values().cloned().collect())
        };
        let certificates = set(&self.store.hosts().await?, self.store.certificates().await?, files);
        self.link.certify(certificates, proofs).await?;
        *sent = change;
        Ok(())
    }

    /// The operator's configuration.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Certificates of names that an app has and no file covers, and those by file.
fn set(domains: &BTreeSet<String>, kept: Vec<Certificate>, files: Vec<Certificate>) -> Vec<Certificate> {
    let covered = |name: &String| files.iter().any(|file| names::covers(&file.names, name));
    let wanted = |certificate: &Certificate| {
        certificate.names.iter().any(|name| domains.contains(name) && !covered(name))
    };
    let mut all: Vec<Certificate> = kept.into_iter().filter(|certificate| wanted(certificate)).collect();
    all.extend(files);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::certificate::PrivateKey;

    #[test]
    fn files_come_before_what_was_obtained_and_strangers_get_nothing() {
        let certificate = |name: &str| Certificate {
            names: vec![name.into()],
            chain: String::new(),
            key: PrivateKey::new(String::new()),
        };
        let domains = ["a.example.org", "b.example.net"].map(String::from).into();
        let kept = vec![certificate("a.example.org"), certificate("b.example.net"), certificate("gone.test")];
        let all = set(&domains, kept, vec![certificate("*.example.org")]);
        let names: Vec<&str> = all.iter().map(|certificate| certificate.names[0].as_str()).collect();
        assert_eq!(names, ["b.example.net", "*.example.org"]);
    }
}
