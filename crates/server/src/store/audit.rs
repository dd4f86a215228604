//! Who asked for which change, and what the answer was. Bounded: the oldest go.

use super::{Result, Store, all, integer, natural};
use crate::log::rfc3339;
use teal_core::{api::AuditView, time::Time};

/// As many are kept.
const KEPT: i64 = 50_000;

/// One of them, before it has a number.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When.
    pub at: Time,
    /// Who, if that was proved.
    pub user: Option<String>,
    /// The way.
    pub way: Option<&'static str>,
    /// Where from.
    pub address: String,
    /// Method and path: never a body, never a secret.
    pub request: String,
    /// The status of the answer.
    pub status: u16,
}

impl Store {
    /// Keeps one.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn add_audit(&self, asked: Asked) -> Result<()> {
        self.write(move |t, _| {
            let sql =
                "INSERT INTO audit (at, user, way, address, request, status) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let Asked { at, user, way, address, request, status } = asked;
            t.execute(sql, (integer(at.0), user, way, address, request, status))?;
            let newest = t.last_insert_rowid();
            Ok(t.execute("DELETE FROM audit WHERE number <= ?1", [newest - KEPT]).map(drop)?)
        })
        .await
    }

    /// Those before number `before`, the newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditView>> {
        let sql = "SELECT number, at, user, way, address, request, status FROM audit \
                   WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
        let before = before.map_or(i64::MAX, integer);
        self.read(move |c, _| {
            all(c, sql, (before, limit), |row| {
                Ok(AuditView {
                    number: natural(row.get(0)?),
                    at: rfc3339(Time(natural(row.get(1)?))),
                    user: row.get(2)?,
                    way: row.get(3)?,
                    address: row.get(4)?,
                    request: row.get(5)?,
                    status: row.get(6)?,
                })
            })
        })
        .await
    }
}
