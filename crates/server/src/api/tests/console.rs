//! The console over HTTP: sessions, forms, and what a session may do at the API.

use super::lab::{Ask, Lab, SECRET};
use axum::http::StatusCode;
use serde_json::json;

/// Logs in; the cookie as a browser sends it back.
pub(super) async fn login(lab: &Lab, secret: &str) -> String {
    let form = lab.ask("POST", "/login").form(&format!("token={secret}&next=%2Fapps%2Fshop"));
    let answer = form.header("sec-fetch-site", "same-origin").send().await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, Some("/apps/shop")));
    let cookie = answer.header("set-cookie").expect("cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(secret),
        "{cookie}"
    );
    cookie.split(';').next().expect("pair").to_owned()
}

/// The CSRF token that a page holds.
pub(super) fn csrf(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("form");
    rest.split('"').next().expect("value").to_owned()
}

pub(super) async fn page(ask: Ask, cookie: &str) -> String {
    let answer = ask.header("cookie", cookie).send().await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.text().to_owned()
}

#[tokio::test]
async fn pages_are_for_those_who_logged_in() {
    let lab = Lab::with_app("shop").await;
    let sent = lab.ask("GET", "/apps/shop?x=1").send().await;
    assert_eq!(sent.header("location"), Some("/login?next=/apps/shop%3Fx%3D1"));
    let linked = lab.ask("GET", "/apps/shop").header("sec-fetch-site", "cross-site").send().await;
    assert!(
        linked.text().contains("http-equiv=\"refresh\" content=\"0; url=/apps/shop\""),
        "{}",
        linked.text()
    );
    let fragment = lab.ask("GET", "/apps/shop/now").header("hx-request", "true").send().await;
    assert_eq!((fragment.status, fragment.header("hx-redirect")), (StatusCode::UNAUTHORIZED, Some("/login")));
    let wrong = lab.ask("POST", "/login").form("token=teal_wrong").send().await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text().contains("No such token"), "{}", wrong.text());
    let elsewhere =
        lab.ask("POST", "/login").form(&format!("token={SECRET}")).header("sec-fetch-site", "cross-site");
    assert_eq!(elsewhere.send().await.status, StatusCode::FORBIDDEN);
    let away = lab.ask("POST", "/login").form(&format!("token={SECRET}&next=//evil.test/")).send().await;
    assert_eq!(away.header("location"), Some("/"));
}

#[tokio::test]
async fn a_session_reads_everything_and_changes_nothing_without_its_csrf_token() {
    let lab = Lab::with_app("shop").await;
    let cookie = login(&lab, SECRET).await;
    let overview = page(lab.ask("GET", "/apps/shop"), &cookie).await;
    assert!(
        overview.contains("Nothing was pushed yet.") && overview.contains("shop.localhost"),
        "{overview}"
    );
    assert!(page(lab.ask("GET", "/"), &cookie).await.contains("href=\"/apps/shop\""));
    assert!(
        !page(lab.ask("GET", "/apps/shop/now"), &cookie).await.contains("<html"),
        "a fragment has no frame"
    );
    let whoami = page(lab.ask("GET", "/api/v1/whoami"), &cookie).await;
    assert!(whoami.contains("Console"), "{whoami}");

    let body = json!({"MODE": "fast"}).to_string();
    let change = || lab.ask("PATCH", "/api/v1/apps/shop/variables").body(&body).header("cookie", &cookie);
    assert_eq!(change().send().await.status, StatusCode::FORBIDDEN);
    assert_eq!(change().header("x-csrf-token", "AAAA").send().await.status, StatusCode::FORBIDDEN);
    let token = csrf(&overview);
    assert_eq!(change().header("x-csrf-token", &token).send().await.status, StatusCode::OK);
    let form = |fields: &str| lab.ask("POST", "/apps/shop/cancel").form(fields).header("cookie", &cookie);
    assert_eq!(form("csrf=AAAA&deployment=d-1").send().await.status, StatusCode::FORBIDDEN);

    let out =
        lab.ask("POST", "/logout").form(&format!("csrf={token}")).header("cookie", &cookie).send().await;
    assert!(out.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")), "{}", out.text());
}

#[tokio::test]
async fn a_session_ends_with_the_token_that_began_it() {
    let lab = Lab::with_app("shop").await;
    let made = lab.post("/api/v1/tokens", &json!({"name": "browser"})).await.json();
    let cookie = login(&lab, made["secret"].as_str().expect("secret")).await;
    page(lab.ask("GET", "/"), &cookie).await;
    let id = made["token"]["id"].as_str().expect("id");
    lab.ask("DELETE", &format!("/api/v1/tokens/{id}")).token().send().await;
    let answer = lab.ask("GET", "/").header("cookie", &cookie).send().await;
    assert_eq!(answer.header("location"), Some("/login?next=/"));
}

#[tokio::test]
async fn the_button_starts_what_the_page_named_or_nothing() {
    let lab = Lab::with_app("shop").await;
    let cookie = login(&lab, SECRET).await;
    let token = csrf(&page(lab.ask("GET", "/apps/shop"), &cookie).await);
    let form = format!("csrf={token}&commit={}&wakes=true", "ab".repeat(20));
    let answer = lab.ask("POST", "/apps/shop/start").form(&form).header("cookie", &cookie).send().await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text().contains("the button would start another commit now"), "{}", answer.text());
    let dialogue = page(lab.ask("GET", "/apps/shop/start").header("hx-request", "true"), &cookie).await;
    assert!(dialogue.contains("nothing was pushed yet") && !dialogue.contains("<html"), "{dialogue}");
}

#[tokio::test]
async fn the_page_of_a_deployment_shows_its_log_and_its_failure() {
    let lab = Lab::with_app("shop").await;
    let deployment = lab.failing_push("shop").await;
    let log = format!("/api/v1/apps/shop/deployments/{deployment}/log");
    lab.ask("GET", &log).token().header("accept", "text/event-stream").send().await;
    let cookie = login(&lab, SECRET).await;
    let page = page(lab.ask("GET", &format!("/apps/shop/deployments/{deployment}")), &cookie).await;
    for text in ["Failed in stage", "Please review the lines above.", "Redeploy this commit", "Break it"] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_their_own_name_only() {
    let lab = Lab::new().await;
    let page = lab.ask("GET", "/login").send().await;
    let (_, rest) = page.text().split_once("<script src=\"").expect("script");
    let address = rest.split('"').next().expect("address");
    let script = lab.ask("GET", address).send().await;
    assert_eq!(script.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    let old = lab.ask("GET", "/assets/0/console.css").send().await;
    assert_eq!((old.status, old.header("cache-control")), (StatusCode::OK, Some("no-store")));
    assert_eq!(lab.ask("GET", "/assets/0/teal.key").send().await.status, StatusCode::NOT_FOUND);
}
