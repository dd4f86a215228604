//! Certificates from the real Pebble, which refuses good nonces at random, over a router of the tests: obtained, renewed, gone on with after the
//! server was killed, and dropped.

#![allow(missing_docs, reason = "a test program has no readers of its documentation")]

mod dns;
mod edge;
mod pebble;

use edge::{Edge, Told};
use pebble::Pebble;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use teal_core::{
    deploy::{App, Settings},
    time::Time,
};
use teal_server::{
    certificates,
    config::{Acme, Challenge, Config},
    platform::Changed,
    routerlink::RouterLink,
    secrets::Key,
    store::Store,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::broadcast,
};

const PATIENCE: Duration = Duration::from_secs(100);
const APP: &str = "a-shop";

struct Lab {
    edge: Edge,
    pebble: Pebble,
    store: Store,
    config: Arc<Config>,
    changes: broadcast::Sender<Changed>,
    directory: tempfile::TempDir,
}

impl Lab {
    /// An app with these domains; nothing looks after their certificates yet.
    async fn new(challenge: Challenge, domains: Vec<String>) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let edge = Edge::start(directory.path()).await;
        let pebble = Pebble::start(directory.path(), edge.http, edge.tls, dns::serve().await);
        let acme = Acme {
            directory: pebble.directory(),
            contact: vec!["mailto:ops@example.test".into()],
            challenge,
            ca_file: Some(pebble.ca_file.clone()),
            terms_agreed: true,
        };
        let config = Arc::new(Config { acme: Some(acme), ..Config::default() });
        let store = open(directory.path().to_owned());
        let app = App::new(APP.parse().expect("id"), "shop".into(), domains, Settings::default());
        store.create_app(app, BTreeMap::new(), None).await.expect("app");
        Self { edge, pebble, store, config, changes: broadcast::Sender::new(16), directory }
    }

    /// A server, as far as certificates go, with a runtime of its own: it can be killed.
    fn server(&self) -> Server {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let store = open(self.directory.path().to_owned());
        let link = Arc::new(RouterLink::new(self.edge.control.clone(), BTreeMap::new()));
        let keep = certificates::keep(Arc::clone(&self.config), store, link, self.changes.subscribe());
        runtime.spawn(keep);
        Server(Some(runtime))
    }

    /// Waits until the router was told something of which this is true.
    async fn told(&self, what: &str, mut enough: impl FnMut(&Told) -> bool) -> Told {
        let mut told = self.edge.told.subscribe();
        let waited = tokio::time::timeout(PATIENCE, told.wait_for(|told| enough(told))).await;
        match waited {
            Ok(told) => told.expect("open").clone(),
            Err(_) => panic!(
                "{what} takes too long: {:#?}\nPebble said:\n{}",
                self.rows().await,
                self.pebble.tail()
            ),
        }
    }

    /// Kills the server each time the router was told this often more, until it has what is wanted.
    async fn through_kills(
        &self,
        kills: &[usize],
        what: &str,
        mut enough: impl FnMut(&Told) -> bool,
    ) -> Told {
        for kill in kills {
            let server = self.server();
            let goal = self.edge.told.borrow().times + kill;
            let told = self.told(what, |told| told.times >= goal || enough(told)).await;
            drop(server);
            if told.times < goal {
                return told;
            }
        }
        let _server = self.server();
        self.told(what, enough).await
    }

    async fn rows(&self) -> HashMap<String, teal_server::store::CertificateRow> {
        let rows = self.store.certificate_rows().await.expect("rows");
        rows.into_iter().map(|row| (row.name.clone(), row)).collect()
    }
}

/// A server that is gone at once when it is dropped.
struct Server(Option<Runtime>);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // What it was writing when it was killed is written or not before the next one begins, as with processes.
            tokio::task::block_in_place(|| runtime.shutdown_timeout(PATIENCE));
        }
    }
}

fn open(directory: PathBuf) -> Store {
    let key = Key::open(&directory.join("teal.key")).expect("key");
    Store::open(&directory.join("teal.sqlite"), key).expect("store")
}

/// The chains by name, without those that the server made itself (a chain of one).
fn issued(told: &Told) -> BTreeMap<String, String> {
    let real = told.certificates.iter().filter(|c| c.chain.matches("BEGIN CERTIFICATE").count() > 1);
    real.map(|c| (c.names[0].clone(), c.chain.clone())).collect()
}

/// Where the server is killed: after so many words to the router. Printed, and taken from `TEAL_SEED` if that is set.
#[expect(clippy::print_stdout, reason = "whoever sees it fail wants the seed")]
fn kills(count: usize, most: u64) -> Vec<usize> {
    let mut seed = std::env::var("TEAL_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state = *seed.get_or_insert_with(|| RandomState::new().hash_one(0));
    println!("TEAL_SEED={state}");
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % most + 1).expect("small")
    };
    (0..count).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_names_are_obtained_and_renewed_once_each_whenever_the_server_is_killed() {
    let names: BTreeSet<String> = (0..50).map(|number| format!("shop-{number}.example.test")).collect();
    let mut domains: Vec<String> = names.iter().cloned().collect();
    domains.push("shop.localhost".into());
    let lab = Lab::new(Challenge::Http, domains).await;
    let kills = kills(8, 40);
    let all = |told: &Told| issued(told).len() == names.len() && told.proofs.is_empty();
    let told = lab.through_kills(&kills[..4], "issuing", all).await;
    let first = issued(&told);
    assert_eq!(first.keys().cloned().collect::<BTreeSet<_>>(), names);
    assert_eq!(told.certificates.len(), names.len() + 1, "and the local one, self-signed");
    assert_eq!(lab.pebble.said("Issued certificate"), names.len(), "nothing is requested twice");
    let rows = lab.rows().await;
    assert!(names.iter().all(|name| rows[name].held.as_ref().is_some_and(|held| !held.is_self_signed())));
    assert!(rows["shop.localhost"].held.as_ref().is_some_and(|held| held.is_self_signed()));

    for name in &names {
        lab.store.set_renewal(name.clone(), Time(0), None).await.expect("due");
    }
    let renewed = |told: &Told| {
        let new = issued(told);
        told.proofs.is_empty()
            && names.iter().all(|name| new.get(name).is_some_and(|chain| *chain != first[name]))
    };
    lab.through_kills(&kills[4..], "renewing", renewed).await;
    assert_eq!(lab.pebble.said("Issued certificate"), 2 * names.len(), "nothing is renewed twice");
    let rows = lab.rows().await;
    assert!(names.iter().all(|name| rows[name].held.as_ref().is_some_and(|held| held.renew_at > Time(0))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_proves_a_name_too_and_what_fails_says_why() {
    let good = ["one.example.test", "two.example.test", "three.example.test"];
    let domains = good.iter().chain(&["nowhere.example.test"]).map(|name| (*name).to_owned()).collect();
    let lab = Lab::new(Challenge::TlsAlpn, domains).await;
    let server = lab.server();
    let told = lab.told("issuing", |told| issued(told).len() == good.len() && told.proofs.is_empty()).await;
    assert_eq!(told.certificates.len(), 4, "the one that failed is self-signed");

    let failed = loop {
        let rows = lab.rows().await;
        match rows.get("nowhere.example.test") {
            Some(row) if row.attempts > 0 => break row.clone(),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let (problem, remedy) =
        (failed.problem.clone().expect("why"), failed.remedy.clone().expect("what to do"));
    assert!(remedy.contains("A/AAAA record"), "{problem}: {remedy}");
    assert!(failed.next_attempt.is_some() && failed.order.is_none(), "{failed:?}");
    let view = certificates::view(&lab.config, "nowhere.example.test", Some(&failed));
    assert_eq!((view.state.as_str(), view.problem), ("failing", Some(problem)));

    lab.store.forget_app(APP.parse().expect("id")).await.expect("forgotten");
    lab.told("dropping", |told| told.certificates.is_empty()).await;
    assert!(lab.rows().await.is_empty());
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_of_before_is_harmless_and_nothing_is_asked_of_the_authority() {
    let lab = Lab::new(Challenge::Http, vec!["shop.example.test".into()]).await;
    lab.edge.capabilities.lock().expect("lock").clear();
    let server = lab.server();
    let row = loop {
        match lab.rows().await.remove("shop.example.test") {
            Some(row) if row.problem.is_some() => break row,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert!(row.problem.is_some_and(|problem| problem.contains("router")), "the reason is said");
    assert!(row.held.as_ref().is_some_and(|held| held.is_self_signed()));
    assert_eq!(lab.pebble.said("POST"), 0);
    assert_eq!(lab.edge.told.borrow().times, 0);

    // It is upgraded: the next connection finds one that can more.
    lab.edge.capabilities.lock().expect("lock").push("certificates".into());
    lab.edge.hang_up.notify_waiters();
    lab.store
        .set_certificate_trouble("shop.example.test".into(), 1, Time(0), String::new(), String::new())
        .await
        .expect("due");
    lab.told("issuing", |told| issued(told).len() == 1 && told.proofs.is_empty()).await;
    drop(server);
}
