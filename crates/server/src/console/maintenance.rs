//! The page of maintenance: the rollout with its apps, and the buttons that start, resume and end it. Pins are on the app's own page.

use super::{
    forms::to_overview,
    pages::{Frame, html},
    view::{Badge, badge},
    visitor::{Refusal, Visitor},
    when::When,
};
use crate::api::{TheApp, Web};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    response::{Html, Redirect},
};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;
use teal_core::api::{
    MaintenanceAction, MaintenanceView, PackageView, PatchView, PinView, RolloutAppView, RolloutView,
};

/// Packages that the page names.
const PACKAGES: usize = 60;

#[derive(Template)]
#[template(path = "maintenance.html")]
pub(crate) struct MaintenancePage {
    pub(crate) frame: Frame,
    pub(crate) now: Maintenance,
}

/// The part of it that follows what happens.
#[derive(Template)]
#[template(path = "maintenance_now.html")]
pub(crate) struct Maintenance {
    pub(crate) image: String,
    pub(crate) window: String,
    pub(crate) opens: Option<When>,
    pub(crate) patch: Patch,
    pub(crate) behind: u32,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) pins: Vec<(PinView, When)>,
    pub(crate) buttons: Vec<Button>,
    pub(crate) csrf: String,
}

/// How the image is kept patched.
pub(crate) struct Patch {
    pub(crate) badge: Badge,
    pub(crate) view: PatchView,
    pub(crate) last: Option<When>,
    pub(crate) next: Option<When>,
}

/// A rollout as the page shows it.
pub(crate) struct Rollout {
    pub(crate) badge: Badge,
    pub(crate) view: RolloutView,
    pub(crate) total: usize,
    /// Apps that have what they came to.
    pub(crate) over: usize,
    pub(crate) started: When,
    pub(crate) apps: Vec<(Badge, RolloutAppView)>,
    pub(crate) packages: Vec<String>,
    pub(crate) more: usize,
}

/// Something that can be ordered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Button {
    pub(crate) action: &'static str,
    pub(crate) class: &'static str,
    pub(crate) label: &'static str,
}

const START: Button = Button { action: "start", class: "primary", label: "Move apps now" };
const RESUME: Button = Button { action: "resume", class: "primary", label: "Go on" };
const ABORT: Button = Button { action: "abort", class: "danger", label: "End the rollout" };

/// The page's words, from what the platform says. Pure.
pub(crate) fn maintenance_of(view: MaintenanceView, csrf: &str, now: Timestamp) -> Maintenance {
    let buttons = match view.rollout.as_ref().map(|rollout| rollout.state.as_str()) {
        Some("halted") => vec![RESUME, ABORT],
        Some("running") if view.window_opens_at.is_some() => vec![START, ABORT],
        Some("running") => vec![ABORT],
        _ if view.behind > 0 => vec![START],
        _ => Vec::new(),
    };
    let pin = |pin: PinView| {
        let until = When::new(&pin.until, now);
        (pin, until)
    };
    Maintenance {
        opens: view.window_opens_at.as_deref().map(|at| When::new(at, now)),
        patch: patch_of(view.check, now),
        image: view.image,
        window: view.window,
        behind: view.behind,
        rollout: view.rollout.map(|rollout| rollout_of(rollout, now)),
        pins: view.pins.into_iter().map(pin).collect(),
        buttons,
        csrf: csrf.into(),
    }
}

fn patch_of(view: PatchView, now: Timestamp) -> Patch {
    let badge = match view.state.as_str() {
        "current" | "built" => badge("good", "up to date", "what apt has is in the image"),
        "building" => badge("busy", "building", "a newer version is being built"),
        "differs" => badge("busy", "to be built", "apt has something newer"),
        "failed" => badge("bad", "failed", "it is tried again by itself"),
        "cancelled" => badge("idle", "cancelled", "a user ended the build"),
        _ => badge("idle", "not asked yet", "nothing was asked yet"),
    };
    let when = |at: &Option<String>| at.as_deref().map(|at| When::new(at, now));
    Patch { badge, last: when(&view.last_at), next: when(&view.next_at), view }
}

fn rollout_of(mut view: RolloutView, now: Timestamp) -> Rollout {
    let badge = match view.state.as_str() {
        "running" => badge("busy", "running", "apps are moved as places are free"),
        "halted" => badge("bad", "halted", "too many failed: nobody is moved until somebody says so"),
        "done" => badge("good", "done", "every app has what it came to"),
        other => badge("idle", other, "nobody else is moved"),
    };
    let packages = view.changes.iter().take(PACKAGES).map(package).collect();
    let apps = std::mem::take(&mut view.apps);
    let over = view.moved + view.failed + view.left;
    Rollout {
        badge,
        total: apps.len(),
        over: usize::try_from(over).unwrap_or_default(),
        started: When::new(&view.started_at, now),
        apps: apps.into_iter().map(|app| (app_badge(&app.state), app)).collect(),
        packages,
        more: view.changes.len().saturating_sub(PACKAGES),
        view,
    }
}

fn app_badge(state: &str) -> Badge {
    match state {
        "moved" => badge("good", "moved", "it is live on the new image"),
        "failed" => badge("bad", "failed", "it broke on the new image and stays on its own"),
        "under-way" => badge("busy", "under way", "its deployment is under way"),
        "waiting" => badge("idle", "waiting", "its turn has not come"),
        other => badge("idle", other, "it stays as it is"),
    }
}

fn package(view: &PackageView) -> String {
    let security = if view.security { " · security" } else { "" };
    match (&view.from, &view.to) {
        (Some(from), Some(to)) => format!("{} {from} → {to}{security}", view.package),
        (None, Some(to)) => format!("{} {to} (new){security}", view.package),
        (_, None) => format!("{} (gone)", view.package),
    }
}

/// `/maintenance`.
pub(crate) async fn page(State(web): State<Web>, visitor: Visitor) -> Result<Html<String>, Refusal> {
    let now = maintenance_of(web.platform.maintenance().await?, &visitor.csrf, Timestamp::now());
    Ok(html(&MaintenancePage { frame: Frame::of("Maintenance", &visitor), now }))
}

/// The part of it that follows what happens.
pub(crate) async fn page_now(State(web): State<Web>, visitor: Visitor) -> Result<Html<String>, Refusal> {
    Ok(html(&maintenance_of(web.platform.maintenance().await?, &visitor.csrf, Timestamp::now())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    csrf: String,
    action: MaintenanceAction,
}

/// One of the buttons.
pub(crate) async fn order(
    State(web): State<Web>,
    visitor: Visitor,
    Form(form): Form<Order>,
) -> Result<Redirect, Refusal> {
    visitor.check(&web, &form.csrf)?;
    web.platform.maintain(visitor.who(), form.action).await?;
    Ok(Redirect::to("/maintenance"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    csrf: String,
    /// Empty: it may be moved.
    until: String,
}

/// Leaves an app alone until a date, or ends that.
pub(crate) async fn pin(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
    Path(path): Path<HashMap<String, String>>,
    Form(form): Form<Pin>,
) -> Result<Redirect, Refusal> {
    visitor.check(&web, &form.csrf)?;
    if form.until.trim().is_empty() {
        web.platform.unpin(visitor.who(), &app).await?;
    } else {
        web.platform.pin(visitor.who(), &app, &form.until).await?;
    }
    Ok(to_overview(&path))
}
