//! The words that users, the API and existing tools read. They are a contract: change none without a decision record.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a deployment came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// A `git push`.
    Git,
    /// A click.
    Console,
    /// The `teal` command.
    #[serde(rename = "CLI")]
    Cli,
    /// A call of the API by something else.
    #[serde(rename = "API")]
    Api,
    /// The platform patches itself.
    Maintenance,
    /// The platform found an instance dead.
    #[serde(rename = "Monitoring/Unreachable")]
    MonitoringUnreachable,
    /// The platform scales.
    #[serde(rename = "Monitoring/Scaling")]
    MonitoringScaling,
    /// The new environment broke while it baked.
    #[serde(rename = "Rollback/Unhealthy")]
    RollbackUnhealthy,
}

impl Cause {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Git => "Git",
            Self::Console => "Console",
            Self::Cli => "CLI",
            Self::Api => "API",
            Self::Maintenance => "Maintenance",
            Self::MonitoringUnreachable => "Monitoring/Unreachable",
            Self::MonitoringScaling => "Monitoring/Scaling",
            Self::RollbackUnhealthy => "Rollback/Unhealthy",
        }
    }
}

/// How a deployment stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Under way.
    Wip,
    /// It went live, and the router serves it (or did, until a newer one took over); or it was a task, and ran to its end.
    Ok,
    /// It failed; what was live before still is.
    Fail,
    /// A user, a newer push or a stop ended it.
    Cancelled,
}

impl Verdict {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Wip => "WIP",
            Self::Ok => "OK",
            Self::Fail => "FAIL",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// How an app stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Served, and nothing is under way.
    Running,
    /// Served, and a deployment is under way.
    Restarting,
    /// Served, but the last deployment failed.
    RestartFailed,
    /// Not served yet; it is on its way.
    Starting,
    /// Not served: the last deployment failed and there is nothing to go back to.
    StartFailed,
    /// Not served: a user stopped it, or nothing was ever deployed.
    Stopped,
}

impl Status {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::RestartFailed => "restart-failed",
            Self::Starting => "starting",
            Self::StartFailed => "start-failed",
            Self::Stopped => "stopped",
        }
    }
}

macro_rules! display_by_word {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    )*};
}
display_by_word!(Cause, Verdict, Status);
