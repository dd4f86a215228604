//! Logs and events as they happen.

use super::lab::{Lab, PATIENCE};
use axum::{body::Body, http::StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

#[derive(Debug)]
struct Heard {
    name: String,
    id: Option<u64>,
    data: Value,
}

/// An open stream, read event by event.
struct Listener {
    body: Body,
    text: String,
}

impl Listener {
    async fn open(lab: &Lab, path: &str, last: Option<u64>) -> Self {
        let mut ask = lab.ask("GET", path).token().header("accept", "text/event-stream");
        if let Some(last) = last {
            ask = ask.header("last-event-id", &last.to_string());
        }
        let (status, body) = ask.open().await;
        assert_eq!(status, StatusCode::OK);
        Self { body, text: String::new() }
    }

    /// The next event; `None` at the stream's end.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.lines().all(|line| line.starts_with(':')) {
                    continue;
                }
                return Some(parse(&event));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("in time")?;
            let data = frame.expect("frame").into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&data).expect("text"));
        }
    }

    async fn all(mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Some(event) = self.next().await {
            heard.push(event);
        }
        heard
    }
}

fn parse(event: &str) -> Heard {
    let field = |name: &str| {
        event
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned()))
    };
    let data = field("data").unwrap_or_default();
    Heard {
        name: field("event").unwrap_or_default(),
        id: field("id").map(|id| id.parse().expect("number")),
        data: serde_json::from_str(&data).unwrap_or(Value::String(data)),
    }
}

#[tokio::test]
async fn a_log_is_followed_to_the_verdict_and_resumed_where_it_broke_off() {
    let lab = Lab::with_app("shop").await;
    let deployment = lab.failing_push("shop").await;
    let path = format!("/api/v1/apps/shop/deployments/{deployment}/log");
    let heard = Listener::open(&lab, &path, None).await.all().await;
    let (end, lines) = heard.split_last().expect("events");
    assert_eq!((end.name.as_str(), end.id), ("end", None));
    assert_eq!(end.data["state"], "FAIL", "{end:?}");
    assert!(!end.data["failure"]["message"].as_str().expect("message").is_empty());
    assert!(lines.iter().all(|line| line.name == "line"), "{lines:?}");
    let ids: Vec<u64> = lines.iter().map(|line| line.id.expect("id")).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
    assert!(
        lines.last().expect("line").data["text"].as_str().expect("text").contains("Please review"),
        "{lines:?}"
    );

    let kept = lab.get(&path).await;
    assert_eq!(kept.as_array().map(Vec::len), Some(lines.len()));
    let resumed = Listener::open(&lab, &path, Some(1)).await.all().await;
    assert_eq!(resumed.first().and_then(|line| line.id), Some(2));
    assert_eq!(resumed.len(), heard.len() - 1);
    let over = Listener::open(&lab, &path, Some(ids.len() as u64)).await.all().await;
    assert_eq!(over.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["end"]);
    let wrong =
        lab.ask("GET", &path).token().header("accept", "text/event-stream").header("last-event-id", "x");
    assert_eq!(wrong.send().await.status.as_u16(), 422);
    let page = lab.get(&format!("{path}?after=1&limit=1")).await;
    assert_eq!((page.as_array().map(Vec::len), &page[0]["number"]), (Some(1), &json!(2)));
}

#[tokio::test]
async fn events_come_as_they_happen_and_resume_without_a_gap() {
    let lab = Lab::with_app("shop").await;
    let mut fresh = Listener::open(&lab, "/api/v1/apps/shop/events", None).await;
    let deployment = lab.failing_push("shop").await;
    let first = fresh.next().await.expect("an event");
    assert_eq!(first.name, "event");
    assert_eq!(first.data["deployment"], deployment.as_str(), "{first:?}");
    let number = first.id.expect("id");
    let second = fresh.next().await.expect("another event");
    drop(fresh);
    let mut resumed = Listener::open(&lab, "/api/v1/apps/shop/events", Some(number)).await;
    assert_eq!(resumed.next().await.expect("the same").id, second.id);
    let all = lab.get("/api/v1/apps/shop/events?limit=1000").await;
    assert!(all.as_array().is_some_and(|all| all.iter().any(|event| event["number"] == number)), "{all}");
}

#[tokio::test]
async fn a_deployment_of_another_app_is_not_told() {
    let lab = Lab::with_app("shop").await;
    lab.post("/api/v1/apps", &json!({"name": "blog"})).await;
    let deployment = lab.failing_push("shop").await;
    for path in ["", "/log"] {
        let path = format!("/api/v1/apps/blog/deployments/{deployment}{path}");
        assert_eq!(lab.ask("GET", &path).token().send().await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
