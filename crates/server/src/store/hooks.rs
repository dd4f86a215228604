//! Webhooks. Address and secret are sealed; nothing but a delivery opens them.

use super::{Error, Result, Store, all, integer, natural, one};
use crate::secrets::Key;
use rusqlite::Row;
use serde::{Deserialize, Serialize};
use teal_core::{
    hook::{HookEvent, HookFormat},
    id::AppId,
    time::Time,
};

/// The most webhooks of a server.
const MAX_HOOKS: i64 = 200;

/// A webhook, without what is secret of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its id.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whose events it is told, with the app's name; `None`: all apps'.
    pub app: Option<(AppId, String)>,
    /// What it is told of; none is everything.
    pub events: Vec<HookEvent>,
    /// How.
    pub format: HookFormat,
    /// Who made it.
    pub author: String,
    /// When.
    pub created_at: Time,
}

impl Hook {
    /// It wants to hear of this event of this app.
    #[must_use]
    pub fn hears(&self, app: &AppId, event: HookEvent) -> bool {
        self.app.as_ref().is_none_or(|(own, _)| own == app)
            && (self.events.is_empty() || self.events.contains(&event))
    }
}

/// What is secret of a webhook. It has no `Debug`: nothing may log it.
#[derive(Clone, Serialize, Deserialize)]
pub struct HookTarget {
    /// Where it is.
    pub url: String,
    /// What deliveries are signed with.
    pub secret: String,
}

/// The text that seals it: it does not open as another one's.
fn purpose(id: &str) -> String {
    format!("webhook {id}")
}

const ALL: &str =
    "SELECT hooks.id, hooks.name, app, apps.name, events, format, author, created_at, sealed FROM hooks
    LEFT JOIN apps ON apps.id = hooks.app ORDER BY hooks.id";

type Sealed = (Hook, Vec<u8>);

fn hook(row: &Row<'_>) -> rusqlite::Result<Result<Sealed>> {
    let app = row.get::<_, Option<String>>(2)?.zip(row.get::<_, Option<String>>(3)?);
    let (events, format): (String, String) = (row.get(4)?, row.get(5)?);
    let read = || -> Result<_> {
        Ok((serde_json::from_str(&events)?, serde_json::from_value(format.clone().into())?))
    };
    let (events, format) = match read() {
        Ok(read) => read,
        Err(error) => return Ok(Err(error)),
    };
    let hook = Hook {
        id: row.get(0)?,
        name: row.get(1)?,
        app: app.and_then(|(id, name)| Some((id.parse().ok()?, name))),
        events,
        format,
        author: row.get(6)?,
        created_at: Time(natural(row.get(7)?)),
    };
    Ok(Ok((hook, row.get(8)?)))
}

fn open(key: &Key, id: &str, sealed: &[u8]) -> Result<HookTarget> {
    Ok(serde_json::from_slice(&key.unseal(&purpose(id), sealed)?)?)
}

impl Store {
    /// All webhooks, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn hooks(&self) -> Result<Vec<Hook>> {
        Ok(self.hooks_with_targets().await?.into_iter().map(|(hook, _)| hook).collect())
    }

    /// All webhooks with what is secret of them, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn hooks_with_targets(&self) -> Result<Vec<(Hook, HookTarget)>> {
        self.read(|c, key| {
            let opened = |sealed: Result<Sealed>| {
                let (hook, sealed) = sealed?;
                let target = open(key, &hook.id, &sealed)?;
                Ok((hook, target))
            };
            all(c, ALL, [], hook)?.into_iter().map(opened).collect()
        })
        .await
    }

    /// What is secret of one webhook.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn hook_target(&self, id: String) -> Result<Option<HookTarget>> {
        self.read(move |c, key| {
            let sealed: Option<Vec<u8>> =
                one(c, "SELECT sealed FROM hooks WHERE id = ?1", [&id], |row| row.get(0))?;
            sealed.map(|sealed| open(key, &id, &sealed)).transpose()
        })
        .await
    }

    /// Keeps a webhook.
    ///
    /// # Errors
    /// [`Error::Taken`] if there are too many; or if the store cannot be written.
    pub async fn add_hook(&self, hook: Hook, target: HookTarget) -> Result<()> {
        self.write(move |t, key| {
            let count: i64 = t.query_row("SELECT count(*) FROM hooks", [], |row| row.get(0))?;
            if count >= MAX_HOOKS {
                return Err(Error::Taken);
            }
            let sealed = key.seal(&purpose(&hook.id), &serde_json::to_vec(&target)?)?;
            let events = serde_json::to_string(&hook.events)?;
            let sql = "INSERT INTO hooks (id, name, app, events, format, sealed, author, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let app = hook.app.as_ref().map(|(id, _)| id.as_str());
            let at = integer(hook.created_at.0);
            t.execute(sql, (&hook.id, &hook.name, app, events, hook.format.word(), sealed, &hook.author, at))?;
            Ok(())
        })
        .await
    }

    /// Removes a webhook with its deliveries; whether there was one.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn remove_hook(&self, id: String) -> Result<bool> {
        self.write(move |t, _| Ok(t.execute("DELETE FROM hooks WHERE id = ?1", [id])? > 0)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Carrier, QueuedMail};

    async fn store() -> (tempfile::TempDir, Store) {
        let place = tempfile::tempdir().expect("a directory");
        let key = Key::open(&place.path().join("key")).expect("a key");
        let store = Store::open(&place.path().join("store"), key).expect("opens");
        for id in ["h-1", "h-2"] {
            let hook = Hook {
                id: id.into(),
                name: "ci".into(),
                app: None,
                events: vec![HookEvent::GitPush],
                format: HookFormat::Slack,
                author: "ada".into(),
                created_at: Time(1),
            };
            let url = "https://hooks.example.org/T0/path".to_owned();
            store.add_hook(hook, HookTarget { url, secret: "teal_s3cret".into() }).await.expect("made");
        }
        (place, store)
    }

    fn delivery(hook: &str, number: u32) -> QueuedMail {
        QueuedMail {
            id: format!("n-{number:05}-{hook}"),
            recipient: "shop".into(),
            subject: "GIT_PUSH".into(),
            text: "{}".into(),
            html: String::new(),
            hook: Some(hook.into()),
            queued_at: Time(number.into()),
            attempts: 0,
        }
    }

    async fn due(store: &Store, at: u64) -> Vec<String> {
        let due = store.mails_due(Carrier::Hook, Time(at), 50).await.expect("reads");
        due.into_iter().map(|mail| mail.id).collect()
    }

    #[tokio::test]
    async fn address_and_secret_are_sealed_and_go_with_the_webhook() {
        let (place, store) = store().await;
        let hooks = store.hooks_with_targets().await.expect("reads");
        assert_eq!(
            (hooks[0].0.format, hooks[0].0.events.as_slice()),
            (HookFormat::Slack, &[HookEvent::GitPush][..])
        );
        assert_eq!(
            (hooks[0].1.url.as_str(), hooks[1].1.secret.as_str()),
            ("https://hooks.example.org/T0/path", "teal_s3cret")
        );
        for file in ["store", "store-wal"] {
            let bytes = std::fs::read(place.path().join(file)).unwrap_or_default();
            assert!(!bytes.windows(6).any(|part| part == b"s3cret" || part == b"T0/pat"), "{file}");
        }
        store.queue(delivery("h-1", 1)).await.expect("queued");
        assert!(store.remove_hook("h-1".into()).await.expect("written"));
        store.queue(delivery("h-1", 2)).await.expect("no trouble for whoever commits");
        assert!(
            due(&store, 9).await.is_empty()
                && store.hook_target("h-1".into()).await.expect("reads").is_none()
        );
    }

    #[tokio::test]
    async fn no_receiver_and_no_delivery_holds_up_the_others() {
        let (_place, store) = store().await;
        for (hook, number) in [("h-1", 1), ("h-1", 2), ("h-2", 3)] {
            store.queue(delivery(hook, number)).await.expect("queued");
        }
        assert!(store.mails_due(Carrier::Mail, Time(9), 50).await.expect("reads").is_empty());
        assert_eq!(due(&store, 9).await, ["n-00001-h-1", "n-00003-h-2"], "one of each at a time");
        store.mail_failed("n-00001-h-1".into(), Some(Time(100)), "500".into()).await.expect("written");
        assert_eq!(due(&store, 9).await, ["n-00003-h-2"], "it rests, and nobody else does");
        assert_eq!(store.next_mail(Carrier::Hook).await.expect("reads"), Some(Time(3)));
        assert_eq!(due(&store, 100).await, ["n-00002-h-1", "n-00003-h-2"], "the next one has its turn");
        store.mail_delivered("n-00002-h-1".into(), Time(101), "204".into()).await.expect("written");
        assert_eq!(due(&store, 100).await, ["n-00001-h-1", "n-00003-h-2"]);
        store.mail_failed("n-00001-h-1".into(), None, "500".into()).await.expect("written");
        let log = store.deliveries("h-1".into(), 100).await.expect("reads");
        let told: Vec<_> = log.iter().map(|d| (d.given_up, d.mail.attempts, d.said.as_deref())).collect();
        assert_eq!(told, [(false, 1, Some("204")), (true, 2, Some("500"))]);
    }

    #[tokio::test]
    async fn what_one_webhook_holds_is_bounded() {
        let (_place, store) = store().await;
        for number in 0..1_105 {
            store.queue(delivery("h-1", number)).await.expect("queued");
        }
        let log = store.deliveries("h-1".into(), 5_000).await.expect("reads");
        let waiting = log.iter().filter(|d| !d.given_up).count();
        assert_eq!(
            (waiting, log.len()),
            (1_000, 1_100),
            "the oldest were given up, and of these the last are shown"
        );
        assert_eq!(due(&store, 5_000).await, ["n-00105-h-1"]);
    }
}
