//! The table and what hangs on it: made durable, given to every worker and to the elder, and only then acknowledged.
//!
//! One request at a time. Nothing may be acknowledged that a crash could take back.

use crate::{
    elder::Elder,
    error::{self, Error},
    place::Place,
    ports::Ports,
    router::Ask,
    state::Given,
    table::{self, Directory},
    tls::Certificates,
    worker::Order,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use teal_core::{
    control::{Reply, Request, VERSION},
    id::{AppId, EnvironmentId},
    metrics,
    route::{AppRoute, Table},
    time::Time,
};
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// What this router can do beyond the first version of the protocol.
const CAPABILITIES: [&str; 6] = ["certificates", "cut", "hold", metrics::CAPABILITY, "standby", "upgrade"];

/// How long all workers may take to confirm a table: less than the server waits, so that it hears why.
const CONFIRM: Duration = Duration::from_secs(5);

/// The table and what hangs on it: changed by one request at a time.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) place: Place,
    /// Who served before, as long as it has clients.
    pub(crate) elder: Elder,
    pub(crate) table: Table,
    pub(crate) directory: Arc<Directory>,
    pub(crate) certificates: Arc<Certificates>,
    /// Open TCP ports.
    pub(crate) ports: Ports,
    pub(crate) workers: Vec<mpsc::Sender<Order>>,
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
    /// Where visitors' wishes go.
    pub(crate) ask: mpsc::Sender<Ask>,
}

impl Keeper {
    async fn replace(&mut self, table: Table) -> Result<(), Error> {
        table.apps.iter().try_for_each(|(id, route)| table::check(id, route)).map_err(Error::Table)?;
        table::check_ports(table.apps.iter(), |_| None).map_err(Error::Table)?;
        self.place.save(&table)?;
        let differ = difference(&self.table, &table);
        self.table = table;
        self.elder.tell(&Request::Hold { apps: differ }).await;
        self.directory.replace(&self.table);
        self.follow_ports().await;
        self.elder.tell(&Request::Replace { table: self.table.clone() }).await;
        self.settle().await
    }

    /// Every handshake looks them up anew, so every worker uses them at once.
    async fn certify(&mut self, given: Given) -> Result<(), Error> {
        self.place.save_certificates(&given)?;
        self.certificates.replace(&given);
        let Given { certificates, proofs } = given;
        self.elder.tell(&Request::Certificates { certificates, proofs }).await;
        Ok(())
    }

    /// Until the next change requests for these apps wait, here and at the elder.
    async fn hold(&mut self, apps: Vec<AppId>) -> Result<(), Error> {
        self.directory.hold(&apps);
        self.elder.tell(&Request::Hold { apps }).await;
        self.settle().await
    }

    async fn traffic(&mut self) -> Reply {
        let mut environments = self.directory.traffic.report(Instant::now());
        self.elder.add_to(&mut environments).await;
        Reply::Traffic { at: now(), environments, troubles: self.ports.troubles() }
    }

    async fn metrics(&mut self) -> Reply {
        let mut metrics = self.directory.traffic.metrics(now(), Instant::now());
        self.elder.add_metrics(&mut metrics).await;
        Reply::Metrics { metrics: Box::new(metrics) }
    }

    async fn cut(&mut self, environment: EnvironmentId, spread_ms: u64) {
        self.directory.traffic.cut(&environment, Duration::from_millis(spread_ms));
        self.elder.tell(&Request::Cut { environment, spread_ms }).await;
    }

    /// What the router that serves now has is this one's, too: changes go on from there.
    pub(crate) async fn follow(&mut self, link: UnixStream) {
        self.elder = Elder::new(link);
        self.elder.greet().await;
        self.elder.tell(&Request::Replace { table: self.table.clone() }).await;
    }

    async fn change(
        &mut self,
        generation: u64,
        apps: BTreeMap<AppId, Option<AppRoute>>,
    ) -> Result<(), Error> {
        if generation <= self.table.generation {
            let now = self.table.generation;
            return Err(Error::Table(format!("generation {generation} does not follow {now}")));
        }
        let routes = || apps.iter().filter_map(|(id, route)| Some((id, route.as_ref()?)));
        routes().try_for_each(|(id, route)| table::check(id, route)).map_err(Error::Table)?;
        let others = |port| self.directory.owner(port).filter(|owner| !apps.contains_key(owner));
        table::check_ports(routes(), others).map_err(Error::Table)?;
        let before = std::mem::replace(&mut self.table.generation, generation);
        let ids: Vec<AppId> = apps.keys().cloned().collect();
        let old = self.put(apps);
        if let Err(error) = self.place.change(&self.table, before, &ids) {
            self.put(old);
            self.table.generation = before;
            return Err(error);
        }
        // While clients of the elder wait, nobody can see the old route after the new one.
        self.elder.tell(&Request::Hold { apps: ids.clone() }).await;
        self.directory.change(ids.iter().map(|id| (id, self.table.apps.get(id))));
        self.follow_ports().await;
        self.hand_on(before, ids).await;
        self.settle().await
    }

    /// Opens the TCP ports that the table names, and closes all others, if that is this router's business.
    pub(crate) async fn follow_ports(&mut self) {
        if !self.place.is_given_away() {
            self.ports.follow(&self.directory.ports()).await;
        }
    }

    /// Tries again what could not be opened.
    pub(crate) async fn mend_ports(&mut self) {
        if self.ports.has_troubles() {
            self.follow_ports().await;
        }
    }

    /// The elder's table becomes what this one's is.
    async fn hand_on(&mut self, base_generation: u64, ids: Vec<AppId>) {
        if !self.elder.is_there() {
            return;
        }
        let route = |id: AppId| (id.clone(), self.table.apps.get(&id).cloned());
        let (generation, apps) = (self.table.generation, ids.into_iter().map(route).collect());
        self.elder.tell(&Request::Change { base_generation, generation, apps }).await;
    }

    /// Changes the value and says how to change it back.
    fn put(&mut self, apps: BTreeMap<AppId, Option<AppRoute>>) -> BTreeMap<AppId, Option<AppRoute>> {
        let mut swap = |(id, route): (AppId, Option<AppRoute>)| {
            let old = match route {
                Some(route) => self.table.apps.insert(id.clone(), route),
                None => self.table.apps.remove(&id),
            };
            (id, old)
        };
        apps.into_iter().map(&mut swap).collect()
    }

    /// Waits until every worker has confirmed.
    async fn settle(&self) -> Result<(), Error> {
        let all = async {
            let mut waiting = Vec::with_capacity(self.workers.len());
            for worker in &self.workers {
                let (done, confirmed) = oneshot::channel();
                let sent = worker.send(Order::Settle(done)).await;
                // Threads of a router without clients have ended.
                sent.ok().or_else(|| self.place.is_given_away().then_some(()))?;
                waiting.push(confirmed);
            }
            for confirmed in waiting {
                confirmed.await.ok().or_else(|| self.place.is_given_away().then_some(()))?;
            }
            Some(())
        };
        let settled = timeout(CONFIRM, all).await.ok().flatten();
        settled.ok_or(Error::Worker { seconds: CONFIRM.as_secs() })
    }

    /// Does what is asked.
    pub(crate) async fn reply(&mut self, request: Request) -> Reply {
        let done = match request {
            Request::Hello { version, requires } => return self.hello(version, &requires),
            Request::Upgrade => return Reply::Refused { reason: "only a visitor may ask for that".into() },
            Request::Traffic => return self.traffic().await,
            Request::Metrics => return self.metrics().await,
            Request::Cut { environment, spread_ms } => {
                self.cut(environment, spread_ms).await;
                Ok(())
            }
            Request::Certificates { certificates, proofs } => {
                self.certify(Given { certificates, proofs }).await
            }
            Request::Hold { apps } => self.hold(apps).await,
            Request::Replace { table } => self.replace(table).await,
            Request::Change { base_generation, .. } if base_generation != self.table.generation => {
                return Reply::NeedTable { generation: self.table.generation };
            }
            Request::Change { generation, apps, .. } => self.change(generation, apps).await,
        };
        match done {
            Ok(()) => Reply::Acknowledged { generation: self.table.generation },
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a request of the server is refused"
                );
                Reply::Refused { reason: error::in_full(&error) }
            }
        }
    }

    /// Greets a stranger; nothing if this router's place is another one's.
    pub(crate) fn welcome(&self, request: Request) -> Option<Reply> {
        match request {
            _ if self.place.is_given_away() => None,
            Request::Hello { version, requires } => Some(self.hello(version, &requires)),
            _ => Some(Reply::Refused { reason: "say hello first".into() }),
        }
    }

    fn hello(&self, version: u32, requires: &[String]) -> Reply {
        if version != VERSION {
            let reason =
                format!("this router speaks version {VERSION}, not {version}: upgrade the older one");
            return Reply::Refused { reason };
        }
        let unknown: Vec<&str> =
            requires.iter().map(String::as_str).filter(|name| !CAPABILITIES.contains(name)).collect();
        if !unknown.is_empty() {
            let names = unknown.join(", ");
            return Reply::Refused { reason: format!("this router does not know: {names}. Upgrade it") };
        }
        Reply::Hello {
            version: VERSION,
            capabilities: CAPABILITIES.map(String::from).to_vec(),
            generation: self.table.generation,
            http: self.http.clone(),
            https: self.https.clone(),
            pid: std::process::id(),
        }
    }
}

/// The apps whose routes are not the same in both.
fn difference(one: &Table, other: &Table) -> Vec<AppId> {
    let ids = one.apps.keys().chain(other.apps.keys().filter(|id| !one.apps.contains_key(*id)));
    ids.filter(|id| one.apps.get(*id) != other.apps.get(*id)).cloned().collect()
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame, pins::Key, state::Saved};
    use teal_core::control::{MAX_FRAME, decode};

    fn route(name: &str) -> AppRoute {
        AppRoute { name: name.into(), domains: vec!["shop.test".into()], ..AppRoute::default() }
    }

    fn keeper(directory: &std::path::Path) -> Keeper {
        Keeper {
            place: Place::new(Saved::open(directory).expect("opens"), directory.to_owned()),
            elder: Elder::default(),
            table: Table::default(),
            directory: Arc::new(Directory::new(Key::new(b"secret"))),
            certificates: Arc::default(),
            ports: Ports::new(&[], Vec::new(), Vec::new(), None),
            workers: Vec::new(),
            http: Vec::new(),
            https: Vec::new(),
            ask: mpsc::channel(1).0,
        }
    }

    fn change(from: u64, name: &str) -> Request {
        let apps = [("a-1".parse().expect("legal"), Some(route(name)))].into();
        Request::Change { base_generation: from, generation: from + 1, apps }
    }

    /// Obeys, and says what its router used when each word came.
    async fn elder(mut link: UnixStream, directory: Arc<Directory>, words: usize) -> Vec<(Request, String)> {
        let mut heard = Vec::new();
        while heard.len() < words {
            let body = frame::read(&mut link, MAX_FRAME as usize).await.expect("a word");
            let app = directory.find("shop.test", b"/").expect("certain").expect("an app");
            heard.push((decode(&body).expect("a request"), app.name.clone()));
            frame::write(&mut link, &Reply::Acknowledged { generation: 0 }).await.expect("answers");
        }
        heard
    }

    #[tokio::test]
    async fn the_elder_holds_before_a_change_and_hears_it_after() {
        let place = tempfile::tempdir().expect("a directory");
        let mut keeper = keeper(place.path());
        let acknowledged = |generation| Reply::Acknowledged { generation };
        assert_eq!(keeper.reply(change(0, "old")).await, acknowledged(1));
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let obeying = elder(theirs, Arc::clone(&keeper.directory), 4);
        let changing = async {
            keeper.follow(ours).await;
            assert_eq!(keeper.reply(change(1, "new")).await, acknowledged(2));
        };
        let (heard, ()) = tokio::join!(obeying, changing);
        assert!(matches!(&heard[0].0, Request::Hello { .. }));
        assert!(matches!(&heard[1].0, Request::Replace { table } if table.generation == 1));
        assert!(matches!(&heard[2], (Request::Hold { .. }, used) if used == "old"));
        assert!(matches!(&heard[3], (Request::Change { generation: 2, .. }, used) if used == "new"));
    }

    #[tokio::test]
    async fn requests_wait_while_they_are_held_and_then_see_the_change() {
        let place = tempfile::tempdir().expect("a directory");
        let mut keeper = keeper(place.path());
        keeper.reply(change(0, "old")).await;
        keeper.reply(Request::Hold { apps: vec!["a-1".parse().expect("legal")] }).await;
        let directory = Arc::clone(&keeper.directory);
        let mut waiting = tokio::spawn(async move {
            directory.released_host("shop.test", b"/").await;
            directory.find("shop.test", b"/").expect("certain").expect("an app").name.clone()
        });
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("it does not wait"),
            () = tokio::task::yield_now() => (),
        }
        keeper.reply(change(1, "new")).await;
        assert_eq!(waiting.await.expect("no panic"), "new");
    }

    #[test]
    fn what_differs_is_found_on_both_sides() {
        let table = |apps: &[(&str, &str)]| {
            let named = |(id, name): &(&str, &str)| (id.parse().expect("legal"), route(name));
            Table { generation: 1, apps: apps.iter().map(named).collect() }
        };
        let (one, other) = (table(&[("a-1", "x"), ("a-2", "x")]), table(&[("a-2", "y"), ("a-3", "x")]));
        let ids: Vec<String> = difference(&one, &other).iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["a-1", "a-2", "a-3"]);
        assert!(difference(&one, &one).is_empty());
    }
}
