//! What webhooks are told of: which of CONTRACT's events one row of the activity stands for. Pure; it must never say one twice for the same transition.

use crate::deploy::{Deployment, Event, EventKind, Kind};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An event that a webhook can be told of. The words are CONTRACT's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HookEvent {
    /// A push was received.
    GitPush,
    /// A deployment was asked for, by whomever.
    DeploymentActionBegin,
    /// Its verdict is final: baked, failed, cancelled, or a newer one took its place.
    DeploymentActionEnd,
    /// It went live, and every worker of the router uses it.
    DeploymentSuccess,
    /// It failed; in its bake, too, when production went back.
    DeploymentFail,
    /// The live commit, or one of the past, is deployed again.
    ApplicationRedeploy,
    /// The app was taken out of production.
    ApplicationStop,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::GitPush,
        Self::DeploymentActionBegin,
        Self::DeploymentActionEnd,
        Self::DeploymentSuccess,
        Self::DeploymentFail,
        Self::ApplicationRedeploy,
        Self::ApplicationStop,
    ];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::GitPush => "GIT_PUSH",
            Self::DeploymentActionBegin => "DEPLOYMENT_ACTION_BEGIN",
            Self::DeploymentActionEnd => "DEPLOYMENT_ACTION_END",
            Self::DeploymentSuccess => "DEPLOYMENT_SUCCESS",
            Self::DeploymentFail => "DEPLOYMENT_FAIL",
            Self::ApplicationRedeploy => "APPLICATION_REDEPLOY",
            Self::ApplicationStop => "APPLICATION_STOP",
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for HookEvent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|event| event.word().eq_ignore_ascii_case(text));
        named.ok_or_else(|| {
            format!("`{text}` is not one of {}", Self::ALL.map(|event| event.word()).join(", "))
        })
    }
}

/// How a webhook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HookFormat {
    /// Teal's own JSON, with everything that is known.
    #[default]
    Raw,
    /// A message as Slack's incoming webhooks take it; Mattermost and others do, too.
    Slack,
}

impl HookFormat {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Slack => "slack",
        }
    }
}

impl FromStr for HookFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Raw, Self::Slack]
            .into_iter()
            .find(|format| format.word() == text)
            .ok_or_else(|| format!("`{text}` is not one of raw, slack"))
    }
}

/// What this row of the activity is to webhooks, in order. `deployment` is the event's own, after the change.
#[must_use]
pub fn told(event: &Event, deployment: Option<&Deployment>) -> Vec<HookEvent> {
    use HookEvent::{
        ApplicationRedeploy, ApplicationStop, DeploymentActionBegin, DeploymentActionEnd, DeploymentFail,
        DeploymentSuccess, GitPush,
    };
    let served = deployment.is_some_and(|d| d.times.served.is_some());
    match event.kind {
        EventKind::Queued => match deployment.map(|d| d.kind) {
            Some(Kind::Push) => vec![GitPush, DeploymentActionBegin],
            Some(Kind::Redeploy | Kind::Restart) => vec![ApplicationRedeploy, DeploymentActionBegin],
            _ => vec![DeploymentActionBegin],
        },
        // A first deployment has nothing to go back to: it is baked before it is served, and its end is told when it is.
        EventKind::Served if deployment.is_some_and(Deployment::is_over) => {
            vec![DeploymentSuccess, DeploymentActionEnd]
        }
        EventKind::Served => vec![DeploymentSuccess],
        EventKind::Baked if served => vec![DeploymentActionEnd],
        EventKind::Failed => vec![DeploymentFail, DeploymentActionEnd],
        EventKind::Cancelled | EventKind::Superseded => vec![DeploymentActionEnd],
        EventKind::Stopped => vec![ApplicationStop],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{deploy::Phase, time::Time};

    fn deployment(kind: &str, phase: Phase, served: bool) -> Deployment {
        let json = serde_json::json!({
            "id": "d-1", "request": 1, "kind": kind, "cause": "Git", "author": null, "commit": null, "image": null, "config": 1, "instances": 1,
            "release": null, "cached": false, "environment": null, "phase": "queued", "times": {"queued": 1}
        });
        let mut deployment: Deployment = serde_json::from_value(json).expect("a deployment");
        deployment.phase = phase;
        deployment.times.served = served.then_some(Time(5));
        deployment.times.ended = deployment.times.served.filter(|_| deployment.phase.is_over());
        deployment
    }

    fn words(kind: EventKind, deployment: Option<&Deployment>) -> Vec<&'static str> {
        let event = Event {
            at: Time(1),
            kind,
            deployment: None,
            environment: None,
            author: None,
            text: String::new(),
        };
        told(&event, deployment).into_iter().map(HookEvent::word).collect()
    }

    #[test]
    fn each_deployment_begins_and_ends_once() {
        let push = deployment("push", Phase::Queued, false);
        assert_eq!(words(EventKind::Queued, Some(&push)), ["GIT_PUSH", "DEPLOYMENT_ACTION_BEGIN"]);
        let again = deployment("redeploy", Phase::Queued, false);
        assert_eq!(
            words(EventKind::Queued, Some(&again)),
            ["APPLICATION_REDEPLOY", "DEPLOYMENT_ACTION_BEGIN"]
        );
        let first = deployment("push", Phase::Baked { turn: 1 }, false);
        assert!(words(EventKind::Baked, Some(&first)).is_empty(), "nobody is served yet");
        let first = deployment("push", Phase::Baked { turn: 1 }, true);
        assert_eq!(words(EventKind::Served, Some(&first)), ["DEPLOYMENT_SUCCESS", "DEPLOYMENT_ACTION_END"]);
        let later = deployment("push", Phase::Live { turn: 2, since: Time(4) }, true);
        assert_eq!(words(EventKind::Served, Some(&later)), ["DEPLOYMENT_SUCCESS"]);
        assert_eq!(words(EventKind::Baked, Some(&later)), ["DEPLOYMENT_ACTION_END"]);
        assert_eq!(words(EventKind::Failed, Some(&later)), ["DEPLOYMENT_FAIL", "DEPLOYMENT_ACTION_END"]);
        assert_eq!(words(EventKind::Superseded, Some(&push)), ["DEPLOYMENT_ACTION_END"]);
        assert_eq!(words(EventKind::Stopped, None), ["APPLICATION_STOP"]);
        assert!(words(EventKind::Asleep, None).is_empty());
    }

    #[test]
    fn words_are_read_back_and_are_what_json_says() {
        for event in HookEvent::ALL {
            assert_eq!(event.word().to_lowercase().parse(), Ok(event));
            assert_eq!(serde_json::to_value(event).expect("JSON"), event.word());
        }
        assert!("DEPLOYED".parse::<HookEvent>().is_err_and(|why| why.contains("DEPLOYMENT_SUCCESS")));
        assert_eq!("slack".parse(), Ok(HookFormat::Slack));
    }
}
