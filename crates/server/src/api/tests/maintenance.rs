//! Maintenance over HTTP and in the console: what it says, what it refuses, pins.

use super::{
    console::{csrf, login, page},
    lab::{Lab, SECRET},
};
use axum::http::StatusCode;
use serde_json::{Value, json};

const NOW: &str = "/api/v1/maintenance";

#[tokio::test]
async fn it_says_what_there_is_and_refuses_what_makes_no_sense() {
    let lab = Lab::configured(|config| {
        config.maintenance.window = "Sun 02:00-02:01".to_owned().try_into().expect("a window");
    })
    .await;
    let view = lab.get(NOW).await;
    assert_eq!((&view["image"], &view["window"]), (&json!("host"), &json!("Sun 02:00-02:01")));
    assert_eq!((&view["behind"], &view["rollout"], &view["pins"]), (&json!(0), &Value::Null, &json!([])));
    for (action, message) in [
        ("start", "every app runs on this image already"),
        ("resume", "no rollout is under way"),
        ("abort", "no rollout is under way"),
    ] {
        let answer = lab.post(&format!("{NOW}/actions"), &json!({"action": action})).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{action}: {}", answer.text());
        assert!(
            answer.json()["message"].as_str().is_some_and(|text| text.starts_with(message)),
            "{}",
            answer.text()
        );
        assert!(answer.json()["hint"].is_string());
    }
    for body in [json!({"action": "explode"}), json!({}), json!({"action": "start", "force": true})] {
        let answer = lab.post(&format!("{NOW}/actions"), &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

#[tokio::test]
async fn an_app_is_pinned_until_a_date_of_the_coming_year() {
    let lab = Lab::with_app("shop").await;
    let put = |until: &str| {
        lab.ask("PUT", "/api/v1/apps/shop/pin").token().body(&json!({ "until": until }).to_string())
    };
    for bad in ["", "tomorrow", "2020-01-01", "2999-01-01"] {
        let answer = put(bad).send().await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}: {}", answer.text());
    }
    let soon = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(48)).expect("in range");
    let pinned = put(&soon.to_string()).send().await;
    assert_eq!(pinned.status, StatusCode::OK, "{}", pinned.text());
    let until = pinned.json()["until"].clone();
    assert_eq!(lab.get(NOW).await["pins"], json!([{"app": "shop", "until": until, "author": "admin"}]));
    assert_eq!(lab.get("/api/v1/apps/shop/status").await["pinned_until"], until);
    let unpinned = lab.ask("DELETE", "/api/v1/apps/shop/pin").token().send().await;
    assert_eq!(unpinned.status, StatusCode::OK);
    assert_eq!(lab.get(NOW).await["pins"], json!([]));
    assert_eq!(lab.get("/api/v1/apps/shop/status").await["pinned_until"], Value::Null);
    assert_eq!(lab.ask("DELETE", "/api/v1/apps/none/pin").token().send().await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_console_shows_it_and_its_forms_need_the_sessions_token() {
    let lab = Lab::with_app("shop").await;
    let cookie = login(&lab, SECRET).await;
    let shown = page(lab.ask("GET", "/maintenance"), &cookie).await;
    assert!(shown.contains("No app was moved yet.") && shown.contains("<code>host</code>"), "{shown}");
    assert!(!page(lab.ask("GET", "/maintenance/now"), &cookie).await.contains("<html"));
    let overview = page(lab.ask("GET", "/apps/shop"), &cookie).await;
    assert!(
        overview.contains("action=\"/apps/shop/pin\"") && overview.contains("type=\"date\""),
        "{overview}"
    );
    let token = csrf(&overview);
    let soon = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(48)).expect("in range");
    let post = |path: &str, form: String| lab.ask("POST", path).header("cookie", &cookie).form(&form);
    let strange = post("/apps/shop/pin", format!("csrf=wrong&until={soon}")).send().await;
    assert_eq!(strange.status, StatusCode::FORBIDDEN);
    let pinned = post("/apps/shop/pin", format!("csrf={token}&until={soon}")).send().await;
    assert_eq!(pinned.header("location"), Some("/apps/shop"), "{}", pinned.text());
    assert!(page(lab.ask("GET", "/apps/shop"), &cookie).await.contains("leaves it alone until"));
    assert!(page(lab.ask("GET", "/maintenance"), &cookie).await.contains("Left alone"));
    let order = post("/maintenance", format!("csrf={token}&action=start")).send().await;
    assert_eq!(order.status, StatusCode::CONFLICT);
    assert!(order.text().contains("every app runs on this image already"), "{}", order.text());
    let strange = post("/maintenance", "csrf=wrong&action=abort".into()).send().await;
    assert_eq!(strange.status, StatusCode::FORBIDDEN);
    let let_go = post("/apps/shop/pin", format!("csrf={token}&until=")).send().await;
    assert_eq!(let_go.status, StatusCode::SEE_OTHER);
    assert!(page(lab.ask("GET", "/apps/shop"), &cookie).await.contains("moves it to a newer image"));
}
