//! The worker that empties the outbox. One per carrier and server: with two, each mail would go out twice.

use super::{hook::Courier, smtp};
use crate::{
    config::Smtp,
    platform::Changed,
    store::{Carrier, QueuedMail, Result, Store},
    world::now,
};
use futures_util::StreamExt;
use std::{future::Future, sync::Arc, time::Duration};
use teal_core::time::Time;
use tokio::sync::broadcast;

/// What one carrier delivers at once; never the same twice.
const AT_ONCE: usize = 8;
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

/// What became of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// The mail server took it, and said so.
    Taken(String),
    /// Not taken, or not known: try again.
    Later(String),
    /// Refused for good.
    Never(String),
}

/// Brings something to whom it is for.
pub trait Carry: Send + Sync + 'static {
    /// What it carries.
    const CARRIER: Carrier;

    /// Tries once.
    fn carry(&self, mail: &QueuedMail) -> impl Future<Output = Sent> + Send;
}

/// Mails, by SMTP.
pub struct Post(pub Smtp);

impl Carry for Post {
    const CARRIER: Carrier = Carrier::Mail;

    async fn carry(&self, mail: &QueuedMail) -> Sent {
        smtp::send(&self.0, mail).await
    }
}

/// Deliveries of webhooks, whose addresses and secrets the store keeps.
pub struct Telling {
    /// Who posts them.
    pub courier: Arc<Courier>,
    /// Who knows where to.
    pub store: Store,
}

impl Carry for Telling {
    const CARRIER: Carrier = Carrier::Hook;

    async fn carry(&self, mail: &QueuedMail) -> Sent {
        match self.store.hook_target(mail.hook.clone().unwrap_or_default()).await {
            Ok(Some(target)) => self.courier.post(&target, mail).await,
            Ok(None) => Sent::Never("the webhook was removed".into()),
            Err(error) => Sent::Later(error.to_string()),
        }
    }
}

/// Where mails wait.
pub trait Outbox: Send + Sync + 'static {
    /// Mails that are neither delivered nor given up and whose time has come, oldest first.
    fn due(
        &self,
        carrier: Carrier,
        now: Time,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<QueuedMail>>> + Send;

    /// When the next mail is due, if one waits.
    fn next(&self, carrier: Carrier) -> impl Future<Output = Result<Option<Time>>> + Send;

    /// It was taken, and this was said.
    fn delivered(&self, id: String, at: Time, said: String) -> impl Future<Output = Result<()>> + Send;

    /// It was not taken. `next`: when it is tried again; `None` gives it up.
    fn failed(
        &self,
        id: String,
        next: Option<Time>,
        error: String,
    ) -> impl Future<Output = Result<()>> + Send;
}

impl Outbox for Store {
    async fn due(&self, carrier: Carrier, now: Time, limit: u32) -> Result<Vec<QueuedMail>> {
        self.mails_due(carrier, now, limit).await
    }

    async fn next(&self, carrier: Carrier) -> Result<Option<Time>> {
        self.next_mail(carrier).await
    }

    async fn delivered(&self, id: String, at: Time, said: String) -> Result<()> {
        self.mail_delivered(id, at, said).await
    }

    async fn failed(&self, id: String, next: Option<Time>, error: String) -> Result<()> {
        self.mail_failed(id, next, error).await
    }
}

/// Delivers what is in the outbox for this carrier, until it is dropped. `changes` only wakes it early.
pub async fn deliver(carrier: impl Carry, outbox: impl Outbox, mut changes: broadcast::Receiver<Changed>) {
    loop {
        let pause = match pass(&carrier, &outbox).await {
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
async fn pass<C: Carry>(carrier: &C, outbox: &impl Outbox) -> Result<Duration> {
    let due = outbox.due(C::CARRIER, now(), BATCH).await?;
    let all = futures_util::stream::iter(due).map(|mail| attempt(carrier, outbox, mail));
    let attempts: Vec<Result<Sent>> = all.buffer_unordered(AT_ONCE).collect().await;
    attempts.into_iter().collect::<Result<Vec<Sent>>>()?;
    let next = outbox.next(C::CARRIER).await?;
    Ok(next.map_or(LOOK, |at| Duration::from_millis(at.since(now())).min(LOOK)))
}

/// Tries one, and notes what became of it.
///
/// # Errors
/// If the outbox cannot be written.
pub async fn attempt(carrier: &impl Carry, outbox: &impl Outbox, mail: QueuedMail) -> Result<Sent> {
    let sent = carrier.carry(&mail).await;
    let hook = mail.hook.as_deref();
    match &sent {
        Sent::Taken(said) => {
            tracing::info!(mail = mail.id, hook, said, "a mail was delivered");
            outbox.delivered(mail.id, now(), said.clone()).await?;
        }
        Sent::Later(why) => {
            let next = next_attempt(&mail, now());
            tracing::warn!(
                mail = mail.id,
                hook,
                why,
                given_up = next.is_none(),
                "a mail could not be delivered"
            );
            outbox.failed(mail.id, next, why.clone()).await?;
        }
        Sent::Never(why) => {
            tracing::error!(mail = mail.id, hook, why, "a mail was refused for good");
            outbox.failed(mail.id, None, why.clone()).await?;
        }
    }
    Ok(sent)
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
            hook: None,
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
