//! Metrics over time and reports of switches, over HTTP and in the console, with a router that counts ten answers per second.

use super::{
    console::{login, page},
    lab::{Lab, SECRET},
    traffic::{lab, router},
};
use crate::sampler::Sampler;
use axum::http::StatusCode;
use serde_json::{Value, json};
use teal_core::{api::SwitchView, metrics::CAPABILITY};

#[tokio::test]
async fn what_an_app_did_is_kept_and_drawn() {
    let lab = lab().await;
    let cookie = login(&lab, SECRET).await;
    let empty = page(lab.ask("GET", "/apps/shop/metrics"), &cookie).await;
    assert!(empty.contains("Nothing was seen yet"), "{empty}");
    let mut sampler = Sampler::default();
    sampler.pass(&lab.world).await;
    assert_eq!(lab.get("/api/v1/apps/shop/metrics").await["points"], json!([]), "no router, no look");
    router(lab.directory.path(), &[CAPABILITY]);
    for _ in 0..3 {
        sampler.pass(&lab.world).await;
    }
    for (window, step_s) in [("hour", 10), ("day", 120), ("week", 900)] {
        let view = lab.get(&format!("/api/v1/apps/shop/metrics?window={window}")).await;
        assert_eq!((&view["app"], &view["step_s"]), (&json!("shop"), &json!(step_s)));
        let points = view["points"].as_array().expect("points");
        // Two spans; the clock may have come to the next step between them.
        assert!((1..=2).contains(&points.len()), "{view}");
        assert_eq!((&points[0]["blue"]["requests_per_s"], &points[0]["green"]), (&json!(10.0), &Value::Null));
        assert_eq!(points[0]["blue"]["websockets"], 3);
        assert!(
            points[0]["blue"]["p95_ms"].as_f64().is_some_and(|ms| (0.128..=0.192).contains(&ms)),
            "{view}"
        );
    }
    let wrong = lab.ask("GET", "/api/v1/apps/shop/metrics?window=year").token().send().await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("hour, day, week"), "{}", wrong.text());
    let drawn = page(lab.ask("GET", "/apps/shop/metrics?window=day"), &cookie).await;
    for part in [
        "<title id=\"title-requests\">Requests per second</title>",
        "Blue had at most 10/s. Green had none.",
        "<path class=\"area blue\" d=\"M",
        "aria-current=\"true\">day<",
        "<caption",
    ] {
        assert!(drawn.contains(part), "{part}: {drawn}");
    }
    assert!(!page(lab.ask("GET", "/apps/shop/metrics/now"), &cookie).await.contains("<html"));
}

#[tokio::test]
async fn a_switch_is_reported_with_its_deployment() {
    let lab = Lab::with_app("shop").await;
    let deployment = lab.failing_push("shop").await;
    let view = SwitchView {
        span_s: 64.0,
        requests: 1_234,
        requests_new: 600,
        errors: 0,
        failed: 0,
        retried: 2,
        p99_before_ms: Some(8.25),
        p99_after_ms: None,
    };
    assert!(lab.store.add_switch(deployment.clone(), view.clone()).await.expect("written"));
    let other = SwitchView { requests: 1, ..view };
    assert!(
        !lab.store.add_switch(deployment.clone(), other.clone()).await.expect("written"),
        "the first one stays"
    );
    assert!(!lab.store.add_switch("d-none".parse().expect("legal"), other).await.expect("written"));
    let one = lab.get(&format!("/api/v1/apps/shop/deployments/{deployment}")).await;
    assert_eq!((&one["switch"]["requests"], &one["switch"]["p99_after_ms"]), (&json!(1_234), &Value::Null));
    assert_eq!(lab.get("/api/v1/apps/shop/activity").await[0]["switch"], one["switch"]);
    let cookie = login(&lab, SECRET).await;
    let shown = page(lab.ask("GET", &format!("/apps/shop/deployments/{deployment}")), &cookie).await;
    let sentence = "1234 requests in the 64 s around the switch, 600 by the new version; 0 answers of 5xx, 0 broken off, 2 retried; p99 8.2 ms before, unknown after";
    assert!(shown.contains(sentence), "{shown}");
}
