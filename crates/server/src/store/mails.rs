//! Mail that is due. Rows are inserted by [`super::rows`], in the transaction that makes the mail necessary.

use super::{Result, Store, all, integer, natural};
use teal_core::time::Time;

/// A mail that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMail {
    /// Chosen from what it is about; the Message-ID comes from it.
    pub id: String,
    /// Who gets it.
    pub recipient: String,
    /// One line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// When it was queued.
    pub queued_at: Time,
    /// How often it was tried.
    pub attempts: u32,
}

/// Inserts a mail unless it is there.
pub(super) fn insert(transaction: &rusqlite::Transaction<'_>, mail: &QueuedMail) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO mails (id, recipient, subject, text, html, queued_at, next_attempt) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)";
    let at = integer(mail.queued_at.0);
    transaction.execute(sql, (&mail.id, &mail.recipient, &mail.subject, &mail.text, &mail.html, at))?;
    Ok(())
}

impl Store {
    /// Mails whose time has come, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn mails_due(&self, now: Time, limit: u32) -> Result<Vec<QueuedMail>> {
        let sql = "SELECT id, recipient, subject, text, html, queued_at, attempts FROM mails
                   WHERE delivered_at IS NULL AND given_up = 0 AND next_attempt <= ?1 ORDER BY queued_at LIMIT ?2";
        self.read(move |c, _| {
            all(c, sql, (integer(now.0), limit), |row| {
                Ok(QueuedMail {
                    id: row.get(0)?,
                    recipient: row.get(1)?,
                    subject: row.get(2)?,
                    text: row.get(3)?,
                    html: row.get(4)?,
                    queued_at: Time(natural(row.get(5)?)),
                    attempts: row.get(6)?,
                })
            })
        })
        .await
    }

    /// When the next mail is due, if one waits.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn next_mail(&self) -> Result<Option<Time>> {
        let sql = "SELECT min(next_attempt) FROM mails WHERE delivered_at IS NULL AND given_up = 0";
        self.read(move |c, _| {
            Ok(c.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))?.map(|at| Time(natural(at))))
        })
        .await
    }

    /// The mail server took it.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn mail_delivered(&self, id: String, at: Time) -> Result<()> {
        let sql = "UPDATE mails SET delivered_at = ?2, attempts = attempts + 1, error = NULL WHERE id = ?1";
        self.write(move |t, _| Ok(t.execute(sql, (id, integer(at.0))).map(drop)?)).await
    }

    /// It was not taken; `next` is the next attempt, `None` gives it up for good.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn mail_failed(&self, id: String, next: Option<Time>, error: String) -> Result<()> {
        let sql = "UPDATE mails SET attempts = attempts + 1, next_attempt = coalesce(?2, next_attempt), given_up = ?2 IS NULL, error = ?3 WHERE id = ?1";
        self.write(move |t, _| Ok(t.execute(sql, (id, next.map(|at| integer(at.0)), error)).map(drop)?)).await
    }
}
