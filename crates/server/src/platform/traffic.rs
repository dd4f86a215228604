//! What moves: the router's counts with the names that rows give them, as rates for people and as a page for Prometheus.

use super::{Error, Platform, Principal, Result};
use crate::{
    metrics::{self, Facts},
    routerlink,
};
use std::time::Duration;
use teal_core::{
    deploy::Rows,
    id::AppId,
    metrics::Metrics,
    role::Role,
    traffic::{self, TrafficView},
};

/// The span that rates are taken over, at least and at most.
const SPAN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl Platform {
    /// The traffic of one app, or of all of which the asking user may know, during a span that begins now: looks, waits, and looks again.
    ///
    /// # Errors
    /// If there is no such app, or the router does not tell.
    pub async fn traffic(
        &self,
        who: &Principal,
        app: Option<&AppId>,
        span: Duration,
    ) -> Result<Vec<TrafficView>> {
        if let Some(app) = app {
            self.rows(app).await?;
        }
        let before = self.counts().await?;
        tokio::time::sleep(span.clamp(SPAN.0, SPAN.1)).await;
        let after = self.counts().await?;
        // Afterwards, so that what went live meanwhile has its name.
        let rows = match app {
            Some(app) => vec![self.rows(app).await?],
            None => self.store().census().await?,
        };
        let mut views: Vec<TrafficView> = rows
            .iter()
            .filter(|rows| who.rights.on(&rows.app.id) > Role::None)
            .flat_map(|rows| of_app(rows, &before, &after))
            .collect();
        views.sort_by(|a, b| (&a.app, &a.environment).cmp(&(&b.app, &b.environment)));
        Ok(views)
    }

    async fn counts(&self) -> Result<Metrics> {
        let told = self.inner.world.link.metrics().await;
        told.map(|(metrics, _)| metrics).map_err(|error| Error::Refused {
            message: error.to_string(),
            hint: Some("`teal doctor` says how the router is".into()),
        })
    }

    /// Everything that is counted, for Prometheus. A router that does not tell is told of, and is no error.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn metrics_page(&self) -> Result<String> {
        let told: std::result::Result<_, routerlink::Error> = self.inner.world.link.metrics().await;
        let told =
            told.inspect_err(|error| tracing::debug!(%error, "the router does not tell what it counts"));
        let (apps, ends) = (self.store().census().await?, self.store().ends().await?);
        let maintenance = self.inner.upkeep.counted().await?;
        let facts = Facts {
            apps: &apps,
            ends: &ends,
            router: told.as_ref().ok().map(|(metrics, _)| metrics),
            generation: told.as_ref().ok().map(|(_, generation)| *generation),
            maintenance: &maintenance,
        };
        Ok(metrics::render(&facts))
    }
}

/// The app's environments that the router counts: those in its table, and those that left it a short while ago.
fn of_app(rows: &Rows, before: &Metrics, after: &Metrics) -> Vec<TrafficView> {
    let counted = rows.environments.iter().filter(|e| after.environments.contains_key(&e.id));
    let view = |environment: &teal_core::deploy::Environment| TrafficView {
        app: rows.app.name.clone(),
        environment: environment.id.clone(),
        colour: environment.colour,
        role: metrics::role(rows.role(&environment.id)).into(),
        commit: environment.commit.id.clone(),
        rates: traffic::rates(before, after, &environment.id),
    };
    counted.map(view).collect()
}
