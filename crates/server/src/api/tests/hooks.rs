//! Webhooks over HTTP and in the console: from a push that fails to a signed delivery at a receiver.

use super::{
    console::{csrf, login, page},
    lab::{Lab, SECRET, json},
};
use crate::notify;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

const HOOKS: &str = "/api/v1/webhooks";

async fn lab() -> Lab {
    let lab = Lab::configured(|config| config.webhook_allow = vec!["127.0.0.1".into()]).await;
    let made = lab.post("/api/v1/apps", &json!({ "name": "shop" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    lab
}

/// Takes everything, but for the first `refuse`; hands on each request's head and body.
async fn receiver(refuse: usize) -> (SocketAddr, mpsc::UnboundedReceiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            let (head, body) = loop {
                let count = stream.read(&mut piece).await.unwrap_or(0);
                request.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str(body)
                {
                    break (head.to_owned(), body);
                }
                assert!(count > 0, "broke off: {text}");
            };
            let _ = told.send((head, body));
            let answer: &[u8] =
                if number < refuse { b"HTTP/1.1 503 No\r\n\r\n" } else { b"HTTP/1.1 200 OK\r\n\r\n" };
            let _ = stream.write_all(answer).await;
        }
    });
    (address, heard)
}

#[tokio::test]
async fn a_push_that_fails_is_told_to_those_who_want_to_hear_of_it() {
    let lab = lab().await;
    let (address, mut heard) = receiver(0).await;
    let new = json!({ "name": "ci", "url": format!("http://{address}/teal/s3cret"), "app": "shop", "events": ["DEPLOYMENT_FAIL", "GIT_PUSH"] });
    let made = lab.post(HOOKS, &new).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert!(json(&made.json()["secret"]).starts_with("teal_"));
    let id = json(&made.json()["hook"]["id"]);
    let worker = notify::deliver(lab.platform.telling(), lab.store.clone(), lab.platform.changes());
    let worker = tokio::spawn(worker);
    let deployment = lab.failing_push("shop").await;
    for event in ["GIT_PUSH", "DEPLOYMENT_FAIL"] {
        let (head, body) = heard.recv().await.expect("told");
        assert_eq!((&body["event"], &body["app"]["name"]), (&json!(event), &json!("shop")), "{body}");
        assert_eq!(body["deployment"]["deployment"], deployment.as_str());
        assert!(head.contains(&format!("teal-delivery: {}", json(&body["id"]))), "{head}");
    }
    let listed = lab.ask("GET", HOOKS).token().send().await;
    assert!(!listed.text().contains("s3cret") && !listed.text().contains("\"secret\""), "{}", listed.text());
    assert_eq!(listed.json()[0]["address"], format!("http://{address}/…"));
    // The receiver has it before the log says so.
    let log = loop {
        let log = lab.get(&format!("{HOOKS}/{id}/deliveries")).await;
        if log.as_array().is_some_and(|log| log.iter().all(|row| row["state"] == "delivered")) {
            break log;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((&log[0]["event"], &log[1]["event"]), (&json!("DEPLOYMENT_FAIL"), &json!("GIT_PUSH")));
    let removed = lab.ask("DELETE", &format!("{HOOKS}/{id}")).token().send().await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(lab.get(HOOKS).await, json!([]));
    worker.abort();
}

#[tokio::test]
async fn a_test_says_what_the_receiver_said() {
    let lab = lab().await;
    let (address, mut heard) = receiver(1).await;
    let new = json!({ "name": "chat", "url": format!("http://{address}/"), "format": "slack" });
    let id = json(&lab.post(HOOKS, &new).await.json()["hook"]["id"]);
    let unknown = lab.post(&format!("{HOOKS}/h-0/test"), &json!({})).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let refused = lab.post(&format!("{HOOKS}/{id}/test"), &json!({})).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(json(&refused.json()["message"]).contains("503 after"), "{}", refused.text());
    let taken = lab.post(&format!("{HOOKS}/{id}/test"), &json!({})).await;
    assert!(json(&taken.json()["message"]).starts_with("chat took it: 200"), "{}", taken.text());
    assert!(json(&heard.recv().await.expect("told").1["text"]).contains("A test of the webhook"));
    let log = lab.get(&format!("{HOOKS}/{id}/deliveries")).await;
    assert_eq!((&log[0]["state"], &log[1]["state"]), (&json!("delivered"), &json!("waiting")));
    assert_eq!((&log[1]["attempts"], &log[0]["event"]), (&json!(1), &json!("TEST")));
}

#[tokio::test]
async fn what_may_not_be_posted_to_is_refused_when_it_is_made() {
    let lab = lab().await;
    for (url, part) in [
        ("http://127.0.0.2/", "this host itself"),
        ("http://169.254.169.254/latest/", "link-local"),
        ("http://[::ffff:10.0.0.1]/", "a private network"),
        ("http://10.177.0.2/", "an instance's own"),
        ("ftp://example.org/", "https://"),
        ("https://a:b@example.org/", "user"),
    ] {
        let answer = lab.post(HOOKS, &json!({ "name": "x", "url": url })).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{url}");
        assert!(json(&answer.json()["message"]).contains(part), "{url}: {}", answer.text());
    }
    for body in [
        json!({ "name": " ", "url": "https://example.org/" }),
        json!({ "name": "x", "url": "https://example.org/", "events": ["NEVER"] }),
        json!({ "name": "x", "url": "https://example.org/", "colour": "blue" }),
    ] {
        assert_eq!(lab.post(HOOKS, &body).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let unknown =
        lab.post(HOOKS, &json!({ "name": "x", "url": "https://example.org/", "app": "none" })).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_console_shows_the_secret_once_and_its_forms_need_the_sessions_token() {
    let lab = lab().await;
    let (address, _heard) = receiver(0).await;
    let cookie = login(&lab, SECRET).await;
    let shown = page(lab.ask("GET", "/webhooks"), &cookie).await;
    let token = csrf(&shown);
    assert!(
        shown.contains("value=\"DEPLOYMENT_FAIL\"") && shown.contains("<option>shop</option>"),
        "{shown}"
    );
    let fields = format!(
        "name=ci%3Cb%3E&url=http%3A%2F%2F{address}%2Fs3cret&app=shop&format=raw&event=GIT_PUSH&event=DEPLOYMENT_FAIL"
    );
    let post = |path: &str, form: String| lab.ask("POST", path).header("cookie", &cookie).form(&form);
    assert_eq!(post("/webhooks", format!("csrf=wrong&{fields}")).send().await.status, StatusCode::FORBIDDEN);
    let made = post("/webhooks", format!("csrf={token}&{fields}")).send().await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());
    assert!(made.text().contains("<code>teal_") && made.text().contains("ci&#60;b&#62;"), "{}", made.text());
    let again = page(lab.ask("GET", "/webhooks"), &cookie).await;
    assert!(
        !again.contains("teal_") && !again.contains("s3cret") && again.contains("GIT_PUSH, DEPLOYMENT_FAIL")
    );
    let id = json(&lab.get(HOOKS).await[0]["id"]);
    let strange = post(&format!("/webhooks/{id}/test"), "csrf=wrong".into()).send().await;
    assert_eq!(strange.status, StatusCode::FORBIDDEN);
    let tested = post(&format!("/webhooks/{id}/test"), format!("csrf={token}")).send().await;
    assert!(tested.text().contains("took it: 200") && tested.text().contains("TEST"), "{}", tested.text());
    let removed = post(&format!("/webhooks/{id}/remove"), format!("csrf={token}")).send().await;
    assert_eq!(removed.header("location"), Some("/webhooks"));
}
