//! Variables, domains and settings of an app. Variables take effect with the next deployment or restart; domains and times at once.

use super::{Error, Platform, Principal, Result};
use crate::{
    appconfig::{AppConfig, Overrides},
    build::variables::check as check_variable,
    certificates,
    store::Variables,
    world::now,
};
use std::{collections::BTreeMap, sync::Arc};
use teal_core::{
    api::{Accepted, CertificateView, VariableView},
    deploy::{Act, App, Change, Event, EventKind},
    domain,
    engine::{Committed, World as _},
    id::AppId,
};

/// The most variables.
const MAX_VARIABLES: usize = 1_000;
/// The most bytes of all names and values together: the kernel starts no process with more than two MiB of them, and the app's own need room.
const MAX_ENVIRONMENT: usize = 1024 * 1024;
/// The most domains of one app.
const MAX_DOMAINS: usize = 1_000;

impl Platform {
    /// Branches whose push deploys (`main` and `master`, or the one that the app's setting names).
    ///
    /// # Errors
    /// If there is no such app.
    pub async fn branches(&self, app: &AppId) -> Result<Vec<String>> {
        let (_, overrides) = self.newest(app).await?;
        let branch = config_of(&overrides)?.branch;
        Ok(branch.map_or_else(|| vec!["main".into(), "master".into()], |branch| vec![branch]))
    }

    /// Variables by name; values only if `values`.
    ///
    /// # Errors
    /// If there is no such app.
    pub async fn variables(&self, app: &AppId, values: bool) -> Result<Vec<VariableView>> {
        let (variables, _) = self.newest(app).await?;
        Ok(variables
            .into_iter()
            .map(|(name, value)| VariableView { name, value: values.then_some(value) })
            .collect())
    }

    /// Sets (`Some`) and removes (`None`) variables; takes effect with the next deployment or restart, which the answer says.
    ///
    /// # Errors
    /// If a name is not one, or there are too many.
    pub async fn set_variables(
        &self,
        who: &Principal,
        app: &AppId,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<Accepted> {
        let (mut variables, overrides) = self.newest(app).await?;
        for (name, value) in changes {
            check_variable(&name, value.as_deref().unwrap_or_default()).map_err(|why| {
                Error::invalid(why.to_string(), "nothing was changed; mend it and try again")
            })?;
            match value {
                Some(value) => variables.insert(name, value),
                None => variables.remove(&name),
            };
        }
        if variables.len() > MAX_VARIABLES {
            return Err(Error::invalid(format!("more than {MAX_VARIABLES} variables"), "remove some first"));
        }
        if variables.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_ENVIRONMENT {
            let message = format!("all variables together are longer than {MAX_ENVIRONMENT} bytes");
            return Err(Error::invalid(message, "keep large data in files or a database"));
        }
        self.take_snapshot(who, app, &variables, &overrides, "the variables were changed").await?;
        let message = "saved; takes effect with the next push, or now with `teal restart`".into();
        Ok(Accepted { deployment: None, message })
    }

    /// Adds and removes domains; takes effect at once.
    ///
    /// # Errors
    /// If one is not a domain, or belongs to another app.
    pub async fn set_domains(
        &self,
        who: &Principal,
        app: &AppId,
        add: Vec<String>,
        remove: Vec<String>,
    ) -> Result<Vec<String>> {
        let add: Vec<String> = add.iter().map(|domain| domain_of(domain)).collect::<Result<_>>()?;
        self.check_owner(app, &add).await?;
        let rows = self.rows(app).await?;
        let mut domains = rows.app.domains.clone();
        let remove: Vec<String> =
            remove.into_iter().map(|gone| domain::parse(&gone).unwrap_or(gone)).collect();
        let said = self.said(&rows).domains;
        if let Some(domain) = remove.iter().find(|domain| said.contains(domain)) {
            let message = format!("{domain} is named by teal.toml of the version that is live");
            return Err(Error::invalid(message, "remove it there, push, then remove it here"));
        }
        domains.retain(|domain| !remove.contains(domain));
        domains.extend(add);
        domains.sort();
        domains.dedup();
        self.check_sharing(app, rows.app.settings.tls_passthrough, &domains).await?;
        if domains.len() > MAX_DOMAINS {
            return Err(Error::invalid(format!("more than {MAX_DOMAINS} domains"), "remove some first"));
        }
        let act = Act::Set { settings: rows.app.settings, name: rows.app.name, domains: domains.clone() };
        self.request(who, app, act).await?;
        Ok(domains)
    }

    /// Nobody else has one of these domains.
    pub(super) async fn check_owner(&self, app: &AppId, domains: &[String]) -> Result<()> {
        match self.store().owner(app, domains.to_vec()).await? {
            None => Ok(()),
            Some((domain, owner)) => {
                Err(Error::invalid(format!("{domain} belongs to the app {owner}"), "remove it there first"))
            }
        }
    }

    /// May the app have this domain, and with it all of these?
    pub(super) async fn may_have(
        &self,
        app: &AppId,
        passes: bool,
        domain: &str,
        domains: &[String],
    ) -> Result<()> {
        if domains.len() > MAX_DOMAINS {
            return Err(Error::invalid(format!("more than {MAX_DOMAINS} domains"), "remove some first"));
        }
        self.check_owner(app, &[domain.to_owned()]).await?;
        self.check_sharing(app, passes, domains).await
    }

    /// The certificate of each of the app's domains.
    ///
    /// # Errors
    /// If there is no such app.
    pub async fn certificates(&self, app: &AppId) -> Result<Vec<CertificateView>> {
        let teal_core::deploy::App { domains, settings, .. } = self.rows(app).await?.app;
        let passes = settings.tls_passthrough;
        let rows = self.store().certificate_rows().await?;
        let config = Arc::clone(&self.inner.world.config);
        let views = tokio::task::spawn_blocking(move || {
            let row = |host: &str| rows.iter().find(|row| row.name == host);
            let view = |domain: &String| {
                let host = domain::host(domain);
                if passes {
                    return certificates::passed(domain);
                }
                CertificateView { domain: domain.clone(), ..certificates::view(&config, host, row(host)) }
            };
            domains.iter().map(view).collect()
        });
        views.await.map_err(|_| Error::Internal("the look at the certificates was lost".into()))
    }

    /// The app's settings, all of them, with what the live version's repository says and defaults filled in.
    ///
    /// # Errors
    /// If there is no such app.
    pub async fn app_config(&self, app: &AppId) -> Result<BTreeMap<String, serde_json::Value>> {
        let (_, overrides) = self.newest(app).await?;
        Ok(self.config_with(&self.rows(app).await?, &overrides)?.listed())
    }

    /// Changes settings by name; `null` goes back to the default.
    ///
    /// # Errors
    /// If a setting is unknown or out of range.
    pub async fn set_app_config(
        &self,
        who: &Principal,
        app: &AppId,
        changes: BTreeMap<String, serde_json::Value>,
    ) -> Result<BTreeMap<String, serde_json::Value>> {
        let (variables, mut overrides) = self.newest(app).await?;
        for (name, value) in changes {
            if value.is_null() {
                overrides.remove(&name)
            } else {
                overrides.insert(name, value)
            };
        }
        let rows = self.rows(app).await?;
        self.choose_port(&mut overrides, rows.app.settings.tcp_port).await?;
        config_of(&overrides)?;
        let config = self.config_with(&rows, &overrides)?;
        self.check_streams(app, &config, Some(&rows.app.settings), &rows.app.domains).await?;
        self.take_snapshot(who, app, &variables, &overrides, "the settings were changed").await?;
        let rows = self.rows(app).await?;
        let act = Act::Set {
            settings: self.machine_settings(&config),
            name: rows.app.name,
            domains: rows.app.domains,
        };
        self.request(who, app, act).await?;
        Ok(config.listed())
    }

    /// What counts: what the owner set, above what the live version's repository says.
    fn config_with(&self, rows: &teal_core::deploy::Rows, overrides: &Overrides) -> Result<AppConfig> {
        let config = self.said(rows).settings_below(overrides);
        config.map_err(|why| {
            Error::invalid(why, "teal.toml of the live version says the rest: see `teal config list`")
        })
    }

    /// Sets one setting without asking the machine for anything.
    pub(super) async fn override_config(
        &self,
        who: &Principal,
        app: &AppId,
        name: &str,
        value: serde_json::Value,
    ) -> Result<()> {
        let (variables, mut overrides) = self.newest(app).await?;
        overrides.insert(name.to_owned(), value);
        config_of(&overrides)?;
        self.take_snapshot(who, app, &variables, &overrides, "the settings were changed").await
    }

    pub(super) async fn newest(&self, app: &AppId) -> Result<(Variables, Overrides)> {
        let newest = self.store().newest_snapshot(app).await?;
        let (_, variables, overrides) =
            newest.ok_or_else(|| Error::NotFound("there is no such app".into()))?;
        Ok((variables, overrides))
    }

    /// Keeps a new snapshot and makes it the one that the next deployment takes.
    async fn take_snapshot(
        &self,
        who: &Principal,
        app: &AppId,
        variables: &Variables,
        overrides: &Overrides,
        what: &str,
    ) -> Result<()> {
        let number = self.store().add_snapshot(app, variables, overrides).await?;
        loop {
            let mut rows = self.rows(app).await?;
            let base = rows.app.version;
            rows.app = App { config: rows.app.config.max(number), version: base + 1, ..rows.app };
            let event = Event {
                at: now(),
                kind: EventKind::ConfigChanged,
                deployment: None,
                environment: None,
                author: Some(who.user.clone()),
                text: what.to_owned(),
            };
            let change = Change { rows, events: vec![event], mails: Vec::new(), transitions: Vec::new() };
            if self.inner.world.commit(base, &change).await? == Committed::Ok {
                return Ok(());
            }
        }
    }
}

fn config_of(overrides: &Overrides) -> Result<AppConfig> {
    AppConfig::of(overrides).map_err(|why| Error::invalid(why, "see `teal config list` for all settings"))
}

/// The domain as it is kept.
fn domain_of(text: &str) -> Result<String> {
    domain::parse(text)
        .map_err(|why| Error::invalid(format!("`{}` {why}", crate::log::harmless(text)), why.hint()))
}
