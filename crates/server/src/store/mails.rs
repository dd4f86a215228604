//! The outbox: mails and deliveries of webhooks that are due. Rows are inserted by [`super::rows`], in the transaction that makes them necessary.

use super::{Result, Store, all, integer, natural};
use rusqlite::{Row, Transaction};
use teal_core::time::Time;

/// Deliveries of one webhook that are over and still shown.
const SHOWN: u32 = 100;
/// Deliveries of one webhook that may wait; past it the oldest is given up.
const WAITING: u32 = 1_000;

/// A mail, or a delivery of a webhook, that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMail {
    /// Chosen from what it is about; the Message-ID comes from it. A webhook's delivery has it in a header.
    pub id: String,
    /// Who gets it; for a webhook the name of the app that it is about.
    pub recipient: String,
    /// One line; for a webhook the event.
    pub subject: String,
    /// The plain part; for a webhook the whole body.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The webhook that is told; `None`: it is a mail.
    pub hook: Option<String>,
    /// When it was queued.
    pub queued_at: Time,
    /// How often it was tried.
    pub attempts: u32,
}

/// How what is due travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// By SMTP.
    Mail,
    /// By HTTP.
    Hook,
}

/// A delivery of a webhook as its log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What was to be delivered, and how often that was tried.
    pub mail: QueuedMail,
    /// When it was taken.
    pub delivered_at: Option<Time>,
    /// It is not tried any more.
    pub given_up: bool,
    /// When it is tried next, if it is.
    pub next_attempt: Time,
    /// What was said last.
    pub said: Option<String>,
}

const COLUMNS: &str = "id, recipient, subject, text, html, hook, queued_at, attempts";

/// One of each webhook at a time, those that were tried least first: neither a receiver that hangs nor one delivery that is never taken holds up the others.
const DUE: [&str; 2] = [
    "SELECT id, recipient, subject, text, html, hook, queued_at, attempts FROM mails
     WHERE hook IS NULL AND delivered_at IS NULL AND given_up = 0 AND next_attempt <= ?1 ORDER BY queued_at LIMIT ?2",
    "SELECT id, recipient, subject, text, html, hook, queued_at, attempts FROM
     (SELECT *, row_number() OVER (PARTITION BY hook ORDER BY attempts, id) AS place FROM mails
      WHERE hook IS NOT NULL AND delivered_at IS NULL AND given_up = 0 AND next_attempt <= ?1)
     WHERE place = 1 ORDER BY id LIMIT ?2",
];

const NEXT: [&str; 2] = [
    "SELECT min(next_attempt) FROM mails WHERE hook IS NULL AND delivered_at IS NULL AND given_up = 0",
    "SELECT min(next_attempt) FROM mails WHERE hook IS NOT NULL AND delivered_at IS NULL AND given_up = 0",
];

/// Inserts a mail, or a delivery of a webhook that still is there, unless it is queued already.
pub(super) fn insert(transaction: &Transaction<'_>, mail: &QueuedMail) -> Result<()> {
    let sql =
        "INSERT OR IGNORE INTO mails (id, recipient, subject, text, html, hook, queued_at, next_attempt)
        SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7 WHERE ?6 IS NULL OR EXISTS (SELECT 1 FROM hooks WHERE id = ?6)";
    let at = integer(mail.queued_at.0);
    let row = (&mail.id, &mail.recipient, &mail.subject, &mail.text, &mail.html, &mail.hook, at);
    transaction.prepare_cached(sql)?.execute(row)?;
    mail.hook.as_ref().map_or(Ok(()), |hook| bound(transaction, hook))
}

/// Keeps what one webhook holds within bounds.
fn bound(transaction: &Transaction<'_>, hook: &str) -> Result<()> {
    let over = "UPDATE mails SET given_up = 1, error = 'too many newer ones waited behind it' WHERE hook = ?1 AND id IN
        (SELECT id FROM mails WHERE hook = ?1 AND delivered_at IS NULL AND given_up = 0 ORDER BY id DESC LIMIT -1 OFFSET ?2)";
    transaction.prepare_cached(over)?.execute((hook, WAITING))?;
    let old = "DELETE FROM mails WHERE hook = ?1 AND id IN
        (SELECT id FROM mails WHERE hook = ?1 AND (delivered_at IS NOT NULL OR given_up = 1) ORDER BY id DESC LIMIT -1 OFFSET ?2)";
    transaction.prepare_cached(old)?.execute((hook, SHOWN))?;
    Ok(())
}

fn queued(row: &Row<'_>) -> rusqlite::Result<QueuedMail> {
    Ok(QueuedMail {
        id: row.get(0)?,
        recipient: row.get(1)?,
        subject: row.get(2)?,
        text: row.get(3)?,
        html: row.get(4)?,
        hook: row.get(5)?,
        queued_at: Time(natural(row.get(6)?)),
        attempts: row.get(7)?,
    })
}

impl Store {
    /// What this carrier has to deliver by now, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn mails_due(&self, carrier: Carrier, now: Time, limit: u32) -> Result<Vec<QueuedMail>> {
        self.read(move |c, _| all(c, DUE[carrier as usize], (integer(now.0), limit), queued)).await
    }

    /// When this carrier has something to deliver next, if anything waits.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn next_mail(&self, carrier: Carrier) -> Result<Option<Time>> {
        self.read(move |c, _| {
            let next = c.query_row(NEXT[carrier as usize], [], |row| row.get::<_, Option<i64>>(0))?;
            Ok(next.map(|at| Time(natural(at))))
        })
        .await
    }

    /// It was taken; `said` is what was said to it.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn mail_delivered(&self, id: String, at: Time, said: String) -> Result<()> {
        let sql = "UPDATE mails SET delivered_at = ?2, attempts = attempts + 1, error = NULL, said = ?3 WHERE id = ?1";
        self.write(move |t, _| Ok(t.execute(sql, (id, integer(at.0), said)).map(drop)?)).await
    }

    /// It was not taken; `next` is the next attempt, `None` gives it up for good. What else waits for the same webhook waits as long.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn mail_failed(&self, id: String, next: Option<Time>, error: String) -> Result<()> {
        let sql = "UPDATE mails SET attempts = attempts + 1, next_attempt = coalesce(?2, next_attempt), given_up = ?2 IS NULL, error = ?3 WHERE id = ?1";
        let others = "UPDATE mails SET next_attempt = max(next_attempt, ?2) WHERE hook = (SELECT hook FROM mails WHERE id = ?1)
            AND delivered_at IS NULL AND given_up = 0";
        let next = next.map(|at| integer(at.0));
        self.write(move |t, _| {
            t.execute(sql, (&id, next, error))?;
            if next.is_some() {
                t.execute(others, (&id, next))?;
            }
            Ok(())
        })
        .await
    }

    /// Queues what no change of an app brings about: a test.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn queue(&self, mail: QueuedMail) -> Result<()> {
        self.write(move |t, _| insert(t, &mail)).await
    }

    /// The newest deliveries of a webhook first: those that wait, and the last 100 that are over.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn deliveries(&self, hook: String, limit: u32) -> Result<Vec<Delivery>> {
        let sql = format!(
            "SELECT {COLUMNS}, delivered_at, given_up, next_attempt, coalesce(error, said) FROM mails WHERE hook = ?1 ORDER BY id DESC LIMIT ?2"
        );
        self.read(move |c, _| {
            all(c, &sql, (hook, limit), |row| {
                Ok(Delivery {
                    mail: queued(row)?,
                    delivered_at: row.get::<_, Option<i64>>(8)?.map(|at| Time(natural(at))),
                    given_up: row.get(9)?,
                    next_attempt: Time(natural(row.get(10)?)),
                    said: row.get(11)?,
                })
            })
        })
        .await
    }
}
