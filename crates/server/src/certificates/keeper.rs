//! The loop that keeps every name's certificate: looks at the rows, does what is due, and tells the router. What is due is decided in
//! `plan`; it must never decide itself.

use super::{
    authority::Authority,
    failure::{self, Error, Words},
    forge,
    issue::Issuer,
    names,
    pause::{self, Retry},
    plan::{Due, plan},
    shelf::{self, Shelf},
};
use crate::{
    config::Config,
    platform::Changed,
    routerlink::{self, RouterLink},
    store::{self, Held, Store},
    world::now,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use teal_core::time::Time;
use tokio::{
    sync::broadcast,
    task::{Id, JoinSet},
};

/// The rows and the files are looked at least this often: a notice may be missed.
const LOOK: Duration = Duration::from_secs(5);
/// A router that does not take certificates is told again after this; one that was not there, sooner.
const REFUSED_MS: u64 = 60_000;
const ABSENT_MS: u64 = 5_000;

/// Keeps certificates for all names of all apps, until it is dropped. `changes` only wakes it early.
pub async fn keep(
    config: Arc<Config>,
    store: Store,
    link: Arc<RouterLink>,
    mut changes: broadcast::Receiver<Changed>,
) {
    let shelf = Arc::new(Shelf::new(Arc::clone(&config), store.clone(), link));
    let issuer = config.acme.clone().map(|acme| Issuer {
        store: store.clone(),
        shelf: Arc::clone(&shelf),
        authority: Arc::new(Authority::new(acme, store.clone())),
    });
    let mut keeper = Keeper {
        store,
        shelf,
        issuer,
        tasks: JoinSet::new(),
        busy: HashMap::new(),
        refused: None,
        again_at: Time(0),
    };
    loop {
        let pause = match keeper.pass().await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "certificates cannot be looked after"
                );
                LOOK
            }
        };
        tokio::select! {
            Some(ended) = keeper.tasks.join_next_with_id() => {
                let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
                keeper.busy.remove(&id);
            }
            () = changed(&mut changes) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn changed(changes: &mut broadcast::Receiver<Changed>) {
    if let Err(broadcast::error::RecvError::Closed) = changes.recv().await {
        std::future::pending().await
    }
}

struct Keeper {
    store: Store,
    shelf: Arc<Shelf>,
    issuer: Option<Issuer>,
    tasks: JoinSet<()>,
    /// The names of the tasks.
    busy: HashMap<Id, String>,
    /// What the router said the last time, so that it is logged once.
    refused: Option<String>,
    again_at: Time,
}

impl Keeper {
    /// Does everything that is due, and says when to look again.
    async fn pass(&mut self) -> Result<Duration, store::Error> {
        let shelf = Arc::clone(&self.shelf);
        // A thread that is lost is no reason to let certificates expire.
        drop(tokio::task::spawn_blocking(move || shelf.refresh_files()).await);
        let hosts = self.store.hosts().await?;
        let config = self.shelf.config();
        let authority = |name: &String| names::authority(config, name).map(String::from);
        let wanted = hosts.into_iter().map(|name| (name.clone(), authority(&name))).collect();
        let busy: BTreeSet<String> = self.busy.values().cloned().collect();
        let due = plan(&wanted, &self.store.certificate_rows().await?, &busy, now());
        self.settle(&due).await?;
        self.begin(&due);
        self.publish().await;
        Ok(due.next.map_or(LOOK, |at| Duration::from_millis(at.since(now()).max(10)).min(LOOK)))
    }

    /// What needs nobody else.
    async fn settle(&self, due: &Due) -> Result<(), store::Error> {
        for name in &due.forget {
            tracing::info!(name, "no app has this domain any more: its certificate is dropped");
            self.store.drop_certificate(name.clone()).await?;
        }
        for name in &due.sign {
            self.sign(name).await?;
        }
        if !due.forget.is_empty() || !due.sign.is_empty() {
            self.shelf.changed();
        }
        Ok(())
    }

    async fn sign(&self, name: &str) -> Result<(), store::Error> {
        let made = forge::self_signed(name, now()).map_err(|error| error.to_string());
        let dates = made.and_then(|forged| Ok((super::facts::validity(&forged.chain)?, forged)));
        match dates {
            Ok((dates, forged)) => {
                let renew_at = pause::two_thirds(dates.not_before, dates.not_after);
                let (not_before, not_after) = (dates.not_before, dates.not_after);
                let held = Held { issuer: None, not_before, not_after, renew_at, look_at: None };
                self.store.set_certificate(name.into(), forged.chain, forged.key, held).await
            }
            Err(why) => {
                tracing::error!(name, why, "no self-signed certificate can be made for this name");
                Ok(())
            }
        }
    }

    /// What takes its time.
    fn begin(&mut self, due: &Due) {
        let Some(issuer) = &self.issuer else { return };
        for name in &due.order {
            let task = self.tasks.spawn(attempt(issuer.clone(), name.clone()));
            self.busy.insert(task.id(), name.clone());
        }
        for name in &due.look {
            let task = self.tasks.spawn(look(issuer.clone(), name.clone()));
            self.busy.insert(task.id(), name.clone());
        }
    }

    /// Tells the router. One that does not take certificates is told seldom, and the log once.
    async fn publish(&mut self) {
        if self.refused.is_some() && now() < self.again_at {
            return;
        }
        match self.shelf.publish().await {
            Ok(()) => self.refused = None,
            Err(error) => {
                let why = error.to_string();
                if self.refused.as_ref() != Some(&why) {
                    tracing::warn!(
                        why,
                        "the router does not take the certificates; it is told again by and by"
                    );
                }
                self.refused = Some(why);
                let refused = matches!(error, shelf::Error::Router(routerlink::Error::Refused(_)));
                self.again_at = now().plus(if refused { REFUSED_MS } else { ABSENT_MS });
            }
        }
    }
}

/// One attempt for one name, with what its failure leaves.
async fn attempt(issuer: Issuer, name: String) {
    if let Err(error) = issuer.obtain(&name).await
        && let Err(error) = failed(&issuer, &name, &error).await
    {
        tracing::error!(name, error = &error as &dyn std::error::Error, "a failure cannot be kept");
    }
}

async fn failed(issuer: &Issuer, name: &str, error: &Error) -> Result<(), store::Error> {
    let words = failure::words(error, name, issuer.authority.config.challenge);
    let row = issuer.store.certificate_row(name.into()).await?;
    // What all names share is not held against this one.
    let own = u32::from(error.retry() != Retry::Soon);
    let attempts = row.map_or(0, |row| row.attempts).saturating_add(own);
    let next = pause::next_attempt(name, attempts, error.retry(), now());
    // What the router does not take is logged once, where it is told.
    if !matches!(error, Error::Router(_)) {
        let (next, Words { problem, remedy }) = (crate::log::rfc3339(next), &words);
        tracing::warn!(name, attempts, next, problem, remedy, "no certificate this time");
    }
    issuer.store.set_certificate_trouble(name.into(), attempts, next, words.problem, words.remedy).await
}

async fn look(issuer: Issuer, name: String) {
    if let Err(error) = issuer.look(&name).await {
        tracing::warn!(
            name,
            error = &error as &dyn std::error::Error,
            "the time of a renewal cannot be looked up"
        );
    }
}
