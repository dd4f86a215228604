//! What the repository of the live version says of its app as a whole (`[app]` and `domains` of `teal.toml`): brought about once that version is
//! live, and taken back with it. Looked at anew after every change and at every start, so that nothing is lost where the server dies.
//!
//! It never overrules an owner, and never takes away a domain: an owner removes those.

use super::{Platform, Result, new_deployment};
use crate::manifest::Manifest;
use std::collections::HashSet;
use teal_core::{
    deploy::{Act, Cause, Request, Rows, Settings},
    engine,
    id::{AppId, EnvironmentId},
};
use tokio::sync::broadcast::error::RecvError;

/// What is wanted of an app as a whole.
struct Wish {
    settings: Settings,
    /// If the repository has the say.
    instances: Option<u32>,
    domains: Vec<String>,
}

/// Pure: what is to be asked of the machine, so that the rows are as wished.
fn due(rows: &Rows, wish: &Wish) -> Vec<Act> {
    let app = &rows.app;
    let settings = Settings { instances: app.settings.instances, ..wish.settings.clone() };
    let set = settings != app.settings || wish.domains != app.domains;
    let set = set.then(|| Act::Set { settings, name: app.name.clone(), domains: wish.domains.clone() });
    let instances = wish.instances.filter(|wanted| *wanted != app.settings.instances);
    set.into_iter().chain(instances.map(|instances| Act::Scale { instances })).collect()
}

impl Platform {
    /// Brings about what live versions wish, until the server ends.
    pub(crate) async fn keep_wishes(self) {
        let mut changes = self.changes();
        let mut told = HashSet::new();
        let mut all = true;
        loop {
            if std::mem::take(&mut all) {
                for app in self.store().apps().await.unwrap_or_default() {
                    self.look_at_wishes(&app.id, &mut told).await;
                }
            }
            match changes.recv().await {
                Ok(changed) => self.look_at_wishes(&changed.app, &mut told).await,
                Err(RecvError::Lagged(_)) => all = true,
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn look_at_wishes(&self, app: &AppId, told: &mut HashSet<(EnvironmentId, String)>) {
        if let Err(error) = self.fulfil(app, told).await {
            tracing::warn!(%app, %error, "what teal.toml says of the app cannot be brought about yet");
        }
    }

    async fn fulfil(&self, app: &AppId, told: &mut HashSet<(EnvironmentId, String)>) -> Result<()> {
        let Some(rows) = self.store().load(app).await? else { return Ok(()) };
        let Some(live) = rows.live().filter(|_| rows.app.deleted.is_none()) else { return Ok(()) };
        // Those that are left count, too: what they wished is taken back.
        let concerned = rows.environments.iter().map(|environment| self.manifest_of(&environment.release));
        let concerned: Vec<Manifest> = concerned.filter(Manifest::concerns_app).collect();
        if concerned.is_empty() {
            return Ok(());
        }
        let (manifest, (_, overrides)) = (self.manifest_of(&live.release), self.newest(app).await?);
        let config = match manifest.settings_below(&overrides) {
            Ok(config) => config,
            Err(why) => return self.tell_once(&rows, told, &format!("teal.toml is not heeded: {why}")),
        };
        let file_says = concerned.iter().any(|manifest| manifest.settings.contains_key("instances"));
        let wish = Wish {
            settings: self.machine_settings(&config),
            instances: (file_says && !overrides.contains_key("instances")).then_some(config.instances),
            domains: self.domains_with(&rows, &manifest, told).await?,
        };
        for act in due(&rows, &wish) {
            let request = Request { id: new_deployment(), cause: Cause::Git, author: None, act };
            engine::request(&self.inner.world, app, &request).await?;
            self.inner.driver.wake(app);
        }
        Ok(())
    }

    /// The app's domains and those that its repository names, but for those of other apps.
    async fn domains_with(
        &self,
        rows: &Rows,
        manifest: &Manifest,
        told: &mut HashSet<(EnvironmentId, String)>,
    ) -> Result<Vec<String>> {
        let mut domains = rows.app.domains.clone();
        for domain in &manifest.domains {
            if domains.contains(domain) {
                continue;
            }
            let mut more = domains.clone();
            more.push(domain.clone());
            more.sort();
            match self.may_have(&rows.app.id, rows.app.settings.tls_passthrough, domain, &more).await {
                Ok(()) => domains = more,
                Err(why) => {
                    let words = format!("teal.toml names {domain}, which the app does not get: {why}");
                    self.tell_once(rows, told, &words)?;
                }
            }
        }
        Ok(domains)
    }

    /// What the live version's repository says; nothing if nothing is live.
    pub(super) fn said(&self, rows: &Rows) -> Manifest {
        rows.live().map(|live| self.manifest_of(&live.release)).unwrap_or_default()
    }

    fn manifest_of(&self, release: &teal_core::id::ReleaseId) -> Manifest {
        let found = self.inner.world.releases.get(release).ok().flatten();
        found.map(|release| release.meta.manifest).unwrap_or_default()
    }

    /// A line in the log of the live deployment, once for each version and reason.
    fn tell_once(&self, rows: &Rows, told: &mut HashSet<(EnvironmentId, String)>, words: &str) -> Result<()> {
        if let Some(live) = rows.live().filter(|live| told.insert((live.id.clone(), words.to_owned()))) {
            self.inner.world.say(&live.deployment, crate::log::TEAL, words);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::deploy::App;

    #[test]
    fn only_what_differs_is_asked_for() {
        let app = App::new(
            "a-1".parse().expect("legal"),
            "shop".into(),
            vec!["a.test".into()],
            Settings::default(),
        );
        let rows = Rows::new(app);
        let wish = |bake_ms, instances, domains: &[&str]| Wish {
            settings: Settings { bake_ms, instances: 9, ..Settings::default() },
            instances,
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        };
        let same = Settings::default().bake_ms;
        assert_eq!(due(&rows, &wish(same, None, &["a.test"])), []);
        assert_eq!(due(&rows, &wish(same, Some(1), &["a.test"])), []);
        assert_eq!(due(&rows, &wish(same, Some(3), &["a.test"])), [Act::Scale { instances: 3 }]);
        let set = due(&rows, &wish(5, None, &["a.test", "b.test"]));
        let [Act::Set { settings, domains, .. }] = &set[..] else { panic!("{set:?}") };
        assert_eq!((settings.bake_ms, settings.instances, domains.len()), (5, 1, 2));
    }
}
