//! The keeper of images: performs what the pure plan in `teal_core::upkeep::patch` says. It asks apt, stores what it says, builds, and removes versions
//! that nobody needs any more. It must never move an app: a version that is newer does that.
//!
//! Whatever it does is stored before the next thing begins: killed anywhere, its next look goes on.

use super::Upkeep;
use crate::{
    images::{self, Checked, End, Images, Story},
    platform::images::users,
    store,
    world::now,
};
use std::time::Duration;
use teal_core::{
    image::Manifest,
    time::Time,
    upkeep::patch::{self, Build, Due, Found, Patch, Shelf},
};

/// The longest pause between two looks: the clock may be set, and windows open by it.
const LOOK: Duration = Duration::from_secs(60);
/// After trouble with the store, and at least between two looks.
const TROUBLE: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(200);
/// Where what was found out last is stored.
const STORED: &str = "image_patch";
/// Versions of the image that stay, whoever uses them: the present one, and one to compare with.
const KEPT: usize = 2;

/// What a look is based on, as it was read.
pub(super) struct Facts {
    pub(super) last: Option<Patch>,
    newest: Option<Manifest>,
    story: Option<Story>,
    image: Option<String>,
}

impl Facts {
    /// The same, as the plan reads it.
    pub(super) fn shelf(&self) -> Shelf<'_> {
        Shelf {
            image: self.image.as_deref(),
            newest: self.newest.as_ref().map(|newest| (newest.version.as_str(), newest.built)),
            build: self.story.as_ref().map(|story| Build {
                image: &story.name,
                began: story.began,
                end: story.end.as_ref().map(end),
            }),
        }
    }

    /// The image is being built at present.
    pub(super) fn is_building(&self) -> bool {
        let ours = |story: &&Story| Some(&story.name) == self.image.as_ref();
        self.story.as_ref().filter(ours).is_some_and(|story| story.end.is_none())
    }
}

impl Upkeep {
    /// Looks until the server ends.
    pub async fn keep_patched(self) {
        let mut ended = self.world.images.ended();
        loop {
            let pause = match self.patch().await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "images are not looked at: the store failed"
                    );
                    TROUBLE
                }
            };
            tokio::select! {
                _ = ended.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Looks, and does all that is due now. A build that it begins goes on by itself.
    ///
    /// # Errors
    /// If the store fails; the next look goes on.
    pub async fn patch(&self) -> Result<(), store::Error> {
        let maintenance = &self.world.config.maintenance;
        loop {
            let facts = self.patch_facts().await?;
            let due = patch::due(
                maintenance.check,
                facts.last.as_ref(),
                &facts.shelf(),
                &maintenance.window,
                now(),
            );
            match due {
                Due::Nothing => return Ok(()),
                Due::Note(found) => self.note(&facts, found).await?,
                Due::Ask => self.ask_apt(&facts).await?,
                Due::Build => {
                    let begun = self.begin_build(&facts);
                    if let Err(error) = begun {
                        let times = patch::failures(facts.last.as_ref()).saturating_add(1);
                        self.note(&facts, Found::Failed { why: error.to_string(), times }).await?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Reads everything that a look is based on.
    pub(super) async fn patch_facts(&self) -> Result<Facts, store::Error> {
        let images = &self.world.images;
        let stored = self.store().meta(STORED).await?;
        let last = stored.and_then(|text| {
            let parsed = serde_json::from_str(&text);
            parsed
                .inspect_err(|error| tracing::warn!(%error, "what was found out of images is not readable"))
                .ok()
        });
        let image = images.configured().map(str::to_owned);
        let newest = image.as_deref().and_then(|image| {
            let newest = images.newest(image);
            newest.inspect_err(|error| tracing::warn!(%error, "images cannot be looked at")).ok().flatten()
        });
        Ok(Facts { last, newest, story: images.story(), image })
    }

    async fn ask_apt(&self, facts: &Facts) -> Result<(), store::Error> {
        let Some(image) = facts.image.as_deref() else { return Ok(()) };
        tracing::info!(image, "apt is asked whether a rebuilt image would differ");
        let before = patch::failures(facts.last.as_ref());
        let found = match self.world.images.checked(image).await {
            Ok(checked) => found(checked, before),
            Err(error) => Found::Failed { why: error.to_string(), times: before.saturating_add(1) },
        };
        self.note(facts, found).await
    }

    fn begin_build(&self, facts: &Facts) -> Result<(), images::Error> {
        let Some(image) = facts.image.as_deref() else { return Ok(()) };
        tracing::info!(image, "image is being built: the platform patches itself");
        match self.world.images.begin(image) {
            // Its end is the next look.
            Err(images::Error::Busy(_)) => Ok(()),
            begun => begun,
        }
    }

    /// Stores what was found out, says it, and after a build removes what nobody needs.
    async fn note(&self, facts: &Facts, found: Found) -> Result<(), store::Error> {
        let Some(image) = facts.image.clone() else { return Ok(()) };
        let patch = Patch { image, at: now(), found };
        self.world.store.set_meta(STORED, serde_json::to_string(&patch)?).await?;
        tell(&patch);
        if matches!(patch.found, Found::Built { .. }) {
            self.wake();
            self.clear_shelf(&patch.image).await?;
        }
        Ok(())
    }

    /// Removes versions that are neither used nor among the newest.
    async fn clear_shelf(&self, image: &str) -> Result<(), store::Error> {
        let images = &self.world.images;
        let Ok(all) = images.list() else { return Ok(()) };
        let versions: Vec<&str> = all
            .iter()
            .filter(|shelved| shelved.manifest.name == image)
            .map(|shelved| shelved.manifest.version.as_str())
            .collect();
        let used = users(&self.store().census().await?);
        for version in patch::surplus(&versions, |version| used.contains_key(version), KEPT) {
            match self.remove(images, version).await {
                Ok(()) => {
                    tracing::info!(version, "image removed: nothing runs on it, and newer ones are here")
                }
                Err(why) => tracing::warn!(version, why, "an image that nobody needs stays"),
            }
        }
        Ok(())
    }

    async fn remove(&self, images: &Images, version: &str) -> Result<(), String> {
        self.world.runtime.release_image(version).await?;
        let (images, gone) = (images.clone(), version.to_owned());
        let removed = tokio::task::spawn_blocking(move || images.remove(&gone)).await;
        removed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

fn end(end: &End) -> patch::End<'_> {
    match end {
        End::Built(version) => patch::End::Built(version),
        End::Failed(why) => patch::End::Failed(why),
        End::Cancelled(by) => patch::End::Cancelled(by),
    }
}

/// What apt's answer means.
fn found(checked: Checked, failures: u32) -> Found {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let security = checked.changes.iter().filter(|change| change.security).count();
    let version = checked.version.unwrap_or_default();
    if checked.changes.is_empty() && !checked.agent {
        return Found::Current { version };
    }
    let packages = count(checked.changes.len());
    Found::Differs { version, packages, security: count(security), agent: checked.agent, failures }
}

/// For the operator's log.
fn tell(patch: &Patch) {
    let image = patch.image.as_str();
    match &patch.found {
        Found::Current { version } => tracing::info!(image, version, "image is up to date"),
        Found::Differs { version, packages, security, agent, .. } => {
            tracing::info!(
                image,
                version,
                packages,
                security,
                agent,
                "a rebuilt image differs: it is to be built"
            );
        }
        Found::Built { version } => tracing::info!(image, version, "image is patched"),
        Found::Failed { why, times } => tracing::warn!(image, why, times, "image could not be patched"),
        Found::Cancelled { by } => tracing::info!(image, by, "image is not patched: a user ended its build"),
    }
}

/// What users read of it.
pub(super) fn sentence(facts: &Facts, at: impl Fn(Time) -> String) -> String {
    if facts.is_building() {
        return "it is being built".into();
    }
    let Some(image) = &facts.image else { return "deployments run on the host's own system".into() };
    if facts.newest.is_none() {
        return format!("{image} was never built: `teal image build {image}`");
    }
    match facts.last.as_ref().filter(|last| last.image == *image).map(|last| &last.found) {
        None => "nothing was asked yet".into(),
        Some(Found::Current { .. }) => "a rebuilt image would be the same".into(),
        Some(Found::Differs { packages, security, agent, .. }) => {
            let agent = if *agent { ", and Teal's agent" } else { "" };
            format!("{packages} packages differ, {security} for security{agent}: it is to be built")
        }
        Some(Found::Built { version }) => format!("{version} was built"),
        Some(Found::Failed { why, times }) => {
            format!(
                "it failed {times} times, last at {}: {why}",
                at(facts.last.as_ref().map_or(Time(0), |l| l.at))
            )
        }
        Some(Found::Cancelled { by }) => format!("{by} ended the build"),
    }
}
