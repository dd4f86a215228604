//! The worker that empties the outbox. One instance per server: with two, each mail would go out twice.

use super::smtp::{self, Sent};
use crate::{
    config::Smtp,
    platform::Changed,
    store::{QueuedMail, Result, Store},
    world::now,
};
use futures_util::StreamExt;
use std::{future::Future, time::Duration};
use teal_core::time::Time;
use tokio::sync::broadcast;

/// Mails that are delivered at once; never the same one.
const AT_ONCE: usize = 4;
/// Mails that are looked at in one go.
const BATCH: u32 = 50;
/// The first and the longest pause between two attempts, in milliseconds.
const FIRST_PAUSE_MS: u64 = 5_000;
const LONGEST_PAUSE_MS: u64 = 600_000;
/// After this a mail is given up; its last error stays in the store.
const GIVE_UP_MS: u64 = 3 * 24 * 3_600 * 1_000;
/// The outbox is looked at least this often: a notice may be missed.
const LOOK: Duration = Duration::from_secs(30);
/// The pause if the outbox cannot be read or written.
const TROUBLE: Duration = Duration::from_secs(5);

/// Where mails wait.
pub trait Outbox: Send + Sync + 'static {
    /// Mails that are neither delivered nor given up and whose time has come, oldest first.
    fn due(&self, now: Time, limit: u32) -> impl Future<Output = Result<Vec<QueuedMail>>> + Send;

    /// When the next mail is due, if one waits.
    fn next(&self) -> impl Future<Output = Result<Option<Time>>> + Send;

    /// The mail server took it.
    fn delivered(&self, id: String, at: Time) -> impl Future<Output = Result<()>> + Send;

    /// It was not taken. `next`: when it is tried again; `None` gives it up.
    fn failed(
        &self,
        id: String,
        next: Option<Time>,
        error: String,
    ) -> impl Future<Output = Result<()>> + Send;
}

impl Outbox for Store {
    async fn due(&self, now: Time, limit: u32) -> Result<Vec<QueuedMail>> {
        self.mails_due(now, limit).await
    }

    async fn next(&self) -> Result<Option<Time>> {
        self.next_mail().await
    }

    async fn delivered(&self, id: String, at: Time) -> Result<()> {
        self.mail_delivered(id, at).await
    }

    async fn failed(&self, id: String, next: Option<Time>, error: String) -> Result<()> {
        self.mail_failed(id, next, error).await
    }
}

/// Delivers what is in the outbox, until it is dropped. `changes` only wakes it early.
pub async fn deliver(smtp: Smtp, outbox: impl Outbox, mut changes: broadcast::Receiver<Changed>) {
    loop {
        let pause = match pass(&smtp, &outbox).await {
            Ok(pause) => pause,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the outbox could not be read or written");
                TROUBLE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = changed(&mut changes) => {}
        }
    }
}

async fn changed(changes: &mut broadcast::Receiver<Changed>) {
    if let Err(broadcast::error::RecvError::Closed) = changes.recv().await {
        std::future::pending().await
    }
}

/// Tries everything that is due, and says when to look again.
async fn pass(smtp: &Smtp, outbox: &impl Outbox) -> Result<Duration> {
    let due = outbox.due(now(), BATCH).await?;
    let all = futures_util::stream::iter(due).map(|mail| attempt(smtp, outbox, mail));
    let attempts: Vec<Result<()>> = all.buffer_unordered(AT_ONCE).collect().await;
    attempts.into_iter().collect::<Result<()>>()?;
    let next = outbox.next().await?;
    Ok(next.map_or(LOOK, |at| Duration::from_millis(at.since(now())).min(LOOK)))
}

async fn attempt(smtp: &Smtp, outbox: &impl Outbox, mail: QueuedMail) -> Result<()> {
    match smtp::send(smtp, &mail).await {
        Sent::Taken(said) => {
            tracing::info!(mail = mail.id, said, "a mail was delivered");
            outbox.delivered(mail.id, now()).await
        }
        Sent::Later(why) => {
            let next = next_attempt(&mail, now());
            tracing::warn!(mail = mail.id, why, given_up = next.is_none(), "a mail could not be delivered");
            outbox.failed(mail.id, next, why).await
        }
        Sent::Never(why) => {
            tracing::error!(mail = mail.id, why, "a mail was refused for good");
            outbox.failed(mail.id, None, why).await
        }
    }
}

/// When to try again after this failed attempt: pauses double; `None` once the mail is too old.
fn next_attempt(mail: &QueuedMail, now: Time) -> Option<Time> {
    let doubled = FIRST_PAUSE_MS.saturating_mul(1_u64.checked_shl(mail.attempts).unwrap_or(u64::MAX));
    let next = now.plus(doubled.min(LONGEST_PAUSE_MS));
    (next.since(mail.queued_at) <= GIVE_UP_MS).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(attempts: u32, queued_at: u64) -> QueuedMail {
        let text = String::new;
        let queued_at = Time(queued_at);
        QueuedMail {
            id: text(),
            recipient: text(),
            subject: text(),
            text: text(),
            html: text(),
            queued_at,
            attempts,
        }
    }

    #[test]
    fn pauses_double_to_ten_minutes_and_end_after_three_days() {
        let pause =
            |attempts| next_attempt(&mail(attempts, 1_000), Time(1_000)).map(|at| at.since(Time(1_000)));
        assert_eq!(pause(0), Some(5_000));
        assert_eq!(pause(3), Some(40_000));
        assert_eq!(pause(7), Some(600_000));
        assert_eq!(pause(500), Some(600_000));
        assert_eq!(next_attempt(&mail(9, 0), Time(GIVE_UP_MS)), None);
    }
}
