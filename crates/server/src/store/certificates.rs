//! Certificates by name, their orders, and the accounts at certificate authorities. Private keys and credentials are sealed here and are opened
//! only for whoever signs with them.

use super::{Result, Store, all, integer, natural, one};
use rusqlite::Row;
use std::collections::BTreeSet;
use teal_core::{
    certificate::{Certificate, PrivateKey},
    deploy::App,
    domain,
    time::Time,
};

/// What is known of a name, without any secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRow {
    /// The host name.
    pub name: String,
    /// The certificate that is in use, if there is one.
    pub held: Option<Held>,
    /// An order is under way at the authority with this directory.
    pub order: Option<String>,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// Nothing is tried before this.
    pub next_attempt: Option<Time>,
    /// Why the last attempt failed.
    pub problem: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// The dates of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The directory of the authority that issued it; `None`: this server made it itself.
    pub issuer: Option<String>,
    /// Valid from.
    pub not_before: Time,
    /// Valid until.
    pub not_after: Time,
    /// When the next one is due.
    pub renew_at: Time,
    /// When the authority is asked whether it wants an earlier renewal; `None`: it does not say such things.
    pub look_at: Option<Time>,
}

impl Held {
    /// Made by this server itself.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.issuer.is_none()
    }
}

/// An order at a certificate authority, with the key that its certificate will have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The directory of the authority.
    pub directory: String,
    /// Where the order is.
    pub url: String,
    /// The key.
    pub key: PrivateKey,
}

fn purpose(name: &str) -> String {
    format!("certificate of {name}")
}

fn order_purpose(name: &str) -> String {
    format!("certificate order of {name}")
}

fn account_purpose(directory: &str) -> String {
    format!("account at {directory}")
}

const COLUMNS: &str = "name, issuer, not_before, not_after, renew_at, look_at, order_directory, attempts, next_attempt, problem, remedy";

fn row_of(row: &Row<'_>) -> rusqlite::Result<CertificateRow> {
    let time = |column: usize| row.get::<_, Option<i64>>(column).map(|at| at.map(|at| Time(natural(at))));
    let dates = (time(2)?, time(3)?, time(4)?);
    let held = match dates {
        (Some(not_before), Some(not_after), Some(renew_at)) => {
            Some(Held { issuer: row.get(1)?, not_before, not_after, renew_at, look_at: time(5)? })
        }
        _ => None,
    };
    Ok(CertificateRow {
        name: row.get(0)?,
        held,
        order: row.get(6)?,
        attempts: row.get(7)?,
        next_attempt: time(8)?,
        problem: row.get(9)?,
        remedy: row.get(10)?,
    })
}

impl Store {
    /// The host names (and wildcards) of all apps that are not being deleted and do not end TLS themselves; apps that share one by their paths need one certificate.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn hosts(&self) -> Result<BTreeSet<String>> {
        self.read(|c, _| {
            let mut hosts = BTreeSet::new();
            for body in all(c, "SELECT body FROM apps", [], |row| row.get::<_, String>(0))? {
                let app: App = serde_json::from_str(&body)?;
                if app.deleted.is_none() && !app.settings.tls_passthrough {
                    hosts.extend(app.domains.iter().map(|domain| domain::host(domain).to_owned()));
                }
            }
            Ok(hosts)
        })
        .await
    }

    /// What is known of every name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn certificate_rows(&self) -> Result<Vec<CertificateRow>> {
        self.read(|c, _| all(c, &format!("SELECT {COLUMNS} FROM certificates ORDER BY name"), [], row_of))
            .await
    }

    /// What is known of one name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn certificate_row(&self, name: String) -> Result<Option<CertificateRow>> {
        let sql = format!("SELECT {COLUMNS} FROM certificates WHERE name = ?1");
        self.read(move |c, _| one(c, &sql, [name], row_of)).await
    }

    /// All certificates with their keys, by name.
    ///
    /// # Errors
    /// If the store cannot be read, or a key does not open.
    pub async fn certificates(&self) -> Result<Vec<Certificate>> {
        self.read(|c, key| {
            let sql = "SELECT name, chain, key FROM certificates WHERE chain IS NOT NULL AND key IS NOT NULL ORDER BY name";
            let map = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?));
            let rows: Vec<(String, String, Vec<u8>)> = all(c, sql, [], map)?;
            let open = |(name, chain, sealed): (String, String, Vec<u8>)| {
                let key = private_key(key.unseal(&purpose(&name), &sealed)?);
                Ok(Certificate { names: vec![name], chain, key })
            };
            rows.into_iter().map(open).collect()
        })
        .await
    }

    /// The chain of one name's certificate.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn certificate_chain(&self, name: String) -> Result<Option<String>> {
        let sql = "SELECT chain FROM certificates WHERE name = ?1";
        let chain: Option<Option<String>> =
            self.read(move |c, _| one(c, sql, [name], |row| row.get(0))).await?;
        Ok(chain.flatten())
    }

    /// Uses this certificate for the name from now on. A real one ends its order and forgets earlier failures.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_certificate(
        &self,
        name: String,
        chain: String,
        key: PrivateKey,
        held: Held,
    ) -> Result<()> {
        self.write(move |t, seal| {
            let sql = "INSERT INTO certificates (name, chain, key, issuer, not_before, not_after, renew_at, look_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name) DO UPDATE SET chain = excluded.chain, key = excluded.key,
                issuer = excluded.issuer, not_before = excluded.not_before, not_after = excluded.not_after,
                renew_at = excluded.renew_at, look_at = excluded.look_at";
            let sealed = seal.seal(&purpose(&name), key.reveal().as_bytes())?;
            let look_at = held.look_at.map(|at| integer(at.0));
            let dates = (integer(held.not_before.0), integer(held.not_after.0), integer(held.renew_at.0));
            t.execute(sql, (&name, chain, sealed, &held.issuer, dates.0, dates.1, dates.2, look_at))?;
            if !held.is_self_signed() {
                let sql = "UPDATE certificates SET order_directory = NULL, order_url = NULL, order_key = NULL, attempts = 0,
                    next_attempt = NULL, problem = NULL, remedy = NULL WHERE name = ?1";
                t.execute(sql, [&name])?;
            }
            Ok(())
        })
        .await
    }

    /// Sets when the name's certificate is renewed, and when to ask the authority again about that.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_renewal(&self, name: String, renew_at: Time, look_at: Option<Time>) -> Result<()> {
        let sql =
            "UPDATE certificates SET renew_at = ?2, look_at = ?3 WHERE name = ?1 AND renew_at IS NOT NULL";
        let row = (name, integer(renew_at.0), look_at.map(|at| integer(at.0)));
        self.write(move |t, _| Ok(t.execute(sql, row).map(drop)?)).await
    }

    /// Takes everything about a name away.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn drop_certificate(&self, name: String) -> Result<()> {
        self.write(move |t, _| Ok(t.execute("DELETE FROM certificates WHERE name = ?1", [name]).map(drop)?))
            .await
    }

    /// The order that is under way for a name.
    ///
    /// # Errors
    /// If the store cannot be read, or its key does not open.
    pub async fn certificate_order(&self, name: String) -> Result<Option<Order>> {
        let sql = "SELECT order_directory, order_url, order_key FROM certificates WHERE name = ?1 AND order_url IS NOT NULL";
        self.read(move |c, key| {
            let map = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?));
            let found: Option<(String, String, Vec<u8>)> = one(c, sql, [&name], map)?;
            let Some((directory, url, sealed)) = found else { return Ok(None) };
            let key = private_key(key.unseal(&order_purpose(&name), &sealed)?);
            Ok(Some(Order { directory, url, key }))
        })
        .await
    }

    /// Keeps an order, or (`None`) forgets it.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_certificate_order(&self, name: String, order: Option<Order>) -> Result<()> {
        let sql = "INSERT INTO certificates (name, order_directory, order_url, order_key) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (name) DO UPDATE SET order_directory = excluded.order_directory, order_url = excluded.order_url, order_key = excluded.order_key";
        self.write(move |t, key| {
            let sealed =
                order.as_ref().map(|order| key.seal(&order_purpose(&name), order.key.reveal().as_bytes()));
            let (directory, url) = order.map(|order| (order.directory, order.url)).unzip();
            Ok(t.execute(sql, (name, directory, url, sealed.transpose()?)).map(drop)?)
        })
        .await
    }

    /// An attempt failed: how many in a row, when the next one is, why, and what to do.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_certificate_trouble(
        &self,
        name: String,
        attempts: u32,
        next_attempt: Time,
        problem: String,
        remedy: String,
    ) -> Result<()> {
        let sql = "INSERT INTO certificates (name, attempts, next_attempt, problem, remedy) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (name) DO UPDATE SET attempts = excluded.attempts, next_attempt = excluded.next_attempt,
            problem = excluded.problem, remedy = excluded.remedy";
        let row = (name, attempts, integer(next_attempt.0), problem, remedy);
        self.write(move |t, _| Ok(t.execute(sql, row).map(drop)?)).await
    }

    /// The credentials at an authority, as it was given them.
    ///
    /// # Errors
    /// If the store cannot be read, or they do not open.
    pub async fn acme_account(&self, directory: String) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT credentials FROM acme_accounts WHERE directory = ?1";
        self.read(move |c, key| {
            let sealed: Option<Vec<u8>> = one(c, sql, [&directory], |row| row.get(0))?;
            Ok(sealed.map(|sealed| key.unseal(&account_purpose(&directory), &sealed)).transpose()?)
        })
        .await
    }

    /// Keeps the credentials at an authority, or (`None`) forgets them, and with them all orders there.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_acme_account(&self, directory: String, credentials: Option<Vec<u8>>) -> Result<()> {
        self.write(move |t, key| {
            let sql = "UPDATE certificates SET order_directory = NULL, order_url = NULL, order_key = NULL WHERE order_directory = ?1";
            t.execute(sql, [&directory])?;
            t.execute("DELETE FROM acme_accounts WHERE directory = ?1", [&directory])?;
            if let Some(plain) = credentials {
                let sealed = key.seal(&account_purpose(&directory), &plain)?;
                t.execute("INSERT INTO acme_accounts (directory, credentials) VALUES (?1, ?2)", (directory, sealed))?;
            }
            Ok(())
        })
        .await
    }
}

fn private_key(plain: Vec<u8>) -> PrivateKey {
    PrivateKey::new(String::from_utf8_lossy(&plain).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Key;

    const HELD: Held =
        Held { issuer: None, not_before: Time(1), not_after: Time(9), renew_at: Time(5), look_at: None };

    fn store(directory: &std::path::Path) -> Store {
        let key = Key::open(&directory.join("key")).expect("key");
        Store::open(&directory.join("store"), key).expect("store")
    }

    #[tokio::test]
    async fn a_real_certificate_ends_its_order_and_a_self_signed_one_does_not() {
        let directory = tempfile::tempdir().expect("directory");
        let store = store(directory.path());
        let key = || PrivateKey::new("-----SECRET-----".into());
        let order =
            Order { directory: "https://ca.test".into(), url: "https://ca.test/1".into(), key: key() };
        store.set_certificate_order("a.test".into(), Some(order.clone())).await.expect("order");
        store
            .set_certificate_trouble("a.test".into(), 2, Time(7), "p".into(), "r".into())
            .await
            .expect("trouble");
        store.set_certificate("a.test".into(), "chain".into(), key(), HELD).await.expect("self-signed");
        assert_eq!(store.certificate_order("a.test".into()).await.expect("order"), Some(order));
        let row = store.certificate_row("a.test".into()).await.expect("row").expect("there");
        assert_eq!((row.attempts, row.next_attempt, row.held), (2, Some(Time(7)), Some(HELD)));
        let real = Held { issuer: Some("https://ca.test".into()), ..HELD };
        store.set_certificate("a.test".into(), "chain".into(), key(), real.clone()).await.expect("real");
        assert_eq!(store.certificate_order("a.test".into()).await.expect("order"), None);
        let row = store.certificate_row("a.test".into()).await.expect("row").expect("there");
        assert_eq!((row.attempts, row.problem, row.held), (0, None, Some(real)));
        assert_eq!(store.certificates().await.expect("opens")[0].key, key());
        let bytes = std::fs::read(directory.path().join("store-wal")).expect("file");
        assert!(!bytes.windows(16).any(|w| w == b"-----SECRET-----"), "keys are sealed");
    }

    #[tokio::test]
    async fn an_account_that_is_lost_takes_its_orders_along() {
        let directory = tempfile::tempdir().expect("directory");
        let store = store(directory.path());
        store.set_acme_account("d".into(), Some(b"mine".to_vec())).await.expect("kept");
        assert_eq!(store.acme_account("d".into()).await.expect("opens"), Some(b"mine".to_vec()));
        let order = Order { directory: "d".into(), url: "u".into(), key: PrivateKey::new("k".into()) };
        store.set_certificate_order("a.test".into(), Some(order)).await.expect("order");
        store.set_acme_account("d".into(), None).await.expect("forgotten");
        assert_eq!(store.acme_account("d".into()).await.expect("reads"), None);
        assert_eq!(store.certificate_order("a.test".into()).await.expect("reads"), None);
    }
}
