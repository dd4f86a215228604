//! Types that the API, the console and the CLI share: what a user sees of an app, in CONTRACT's words.
//!
//! Instants are RFC 3339 texts in UTC with milliseconds. Nothing here holds a secret unless its name says so.

mod hook;
pub mod image;
mod maintenance;
mod metrics;
mod people;

pub use hook::{HookDeliveryView, HookView, MadeHook, NewHook};
pub use maintenance::{
    MaintenanceAction, MaintenanceRequest, MaintenanceView, PackageView, PatchView, PinRequest, PinView,
    RolloutAppView, RolloutView,
};
pub use people::{
    AuditView, KeyRequest, KeyView, MemberRequest, MemberView, NewToken, TokenRequest, TokenView,
    UserRequest, UserView, WhoAmI,
};

pub use metrics::{MarkView, MetricsView, PointView, SampleView, SwitchView};

use crate::{
    id::{AppId, DeploymentId, EnvironmentId},
    route::Colour,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An instant as users see it: RFC 3339, UTC, milliseconds.
pub type Timestamp = String;

/// A commit, as far as a user wants to read of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CommitView {
    /// The full hash.
    pub id: String,
    /// The first line of its message.
    pub message: String,
    /// Who wrote it.
    pub author: String,
}

/// `teal status`: what is head, live (as served by the router), spare, and under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StatusView {
    /// The app's id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: AppId,
    /// Its name.
    pub app: String,
    /// `running`, `restarting`, `restart-failed`, `starting`, `start-failed` or `stopped`.
    pub status: String,
    /// The last pushed commit.
    pub head: Option<CommitView>,
    /// What the router serves.
    pub live: Option<LiveView>,
    /// What the button wakes.
    pub spare: Option<SpareView>,
    /// The deployment that is furthest on its way, if one is.
    pub deploying: Option<DeploymentView>,
    /// What "Start last pushed commit" would start now.
    pub button: Option<ButtonView>,
    /// Host names that reach it.
    pub domains: Vec<String>,
    /// Where it can be opened, if anywhere.
    pub url: Option<String>,
    /// Where its streams arrive, if it has a public TCP port: `tcp://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// Where handshakes arrive that go on to it as they came, if it ends TLS itself: `tls://host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The runtime that its instances run under.
    pub runtime: String,
    /// Until when maintenance leaves it alone, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_until: Option<Timestamp>,
    /// Things that the owner ought to know (no isolation, memory held by a sleeper…).
    pub warnings: Vec<String>,
}

/// What is in production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LiveView {
    /// The place that it takes.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub colour: Colour,
    /// What runs.
    pub commit: CommitView,
    /// The deployment that made it live.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub deployment: DeploymentId,
    /// The environment that runs it.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub environment: EnvironmentId,
    /// Since when it is live.
    pub since: Timestamp,
    /// Instances that are up.
    pub instances: u32,
    /// Still watched: until then the old one stands by.
    pub baking: bool,
}

/// The way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SpareView {
    /// The place that it takes.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub colour: Colour,
    /// What it would run.
    pub commit: CommitView,
    /// The environment.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub environment: EnvironmentId,
    /// `up` (standing by), `draining`, `asleep` (memory), `asleep-on-disk`, `off`.
    pub state: String,
    /// When it is turned off, if it still runs or sleeps.
    pub off_at: Option<Timestamp>,
}

/// The button *Start last pushed commit*: the commit that it would start, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ButtonView {
    /// The commit.
    pub commit: CommitView,
    /// `true`: wakes the spare environment; `false`: starts the head commit anew from its release.
    pub wakes: bool,
    /// A sentence such as "wakes Blue · a1b2c3d fix cart · asleep, off in 8 min".
    pub label: String,
    /// What going back does not undo: a release command that ran since that version was live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A row of the activity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeploymentView {
    /// The deployment.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub deployment: DeploymentId,
    /// `WIP`, `OK`, `FAIL` or `CANCELLED`.
    pub state: String,
    /// Teal's finer phase: `queued`, `building`, `ready`, `starting`, `checking`, `held`, `live`, `ended`.
    pub phase: String,
    /// `DEPLOY`, `UNDEPLOY`, `UPSCALE`, `DOWNSCALE` or `CANCEL`.
    pub action: String,
    /// `Git`, `Console`, `CLI`, `API`, `Maintenance`, `Monitoring/Unreachable`, `Monitoring/Scaling` or `Rollback/Unhealthy`.
    pub cause: String,
    /// Who asked; the platform's own have none.
    pub author: Option<String>,
    /// What it deploys.
    pub commit: Option<CommitView>,
    /// The place of its environment, once it has one.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub colour: Option<Colour>,
    /// What it brings besides the commit: the packages that a newer image changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it got its verdict.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub failure: Option<FailureView>,
    /// When each phase began, in order.
    pub phases: Vec<PhaseView>,
    /// What users noticed of its switch, once the half minute after it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<SwitchView>,
}

/// When a phase began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PhaseView {
    /// As in [`DeploymentView::phase`].
    pub phase: String,
    /// When it began.
    pub at: Timestamp,
}

/// Why a deployment failed: enough to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FailureView {
    /// The stage that failed.
    pub stage: String,
    /// What happened, why, what to do next.
    pub message: String,
    /// Probes, listening sockets, the last lines of the log.
    pub details: Vec<String>,
}

/// One event of an app: the timeline and the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EventView {
    /// Grows with every event of the server.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What kind, in snake case.
    pub kind: String,
    /// The deployment that it belongs to.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub deployment: Option<DeploymentId>,
    /// A sentence.
    pub text: String,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogView {
    /// Grows with each line of the same log: ask for what comes after the last one seen.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The stage (`build`, `start`, `check`, …) or the instance that wrote it.
    pub stage: String,
    /// Its text, control characters already made harmless.
    pub text: String,
}

/// To create an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewApp {
    /// Lower-case letters, digits and `-`; a letter first; at most 30 characters; unique on this server.
    pub name: String,
    /// Settings that differ from the defaults.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub config: BTreeMap<String, serde_json::Value>,
}

/// What a user can ask of an app besides a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The button: wakes the spare; with none, starts the head commit from its release.
    Wake,
    /// Deploys a commit that was pushed before.
    Redeploy {
        /// The full hash, or its beginning (7 characters or more).
        commit: String,
    },
    /// The live commit again, with the present variables and configuration.
    Restart,
    /// Another number of instances of the live commit.
    Scale {
        /// 1 to 40.
        instances: u32,
    },
    /// Takes the app out of production.
    Stop,
    /// Brings a stopped app back as it was.
    Start,
    /// Ends the deployment under way (or the named one).
    Cancel {
        /// The deployment; without it all that are under way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
        deployment: Option<DeploymentId>,
    },
    /// Lets a held deployment go live.
    GoLive {
        /// The deployment.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        deployment: DeploymentId,
    },
}

/// The answer to a request that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Accepted {
    /// The deployment that it made or concerns, if any.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub deployment: Option<DeploymentId>,
    /// A sentence: what happens now.
    pub message: String,
}

/// An app in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppView {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: AppId,
    /// Its name.
    pub name: String,
    /// As in [`StatusView::status`].
    pub status: String,
    /// What it serves.
    pub live: Option<CommitView>,
    /// Host names that reach it.
    pub domains: Vec<String>,
    /// As in [`StatusView::tcp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// As in [`StatusView::tls`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Where to push over SSH, if the server speaks it.
    pub git_ssh: Option<String>,
    /// Where to push over HTTP.
    pub git_http: String,
}

/// A variable. Its value is a secret: only the owner's explicit request shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VariableView {
    /// `[A-Za-z_][A-Za-z0-9_]*`.
    pub name: String,
    /// Present only if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A fact about the host, with the remedy where it is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FindingView {
    /// What was looked at.
    pub name: String,
    /// As it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// Host names to add and to remove; either may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DomainChange {
    /// To add: `example.org`, `*.example.org`, or `example.org/api` for that path and all below it.
    #[serde(default)]
    pub add: Vec<String>,
    /// To remove.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// The certificate of one of an app's domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CertificateView {
    /// The host name.
    pub domain: String,
    /// `issued` (by an authority), `pending` (it was asked), `failing` (the last attempt failed; an earlier certificate may still be in use),
    /// `file` (obtained by somebody else), `app` (the app ends TLS itself), `self-signed` (no authority is set) or `local` (no authority certifies such names).
    pub state: String,
    /// Until when the certificate in use is valid.
    pub not_after: Option<Timestamp>,
    /// When it is renewed.
    pub renews_at: Option<Timestamp>,
    /// What is wrong.
    pub problem: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ErrorView {
    /// A fixed word: `not_found`, `invalid`, `refused`, `unauthorised`, `forbidden`, `not_allowed` (the method), `too_large`,
    /// `too_many`, `timeout`, `internal`.
    pub kind: String,
    /// What happened and why.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}
