//! The compiled table: domain → app → instances, read by every request without a lock and swapped whole per app.
//!
//! Writers come one at a time (the control thread). A route that was compiled is never edited: an app's new route replaces the old one in a
//! single step, and a peer that left it is marked as withdrawn, for ever: if the address comes back, it comes back as another peer.

use crate::{
    codec::Refusal,
    crowd::{Crowd, Full, Most, Seat},
    hosts::{Edit, Hosts},
    pins::{self, Key, Pins},
    traffic::{Counters, Registry},
};
use arc_swap::ArcSwap;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use teal_core::{
    domain,
    id::AppId,
    route::{self, Absent, AppRoute, Backend, Table},
};
use tokio::{sync::watch, time::timeout};

/// Requests are held for this long at most.
const HELD: Duration = Duration::from_secs(6);

/// One instance that takes requests, as long as it is in its app's route.
#[derive(Debug)]
pub(crate) struct Peer {
    backend: Backend,
    pub(crate) in_flight: AtomicUsize,
    withdrawn: AtomicBool,
    /// Milliseconds since [`Directory::started`] until which the peer is tried last: connecting to it took long and failed.
    avoided_until: AtomicU64,
}

impl Peer {
    fn new(backend: Backend) -> Self {
        Self {
            backend,
            in_flight: AtomicUsize::new(0),
            withdrawn: AtomicBool::new(false),
            avoided_until: AtomicU64::new(0),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.backend.address
    }

    /// Where streams go that are not looked into.
    pub(crate) fn streams(&self) -> SocketAddr {
        self.backend.streams()
    }

    /// It left the table: no connection to it may be kept for later.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }
}

/// An environment that takes traffic.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Its counts.
    pub(crate) counters: Arc<Counters>,
    peers: Vec<Arc<Peer>>,
    /// What cookies say of the peers, in their order; none if sessions are not sticky.
    pins: Vec<Box<str>>,
}

impl Target {
    /// The peer of which a cookie says this.
    fn pinned(&self, pin: &str) -> Option<&Arc<Peer>> {
        self.pins.iter().position(|known| **known == *pin).and_then(|index| self.peers.get(index))
    }

    /// What a cookie has to say of the peer.
    fn pin(&self, peer: &Arc<Peer>) -> Option<&str> {
        let index = self.peers.iter().position(|known| Arc::ptr_eq(known, peer))?;
        self.pins.get(index).map(AsRef::as_ref)
    }
}

/// What an app may have in flight, and has.
#[derive(Debug, Clone)]
struct Limit {
    most: Most,
    crowd: Arc<Crowd>,
}

/// One app's route, immutable.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// For pages.
    pub(crate) name: String,
    /// Why there is no live environment.
    pub(crate) absent: Option<Absent>,
    /// Requests in clear text are sent to `https`.
    pub(crate) force_https: bool,
    /// The app ends TLS itself.
    pub(crate) passes: bool,
    /// A port whose streams are the app's.
    port: Option<u16>,
    /// The route is about to change elsewhere: requests wait for [`Directory::released`] and look again.
    pub(crate) held: bool,
    /// The name of the cookie that pins a client to an instance, if sessions are sticky.
    cookie: Option<Box<str>>,
    limit: Option<Limit>,
    domains: BTreeSet<String>,
    live: Option<Target>,
    standby: Option<Target>,
}

impl App {
    /// The live environment, if there is one.
    pub(crate) fn live(&self) -> Option<&Target> {
        self.live.as_ref()
    }

    /// The peer to try next: the one that is pinned, if it is of the live environment and fit; else of the live environment, then of the standby; peers
    /// that made others wait come last; never one of `tried`.
    pub(crate) fn choose(
        &self,
        pins: Option<&Pins>,
        tried: &[Arc<Peer>],
        now: impl Fn() -> u64,
    ) -> Option<(&Target, Arc<Peer>)> {
        let avoided = |peer: &Peer| {
            let until = peer.avoided_until.load(Ordering::Relaxed);
            until > 0 && until > now()
        };
        if let (Some(pins), Some(cookie), Some(live)) = (pins, &self.cookie, &self.live)
            && let Some(peer) = pins.of(cookie).and_then(|pin| live.pinned(pin))
            && !avoided(peer)
            && !tried.iter().any(|tried| Arc::ptr_eq(tried, peer))
        {
            return Some((live, Arc::clone(peer)));
        }
        let targets = || self.live.iter().chain(&self.standby);
        let pick = |patient: bool| {
            targets().find_map(|target| {
                let fits = |peer: &Peer| patient || !avoided(peer);
                least_busy(&target.peers, tried, fits).map(|peer| (target, peer))
            })
        };
        pick(false).or_else(|| pick(true))
    }

    /// The cookie that this client must be given, if sessions are sticky and it has another one. Nobody is pinned to a standby.
    pub(crate) fn pin(&self, pins: &Pins, peer: &Arc<Peer>, secure: bool) -> Option<Box<str>> {
        let name = self.cookie.as_ref()?;
        let pin = self.live.as_ref()?.pin(peer)?;
        (pins.of(name) != Some(pin)).then(|| pins::cookie(name, pin, secure).into())
    }

    /// A place for one more request of this client's, where places are counted.
    pub(crate) fn enter(&self, client: IpAddr) -> Result<Option<Seat>, Full> {
        self.limit.as_ref().map(|limit| limit.crowd.enter(client, limit.most)).transpose()
    }

    fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.live.iter().chain(&self.standby).flat_map(|target| &target.peers)
    }
}

/// The less busy of two peers that chance names.
fn least_busy(peers: &[Arc<Peer>], tried: &[Arc<Peer>], fits: impl Fn(&Peer) -> bool) -> Option<Arc<Peer>> {
    if let ([only], []) = (peers, tried) {
        return fits(only).then(|| Arc::clone(only));
    }
    let fresh = |peer: &&Arc<Peer>| !tried.iter().any(|t| Arc::ptr_eq(t, peer)) && fits(peer);
    let count = peers.iter().filter(fresh).count();
    let first = peers.iter().filter(fresh).nth(crate::chance::index(count))?;
    let second = peers.iter().filter(fresh).nth(crate::chance::index(count))?;
    let load = |peer: &Arc<Peer>| peer.in_flight.load(Ordering::Relaxed);
    Some(Arc::clone(if load(second) < load(first) { second } else { first }))
}

#[derive(Debug)]
struct Slot(ArcSwap<App>);

impl Slot {
    fn hold(&self, held: bool) {
        let app = self.0.load();
        self.0.store(Arc::new(App { held, ..App::clone(&app) }));
    }
}

/// What a change of routes means for those who look them up.
#[derive(Default)]
struct Edits {
    hosts: Vec<Edit<Slot>>,
    /// TCP ports that an app gets, or gives up.
    ports: Vec<(u16, AppId, Option<Arc<Slot>>)>,
    /// Apps that end TLS themselves from now on, and that do not any more.
    pass: usize,
    pass_no_more: usize,
}

impl Edits {
    fn note(&mut self, id: &AppId, before: Option<&App>, after: Option<(&Arc<App>, &Arc<Slot>)>) {
        let old = before.and_then(|app| app.port);
        let new = after.and_then(|(app, slot)| Some((app.port?, slot)));
        if old != new.map(|(port, _)| port) {
            self.ports.extend(old.map(|port| (port, id.clone(), None)));
            self.ports.extend(new.map(|(port, slot)| (port, id.clone(), Some(Arc::clone(slot)))));
        }
        self.pass += usize::from(after.is_some_and(|(app, _)| app.passes));
        self.pass_no_more += usize::from(before.is_some_and(|app| app.passes));
    }
}

/// What every worker looks requests up in.
#[derive(Debug)]
pub(crate) struct Directory {
    hosts: Hosts<Slot>,
    ports: ArcSwap<BTreeMap<u16, (AppId, Arc<Slot>)>>,
    /// Apps that end TLS themselves.
    passing: AtomicUsize,
    slots: Mutex<BTreeMap<AppId, Arc<Slot>>>,
    /// Told of every change, for those who wait for one.
    changes: watch::Sender<()>,
    started: Instant,
    key: Key,
    /// Counts per environment.
    pub(crate) traffic: Registry,
}

impl Directory {
    /// A directory that knows no app; `key` is what instances are marked with in cookies.
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            hosts: Hosts::new(),
            ports: ArcSwap::default(),
            passing: AtomicUsize::new(0),
            slots: Mutex::default(),
            changes: watch::Sender::new(()),
            started: Instant::now(),
            traffic: Registry::default(),
        }
    }

    /// The route of the app that answers for this host (lower case, without port) and this target.
    ///
    /// # Errors
    /// If the path decides, and can be read in two ways.
    pub(crate) fn find(&self, host: &str, target: &[u8]) -> Result<Option<Arc<App>>, Refusal> {
        Ok(self.hosts.find(host, target)?.map(|slot| slot.0.load_full()))
    }

    /// The route of the app that has this TCP port.
    pub(crate) fn at_port(&self, port: u16) -> Option<Arc<App>> {
        self.ports.load().get(&port).map(|(_, slot)| slot.0.load_full())
    }

    /// The app that has this TCP port.
    pub(crate) fn owner(&self, port: u16) -> Option<AppId> {
        self.ports.load().get(&port).map(|(id, _)| id.clone())
    }

    /// All TCP ports of apps.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        self.ports.load().keys().copied().collect()
    }

    /// Some app ends TLS itself.
    pub(crate) fn passes(&self) -> bool {
        self.passing.load(Ordering::Acquire) > 0
    }

    /// The route of the app that ends TLS for this host (lower case) itself.
    pub(crate) fn passed(&self, host: &str) -> Option<Arc<App>> {
        self.find(host, b"/").ok().flatten().filter(|app| app.passes)
    }

    /// Milliseconds since the directory was made.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Connecting to `peer` took long and failed: others are tried first for a while.
    pub(crate) fn avoid(&self, peer: &Peer, span: Duration) {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        peer.avoided_until.store(self.now().saturating_add(span), Ordering::Relaxed);
    }

    /// Uses this table instead of whatever there was.
    pub(crate) fn replace(&self, table: &Table) {
        let gone: Vec<AppId> = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.keys().filter(|id| !table.apps.contains_key(*id)).cloned().collect()
        };
        let all = table.apps.iter().map(|(id, route)| (id, Some(route)));
        self.change(all.chain(gone.iter().map(|id| (id, None))));
    }

    /// Uses these routes, each in one step; `None` removes the app.
    pub(crate) fn change<'a>(&self, apps: impl Iterator<Item = (&'a AppId, Option<&'a AppRoute>)>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut edits = Edits::default();
        for (id, route) in apps {
            self.change_one(&mut slots, id, route, &mut edits);
        }
        self.hosts.change(edits.hosts);
        self.change_ports(edits.ports);
        self.passing.fetch_add(edits.pass, Ordering::AcqRel);
        self.passing.fetch_sub(edits.pass_no_more, Ordering::AcqRel);
        self.changes.send_replace(());
    }

    /// From now on requests for these apps wait until their routes are changed, or all are let go.
    pub(crate) fn hold(&self, apps: &[AppId]) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        apps.iter().filter_map(|id| slots.get(id)).for_each(|slot| slot.hold(true));
    }

    /// Lets go of all requests that wait.
    pub(crate) fn release(&self) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().filter(|slot| slot.0.load().held).for_each(|slot| slot.hold(false));
        self.changes.send_replace(());
    }

    /// Waits until requests for this domain are not held any more.
    pub(crate) async fn released_host(&self, host: &str, target: &[u8]) {
        self.released(|| self.find(host, target).ok().flatten()).await;
    }

    /// Waits until the app is not held any more. Nobody waits for long: whoever held it has gone, then.
    pub(crate) async fn released(&self, look: impl Fn() -> Option<Arc<App>>) {
        let mut changes = self.changes.subscribe();
        let is_held = || look().is_some_and(|app| app.held);
        let released = async { while is_held() && changes.changed().await.is_ok() {} };
        if timeout(HELD, released).await.is_err() {
            let app = look().map(|app| app.name.clone());
            tracing::warn!(app, "a change was announced and did not come: requests go on by the old route");
            self.release();
        }
    }

    fn change_ports(&self, edits: Vec<(u16, AppId, Option<Arc<Slot>>)>) {
        if edits.is_empty() {
            return;
        }
        let mut ports = BTreeMap::clone(&self.ports.load());
        // Those that are given up first: another app may have them in the same change.
        for (port, id, _) in edits.iter().filter(|(.., slot)| slot.is_none()) {
            if ports.get(port).is_some_and(|(owner, _)| owner == id) {
                ports.remove(port);
            }
        }
        ports.extend(edits.into_iter().filter_map(|(port, id, slot)| Some((port, (id, slot?)))));
        self.ports.store(Arc::new(ports));
    }

    /// Says which domains and ports have to find another app than before, or none.
    fn change_one(
        &self,
        slots: &mut BTreeMap<AppId, Arc<Slot>>,
        id: &AppId,
        route: Option<&AppRoute>,
        edits: &mut Edits,
    ) {
        let edit = |domain: &String, to| Edit { domain: domain.clone(), app: id.clone(), to };
        let Some(route) = route else {
            let Some(slot) = slots.remove(id) else { return };
            let before = slot.0.load();
            edits.hosts.extend(before.domains.iter().map(|domain| edit(domain, None)));
            edits.note(id, Some(&before), None);
            return withdraw(&before, |_| false);
        };
        let before = slots.get(id).map(|slot| slot.0.load_full());
        let app = Arc::new(self.compile(id, route, before.as_deref()));
        let slot = slots.entry(id.clone()).or_insert_with(|| Arc::new(Slot(ArcSwap::new(Arc::clone(&app)))));
        let none = BTreeSet::new();
        let old = before.as_ref().map_or(&none, |before| &before.domains);
        edits.hosts.extend(old.difference(&app.domains).map(|domain| edit(domain, None)));
        edits.hosts.extend(app.domains.difference(old).map(|domain| edit(domain, Some(Arc::clone(slot)))));
        edits.note(id, before.as_deref(), Some((&app, slot)));
        let Some(before) = before else { return };
        slot.0.store(Arc::clone(&app));
        withdraw(&before, |peer| app.peers().any(|kept| Arc::ptr_eq(kept, peer)));
    }

    fn pins(&self, route: &AppRoute, target: &route::Target) -> Vec<Box<str>> {
        let instances = target.instances.iter().filter(|_| route.sticky_sessions);
        instances.map(|backend| self.key.pin(backend.instance.as_str())).collect()
    }

    /// Peers that were in the route before are taken over, with their counts and their pooled connections.
    fn compile(&self, id: &AppId, route: &AppRoute, before: Option<&App>) -> App {
        let known = |backend: &Backend| before?.peers().find(|peer| peer.backend == *backend).cloned();
        let peer = |backend: &Backend| known(backend).unwrap_or_else(|| Arc::new(Peer::new(backend.clone())));
        let target = |target: &route::Target| Target {
            counters: self.traffic.counters(&target.environment),
            peers: target.instances.iter().map(peer).collect(),
            pins: self.pins(route, target),
        };
        App {
            name: route.name.clone(),
            absent: route.absent,
            force_https: route.force_https,
            passes: route.tls_passthrough,
            port: route.tcp_port,
            held: false,
            cookie: route.sticky_sessions.then(|| self.key.name(id.as_str())),
            limit: limit(route, before),
            domains: route.domains.iter().map(|domain| folded(domain)).collect(),
            live: route.live.as_ref().map(target),
            standby: route.standby.as_ref().map(target),
        }
    }
}

/// What is counted goes on being counted while there is a limit.
fn limit(route: &AppRoute, before: Option<&App>) -> Option<Limit> {
    let most = Most { all: route.max_requests, each: route.max_requests_per_client };
    let known = before.and_then(|before| before.limit.as_ref()).filter(|known| known.most.counts_like(most));
    let crowd = || known.map_or_else(Crowd::new, |known| Arc::clone(&known.crowd));
    most.is_some().then(|| Limit { most, crowd: crowd() })
}

fn withdraw(app: &App, keep: impl Fn(&Arc<Peer>) -> bool) {
    for peer in app.peers().filter(|peer| !keep(peer)) {
        peer.withdrawn.store(true, Ordering::Release);
    }
}

/// As the index has it: hosts are compared without case, paths are not.
fn folded(domain: &str) -> String {
    domain::host(domain).to_ascii_lowercase() + domain::path(domain)
}

/// Says what in a route cannot be.
pub(crate) fn check(id: &AppId, route: &AppRoute) -> Result<(), String> {
    for target in route.live.iter().chain(&route.standby) {
        if target.instances.is_empty() {
            return Err(format!("app {id}: environment {} has no instances", target.environment));
        }
    }
    if route.live.is_none() && route.standby.is_some() {
        return Err(format!("app {id}: a standby without a live environment"));
    }
    if route.tcp_port == Some(0) {
        return Err(format!("app {id}: 0 is not a TCP port"));
    }
    let shared = route.domains.iter().find(|domain| !domain::path(domain).is_empty());
    if let Some(shared) = shared.filter(|_| route.tls_passthrough) {
        return Err(format!("app {id}: TLS for `{shared}` cannot be passed on: paths are inside of it"));
    }
    let is_odd = |domain: &&String| {
        let host = domain::host(domain);
        host.is_empty() || host.len() > 255 || !domain::is_path(domain::path(domain))
    };
    match route.domains.iter().find(is_odd) {
        Some(domain) => Err(format!("app {id}: `{domain}` is not a domain")),
        None => Ok(()),
    }
}

/// Says if two apps want one TCP port: two of these, or one of these and the one that has it already.
pub(crate) fn check_ports<'a>(
    apps: impl Iterator<Item = (&'a AppId, &'a AppRoute)>,
    owner: impl Fn(u16) -> Option<AppId>,
) -> Result<(), String> {
    let mut wanted: BTreeMap<u16, AppId> = BTreeMap::new();
    for (id, route) in apps {
        let Some(port) = route.tcp_port else { continue };
        let other = wanted.insert(port, id.clone()).or_else(|| owner(port));
        if let Some(other) = other.filter(|other| other != id) {
            return Err(format!("app {id}: TCP port {port} is that of app {other}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::busy::Busy;
    use teal_core::route::Colour;

    fn backend(instance: &str, port: u16) -> Backend {
        Backend {
            instance: instance.parse().expect("legal"),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            tcp: None,
        }
    }

    fn target(environment: &str, backends: &[Backend]) -> Option<route::Target> {
        Some(route::Target {
            environment: environment.parse().expect("legal"),
            colour: Colour::Blue,
            instances: backends.to_vec(),
        })
    }

    fn app(domain: &str, live: Option<route::Target>, standby: Option<route::Target>) -> AppRoute {
        AppRoute { name: "shop".into(), domains: vec![domain.into()], live, standby, ..AppRoute::default() }
    }

    fn table(route: AppRoute) -> Table {
        Table { generation: 1, apps: [("a-1".parse().expect("legal"), route)].into() }
    }

    fn found(directory: &Directory, host: &str) -> Option<Arc<App>> {
        directory.find(host, b"/").expect("certain")
    }

    #[test]
    fn a_reused_address_is_another_peer() {
        let directory = Directory::new(Key::new(b"secret"));
        directory.replace(&table(app("a.test", target("e-1", &[backend("e-1-0", 1)]), None)));
        let old = found(&directory, "a.test").expect("found").choose(None, &[], || 0).expect("a peer").1;
        directory.replace(&table(app("a.test", target("e-2", &[backend("e-2-0", 1)]), None)));
        assert!(old.is_withdrawn());
        directory.replace(&table(app("a.test", target("e-1", &[backend("e-1-0", 1)]), None)));
        let back = found(&directory, "a.test").expect("found").choose(None, &[], || 0).expect("a peer").1;
        assert!(old.is_withdrawn() && !back.is_withdrawn());
    }

    #[test]
    fn peers_that_stay_keep_their_state() {
        let directory = Directory::new(Key::new(b"secret"));
        directory.replace(&table(app("a.test", target("e-1", &[backend("e-1-0", 1)]), None)));
        let one = found(&directory, "a.test").expect("found").choose(None, &[], || 0).expect("a peer").1;
        let live = target("e-2", &[backend("e-2-0", 2)]);
        directory.replace(&table(app("a.test", live, target("e-1", &[backend("e-1-0", 1)]))));
        let app = found(&directory, "a.test").expect("found");
        let new = app.choose(None, &[], || 0).expect("a peer").1;
        let standby = app.choose(None, &[new], || 0).expect("the standby").1;
        assert!(Arc::ptr_eq(&one, &standby) && !one.is_withdrawn());
    }

    #[test]
    fn removed_domains_and_apps_are_unknown() {
        let directory = Directory::new(Key::new(b"secret"));
        directory.replace(&table(app("A.test", None, None)));
        assert!(found(&directory, "a.test").is_some());
        directory.replace(&table(app("b.test", None, None)));
        assert!(found(&directory, "a.test").is_none() && found(&directory, "b.test").is_some());
        directory.replace(&Table::default());
        assert!(found(&directory, "b.test").is_none());
    }

    #[test]
    fn the_less_busy_of_two_is_chosen() {
        let peers: Vec<_> = (1..=2).map(|n| Arc::new(Peer::new(backend("e-1-0", n)))).collect();
        let _busy: Vec<_> = (0..5).map(|_| Busy::new(Arc::clone(&peers[0]), None)).collect();
        let chosen = |_| least_busy(&peers, &[], |_| true).expect("a peer").address().port();
        let idle = (0..400).map(chosen).filter(|port| *port == 2).count();
        assert!(idle > 220, "three of four choices see the idle one, {idle} of 400 took it");
    }

    #[test]
    fn peers_that_made_others_wait_come_last() {
        let directory = Directory::new(Key::new(b"secret"));
        let live = target("e-2", &[backend("e-2-0", 2)]);
        directory.replace(&table(app("a.test", live, target("e-1", &[backend("e-1-0", 1)]))));
        let app = found(&directory, "a.test").expect("found");
        let slow = app.choose(None, &[], || 0).expect("a peer").1;
        directory.avoid(&slow, Duration::from_secs(5));
        assert_eq!(app.choose(None, &[], || directory.now()).expect("a peer").1.address().port(), 1);
        assert_eq!(app.choose(None, &[], || directory.now() + 6000).expect("a peer").1.address().port(), 2);
    }
}
