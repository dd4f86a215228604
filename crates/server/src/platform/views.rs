//! What users see of an app: computed from rows at every look, speaking of what the router acknowledged.

use super::{Error, Platform, Result};
use crate::{log::rfc3339, store::ReleaseCommand, world::now};
use std::net::SocketAddr;
use teal_core::{
    api::{
        ButtonView, CommitView, DeploymentView, EventView, FailureView, LiveView, PhaseView, SpareView,
        StatusView,
    },
    deploy::{self, Commit, Deployment, End, Environment, Kind, Phase, Rows, State, Verdict, WakeTarget},
    domain,
    id::{AppId, DeploymentId},
    route::Colour,
    time::Time,
};

impl Platform {
    /// What is head, live, spare and under way.
    ///
    /// # Errors
    /// If there is no such app.
    pub async fn status(&self, app: &AppId) -> Result<StatusView> {
        let rows = self.rows(app).await?;
        let served = rows.served();
        let facts = self.inner.world.link.facts().await.ok();
        let port = facts.as_ref().and_then(|facts| facts.http.first().map(SocketAddr::port));
        let url = domain::first(&rows.app.domains).map(|domain| match (domain::host(domain), port) {
            (_, Some(80) | None) => format!("http://{domain}/"),
            (host, Some(port)) => format!("http://{host}:{port}{}/", domain::path(domain)),
        });
        let streams = self.streams(&rows.app, facts.as_ref()).await;
        let warnings = self.inner.warnings.iter().cloned().chain(streams.warnings).collect();
        Ok(StatusView {
            id: rows.app.id.clone(),
            app: rows.app.name.clone(),
            status: rows.status().word().into(),
            head: rows.app.head.as_ref().map(|head| commit(&head.commit)),
            live: match served {
                Some(environment) => Some(live(&rows, environment, &self.landed(&rows, environment).await?)),
                None => None,
            },
            spare: rows.way_back().map(|environment| spare(&rows, environment)),
            deploying: rows
                .deploying()
                .map(|deployment| deployment_view(deployment, colour_of(&rows, deployment))),
            button: self.button(&rows).await?,
            domains: rows.app.domains.clone(),
            url,
            runtime: self.inner.world.runtime.described().into(),
            tcp: streams.tcp,
            tls: streams.tls,
            pinned_until: self.pinned(app).await?,
            warnings,
        })
    }

    /// The deployments that took this environment live, the newest first. Other changes of the route (a standby leaves it, an
    /// instance comes back) are none.
    async fn landed(&self, rows: &Rows, environment: &Environment) -> Result<Vec<Deployment>> {
        let mut landed = self.store().served_by(&rows.app.id, &environment.id).await?;
        let took =
            |d: &&Deployment| d.environment.as_ref() == Some(&environment.id) && d.times.served.is_some();
        landed.extend(rows.deployments.iter().filter(took).cloned());
        landed.sort_by_key(|deployment| std::cmp::Reverse(deployment.request));
        Ok(landed)
    }

    /// The button, with what it would not undo.
    async fn button(&self, rows: &Rows) -> Result<Option<ButtonView>> {
        let Some(mut button) = button(rows, now()) else { return Ok(None) };
        if let Ok(WakeTarget::Environment(target)) = deploy::wake_target(rows) {
            let ran = self.store().release_commands(&rows.app.id).await?;
            button.note = ran_since(&ran, target).map(not_undone);
        }
        Ok(Some(button))
    }

    /// The newest deployments first.
    ///
    /// # Errors
    /// If there is no such app.
    pub async fn activity(&self, app: &AppId, limit: u32) -> Result<Vec<DeploymentView>> {
        let rows = self.rows(app).await?;
        let deployments = self.store().deployments(app, limit.clamp(1, 1000)).await?;
        let view = |deployment: &Deployment| deployment_view(deployment, colour_of(&rows, deployment));
        self.with_switches(app, deployments.iter().map(view).collect()).await
    }

    /// One deployment.
    ///
    /// # Errors
    /// If there is none of this id in this app.
    pub async fn deployment(&self, app: &AppId, deployment: &DeploymentId) -> Result<DeploymentView> {
        let rows = self.rows(app).await?;
        let found = self.store().deployment(app, deployment).await?;
        let found = found.ok_or_else(|| Error::NotFound("there is no such deployment of this app".into()))?;
        let switch = self.store().switch(deployment).await?;
        Ok(DeploymentView { switch, ..deployment_view(&found, colour_of(&rows, &found)) })
    }

    /// Events after `after` (0: from the first), oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn events(&self, app: &AppId, after: u64, limit: u32) -> Result<Vec<EventView>> {
        Ok(self.store().events(app, after, limit.clamp(1, 1000)).await?)
    }

    /// The number of the app's newest event; 0 if it has none. What comes after it is what happens from now on.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn last_event(&self, app: &AppId) -> Result<u64> {
        Ok(self.store().last_event(app).await?)
    }
}

fn commit(commit: &Commit) -> CommitView {
    CommitView { id: commit.id.clone(), message: commit.message.clone(), author: commit.author.clone() }
}

/// The place of a deployment's environment, while that exists.
fn colour_of(rows: &Rows, deployment: &Deployment) -> Option<Colour> {
    rows.environment(deployment.environment.as_ref()?).map(|environment| environment.colour)
}

fn live(rows: &Rows, environment: &Environment, landed: &[Deployment]) -> LiveView {
    let by = landed.first();
    let since = by.and_then(|deployment| deployment.times.served).unwrap_or(environment.since);
    let good = environment.instances.iter().filter(|instance| instance.is_good()).count();
    LiveView {
        colour: environment.colour,
        commit: commit(&environment.commit),
        deployment: by.map_or(&environment.deployment, |deployment| &deployment.id).clone(),
        environment: environment.id.clone(),
        since: rfc3339(since),
        instances: u32::try_from(good).unwrap_or(u32::MAX),
        baking: rows.baking().is_some(),
    }
}

fn spare(rows: &Rows, environment: &Environment) -> SpareView {
    SpareView {
        colour: environment.colour,
        commit: commit(&environment.commit),
        environment: environment.id.clone(),
        state: spare_state(environment.state).into(),
        off_at: off_at(rows, environment).map(rfc3339),
    }
}

/// When the way back is turned off, unless it is off already.
fn off_at(rows: &Rows, environment: &Environment) -> Option<Time> {
    let awake = !matches!(environment.state, State::Off | State::New | State::Gone);
    rows.retention(environment)[1].filter(|_| awake)
}

fn spare_state(state: State) -> &'static str {
    match state {
        State::New | State::Rising => "starting",
        State::Up => "up",
        State::Draining { .. } => "draining",
        State::Memory => "asleep",
        State::Disk => "asleep-on-disk",
        State::Off | State::Gone => "off",
    }
}

/// "Start last pushed commit", with the commit that it would start now.
fn button(rows: &Rows, now: Time) -> Option<ButtonView> {
    let target = deploy::wake_target(rows).ok()?;
    let (commit_of, wakes) = match target {
        WakeTarget::Environment(environment) => (&environment.commit, true),
        WakeTarget::Head(head) => (&head.commit, false),
    };
    let short: String = commit_of.id.chars().take(7).collect();
    let label = match target {
        WakeTarget::Environment(environment) => {
            let colour = if environment.colour == Colour::Blue { "Blue" } else { "Green" };
            let off = off_at(rows, environment)
                .map_or(String::new(), |at| format!(", off in {}", span(at.since(now))));
            format!(
                "wakes {colour} · {short} {} · {}{off}",
                commit_of.message,
                spare_state(environment.state)
            )
        }
        WakeTarget::Head(head) => format!("starts {short} {} from its release", head.commit.message),
    };
    Some(ButtonView { commit: commit(commit_of), wakes, label, note: None })
}

/// The newest release command of a deployment that was asked for after the one that made this environment: ids grow with time.
fn ran_since<'a>(ran: &'a [ReleaseCommand], environment: &Environment) -> Option<&'a ReleaseCommand> {
    ran.iter().find(|command| command.deployment.environment() > environment.id)
}

fn not_undone(command: &ReleaseCommand) -> String {
    format!(
        "A release command ran since this version was live ({}, {}): what it changed in databases stays changed, and this version has to cope with it",
        command.deployment,
        rfc3339(command.begun)
    )
}

/// A span for people.
fn span(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..=99 => format!("{s} s"),
        s => format!("{} min", s.div_ceil(60)),
    }
}

pub(crate) fn deployment_view(deployment: &Deployment, colour: Option<Colour>) -> DeploymentView {
    let action = match (deployment.kind, &deployment.phase) {
        (Kind::Scale, _) => "UPSCALE",
        (_, Phase::Ended { end: End::Cancelled { .. } | End::Superseded { .. } }) => "CANCEL",
        _ => "DEPLOY",
    };
    DeploymentView {
        deployment: deployment.id.clone(),
        state: deployment.verdict().word().into(),
        phase: deployment.phase.word().into(),
        action: action.into(),
        cause: deployment.cause.word().into(),
        author: deployment.author.clone(),
        commit: deployment.commit.as_ref().map(commit),
        colour,
        note: deployment.note.clone(),
        started_at: rfc3339(deployment.times.queued),
        ended_at: verdict_at(deployment).map(rfc3339),
        failure: failure(deployment),
        phases: phases(deployment),
        switch: None,
    }
}

/// When it got its verdict: served, for what went live and stayed there until something newer came.
fn verdict_at(deployment: &Deployment) -> Option<Time> {
    let times = &deployment.times;
    if deployment.verdict() == Verdict::Ok { times.served.or(times.ended) } else { times.ended }
}

/// Why it did not stay in production, in words: also for those that were cancelled or superseded.
fn failure(deployment: &Deployment) -> Option<FailureView> {
    let Phase::Ended { end } = &deployment.phase else { return None };
    let (stage, message, details) = match end {
        End::Failed { failure } => (failure.stage.word(), failure.message.clone(), failure.details.clone()),
        End::Cancelled { why } => ("cancelled", why.clone(), Vec::new()),
        End::Finished => return None,
        End::Superseded { by } => {
            ("superseded", format!("a newer deployment took its place: {by}"), Vec::new())
        }
    };
    Some(FailureView { stage: stage.into(), message, details })
}

fn phases(deployment: &Deployment) -> Vec<PhaseView> {
    let times = &deployment.times;
    let all = [
        ("queued", Some(times.queued)),
        ("building", times.build),
        ("ready", times.built),
        ("starting", times.start),
        ("checking", times.check),
        ("held", times.held),
        ("live", times.live),
        ("served", times.served),
        ("ended", times.ended),
    ];
    let began =
        |(phase, at): (&str, Option<Time>)| at.map(|at| PhaseView { phase: phase.into(), at: rfc3339(at) });
    all.into_iter().filter_map(began).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::deploy::Times;

    #[test]
    fn only_what_ran_after_a_version_was_made_is_said_of_it() {
        let ran = ["d-3", "d-1"].map(|id| ReleaseCommand {
            deployment: id.parse().expect("legal"),
            boot: "b".into(),
            begun: Time(0),
            ended: None,
        });
        let environment = |id: &str| Environment {
            id: id.parse().expect("legal"),
            deployment: "d-1".parse().expect("legal"),
            commit: Commit { id: "a".into(), message: "m".into(), author: "x".into() },
            release: "r-1".parse().expect("legal"),
            image: "i".into(),
            config: 0,
            count: 1,
            colour: Colour::Blue,
            state: State::Memory,
            since: Times::default().queued,
            epoch: 0,
            turn: Some(1),
            routed: true,
            replaced_at: None,
            sleepless: false,
            instances: Vec::new(),
        };
        let since = |id: &str| ran_since(&ran, &environment(id)).map(|c| c.deployment.to_string());
        assert_eq!(since("e-1"), Some("d-3".into()));
        assert_eq!(since("e-2"), Some("d-3".into()));
        assert_eq!(since("e-3"), None, "its own is part of it");
        assert!(not_undone(&ran[0]).contains("d-3, 1970-01-01"));
    }
}
