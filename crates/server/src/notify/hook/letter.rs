//! What a delivery says: Teal's own JSON, or a message for Slack. Pure. What users and apps wrote is shortened and never becomes markup; the lines of
//! logs are left out, for the receiver may be anybody's.

use crate::{
    log::{harmless, rfc3339},
    platform::{deployment_view, new_id},
    store::{Hook, QueuedMail},
};
use serde_json::{Value, json};
use teal_core::{
    deploy::{Change, Deployment, Event, Rows},
    hook::{self, HookEvent, HookFormat},
    time::Time,
};

/// The longest text that others wrote, in characters.
const MAX_TEXT: usize = 300;

/// What happened, to whoever is told.
struct Told<'a> {
    rows: &'a Rows,
    event: &'a Event,
    deployment: Option<&'a Deployment>,
    what: HookEvent,
    public_url: &'a str,
}

/// The change's deliveries: for each webhook that hears of it, one for each event.
pub(crate) fn deliveries(change: &Change, hooks: &[Hook], public_url: &str, now: Time) -> Vec<QueuedMail> {
    let mut deliveries = Vec::new();
    for event in &change.events {
        let deployment = event.deployment.as_ref().and_then(|id| change.rows.deployment(id));
        for what in hook::told(event, deployment) {
            let told = Told { rows: &change.rows, event, deployment, what, public_url };
            let hears = hooks.iter().filter(|hook| hook.hears(&change.rows.app.id, what));
            deliveries.extend(hears.map(|hook| told.delivery(hook, now)));
        }
    }
    deliveries
}

/// There is something to tell.
pub(crate) fn tells(change: &Change) -> bool {
    change.events.iter().any(|event| {
        let deployment = event.deployment.as_ref().and_then(|id| change.rows.deployment(id));
        !hook::told(event, deployment).is_empty()
    })
}

/// A delivery that only shows that deliveries arrive.
pub(crate) fn test(hook: &Hook, user: &str, now: Time) -> QueuedMail {
    let id = new_id("n");
    let text = format!("A test of the webhook \"{}\", asked for by {user}.", short(&hook.name));
    let body = match hook.format {
        HookFormat::Raw => json!({ "id": id, "event": "TEST", "at": rfc3339(now), "text": text }),
        HookFormat::Slack => json!({ "text": escape(&text) }),
    };
    queued(id, hook, "", "TEST", &body, now)
}

fn queued(id: String, hook: &Hook, app: &str, event: &str, body: &Value, now: Time) -> QueuedMail {
    QueuedMail {
        id,
        recipient: app.to_owned(),
        subject: event.to_owned(),
        text: body.to_string(),
        html: String::new(),
        hook: Some(hook.id.clone()),
        queued_at: now,
        attempts: 0,
    }
}

impl Told<'_> {
    fn delivery(&self, hook: &Hook, now: Time) -> QueuedMail {
        let id = new_id("n");
        let body = match hook.format {
            HookFormat::Raw => self.raw(&id),
            HookFormat::Slack => json!({ "text": self.slack() }),
        };
        queued(id, hook, &self.rows.app.name, self.what.word(), &body, now)
    }

    fn raw(&self, id: &str) -> Value {
        let deployment = self.deployment.map(|deployment| {
            let environment = deployment.environment.as_ref().and_then(|id| self.rows.environment(id));
            let mut view = deployment_view(deployment, environment.map(|e| e.colour));
            if let Some(failure) = &mut view.failure {
                failure.details.clear();
            }
            view
        });
        json!({
            "id": id, "event": self.what.word(), "at": rfc3339(self.event.at),
            "app": { "id": self.rows.app.id.as_str(), "name": self.rows.app.name },
            "author": self.author(), "text": self.sentence(), "link": self.link(), "deployment": deployment,
        })
    }

    fn author(&self) -> Option<&str> {
        self.event.author.as_deref().or_else(|| self.deployment?.author.as_deref())
    }

    fn link(&self) -> String {
        let app = format!("{}/apps/{}", self.public_url, self.rows.app.name);
        self.deployment.map_or(app.clone(), |deployment| format!("{app}/deployments/{}", deployment.id))
    }

    fn slack(&self) -> String {
        format!("{}\n<{}|{}>", escape(&self.sentence()), self.link(), "Open it in Teal")
    }

    /// What happened, why, and what that means, in a sentence or two.
    fn sentence(&self) -> String {
        let (app, commit) = (&self.rows.app.name, self.commit());
        let by = self.author().map_or_else(|| "the platform".to_owned(), short);
        match self.what {
            HookEvent::GitPush => format!("{app}: {by} pushed {commit}."),
            HookEvent::DeploymentActionBegin => {
                format!("{app}: the deployment of {commit} was asked for by {by}.")
            }
            HookEvent::DeploymentActionEnd => {
                format!("{app}: the deployment of {commit} is over: {}.", self.verdict())
            }
            HookEvent::DeploymentSuccess => format!("{app}: {commit} is live."),
            HookEvent::DeploymentFail => format!("{app}: {commit} failed: {} {}", self.why(), self.served()),
            HookEvent::ApplicationRedeploy => format!("{app}: {by} deploys {commit} again."),
            HookEvent::ApplicationStop => format!("{app}: stopped by {by}; it answers nobody."),
        }
    }

    fn commit(&self) -> String {
        let commit = self.deployment.and_then(|deployment| deployment.commit.as_ref());
        commit.map_or_else(
            || "the live commit".into(),
            |commit| {
                let hash: String = commit.id.chars().take(7).collect();
                format!("{hash} \"{}\"", short(&commit.message))
            },
        )
    }

    fn verdict(&self) -> &'static str {
        self.deployment.map_or("WIP", |deployment| deployment.verdict().word())
    }

    fn why(&self) -> String {
        let why = short(&self.event.text);
        if why.ends_with('.') { why } else { format!("{why}.") }
    }

    /// What users get now.
    fn served(&self) -> String {
        match self.rows.served() {
            Some(live) => {
                let hash: String = live.commit.id.chars().take(7).collect();
                let colour = if live.colour.word() == "blue" { "Blue" } else { "Green" };
                format!("{colour} ({hash}) serves.")
            }
            None => "Nothing serves.".into(),
        }
    }
}

/// One harmless line.
fn short(text: &str) -> String {
    let text = harmless(&text.replace(['\r', '\n'], " "));
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Slack's own three.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::deploy::{App, EventKind};

    fn hook(app: Option<&str>, events: &[HookEvent], format: HookFormat) -> Hook {
        Hook {
            id: "h-1".into(),
            name: "chat".into(),
            app: app.map(|id| (id.parse().expect("legal"), "shop".into())),
            events: events.to_vec(),
            format,
            author: "ada".into(),
            created_at: Time(1),
        }
    }

    fn change() -> Change {
        let settings =
            crate::appconfig::AppConfig::of(&std::collections::BTreeMap::new()).expect("legal").machine();
        let app = App::new("a-1".parse().expect("legal"), "shop".into(), Vec::new(), settings);
        let mut rows = Rows::new(app);
        let failure =
            json!({ "stage": "check", "message": "GET / returned 500", "details": ["password=hunter2"] });
        let deployment = json!({
            "id": "d-1", "request": 1, "kind": "push", "cause": "Git", "author": "ada", "image": null, "config": 1, "instances": 1,
            "commit": { "id": "c".repeat(40), "message": "<!channel> & <https://evil.test|fix>\r\nx", "author": "Ada" },
            "release": null, "cached": false, "environment": null, "phase": "ended", "end": { "end": "failed", "failure": failure }, "times": { "queued": 1 }
        });
        rows.deployments.push(serde_json::from_value(deployment).expect("a deployment"));
        let event = Event {
            at: Time(5),
            kind: EventKind::Failed,
            deployment: Some("d-1".parse().expect("legal")),
            environment: None,
            author: None,
            text: "GET / returned 500".into(),
        };
        Change { rows, events: vec![event], mails: Vec::new(), transitions: Vec::new() }
    }

    fn made(hook: Hook) -> Vec<QueuedMail> {
        deliveries(&change(), &[hook], "https://teal.test", Time(9))
    }

    #[test]
    fn who_hears_of_what() {
        let words = |hook| made(hook).into_iter().map(|m| m.subject).collect::<Vec<_>>();
        let raw = HookFormat::Raw;
        assert_eq!(words(hook(None, &[], raw)), ["DEPLOYMENT_FAIL", "DEPLOYMENT_ACTION_END"]);
        assert_eq!(words(hook(Some("a-1"), &[HookEvent::DeploymentFail], raw)), ["DEPLOYMENT_FAIL"]);
        assert!(words(hook(Some("a-2"), &[], raw)).is_empty());
        assert!(words(hook(None, &[HookEvent::GitPush], raw)).is_empty());
    }

    #[test]
    fn a_failure_says_what_why_and_what_now_and_no_line_of_a_log() {
        let mail = made(hook(None, &[HookEvent::DeploymentFail], HookFormat::Raw)).remove(0);
        let body: Value = serde_json::from_str(&mail.text).expect("JSON");
        assert_eq!((&body["event"], &body["id"]), (&json!("DEPLOYMENT_FAIL"), &json!(mail.id)));
        assert_eq!(body["deployment"]["failure"]["message"], "GET / returned 500");
        assert_eq!(body["link"], "https://teal.test/apps/shop/deployments/d-1");
        let text = body["text"].as_str().expect("a text");
        assert!(text.contains("GET / returned 500.") && text.contains("Nothing serves."), "{text}");
        assert!(!text.contains(['\r', '\n']) && !mail.text.contains("hunter2"), "{}", mail.text);
    }

    #[test]
    fn what_a_user_wrote_is_no_markup_in_slack() {
        let mail = made(hook(None, &[HookEvent::DeploymentFail], HookFormat::Slack)).remove(0);
        let body: Value = serde_json::from_str(&mail.text).expect("JSON");
        let text = body["text"].as_str().expect("a text");
        assert!(text.contains("&lt;!channel&gt; &amp;") && !text.contains("<!channel>"), "{text}");
        assert!(text.ends_with("\n<https://teal.test/apps/shop/deployments/d-1|Open it in Teal>"), "{text}");
    }
}
