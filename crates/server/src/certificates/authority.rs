//! The account at the certificate authority: made when it is first needed, kept in the store, made again if the authority has lost it.

use super::{failure::Error, http::Http};
use crate::{config::Acme, store::Store};
use instant_acme::{Account, AccountCredentials, NewAccount};
use tokio::sync::Mutex;

/// How often in a row a request may be refused for its nonce before it counts as a failure; the library itself tries each three times.
pub(super) const NONCES: u32 = 4;

/// The authority.
pub(super) struct Authority {
    /// What the operator says of it.
    pub(super) config: Acme,
    store: Store,
    account: Mutex<Option<Account>>,
}

impl Authority {
    /// Nothing is asked of it yet.
    pub(super) fn new(config: Acme, store: Store) -> Self {
        Self { config, store, account: Mutex::default() }
    }

    /// Our account there.
    ///
    /// # Errors
    /// If the authority cannot be reached or wants no account of ours.
    pub(super) async fn account(&self) -> Result<Account, Error> {
        // Held while it is made, so that four orders at once do not make four accounts.
        let mut slot = self.account.lock().await;
        if let Some(account) = &*slot {
            return Ok(account.clone());
        }
        let account = match self.store.acme_account(self.config.directory.clone()).await? {
            Some(credentials) => self.restore(&credentials).await?,
            None => self.create().await?,
        };
        Ok(slot.insert(account).clone())
    }

    /// The authority does not know it any more: the next call makes another.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub(super) async fn forget(&self) -> Result<(), Error> {
        *self.account.lock().await = None;
        Ok(self.store.set_acme_account(self.config.directory.clone(), None).await?)
    }

    async fn restore(&self, credentials: &[u8]) -> Result<Account, Error> {
        let credentials: AccountCredentials =
            serde_json::from_slice(credentials).map_err(instant_acme::Error::Json)?;
        Ok(self.builder()?.from_credentials(credentials).await?)
    }

    async fn create(&self) -> Result<Account, Error> {
        let contact: Vec<&str> = self.config.contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.config.terms_agreed,
            only_return_existing: false,
        };
        let mut nonces = 0;
        let (account, credentials) = loop {
            match self.builder()?.create(&new, self.config.directory.clone(), None).await.map_err(Error::from)
            {
                Err(error) if error.kind() == "badNonce" && nonces < NONCES => nonces += 1,
                made => break made?,
            }
        };
        let credentials = serde_json::to_vec(&credentials).map_err(instant_acme::Error::Json)?;
        self.store.set_acme_account(self.config.directory.clone(), Some(credentials)).await?;
        tracing::info!(
            directory = self.config.directory,
            account = account.id(),
            "an account for certificates was made"
        );
        Ok(account)
    }

    fn builder(&self) -> Result<instant_acme::AccountBuilder, Error> {
        let http = Http::new(self.config.ca_file.as_deref()).map_err(Error::Other)?;
        Ok(Account::builder_with_http(Box::new(http)))
    }
}
