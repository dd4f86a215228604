//! What users may ask about images: build, list, show, compare, check, remove. A version that something runs on, or is to run on, stays.

use super::{Error, Platform, Principal, Result};
use crate::{
    images::{self, End, HOST_IMAGE, Images, Shelved, Story},
    log::rfc3339,
};
use std::collections::{BTreeMap, BTreeSet};
use teal_core::{
    api::{
        FindingView,
        image::{ImageBuildView, ImageCheckView, ImageDetails, ImageView},
    },
    deploy::Rows,
    image::Change,
};

/// The apps that have something on each version, by name.
pub(crate) type Users = BTreeMap<String, BTreeSet<String>>;

impl From<images::Error> for Error {
    fn from(error: images::Error) -> Self {
        let message = error.to_string();
        match error {
            images::Error::Absent(_) => Self::NotFound(message),
            images::Error::Idle => {
                Self::Refused { message, hint: Some("`teal image list` shows what is here".into()) }
            }
            images::Error::NoRecipe(..) => Self::Invalid { message, hint: None },
            images::Error::Io { .. } | images::Error::Invalid(_) => {
                tracing::error!(error = message, "images failed");
                Self::Internal(message)
            }
            _ => Self::Refused { message, hint: None },
        }
    }
}

impl Platform {
    fn images(&self) -> &Images {
        &self.inner.world.images
    }

    /// The version that a new deployment is built and runs on.
    #[must_use]
    pub fn current_image(&self) -> String {
        self.inner.world.current_image()
    }

    /// Whether the configured image is there; nothing where none is configured.
    pub(super) fn image_finding(&self) -> Option<FindingView> {
        let configured = self.config().image.as_str();
        if configured == HOST_IMAGE {
            return None;
        }
        let current = self.current_image();
        let ok = current != HOST_IMAGE;
        let missing = || {
            format!(
                "`{configured}` is configured but was never built: deployments run on the host's own system"
            )
        };
        Some(FindingView {
            name: "image".into(),
            ok,
            detail: if ok { format!("new deployments run on {current}") } else { missing() },
            remedy: (!ok).then(|| format!("build it: `teal image build {configured}`")),
        })
    }

    /// Whether the image is kept patched; nothing where none is configured.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn patch_finding(&self) -> Result<Option<FindingView>> {
        if self.images().configured().is_none() {
            return Ok(None);
        }
        let check = self.maintenance().await?.check;
        let ok = check.state != "failed";
        let remedy = match (check.every.as_str(), ok) {
            (_, false) => Some("`teal image check` asks apt now; it is tried again by itself".to_owned()),
            ("off", true) => {
                Some("set `[maintenance] check = \"daily\"`, or build it yourself now and then".to_owned())
            }
            _ => None,
        };
        let detail = format!("{}: {}", check.every, check.detail);
        Ok(Some(FindingView { name: "patches".into(), ok, detail, remedy }))
    }

    /// All versions, the newest first.
    ///
    /// # Errors
    /// If they or the store cannot be read.
    pub async fn image_list(&self) -> Result<Vec<ImageView>> {
        let users = self.image_users().await?;
        let images = self.images().clone();
        let listed = blocking(move || images.list()).await?;
        Ok(listed.iter().map(|shelved| self.image_view(shelved, &users)).collect())
    }

    /// One version with its packages.
    ///
    /// # Errors
    /// If there is none.
    pub async fn image(&self, version: &str) -> Result<ImageDetails> {
        let shelved = self.images().get(version)?;
        let image = self.image_view(&shelved, &self.image_users().await?);
        Ok(ImageDetails { image, packages: shelved.manifest.packages })
    }

    /// How one version differs from another.
    ///
    /// # Errors
    /// If one of them is not here.
    pub fn image_diff(&self, from: &str, to: &str) -> Result<Vec<Change>> {
        Ok(self.images().diff(from, to)?)
    }

    /// Removes a version that nothing runs on.
    ///
    /// # Errors
    /// If it is not here, or something needs it.
    pub async fn remove_image(&self, who: &Principal, version: &str) -> Result<()> {
        self.images().get(version)?;
        if let Some(apps) = self.image_users().await?.get(version) {
            let names = Vec::from_iter(apps.iter().map(String::as_str)).join(", ");
            return Err(Error::Refused {
                message: format!("something runs on {version}, or is to: {names}"),
                hint: Some("deploy these apps again on the current image, and let their spares go".into()),
            });
        }
        if self.current_image() == version {
            return Err(Error::Refused {
                message: format!("new deployments run on {version}"),
                hint: Some("build a newer one first: `teal image build`".into()),
            });
        }
        self.inner.world.runtime.release_image(version).await.map_err(Error::Internal)?;
        let (images, gone) = (self.images().clone(), version.to_owned());
        blocking(move || images.remove(&gone)).await?;
        tracing::info!(by = who.user, version, "image removed");
        Ok(())
    }

    /// Begins to build an image.
    ///
    /// # Errors
    /// If there is no recipe for it, something is missing, or one is being built.
    pub fn build_image(&self, who: &Principal, name: &str) -> Result<ImageBuildView> {
        self.images().begin(name)?;
        tracing::info!(by = who.user, name, "image is being built");
        self.image_build(0)
    }

    /// Ends the build that goes on. What it made is gone once its state says that it was cancelled.
    ///
    /// # Errors
    /// If none goes on.
    pub fn cancel_image_build(&self, who: &Principal) -> Result<ImageBuildView> {
        self.images().cancel(&who.user)?;
        tracing::info!(by = who.user, "the build of an image is ended");
        self.image_build(0)
    }

    /// The build that goes on or was the last one, with what it said after line `after`.
    ///
    /// # Errors
    /// If this server has built none.
    pub fn image_build(&self, after: u64) -> Result<ImageBuildView> {
        let story = self.images().story();
        let story =
            story.ok_or_else(|| Error::NotFound("no image was built since the server started".into()))?;
        Ok(build_view(story, after))
    }

    /// Asks the host's apt what a rebuilt image would differ in.
    ///
    /// # Errors
    /// If there is no recipe for it, or apt cannot be asked.
    pub async fn check_image(&self, name: &str) -> Result<ImageCheckView> {
        let checked = self.images().checked(name).await?;
        Ok(ImageCheckView {
            name: name.to_owned(),
            differs: checked.version.is_none() || checked.agent || !checked.changes.is_empty(),
            version: checked.version,
            agent: checked.agent,
            changes: checked.changes,
        })
    }

    async fn image_users(&self) -> Result<Users> {
        Ok(users(&self.store().census().await?))
    }

    fn image_view(&self, shelved: &Shelved, users: &Users) -> ImageView {
        let manifest = &shelved.manifest;
        let apps = users.get(&manifest.version);
        ImageView {
            version: manifest.version.clone(),
            name: manifest.name.clone(),
            hash: manifest.hash.clone(),
            built_at: rfc3339(manifest.built),
            kernel: manifest.kernel.clone(),
            packages: manifest.packages.len() as u64,
            bytes: shelved.bytes,
            current: self.current_image() == manifest.version,
            apps: apps.into_iter().flatten().cloned().collect(),
        }
    }
}

/// Who has environments or attempts on which version.
pub(crate) fn users(all: &[Rows]) -> Users {
    let mut users = Users::new();
    for rows in all {
        let environments = rows.environments.iter().map(|environment| &environment.image);
        let attempts = rows.deployments.iter().filter(|deployment| deployment.phase.is_attempt());
        for version in environments.chain(attempts.filter_map(|deployment| deployment.image.as_ref())) {
            users.entry(version.clone()).or_default().insert(rows.app.name.clone());
        }
    }
    users
}

fn build_view(story: Story, after: u64) -> ImageBuildView {
    let skip = usize::try_from(after).unwrap_or(usize::MAX);
    let said = story.lines.len() as u64;
    let (state, version, failure) = match story.end {
        None => ("building", None, None),
        Some(End::Built(version)) => ("built", Some(version), None),
        Some(End::Failed(why)) => ("failed", None, Some(why)),
        Some(End::Cancelled(by)) => ("cancelled", None, Some(format!("{by} ended the build"))),
    };
    ImageBuildView {
        name: story.name,
        state: state.into(),
        began_at: rfc3339(story.began),
        lines: story.lines.into_iter().skip(skip).collect(),
        said,
        version,
        failure,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, images::Error> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| Error::Internal("the work on images was lost".into()))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_told_from_where_its_reader_is() {
        let story = |end| {
            let mut story = Story::begin("debian-12");
            story.lines = vec!["one".into(), "two".into()];
            story.end = end;
            story
        };
        let view = build_view(story(None), 1);
        assert_eq!(
            (view.state.as_str(), view.said, view.lines.as_slice()),
            ("building", 2, &["two".to_owned()][..])
        );
        assert_eq!(build_view(story(None), 9).lines, [""; 0]);
        assert_eq!(build_view(story(Some(End::Built("v".into()))), 2).version.as_deref(), Some("v"));
        let cancelled = build_view(story(Some(End::Cancelled("ada".into()))), 0);
        assert_eq!(
            (cancelled.state.as_str(), cancelled.failure.as_deref()),
            ("cancelled", Some("ada ended the build"))
        );
        assert_eq!(build_view(story(Some(End::Failed("why".into()))), 2).failure.as_deref(), Some("why"));
    }
}
