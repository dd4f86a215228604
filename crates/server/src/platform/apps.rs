//! Apps: made, found, listed, deleted.

use super::{Error, Platform, Principal, Result};
use crate::{appconfig::AppConfig, store};
use teal_core::{
    api::{Accepted, AppView, NewApp},
    deploy::{Act, App},
    id::AppId,
    role::Role,
};

/// The longest name of an app: it becomes a host name's first label.
const MAX_NAME: usize = 30;

impl Platform {
    /// The app of this name.
    ///
    /// # Errors
    /// If there is none.
    pub async fn find_app(&self, name: &str) -> Result<AppId> {
        let found = self.store().app_of_name(name.to_owned()).await?;
        found.ok_or_else(|| no_such_app(name))
    }

    /// Makes an app.
    ///
    /// # Errors
    /// If the name is taken or no name, or a setting is wrong.
    pub async fn create_app(&self, who: &Principal, mut new: NewApp) -> Result<AppView> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let name = &new.name;
        let fits = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(legal);
        if !fits || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-') {
            let hint =
                format!("lower-case letters, digits and `-`, a letter first, at most {MAX_NAME} characters");
            return Err(Error::invalid("that is not a name for an app", hint));
        }
        self.choose_port(&mut new.config, None).await?;
        let config = AppConfig::of(&new.config)
            .map_err(|why| Error::invalid(why, "see `teal config list` for all settings"))?;
        let id: AppId =
            super::new_id("a").parse().map_err(|_| Error::Internal("no id for the app".into()))?;
        let domain = format!("{name}.{}", self.config().base_domain);
        let domains = vec![domain];
        // Whoever takes an app's name takes its domain, too: the store says the first.
        if self.store().app_of_name(name.clone()).await?.is_none() {
            self.check_owner(&id, &domains).await?;
            self.check_streams(&id, &config, None, &domains).await?;
        }
        let app = App::new(id.clone(), name.clone(), domains, self.machine_settings(&config));
        match self.store().create_app(app, new.config, Some(who.user.clone())).await {
            Ok(_) => {}
            Err(store::Error::Taken) => {
                return Err(Error::invalid(
                    format!("there is an app `{name}` already, or one that has its TCP port by now"),
                    "choose another name or port",
                ));
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(by = who.user, app = name, "app made");
        self.inner.driver.wake(&id);
        self.app(&id).await
    }

    /// All apps of which the asking user may know, by name.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn apps(&self, who: &Principal) -> Result<Vec<AppView>> {
        let mut views = Vec::new();
        for row in self.store().apps().await?.into_iter().filter(|row| who.rights.on(&row.id) > Role::None) {
            match self.app(&row.id).await {
                Ok(view) => views.push(view),
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(views)
    }

    /// One app.
    ///
    /// # Errors
    /// If there is none.
    pub async fn app(&self, app: &AppId) -> Result<AppView> {
        let status = self.status(app).await?;
        let config = self.config();
        let host = url_host(&config.public_url());
        let git_ssh = config.ssh.map(|ssh| format!("ssh://git@{host}:{}/{}.git", ssh.port(), status.app));
        Ok(AppView {
            id: status.id,
            git_http: format!("{}/{}.git", config.public_url(), status.app),
            git_ssh,
            name: status.app,
            status: status.status,
            live: status.live.map(|live| live.commit),
            domains: status.domains,
            tcp: status.tcp,
            tls: status.tls,
        })
    }

    /// Deletes the app and everything that it has; takes effect in the background.
    ///
    /// # Errors
    /// If there is none.
    pub async fn delete_app(&self, who: &Principal, app: &AppId) -> Result<Accepted> {
        self.request(who, app, Act::Delete).await?;
        Ok(Accepted {
            deployment: None,
            message: "the app and everything that it has is being removed".into(),
        })
    }
}

/// There is none, or the asking user may not know of it: nobody can tell which.
pub(crate) fn no_such_app(name: &str) -> Error {
    Error::NotFound(format!("there is no app `{}`: see `teal apps list`", crate::log::harmless(name)))
}

/// The host of a URL, for the SSH address beside it.
fn url_host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned()
}
