//! The store: one SQLite file, the only place where decisions are durable. WAL with `synchronous=FULL`: a commit that returned is on disk.
//!
//! Calls run on blocking threads. It must never decide anything, and nothing but this directory may speak SQL.

mod accounts;
mod apps;
mod audit;
mod census;
mod certificates;
mod hooks;
mod mails;
mod members;
mod release_commands;
mod rollouts;
mod rows;
mod samples;

pub use accounts::NewRow;
pub use apps::{AppRow, Variables};
pub use audit::Asked;
pub use census::Ends;
pub use certificates::{CertificateRow, Held, Order};
pub use hooks::{Hook, HookTarget};
pub use mails::{Carrier, Delivery, QueuedMail};
pub use members::Credential;
pub use release_commands::ReleaseCommand;
pub use rollouts::Pin;
pub use rows::Commit;

use crate::secrets::{self, Key};
use rusqlite::Connection;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Migrations in order; `user_version` says how many were done.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001.sql"),
    include_str!("../../migrations/0002.sql"),
    include_str!("../../migrations/0003.sql"),
    include_str!("../../migrations/0004.sql"),
    include_str!("../../migrations/0005.sql"),
    include_str!("../../migrations/0006.sql"),
    include_str!("../../migrations/0007.sql"),
    include_str!("../../migrations/0008.sql"),
    include_str!("../../migrations/0009.sql"),
];

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused.
    #[error("the store could not be read or written")]
    Sqlite(#[from] rusqlite::Error),
    /// A row does not have the form that this version of Teal knows.
    #[error("a row of the store does not parse")]
    Json(#[from] serde_json::Error),
    /// A sealed value does not open.
    #[error(transparent)]
    Secret(#[from] secrets::Error),
    /// The store was written by a newer Teal.
    #[error("the store has version {found}, this Teal knows {known}: install the newer Teal again")]
    TooNew {
        /// The store's version.
        found: usize,
        /// The newest that is known here.
        known: usize,
    },
    /// Somebody else committed first.
    #[error("the app changed meanwhile")]
    Conflict,
    /// A name or a TCP port is another app's.
    #[error("the name or the TCP port is taken")]
    Taken,
    /// A blocking thread was lost.
    #[error("the store's thread ended")]
    Thread,
}

/// The result of a call to the store.
pub type Result<T> = std::result::Result<T, Error>;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
    key: Arc<Key>,
}

impl Store {
    /// Opens the file, or makes it, and brings it to the newest form.
    ///
    /// # Errors
    /// If it cannot be opened, or was written by a newer Teal.
    pub fn open(path: &Path, key: Key) -> Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        migrate(&mut connection)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), key: Arc::new(key) })
    }

    /// The key that seals secrets.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Runs `work` on a blocking thread inside one immediate transaction, committed if it returns `Ok`.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>, &Key) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let value = work(&transaction, &this.key)?;
            transaction.commit()?;
            Ok(value)
        });
        task.await.map_err(|_| Error::Thread)?
    }

    /// Runs `work` on a blocking thread.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Key) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&connection, &this.key)
        });
        task.await.map_err(|_| Error::Thread)?
    }

    /// A fact of the server itself, e.g. the route table's generation.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn meta(&self, key: &'static str) -> Result<Option<String>> {
        self.read(move |c, _| one(c, "SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))).await
    }

    /// Sets such a fact.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_meta(&self, key: &'static str, value: String) -> Result<()> {
        let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.write(move |t, _| Ok(t.execute(sql, (key, value)).map(drop)?)).await
    }
}

/// The first row, if there is one.
fn one<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    map: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    use rusqlite::OptionalExtension;
    Ok(connection.query_row(sql, parameters, map).optional()?)
}

/// All rows.
fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(parameters, map)?;
    Ok(rows.collect::<rusqlite::Result<Vec<T>>>()?)
}

/// A number as SQLite keeps it; Teal's numbers never come near the sign bit.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// And back.
fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn migrate(connection: &mut Connection) -> Result<()> {
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(done).unwrap_or(0);
    let pending = MIGRATIONS.get(done..).ok_or(Error::TooNew { found: done, known: MIGRATIONS.len() })?;
    for (sql, version) in pending.iter().zip(done + 1..) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", i64::try_from(version).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}
