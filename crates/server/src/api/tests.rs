//! Tests of the API and the console over HTTP against a real platform: real store, real driver, the process runtime. Nothing listens:
//! requests go straight into the router.

mod console;
mod hooks;
mod lab;
mod maintenance;
mod metrics;
mod ports;
mod roles;
mod streams;
mod traffic;

use axum::http::StatusCode;
use lab::{Lab, json};
use serde_json::{Value, json};

#[tokio::test]
async fn strangers_are_refused_at_every_route_of_the_document() {
    let lab = Lab::new().await;
    let document: Value = serde_json::from_str(&super::document()).expect("JSON");
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let path = path
            .replace("{name}", "shop")
            .replace("{id}", "d-1")
            .replace("{fingerprint}", "SHA256:x")
            .replace("{user}", "ada");
        for method in operations.as_object().expect("operations").keys() {
            let answer = lab.ask(&method.to_uppercase(), &path).body("{}").send().await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(answer.json()["kind"], "unauthorised", "{method} {path}");
            assert!(answer.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")));
            routes += 1;
        }
    }
    assert!(routes >= 28, "{routes}");
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let lab = Lab::new().await;
    for (path, status) in
        [("/healthz", 200), ("/login", 200), ("/api/v1/apps", 401), ("/nowhere", 404), ("/api/nowhere", 404)]
    {
        let answer = lab.ask("GET", path).send().await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        let policy = answer.header("content-security-policy").expect("policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
    }
    assert_eq!(lab.ask("GET", "/api/nowhere").send().await.json()["kind"], "not_found");
    let wrong_method = lab.ask("PUT", "/api/v1/whoami").token().send().await;
    assert_eq!(
        (wrong_method.status.as_u16(), wrong_method.json()["kind"].clone()),
        (405, "not_allowed".into())
    );
}

#[tokio::test]
async fn the_document_is_served_as_it_is_checked_in() {
    let lab = Lab::new().await;
    let answer = lab.ask("GET", "/api/openapi.json").send().await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.text(), include_str!("../../../../docs/openapi.json"));
}

#[tokio::test]
async fn a_token_says_who_asks_and_the_client_says_how() {
    let lab = Lab::new().await;
    let answer = lab.ask("GET", "/api/v1/whoami").token().send().await;
    assert_eq!(answer.json(), json!({"user": "admin", "way": "API", "token": "t-admin", "role": "admin"}));
    let answer = lab.ask("GET", "/api/v1/whoami").token().header("x-teal-client", "cli").send().await;
    assert_eq!(answer.json()["way"], "CLI");
}

#[tokio::test]
async fn whoever_guesses_tokens_has_to_wait_and_nobody_else() {
    let lab = Lab::new().await;
    let guess =
        || lab.ask("GET", "/api/v1/whoami").peer([192, 0, 2, 1]).header("authorization", "Bearer teal_wrong");
    for _ in 0..10 {
        assert_eq!(guess().send().await.status, StatusCode::UNAUTHORIZED);
    }
    let refused = guess().send().await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json()["kind"], "too_many");
    let wait: u64 = refused.header("retry-after").expect("header").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    let form = lab.ask("POST", "/login").peer([192, 0, 2, 1]).form("token=teal_wrong&next=/").send().await;
    assert_eq!(form.status, StatusCode::TOO_MANY_REQUESTS);
    let other = lab.ask("GET", "/api/v1/whoami").peer([192, 0, 2, 2]).token().send().await;
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn bodies_are_read_strictly() {
    let lab = Lab::new().await;
    let post = |body: &str| lab.ask("POST", "/api/v1/apps").token().body(body);
    for (body, status) in [
        (json!({"name": "shop", "colour": "blue"}).to_string(), 422),
        (json!({"name": "Not A Name"}).to_string(), 422),
        (json!({"name": "shop", "config": {"nonsense": 1}}).to_string(), 422),
        ("{".into(), 422),
        ("x".repeat(super::MAX_BODY + 1), 413),
    ] {
        let answer = post(&body).send().await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert!(!answer.json()["message"].as_str().expect("message").is_empty());
    }
    let form = lab.ask("POST", "/api/v1/apps").token().form("name=shop").send().await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for path in ["/api/v1/apps/shop/variables?values=perhaps", "/api/v1/apps/shop/activity?offset=1"] {
        lab.ask("POST", "/api/v1/apps").token().body(&json!({"name": "shop"}).to_string()).send().await;
        assert_eq!(lab.ask("GET", path).token().send().await.status.as_u16(), 422, "{path}");
    }
    assert_eq!(lab.ask("GET", "/api/v1/apps").token().send().await.json().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_app_lives_from_its_making_to_its_deletion() {
    let lab = Lab::new().await;
    let made =
        lab.ask("POST", "/api/v1/apps").token().body(&json!({"name": "shop"}).to_string()).send().await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(made.json()["name"], "shop");
    let again =
        lab.ask("POST", "/api/v1/apps").token().body(&json!({"name": "shop"}).to_string()).send().await;
    assert!([409, 422].contains(&again.status.as_u16()), "{}", again.text());
    assert_eq!(lab.get("/api/v1/apps/shop").await["domains"], json!(["shop.localhost"]));
    let status = lab.get("/api/v1/apps/shop/status").await;
    assert_eq!(
        (&status["status"], &status["live"], &status["button"]),
        (&json!("stopped"), &Value::Null, &Value::Null)
    );
    assert_eq!(lab.get("/api/v1/apps/shop/activity?limit=5").await, json!([]));
    for (path, action) in [("shop", "wake"), ("shop", "restart"), ("shop", "cancel")] {
        let answer = lab.act(path, &json!({"action": action})).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{action}: {}", answer.text());
        assert_eq!(answer.json()["kind"], "refused");
    }
    assert_eq!(lab.act("shop", &json!({"action": "wake", "force": 1})).await.status.as_u16(), 422);
    assert_eq!(lab.act("nothing", &json!({"action": "wake"})).await.status, StatusCode::NOT_FOUND);
    for path in [
        "/api/v1/apps/nothing",
        "/api/v1/apps/shop/deployments/d-none",
        "/api/v1/apps/shop/deployments/..%2f/log",
    ] {
        assert_eq!(lab.ask("GET", path).token().send().await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let deleted = lab.ask("DELETE", "/api/v1/apps/shop").token().send().await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED, "{}", deleted.text());
}

#[tokio::test]
async fn settings_are_shown_changed_and_kept_secret() {
    let lab = Lab::with_app("shop").await;
    let changed = lab.patch("/api/v1/apps/shop/variables", &json!({"TOKEN": "s3cret", "MODE": "fast"})).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    let names = lab.get("/api/v1/apps/shop/variables").await;
    assert_eq!(names, json!([{"name": "MODE"}, {"name": "TOKEN"}]));
    let values = lab.get("/api/v1/apps/shop/variables?values=true").await;
    assert_eq!(values[1], json!({"name": "TOKEN", "value": "s3cret"}));
    lab.patch("/api/v1/apps/shop/variables", &json!({"TOKEN": null})).await;
    assert_eq!(lab.get("/api/v1/apps/shop/variables").await, json!([{"name": "MODE"}]));
    let wrong = lab.patch("/api/v1/apps/shop/variables", &json!({"1MODE": "x"})).await;
    assert_eq!(wrong.status.as_u16(), 422);

    let domains = lab.patch("/api/v1/apps/shop/domains", &json!({"add": ["shop.example.test"]})).await;
    assert!(domains.text().contains("shop.example.test"), "{}", domains.text());
    lab.patch("/api/v1/apps/shop/domains", &json!({"remove": ["shop.example.test"]})).await;
    assert_eq!(lab.get("/api/v1/apps/shop/domains").await, json!(["shop.localhost"]));
    let wrong = lab.patch("/api/v1/apps/shop/domains", &json!({"replace": []})).await;
    assert_eq!(wrong.status.as_u16(), 422);

    let before = lab.get("/api/v1/apps/shop/config").await;
    let config = lab.patch("/api/v1/apps/shop/config", &json!({"bake_s": 5})).await;
    assert_eq!(config.json()["bake_s"], 5, "{}", config.text());
    let config = lab.patch("/api/v1/apps/shop/config", &json!({"bake_s": null})).await;
    assert_eq!(config.json(), before);
    assert_eq!(lab.patch("/api/v1/apps/shop/config", &json!({"nonsense": 1})).await.status.as_u16(), 422);
}

#[tokio::test]
async fn people_their_tokens_and_their_keys() {
    let lab = Lab::new().await;
    let ada = lab.post("/api/v1/users", &json!({"name": "ada", "email": "ada@example.test"})).await;
    assert_eq!(ada.json()["email"], "ada@example.test", "{}", ada.text());
    assert_eq!(lab.get("/api/v1/users").await.as_array().map(Vec::len), Some(2));
    let made = lab.post("/api/v1/tokens", &json!({"name": "laptop", "user": "ada"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let made = made.json();
    let secret = made["secret"].as_str().expect("secret");
    let bearer = format!("Bearer {secret}");
    let hers = || lab.ask("GET", "/api/v1/whoami").header("authorization", &bearer);
    assert_eq!(hers().send().await.json()["user"], "ada");
    assert!(!lab.get("/api/v1/tokens").await.to_string().contains(secret));
    let ended =
        lab.ask("DELETE", &format!("/api/v1/tokens/{}", json(&made["token"]["id"]))).token().send().await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    assert_eq!(hers().send().await.status, StatusCode::UNAUTHORIZED);

    let openssh =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ada@laptop";
    let key = lab.post("/api/v1/keys", &json!({"name": "laptop", "key": openssh})).await;
    assert_eq!(key.status, StatusCode::CREATED, "{}", key.text());
    let fingerprint = json(&key.json()["fingerprint"]).replace('/', "%2F").replace('+', "%2B");
    let removed = lab.ask("DELETE", &format!("/api/v1/keys/{fingerprint}")).token().send().await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT, "{}", removed.text());
    assert_eq!(
        lab.post("/api/v1/keys", &json!({"name": "x", "key": "ssh-rsa nonsense"})).await.status.as_u16(),
        422
    );

    assert_eq!(lab.ask("DELETE", "/api/v1/users/ada").token().send().await.status, StatusCode::NO_CONTENT);
    assert_eq!(lab.ask("DELETE", "/api/v1/users/ada").token().send().await.status, StatusCode::NOT_FOUND);
    let mail = lab.post("/api/v1/notify/test", &json!({})).await;
    assert_eq!((mail.status, mail.json()["kind"].clone()), (StatusCode::CONFLICT, json!("refused")));
}

#[tokio::test]
async fn every_domain_says_how_far_its_certificate_is() {
    let lab = Lab::with_app("shop").await;
    lab.patch("/api/v1/apps/shop/domains", &json!({"add": ["shop.example.org"]})).await;
    let found = lab.get("/api/v1/apps/shop/certificates").await;
    let states: Vec<(String, String)> =
        found.as_array().expect("list").iter().map(|c| (json(&c["domain"]), json(&c["state"]))).collect();
    let expected = [("shop.example.org", "self-signed"), ("shop.localhost", "local")];
    assert_eq!(states, expected.map(|(domain, state)| (domain.to_owned(), state.to_owned())));
    assert!(json(&found[0]["remedy"]).contains("[acme]"), "{found}");
    assert_eq!(lab.get("/api/v1/apps/shop/domains").await, json!(["shop.example.org", "shop.localhost"]));
}

#[tokio::test]
async fn apps_share_a_host_by_paths_and_its_certificate() {
    let lab = Lab::with_app("shop").await;
    lab.patch("/api/v1/apps/shop/domains", &json!({"add": ["Example.org/Shop/", "example.org"]})).await;
    assert_eq!(
        lab.get("/api/v1/apps/shop/domains").await,
        json!(["example.org", "example.org/Shop", "shop.localhost"])
    );
    let found = lab.get("/api/v1/apps/shop/certificates").await;
    let states: Vec<(String, String)> =
        found.as_array().expect("list").iter().map(|c| (json(&c["domain"]), json(&c["state"]))).collect();
    let same =
        [("example.org", "self-signed"), ("example.org/Shop", "self-signed"), ("shop.localhost", "local")];
    assert_eq!(states, same.map(|(domain, state)| (domain.to_owned(), state.to_owned())));

    let wrong = lab.patch("/api/v1/apps/shop/domains", &json!({"add": ["example.org/../x"]})).await;
    assert!(wrong.text().contains("has a path that is none"), "{}", wrong.text());
    lab.patch("/api/v1/apps/shop/domains", &json!({"remove": ["EXAMPLE.org/Shop", "example.org"]})).await;
    assert_eq!(lab.get("/api/v1/apps/shop/domains").await, json!(["shop.localhost"]));
}

#[tokio::test]
async fn a_domain_has_one_app_and_a_path_of_it_may_have_another() {
    let lab = Lab::with_app("shop").await;
    assert_eq!(lab.post("/api/v1/apps", &json!({"name": "cart"})).await.status.as_u16(), 201);
    lab.patch("/api/v1/apps/shop/domains", &json!({"add": ["example.org", "blog.localhost"]})).await;
    let taken = lab.patch("/api/v1/apps/cart/domains", &json!({"add": ["EXAMPLE.org/"]})).await;
    assert!(taken.text().contains("example.org belongs to the app shop"), "{}", taken.text());
    let below = lab.patch("/api/v1/apps/cart/domains", &json!({"add": ["example.org/cart"]})).await;
    assert_eq!(below.json(), json!(["cart.localhost", "example.org/cart"]));
    let taken = lab.patch("/api/v1/apps/shop/domains", &json!({"add": ["example.org/cart"]})).await;
    assert!(taken.text().contains("belongs to the app cart"), "{}", taken.text());
    let named = lab.post("/api/v1/apps", &json!({"name": "blog"})).await;
    assert!(named.text().contains("blog.localhost belongs to the app shop"), "{}", named.text());
    let again = lab.post("/api/v1/apps", &json!({"name": "cart"})).await;
    assert!(again.text().contains("there is an app `cart` already"), "{}", again.text());
}
