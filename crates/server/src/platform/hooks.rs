//! Webhooks: who is told of what, whether it arrives, and the secret that is shown once.

use super::{Error, Platform, Principal, Result};
use crate::{
    log::{harmless, rfc3339},
    notify::{self, Sent, Telling, hook::Address},
    secrets,
    store::{self, Delivery, Hook, HookTarget},
    world::now,
};
use std::sync::Arc;
use teal_core::api::{Accepted, HookDeliveryView, HookView, MadeHook, NewHook};

/// The longest name of a webhook.
const MAX_NAME: usize = 100;
/// Deliveries that the log shows.
const SHOWN: u32 = 100;

impl Platform {
    /// What delivers to webhooks.
    pub(crate) fn telling(&self) -> Telling {
        Telling { courier: Arc::clone(&self.inner.courier), store: self.store().clone() }
    }

    /// All webhooks, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn hooks(&self) -> Result<Vec<HookView>> {
        Ok(self.store().hooks_with_targets().await?.iter().map(|(hook, target)| view(hook, target)).collect())
    }

    /// Makes a webhook; the answer alone has its secret.
    ///
    /// # Errors
    /// If the address is none, may not be posted to, or the app is unknown.
    pub async fn add_hook(&self, who: &Principal, new: NewHook) -> Result<MadeHook> {
        let NewHook { name, url, app, mut events, format } = new;
        let hint = "give one such as https://hooks.example.org/teal";
        let address =
            Address::parse(&url).map_err(|why| Error::invalid(format!("the address {why}"), hint))?;
        if let Some(why) = self.inner.courier.refusal(&address) {
            let hint = "the operator may allow it: `webhook_allow` in the server's configuration";
            return Err(Error::invalid(format!("nothing is posted to {}: it is {why}", address.host), hint));
        }
        let name: String = harmless(name.trim()).chars().take(MAX_NAME).collect();
        if name.is_empty() {
            return Err(Error::invalid("a webhook needs a name", "say in a word what it is for"));
        }
        let app = match app {
            Some(name) => Some((self.find_app(&name).await?, name)),
            None => None,
        };
        events.sort_unstable();
        events.dedup();
        let (id, author) = (super::new_id("h"), who.user.clone());
        let hook = Hook { id, name, app, events, format, author, created_at: now() };
        let secret = secrets::new_secret().map_err(|error| Error::Internal(error.to_string()))?;
        let target = HookTarget { url, secret };
        match self.store().add_hook(hook.clone(), target.clone()).await {
            Err(store::Error::Taken) => {
                return Err(Error::Refused {
                    message: "there are 200 webhooks already".into(),
                    hint: Some("remove one: `teal webhooks remove ID`".into()),
                });
            }
            added => added?,
        }
        tracing::info!(by = who.user, hook = hook.id, "webhook made");
        Ok(MadeHook { hook: view(&hook, &target), secret: target.secret })
    }

    /// Removes a webhook with what waits for it.
    ///
    /// # Errors
    /// If there is no such webhook.
    pub async fn remove_hook(&self, who: &Principal, id: &str) -> Result<()> {
        if self.store().remove_hook(id.to_owned()).await? {
            tracing::info!(by = who.user, hook = id, "webhook removed");
            return Ok(());
        }
        Err(unknown())
    }

    /// Posts a test to a webhook now; the answer says what the receiver said. It is in the log, too, and tried again like everything else.
    ///
    /// # Errors
    /// If there is no such webhook, or it was not taken.
    pub async fn test_hook(&self, who: &Principal, id: &str) -> Result<Accepted> {
        let hook = self.store().hooks().await?.into_iter().find(|hook| hook.id == id).ok_or_else(unknown)?;
        let mail = notify::hook::test(&hook, &who.user, now());
        let sent = self.telling();
        // First into the log: whoever dies in between has lost nothing. The worker may be quicker: then it is delivered twice, which receivers tell by its id.
        self.store().queue(mail.clone()).await?;
        match notify::attempt(&sent, self.store(), mail).await? {
            Sent::Taken(said) => {
                Ok(Accepted { deployment: None, message: format!("{} took it: {said}", hook.name) })
            }
            Sent::Later(why) | Sent::Never(why) => Err(Error::Refused {
                message: format!("{} did not take it: {why}", hook.name),
                hint: Some("it is tried again; `teal webhooks log ID` says how that goes".into()),
            }),
        }
    }

    /// The last deliveries of a webhook, the newest first.
    ///
    /// # Errors
    /// If there is no such webhook.
    pub async fn hook_deliveries(&self, id: &str) -> Result<Vec<HookDeliveryView>> {
        if self.store().hook_target(id.to_owned()).await?.is_none() {
            return Err(unknown());
        }
        let deliveries = self.store().deliveries(id.to_owned(), SHOWN).await?;
        Ok(deliveries.into_iter().map(delivery).collect())
    }
}

fn unknown() -> Error {
    Error::NotFound("there is no such webhook: see `teal webhooks list`".into())
}

fn view(hook: &Hook, target: &HookTarget) -> HookView {
    HookView {
        id: hook.id.clone(),
        name: hook.name.clone(),
        app: hook.app.as_ref().map(|(_, name)| name.clone()),
        events: hook.events.clone(),
        format: hook.format,
        address: Address::parse(&target.url).map_or_else(|_| "…".into(), |address| address.shown()),
        author: hook.author.clone(),
        created_at: rfc3339(hook.created_at),
    }
}

fn delivery(delivery: Delivery) -> HookDeliveryView {
    let Delivery { mail, delivered_at, given_up, next_attempt, said } = delivery;
    let (state, at) = match (delivered_at, given_up) {
        (Some(at), _) => ("delivered", Some(at)),
        (None, true) => ("given-up", None),
        (None, false) => ("waiting", Some(next_attempt)),
    };
    HookDeliveryView {
        id: mail.id,
        event: mail.subject,
        app: Some(mail.recipient).filter(|app| !app.is_empty()),
        queued_at: rfc3339(mail.queued_at),
        attempts: mail.attempts,
        state: state.into(),
        at: at.map(rfc3339),
        detail: said,
    }
}
