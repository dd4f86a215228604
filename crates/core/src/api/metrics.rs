//! Types of an app's metrics over time, and of the report of a switch.

use super::Timestamp;
use crate::id::DeploymentId;
use serde::{Deserialize, Serialize};

/// What one app did during a window of time, in steps, the oldest first. A step in which nothing was seen is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MetricsView {
    /// The app's name.
    pub app: String,
    /// `hour`, `day` or `week`.
    pub window: String,
    /// The beginning of the window.
    pub from: Timestamp,
    /// Its end: the end of the step that goes on.
    pub until: Timestamp,
    /// How long a step is, in seconds.
    pub step_s: u64,
    /// The steps.
    pub points: Vec<PointView>,
    /// What went live or failed within the window, the oldest first.
    pub deployments: Vec<MarkView>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PointView {
    /// When it began.
    pub at: Timestamp,
    /// What Blue did, if anything was there.
    pub blue: Option<SampleView>,
    /// What Green did, if anything was there.
    pub green: Option<SampleView>,
}

/// What the environments in one place did during a step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SampleView {
    /// Answers per second.
    pub requests_per_s: f64,
    /// Answers of 5xx per second, the router's own among them.
    pub errors_per_s: f64,
    /// Half of the answers began within this many milliseconds.
    pub p50_ms: Option<f64>,
    /// All but five in a hundred.
    pub p95_ms: Option<f64>,
    /// All but one in a hundred.
    pub p99_ms: Option<f64>,
    /// The most requests in flight that were seen.
    pub in_flight: u64,
    /// The most WebSockets that were seen.
    pub websockets: u64,
    /// Instances.
    pub instances: u64,
    /// Processor time per instance, in thousandths of a core; where it can be told.
    pub cpu_milli: Option<u64>,
    /// Memory per instance, in bytes; where it can be told.
    pub memory_bytes: Option<u64>,
}

/// A deployment on the axis of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MarkView {
    /// When it went live, or failed.
    pub at: Timestamp,
    /// Which one.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub deployment: DeploymentId,
    /// `live` or `failed`.
    pub what: String,
    /// The commit's hash, if it was about one.
    pub commit: Option<String>,
    /// The first line of its message.
    pub message: String,
}

/// What users noticed of a switch: the half minute before it and the half minute after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SwitchView {
    /// The seconds that were looked at: a minute and the time until the next look.
    pub span_s: f64,
    /// Answers.
    pub requests: u64,
    /// Of these, by the version that the traffic went to.
    pub requests_new: u64,
    /// Answers of 5xx.
    pub errors: u64,
    /// Answers that broke off, and gateway errors.
    pub failed: u64,
    /// Connections that an instance refused: the request was given to another one, and its client noticed nothing.
    pub retried: u64,
    /// All but one in a hundred answers of the version before began within this many milliseconds.
    pub p99_before_ms: Option<f64>,
    /// The same of the new one.
    pub p99_after_ms: Option<f64>,
}

impl SwitchView {
    /// In a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let ms = |ms: Option<f64>| ms.map_or_else(|| "unknown".into(), |ms| format!("{ms:.1} ms"));
        format!(
            "{} requests in the {:.0} s around the switch, {} by the new version; {} answers of 5xx, {} broken off, {} retried; p99 {} before, {} after",
            self.requests,
            self.span_s,
            self.requests_new,
            self.errors,
            self.failed,
            self.retried,
            ms(self.p99_before_ms),
            ms(self.p99_after_ms)
        )
    }
}
