//! What may be set of an app's raw streams: a TCP port from the operator's range, one app's each, and hosts that are passed on whole.

use super::lab::Lab;
use serde_json::{Value, json};

async fn lab() -> Lab {
    let lab =
        Lab::configured(|config| config.tcp_ports = Some("5000-5002".to_owned().try_into().expect("legal")))
            .await;
    for name in ["broker", "vault"] {
        assert_eq!(lab.post("/api/v1/apps", &json!({ "name": name })).await.status.as_u16(), 201);
    }
    lab
}

async fn set(lab: &Lab, app: &str, change: Value) -> Result<Value, String> {
    let answer = lab.patch(&format!("/api/v1/apps/{app}/config"), &change).await;
    if answer.status.as_u16() == 200 { Ok(answer.json()) } else { Err(answer.text().to_owned()) }
}

#[tokio::test]
async fn a_port_is_one_apps_and_one_of_the_operators_range() {
    let lab = lab().await;
    let port = |config: Value| config["tcp_port"].clone();
    assert_eq!(set(&lab, "broker", json!({"tcp_port": "auto"})).await.map(port), Ok(json!(5000)));
    assert_eq!(
        set(&lab, "broker", json!({"tcp_port": "auto"})).await.map(port),
        Ok(json!(5000)),
        "the one it has"
    );
    assert_eq!(set(&lab, "broker", json!({"bake_s": 5})).await.map(port), Ok(json!(5000)), "it stays");
    let status = lab.get("/api/v1/apps/broker/status").await;
    assert_eq!(status["tcp"], "tcp://broker.localhost:5000", "{status}");
    assert!(lab.get("/api/v1/apps/vault/status").await.get("tcp").is_none());

    for (change, word) in [
        (json!(5000), "is that of the app broker"),
        (json!(4999), "choose one from 5000 to 5002"),
        (json!(0), "from 1 to 65535"),
        (json!("5001"), "give `auto`, `off`, or a number"),
        (json!(70_000), "tcp_port"),
    ] {
        let refused = set(&lab, "vault", json!({ "tcp_port": change.clone() })).await.expect_err("refused");
        assert!(refused.contains(word) || change == json!(70_000), "{change}: {refused}");
    }
    assert_eq!(set(&lab, "vault", json!({"tcp_port": 5002})).await.map(port), Ok(json!(5002)));
    for place in ["/api/v1/apps/vault", "/api/v1/apps/vault/status"] {
        let tcp = lab.get(place).await["tcp"].clone();
        assert!(
            tcp.as_str().is_some_and(|tcp| tcp.starts_with("tcp://vault.") && tcp.ends_with(":5002")),
            "{tcp}"
        );
    }
    let made = lab.post("/api/v1/apps", &json!({"name": "mqtt", "config": {"tcp_port": "auto"}})).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text());
    assert_eq!(lab.get("/api/v1/apps/mqtt/config").await["tcp_port"], 5001);
    let full = lab.post("/api/v1/apps", &json!({"name": "other", "config": {"tcp_port": "auto"}})).await;
    assert!(full.status.as_u16() == 422 && full.text().contains("all TCP ports"), "{}", full.text());
    assert_eq!(set(&lab, "broker", json!({"tcp_port": "off"})).await.map(port), Ok(Value::Null));
    assert_eq!(set(&lab, "vault", json!({"tcp_port": 5000})).await.map(port), Ok(json!(5000)), "free again");
}

#[tokio::test]
async fn without_a_range_no_app_has_a_port() {
    let lab = Lab::with_app("shop").await;
    for wish in [json!("auto"), json!(5432)] {
        let refused = set(&lab, "shop", json!({ "tcp_port": wish })).await.expect_err("refused");
        assert!(refused.contains("no public TCP ports") && refused.contains("tcp_ports = "), "{refused}");
    }
    assert!(set(&lab, "shop", json!({"tcp_port": "off"})).await.is_ok());
}

#[tokio::test]
async fn a_host_that_is_passed_on_is_one_apps_as_a_whole() {
    let lab = lab().await;
    let domains = |app: &str, add: &str| {
        let (path, change) = (format!("/api/v1/apps/{app}/domains"), json!({ "add": [add] }));
        let lab = &lab;
        async move {
            let answer = lab.patch(&path, &change).await;
            if answer.status.as_u16() == 200 { Ok(()) } else { Err(answer.text().to_owned()) }
        }
    };
    let passes = json!({"tls_passthrough": true, "health": "tcp"});
    assert!(
        set(&lab, "vault", json!({"tls_passthrough": true}))
            .await
            .is_err_and(|why| why.contains("health=tcp"))
    );
    domains("broker", "example.test/mail").await.expect("a path");
    domains("vault", "example.test").await.expect("the rest");
    let refused = set(&lab, "vault", passes.clone()).await.expect_err("shared");
    assert!(refused.contains("example.test is shared with the app broker"), "{refused}");
    let refused = set(&lab, "broker", passes.clone()).await.expect_err("a path of its own");
    assert!(refused.contains("example.test/mail has a path"), "{refused}");

    lab.patch("/api/v1/apps/broker/domains", &json!({"remove": ["example.test/mail"]})).await;
    set(&lab, "vault", passes).await.expect("whole now");
    assert!(domains("broker", "example.test/mail").await.is_err_and(|why| why.contains("app vault")));
    assert!(domains("vault", "other.test/path").await.is_err_and(|why| why.contains("has a path")));
    domains("broker", "other.test/mail").await.expect("nobody's");
    let certificates = lab.get("/api/v1/apps/vault/certificates").await;
    assert!(
        certificates
            .as_array()
            .is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["state"] == "app")),
        "{certificates}"
    );
}
