//! Every route of the API and the console, for every role, in an app of one's own and in another one: each answer is what `docs/people.md` says.

use super::{
    super::rules::{Need, RULES},
    lab::Lab,
};
use crate::store::NewRow;
use axum::http::StatusCode;
use serde_json::{Value, json};
use teal_core::{api::UserView, role::Role, time::Time};

const DOCUMENT: &str = include_str!("../../../../../docs/people.md");

/// The document's table: method, path, need.
fn documented() -> Vec<(String, String, String)> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (method, path) = cells[0].trim_matches('`').split_once(' ').expect("method and path");
        (method.into(), path.into(), cells[1].into())
    })
    .collect()
}

fn said(need: Need) -> String {
    match need {
        Need::Known => "everybody".into(),
        Need::App(role) => format!("{role} of the app"),
        Need::Server(role) => format!("{role} of the server"),
    }
}

#[test]
fn the_document_says_what_the_rules_are_and_no_route_is_without_one() {
    let rules: Vec<_> = RULES.iter().map(|(m, p, n)| ((*m).into(), (*p).into(), said(*n))).collect();
    assert_eq!(documented(), rules, "docs/people.md and rules.rs differ");
    let document: Value = serde_json::from_str(&super::super::document()).expect("JSON");
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys() {
            let known = RULES.iter().any(|(m, p, _)| m.eq_ignore_ascii_case(method) && p == path);
            assert!(known, "{method} {path} has no rule");
        }
    }
}

/// Somebody with a role on the server and another in the app `own`.
struct Person {
    server: Role,
    own: Role,
    secret: String,
}

async fn person(lab: &Lab, server: Role, own: Role) -> Person {
    let name = format!("u-{server}-{own}");
    assert!(
        lab.store.set_user(UserView { name: name.clone(), email: None, role: server }).await.expect("user")
    );
    let secret = format!("teal_{name}");
    lab.store.add_token(NewRow::unlimited(&name, "test", &name, Time(0)), &secret).await.expect("token");
    let app = lab.platform.find_app("own").await.expect("app");
    assert!(lab.store.set_member(app, name, own).await.expect("member"));
    Person { server, own, secret }
}

/// What the table says of a request: it is answered, refused, or about something that is hidden.
fn expected(need: &str, held: Role, server: Role) -> StatusCode {
    let (role, of_app) = match need.split_once(" of the ") {
        None => return StatusCode::OK,
        Some((role, place)) => (role.parse::<Role>().expect("a role"), place == "app"),
    };
    match (if of_app { held } else { server }, of_app) {
        (Role::None, true) => StatusCode::NOT_FOUND,
        (held, _) if held < role => StatusCode::FORBIDDEN,
        _ => StatusCode::OK,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_role_as_the_document_says() {
    let lab = Lab::with_app("own").await;
    let other = lab.post("/api/v1/apps", &json!({"name": "other"})).await;
    assert_eq!(other.status, StatusCode::CREATED);
    let mut asked = 0;
    for server in Role::ALL {
        for own in Role::ALL {
            let person = person(&lab, server, own).await;
            for (method, path, need) in documented().iter().filter(|(_, path, _)| path.starts_with("/api/")) {
                for app in ["own", "other"] {
                    asked += usize::from(answers(&lab, &person, (method, path, need), app).await);
                }
            }
        }
    }
    assert!(asked > 1_000, "{asked}");
}

async fn answers(lab: &Lab, person: &Person, (method, path, need): (&str, &str, &str), app: &str) -> bool {
    let of_app = path.contains("/apps/{name}");
    if !of_app && app == "other" {
        return false;
    }
    let held = if app == "own" { person.own.max(person.server) } else { person.server };
    let expected = expected(need, held, person.server);
    // It would do what it says, and the next question needs what it takes away.
    if expected == StatusCode::OK && (method, path) == ("DELETE", "/api/v1/apps/{name}") {
        return false;
    }
    let name = if of_app { app } else { "nobody" };
    let path = path.replace("{name}", name).replace("{user}", "nobody").replace("{id}", "d-1");
    let path = path.replace("{fingerprint}", "SHA256:x").replace("{version}", "v").replace("{other}", "w");
    // Nothing is changed: no body is one that could be read.
    let answer = lab.ask(method, &path).secret(&person.secret).body("?").send().await;
    let refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&answer.status);
    let hidden = answer.status == StatusCode::NOT_FOUND && answer.text().contains("there is no app");
    let found = match (refused, hidden) {
        (true, _) => StatusCode::FORBIDDEN,
        (_, true) => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    };
    let who = format!("{} of the server, {} of own", person.server, person.own);
    assert_eq!(found, expected, "{method} {path} by {who}: {} {}", answer.status, answer.text());
    true
}

#[tokio::test]
async fn pages_show_and_do_only_what_the_role_allows() {
    let lab = Lab::with_app("own").await;
    let person = person(&lab, Role::None, Role::Viewer).await;
    let login = lab.ask("POST", "/login").form(&format!("token={}&next=/", person.secret)).send().await;
    let cookie = login.header("set-cookie").expect("a session").split(';').next().expect("a pair").to_owned();
    let get = |path: &'static str| lab.ask("GET", path).header("cookie", &cookie).send();
    assert_eq!(get("/apps/own").await.status, StatusCode::OK);
    assert_eq!(get("/apps/own/start").await.status, StatusCode::FORBIDDEN);
    assert_eq!(get("/maintenance").await.status, StatusCode::FORBIDDEN);
    lab.post("/api/v1/apps", &json!({"name": "other"})).await;
    assert_eq!(get("/apps/other").await.status, StatusCode::NOT_FOUND);
    assert!(!get("/").await.text().contains("other"));
}

#[tokio::test]
async fn a_token_with_limits_is_no_way_around_them() {
    let lab = Lab::with_app("own").await;
    lab.post("/api/v1/apps", &json!({"name": "other"})).await;
    let limited = json!({"name": "ci", "role": "developer", "apps": ["own"], "days": 30});
    let made = lab.post("/api/v1/tokens", &limited).await.json();
    assert_eq!((&made["token"]["role"], &made["token"]["apps"]), (&json!("developer"), &json!(["own"])));
    let secret = made["secret"].as_str().expect("a secret");
    let get = |path: &'static str| lab.ask("GET", path).secret(secret).send();
    assert_eq!(get("/api/v1/apps").await.json().as_array().map(Vec::len), Some(1));
    assert_eq!(get("/api/v1/apps/other/status").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get("/api/v1/users").await.status, StatusCode::FORBIDDEN);
    let post =
        |path: &'static str, body: Value| lab.ask("POST", path).secret(secret).body(&body.to_string()).send();
    assert_eq!(post("/api/v1/tokens", json!({"name": "more"})).await.status, StatusCode::FORBIDDEN);
    assert_eq!(post("/api/v1/apps", json!({"name": "third"})).await.status, StatusCode::FORBIDDEN);
    let end = lab.ask("DELETE", "/api/v1/apps/own").secret(secret).send().await;
    assert_eq!(end.status, StatusCode::FORBIDDEN);
    let days = lab.post("/api/v1/tokens", &json!({"name": "ci", "days": 0})).await;
    assert_eq!(days.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_token_ends_by_itself() {
    let lab = Lab::new().await;
    let row = NewRow { expires_at: Some(Time(1)), ..NewRow::unlimited("t-old", "old", "admin", Time(0)) };
    lab.store.add_token(row, "teal_old").await.expect("token");
    let answer = lab.ask("GET", "/api/v1/whoami").secret("teal_old").send().await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let lab = Lab::new().await;
    let demoted = lab.post("/api/v1/users", &json!({"name": "admin", "role": "viewer"})).await;
    assert_eq!(demoted.status, StatusCode::CONFLICT, "{}", demoted.text());
    assert_eq!(lab.ask("DELETE", "/api/v1/users/admin").token().send().await.status, StatusCode::CONFLICT);
    lab.post("/api/v1/users", &json!({"name": "ada", "role": "admin"})).await;
    let demoted = lab.post("/api/v1/users", &json!({"name": "admin", "role": "viewer"})).await;
    assert_eq!(demoted.json()["role"], "viewer");
}

#[tokio::test]
async fn changes_are_written_down_with_who_and_what_became_of_them() {
    let lab = Lab::with_app("own").await;
    lab.post("/api/v1/apps", &json!({"name": "Not A Name"})).await;
    lab.ask("POST", "/api/v1/apps").header("authorization", "Bearer teal_guessed").body("{}").send().await;
    lab.get("/api/v1/apps").await;
    let rows = lab.get("/api/v1/audit").await;
    let rows: Vec<_> = rows.as_array().expect("rows").iter().map(|r| (&r["user"], &r["status"])).collect();
    assert_eq!(rows, [(&json!("admin"), &json!(422)), (&json!("admin"), &json!(201))]);
}
