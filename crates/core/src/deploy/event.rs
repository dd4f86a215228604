//! What a transition says to the outside: events (the activity, the timeline and the audit log in one) and mails, both
//! committed with the rows that they speak of.

use super::{app::Rows, deployment::Commit, failure::Failure, words::Cause};
use crate::{
    id::{DeploymentId, EnvironmentId},
    route::Colour,
    time::Time,
};
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A deployment was asked for.
    Queued,
    /// Its build began.
    BuildBegan,
    /// Its build ended well.
    Built,
    /// Its environment rises.
    StartBegan,
    /// Its instances run; the check began.
    CheckBegan,
    /// Healthy; waits for a user.
    Held,
    /// The cut-over was decided.
    WentLive,
    /// The router acknowledged a route.
    Served,
    /// The bake is over.
    Baked,
    /// Its task ran to its end.
    TaskDone,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// A newer one took its place.
    Superseded,
    /// Live and standby are both broken: traffic stays.
    BothBroken,
    /// An environment lost its traffic and drains.
    Draining,
    /// An environment sleeps in memory.
    Asleep,
    /// An environment sleeps on disk.
    OnDisk,
    /// An environment is off.
    Off,
    /// An environment is gone.
    Gone,
    /// An effect on an environment could not be done and another way is taken.
    Troubled,
    /// An instance died.
    InstanceLost,
    /// It is back.
    InstanceBack,
    /// All instances of an environment were found missing, as after a reboot.
    Vanished,
    /// Workers and crons were taken from an environment.
    SingletonsTaken,
    /// Workers and crons run in an environment.
    SingletonsGiven,
    /// A user stopped the app.
    Stopped,
    /// A user deleted the app.
    Deleted,
    /// Nothing of a deleted app is left.
    Finished,
    /// The variables changed.
    ConfigChanged,
    /// The number of instances changed.
    Scaled,
    /// The settings or domains changed.
    SettingsChanged,
}

/// One row of the activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Time,
    /// What.
    pub kind: EventKind,
    /// Of which deployment.
    pub deployment: Option<DeploymentId>,
    /// Of which environment.
    pub environment: Option<EnvironmentId>,
    /// Who did it, if a user did.
    pub author: Option<String>,
    /// In words; never a secret.
    pub text: String,
}

/// A mail that is to be sent once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The deployment that failed; the mail's key: never two for one.
    pub deployment: DeploymentId,
    /// Which commit.
    pub commit: Option<Commit>,
    /// Why it came to be.
    pub cause: Cause,
    /// Who asked for it.
    pub author: Option<String>,
    /// What it brought besides the commit.
    pub note: Option<String>,
    /// Why it failed.
    pub failure: Failure,
    /// Production returned to the standby.
    pub rolled_back: bool,
    /// What serves now.
    pub serving: Option<Serving>,
}

/// What users get, said in a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Its place.
    pub colour: Colour,
    /// Its commit.
    pub commit: Commit,
}

/// One transition of one row, for the operator's log and for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The deployment's or environment's id.
    pub row: String,
    /// Where it was.
    pub from: &'static str,
    /// What happened to it.
    pub happening: &'static str,
}

/// What is committed in one transaction. `rows.app.version` is the base's plus one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// All rows after it.
    pub rows: Rows,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Mails to queue.
    pub mails: Vec<Mail>,
    /// The transitions that were taken, in order. Not to be stored.
    pub transitions: Vec<Transition>,
}
