//! A server without a socket, in a directory of its own, and requests to it.

use crate::{
    config::Config,
    driver::Driver,
    platform::{Platform, Principal, Push, Rights, Way},
    secrets::Key,
    store::{NewRow, Store},
    world::World,
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use teal_core::{api::UserView, id::DeploymentId, role::Role, time::Time};
use teal_runtime::{
    any::Any,
    process::{self, Process},
};
use tower::ServiceExt;

/// No answer is waited for longer than this.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The administrator's token.
pub(super) const SECRET: &str = "teal_0123456789abcdefghijklmnopqrstuvwxyz";

pub(super) struct Lab {
    pub(super) platform: Platform,
    pub(super) store: Store,
    pub(super) world: World,
    router: Router,
    pub(super) directory: tempfile::TempDir,
}

impl Lab {
    pub(super) async fn new() -> Self {
        Self::configured(|_| ()).await
    }

    pub(super) async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().to_owned();
        let mut config = Config { data: data.clone(), runtime: "process".into(), ..Config::default() };
        change(&mut config);
        let key = Key::open(&data.join("teal.key")).expect("key");
        let store = Store::open(&data.join("teal.sqlite"), key).expect("store");
        store
            .set_user(UserView { name: "admin".into(), email: None, role: Role::Admin })
            .await
            .expect("user");
        store.add_token(NewRow::unlimited("t-admin", "test", "admin", Time(0)), SECRET).await.expect("token");
        let runtime = Any::Process(Process::open(process::Config::new(data)).expect("runtime"));
        let world = crate::start::world(Arc::new(config), store.clone(), runtime, "/proc/self/exe".into())
            .await
            .expect("world");
        let platform = Platform::new(world.clone(), Driver::new(world.clone()), Vec::new());
        Self { router: super::super::router(platform.clone()), platform, store, world, directory }
    }

    pub(super) async fn with_app(name: &str) -> Self {
        let lab = Self::new().await;
        let made = lab.post("/api/v1/apps", &serde_json::json!({ "name": name })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        lab
    }

    /// A push of a commit that holds nothing: its build ends with a verdict before anything runs.
    pub(super) async fn failing_push(&self, name: &str) -> DeploymentId {
        let who = Principal { user: "admin".into(), way: Way::Git, rights: Rights::everything().into() };
        let app = self.platform.find_app(name).await.expect("app");
        let commit = empty_commit(&self.platform.repository(&app));
        let push = Push { commit, message: "Break it".into(), author: "Ada".into() };
        self.platform.push(&who, &app, push).await.expect("taken")
    }

    pub(super) fn ask(&self, method: &str, path: &str) -> Ask {
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).expect("request");
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([203, 0, 113, 9], 40_000))));
        Ask { router: self.router.clone(), request }
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path).token().send().await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path).token().body(&body.to_string()).send().await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask("PATCH", path).token().body(&body.to_string()).send().await
    }

    pub(super) async fn act(&self, app: &str, action: &Value) -> Answer {
        self.post(&format!("/api/v1/apps/{app}/actions"), action).await
    }
}

/// A repository with one commit of an empty tree.
fn empty_commit(repository: &Path) -> String {
    let git = |arguments: &[&str]| {
        let git = Command::new("git").arg("-C").arg(repository).args(arguments).stdin(Stdio::null()).output();
        let git = git.expect("git runs");
        assert!(git.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&git.stderr));
        String::from_utf8_lossy(&git.stdout).trim().to_owned()
    };
    std::fs::create_dir_all(repository).expect("directory");
    git(&["init", "-q", "--bare"]);
    let tree = git(&["mktree"]);
    git(&["-c", "user.name=Ada", "-c", "user.email=ada@example.test", "commit-tree", &tree, "-m", "Break it"])
}

/// A text value without its quotes.
pub(super) fn json(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

pub(super) struct Ask {
    router: Router,
    request: Request<Body>,
}

impl Ask {
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().expect("value"));
        self
    }

    pub(super) fn token(self) -> Self {
        self.secret(SECRET)
    }

    pub(super) fn secret(self, secret: &str) -> Self {
        self.header("authorization", &format!("Bearer {secret}"))
    }

    pub(super) fn peer(mut self, address: [u8; 4]) -> Self {
        self.request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 40_000))));
        self
    }

    pub(super) fn body(mut self, json: &str) -> Self {
        *self.request.body_mut() = Body::from(json.to_owned());
        self.header("content-type", "application/json")
    }

    pub(super) fn form(mut self, fields: &str) -> Self {
        *self.request.body_mut() = Body::from(fields.to_owned());
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    pub(super) async fn send(self) -> Answer {
        let response = self.router.oneshot(self.request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body =
            tokio::time::timeout(PATIENCE, body.collect()).await.expect("in time").expect("whole").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// For an answer that goes on.
    pub(super) async fn open(self) -> (StatusCode, Body) {
        let response = self.router.oneshot(self.request).await.expect("infallible");
        (response.status(), response.into_body())
    }
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
