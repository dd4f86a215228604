//! What a deployment's log says of the machine's events, in the words that users of CONTRACT know.

use teal_core::deploy::{Deployment, Event, EventKind};

/// The lines of one event; several at once, so that no reader sees a part.
pub(super) fn lines(event: &Event, deployment: Option<&Deployment>) -> String {
    let span = deployment.map_or(0, |d| event.at.since(d.times.queued) / 1000);
    let span = format!("{} minutes and {} seconds", span / 60, span % 60);
    match event.kind {
        EventKind::Queued => {
            let by = event.author.as_ref().map(|author| format!(", by {author}")).unwrap_or_default();
            format!("Deployment asked for: {}{by}", event.text)
        }
        EventKind::StartBegan => format!("Starting: {}", event.text),
        EventKind::WentLive => "Healthy: traffic moves to it now".into(),
        EventKind::Served => format!("Application start successful\nSuccessfully deployed in {span}"),
        EventKind::TaskDone => format!("The task ran to its end\nSuccessfully deployed in {span}"),
        EventKind::Failed => {
            format!("Deploy failed in {span}: {}\nPlease review the lines above.", event.text)
        }
        EventKind::Cancelled => format!("Cancelled: {}", event.text),
        EventKind::Superseded => format!("Superseded: {}", event.text),
        EventKind::Baked => format!("The bake is over: {}", event.text),
        _ => event.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use teal_core::time::Time;

    #[test]
    fn a_failure_ends_with_the_advice_to_read_what_is_above() {
        let event = Event {
            at: Time(0),
            kind: EventKind::Failed,
            deployment: None,
            environment: None,
            author: None,
            text: "it broke".into(),
        };
        assert_eq!(
            lines(&event, None),
            "Deploy failed in 0 minutes and 0 seconds: it broke\nPlease review the lines above."
        );
    }
}
