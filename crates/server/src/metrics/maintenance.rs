//! The series of maintenance: how far apps are on the present image, how the newest rollout stands, and how the image is patched.

use super::{
    Facts,
    page::{Kind, Page},
};
use teal_core::upkeep::{
    Rollout, State,
    patch::{Found, Patch, failures},
};

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    /// The image that pushes are built on.
    pub(crate) image: String,
    /// The newest rollout.
    pub(crate) rollout: Option<Rollout>,
    /// What was found out of the image last.
    pub(crate) patch: Option<Patch>,
}

/// Writes them.
pub(super) fn write(page: &mut Page, facts: &Facts<'_>) {
    let maintenance = facts.maintenance;
    let behind = facts.apps.iter().filter(|rows| rows.app.deleted.is_none());
    let behind = behind.filter_map(|rows| rows.live()).filter(|live| live.image != maintenance.image);
    let help = "Apps that are live on another image than new deployments.";
    page.single("teal_apps_behind", Kind::Gauge, help, behind.count());
    rollout(page, maintenance.rollout.as_ref());
    patch(page, maintenance.patch.as_ref());
}

fn rollout(page: &mut Page, rollout: Option<&Rollout>) {
    let tally = rollout.map(Rollout::tally).unwrap_or_default();
    page.family("teal_rollout_apps", Kind::Gauge, "Apps of the newest rollout, by how far they are.");
    for (progress, count) in [
        ("waiting", tally.waiting),
        ("under_way", tally.under_way),
        ("moved", tally.moved),
        ("failed", tally.failed),
        ("left", tally.left),
    ] {
        page.sample("teal_rollout_apps", &[("progress", progress)], count);
    }
    let is = |wanted: fn(&State) -> bool| u8::from(rollout.is_some_and(|rollout| wanted(&rollout.state)));
    let help = "1: the newest rollout has halted, and waits for a person.";
    page.single("teal_rollout_halted", Kind::Gauge, help, is(|state| matches!(state, State::Halted { .. })));
    let help = "1: the newest rollout goes on.";
    page.single("teal_rollout_running", Kind::Gauge, help, is(|state| matches!(state, State::Running)));
}

fn patch(page: &mut Page, patch: Option<&Patch>) {
    let seconds = patch.map_or(0, |patch| patch.at.0 / 1_000);
    let help = "When the platform last looked whether the image is patched, since 1970; 0: never.";
    page.single("teal_image_looked_at_seconds", Kind::Gauge, help, seconds);
    let help = "How often in a row the image could not be asked about, or not be built.";
    page.single("teal_image_failures", Kind::Gauge, help, failures(patch));
    let security = match patch.map(|patch| &patch.found) {
        Some(Found::Differs { security, .. }) => *security,
        _ => 0,
    };
    let help = "Security updates that the image lacks, as of the last look.";
    page.single("teal_image_security_updates", Kind::Gauge, help, security);
}
