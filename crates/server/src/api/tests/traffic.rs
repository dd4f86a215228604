//! What moves, over HTTP: rates as JSON and the page for Prometheus, with a router that counts ten answers per second.

use super::lab::Lab;
use crate::{metrics::Read, store::Commit};
use axum::http::StatusCode;
use std::path::Path;
use teal_core::{
    control::{self, Reply, Request},
    deploy::{Change, Environment},
    engine::Committed,
    histogram::Histogram,
    metrics::{CAPABILITY, Metrics, Served},
    time::Time,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// A router that answers on the lab's control socket. It counts if it can.
pub(super) fn router(directory: &Path, capabilities: &[&str]) {
    let listener = UnixListener::bind(directory.join("router.sock")).expect("listens");
    let capabilities: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, capabilities.clone()));
        }
    });
}

async fn converse(mut stream: UnixStream, capabilities: Vec<String>) -> std::io::Result<()> {
    let mut looks = 0;
    loop {
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await?;
        let mut body = vec![0; control::frame_length(prefix).expect("short")];
        stream.read_exact(&mut body).await?;
        let reply = match control::decode::<Request>(&body).expect("a request") {
            Request::Hello { .. } => {
                let (http, https, capabilities) = (Vec::new(), Vec::new(), capabilities.clone());
                Reply::Hello { version: control::VERSION, capabilities, generation: 6, http, https, pid: 1 }
            }
            Request::Metrics if capabilities.is_empty() => Reply::Refused { reason: "what is that?".into() },
            Request::Metrics => {
                looks += 1;
                Reply::Metrics { metrics: Box::new(counted(looks)) }
            }
            Request::Replace { table } => Reply::Acknowledged { generation: table.generation },
            _ => Reply::Acknowledged { generation: 7 },
        };
        let mut frame = Vec::new();
        control::encode(&reply, &mut frame).expect("encodes");
        stream.write_all(&frame).await?;
    }
}

/// Each look is a second later, and sees ten more answers, two of them of 404.
fn counted(looks: u64) -> Metrics {
    let served = Served {
        answers: [0, 8 * looks, 0, 2 * looks, 0],
        bytes_out: 5000 * looks,
        websockets: 3,
        latency: Histogram::new(vec![0, 0, 0, 10 * looks], looks * 2_000_000),
        ..Served::default()
    };
    let environments = [("e-1".parse().expect("legal"), served)].into();
    Metrics { at: Time(1000 * looks), since: Time(1), environments, ..Metrics::default() }
}

/// A lab with an app that has one live environment.
pub(super) async fn lab() -> Lab {
    let lab = Lab::with_app("shop").await;
    let app = lab.platform.find_app("shop").await.expect("app");
    let environment: Environment = serde_json::from_value(serde_json::json!({
        "id": "e-1", "deployment": "d-1", "release": "r-1", "image": "host", "config": 1, "count": 1, "colour": "blue", "state": "up",
        "commit": { "id": "c".repeat(40), "message": "Sell", "author": "Ada" },
        "since": 1, "epoch": 1, "turn": 1, "routed": true, "replaced_at": null, "sleepless": false, "instances": []
    }))
    .expect("an environment");
    loop {
        let mut rows = lab.store.load(&app).await.expect("read").expect("app");
        let base = rows.app.version;
        rows.app.version += 1;
        rows.environments.push(environment.clone());
        let change = Change { rows, events: Vec::new(), mails: Vec::new(), transitions: Vec::new() };
        // The driver may still be looking at the new app: then its word came first.
        match lab.store.commit(Commit { base, change, mails: Vec::new() }).await.expect("written") {
            Committed::Ok => return lab,
            Committed::Conflict => (),
        }
    }
}

#[tokio::test]
async fn traffic_is_told_as_rates_with_the_names_of_its_environments() {
    let lab = lab().await;
    router(lab.directory.path(), &[CAPABILITY]);
    for path in ["/api/v1/apps/shop/traffic?span_ms=100", "/api/v1/traffic?span_ms=100"] {
        let views = lab.get(path).await;
        let view = &views[0];
        assert_eq!(views.as_array().map(Vec::len), Some(1), "{views}");
        for (name, value) in [
            ("app", "shop".into()),
            ("environment", "e-1".into()),
            ("colour", "blue".into()),
            ("role", "live".into()),
            ("requests_per_s", 10.0.into()),
            ("client_errors_per_s", 2.0.into()),
            ("server_errors_per_s", serde_json::Value::from(0.0)),
            ("bytes_out_per_s", 5000.0.into()),
            ("websockets", 3.into()),
        ] {
            assert_eq!(view[name], value, "{name} in {view}");
        }
        assert!(view["p99_ms"].as_f64().is_some_and(|ms| (0.128..=0.192).contains(&ms)), "{view}");
    }
    let unknown = lab.ask("GET", "/api/v1/apps/nowhere/traffic").token().send().await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn prometheus_reads_the_page_with_a_token_and_not_without() {
    let lab = lab().await;
    router(lab.directory.path(), &[CAPABILITY]);
    let stranger = lab.ask("GET", "/metrics").send().await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert!(!stranger.text().contains("teal_build_info"));
    let answer = lab.ask("GET", "/metrics").token().send().await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let read = Read::of(answer.text());
    let whose = [("app", "shop"), ("environment", "e-1"), ("colour", "blue")];
    let code = |code| read.get("teal_router_requests_total", &[&whose[..], &[("code", code)]].concat());
    assert_eq!((code("2xx"), code("4xx")), (Some(8.0), Some(2.0)));
    assert_eq!((read.get("teal_router_up", &[]), read.get("teal_apps", &[])), (Some(1.0), Some(1.0)));
    assert!(read.get("teal_router_table_generation", &[]).is_some_and(|generation| generation >= 7.0));
}

#[tokio::test]
async fn ended_deployments_are_counted_by_outcome_also_where_the_router_is_an_older_one() {
    let lab = Lab::with_app("shop").await;
    router(lab.directory.path(), &[]);
    let deployment = lab.failing_push("shop").await;
    let path = format!("/api/v1/apps/shop/deployments/{deployment}");
    tokio::time::timeout(super::lab::PATIENCE, async {
        while lab.get(&path).await["state"] == "WIP" {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a verdict");
    let read = Read::of(lab.ask("GET", "/metrics").token().send().await.text());
    assert_eq!(read.get("teal_deployments_ended", &[("outcome", "failed")]), Some(1.0));
    assert_eq!(read.get("teal_deployments_ended", &[("outcome", "ok")]), Some(0.0));
    assert_eq!(read.get("teal_router_up", &[]), Some(0.0));
    let refused = lab.ask("GET", "/api/v1/apps/shop/traffic").token().send().await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    assert!(refused.text().contains("upgrade it"), "{}", refused.text());
}
