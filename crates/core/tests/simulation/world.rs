//! The simulated world: a store, a router, a runtime and a clock that only the simulation moves.

use crate::{promises, rng::Rng};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, MutexGuard},
    task::{Context, Poll},
};
use teal_core::{
    deploy::{Change, Deployment, Event, Mail, Outcome, Rows, State, Step},
    engine::{Committed, World},
    id::{AppId, DeploymentId, EnvironmentId, InstanceId},
    route::{AppRoute, Backend},
    time::Time,
};

/// What one instance really does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    Frozen,
    /// It exited by itself.
    Dead,
    Absent,
}

#[derive(Debug, Clone)]
pub(crate) struct Inst {
    pub(crate) life: Life,
    pub(crate) address: SocketAddr,
    pub(crate) workers: bool,
}

/// What really is there of one environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Thing {
    pub(crate) instances: BTreeMap<InstanceId, Inst>,
    pub(crate) snapshot: bool,
}

/// How a commit behaves; may change during a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manners {
    pub(crate) build_fails: bool,
    pub(crate) build_hangs: bool,
    pub(crate) raise_fails: bool,
    /// It is a task: it ends instead of staying.
    pub(crate) task: bool,
    pub(crate) check_fails: bool,
    pub(crate) check_hangs: bool,
    pub(crate) sick: bool,
    pub(crate) repair_fails: bool,
    pub(crate) cannot_sleep: bool,
    /// How long ordinary requests and upgraded streams go on after the traffic left, in milliseconds.
    pub(crate) busy_ms: u64,
    pub(crate) streams_ms: u64,
}

/// Where a run is made to crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Before(u64),
    After(u64),
    /// Done, but the answer says that nobody knows.
    Unknown(u64),
}

/// How unkind the world is by chance, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chaos {
    pub(crate) crash: u64,
    pub(crate) unknown: u64,
    pub(crate) conflict: u64,
    pub(crate) jitter: bool,
}

pub(crate) struct Inner {
    pub(crate) now: Time,
    /// Everything that was ever stored.
    pub(crate) rows: Option<Rows>,
    pub(crate) events: Vec<Event>,
    pub(crate) mails: Vec<Mail>,
    pub(crate) router: Option<AppRoute>,
    pub(crate) router_number: u64,
    pub(crate) things: BTreeMap<EnvironmentId, Thing>,
    pub(crate) removed: BTreeSet<EnvironmentId>,
    pub(crate) manners: BTreeMap<String, Manners>,
    pub(crate) violations: Vec<String>,
    pub(crate) calls: u64,
    pub(crate) fault: Option<Fault>,
    pub(crate) chaos: Chaos,
    pub(crate) crashed: bool,
    pub(crate) rng: Rng,
    /// When somebody waits for.
    pub(crate) wakes: BTreeSet<Time>,
    /// A task is being aborted too late: its effect happens at once.
    pub(crate) hurry: bool,
    pub(crate) memory: promises::Memory,
    /// When the router stopped sending traffic to an environment, and how that environment behaved then.
    pub(crate) left: BTreeMap<EnvironmentId, (Time, Manners)>,
    next_port: u16,
}

pub(crate) struct Sim(Mutex<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("the process died")]
pub(crate) struct Crash;

impl Sim {
    pub(crate) fn new(rows: Rows, seed: u64) -> Self {
        Self(Mutex::new(Inner {
            now: Time(1_000_000),
            rows: Some(rows),
            events: Vec::new(),
            mails: Vec::new(),
            router: None,
            router_number: 0,
            things: BTreeMap::new(),
            removed: BTreeSet::new(),
            manners: BTreeMap::new(),
            violations: Vec::new(),
            calls: 0,
            fault: None,
            chaos: Chaos::default(),
            crashed: false,
            rng: Rng::new(seed),
            wakes: BTreeSet::new(),
            hurry: false,
            memory: promises::Memory::default(),
            left: BTreeMap::new(),
            next_port: 1,
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no panic while locked")
    }

    pub(crate) fn wait(&self, ms: u64) -> Wait<'_> {
        Wait { sim: self, ms, until: None }
    }

    pub(crate) fn wait_until(&self, at: Time) -> Wait<'_> {
        Wait { sim: self, ms: 0, until: Some(at) }
    }

    /// A call of the outside that may be the last thing that the process does, or whose answer may be lost.
    pub(crate) fn call(&self, act: impl FnOnce(&mut Inner) -> Outcome) -> Outcome {
        let mut inner = self.lock();
        inner.calls += 1;
        let (fate, n) = (inner.fate(), inner.calls);
        match fate {
            Fate::CrashBefore => inner.crashed = true,
            Fate::CrashAfter => {
                act(&mut inner);
                inner.crashed = true;
            }
            Fate::Unknown if n.is_multiple_of(2) => {
                act(&mut inner);
            }
            Fate::Unknown => {}
            Fate::Fine => {
                let outcome = act(&mut inner);
                promises::at_every_instant(&mut inner);
                return outcome;
            }
        }
        promises::at_every_instant(&mut inner);
        Outcome::Unknown
    }
}

enum Fate {
    Fine,
    CrashBefore,
    CrashAfter,
    Unknown,
}

impl Inner {
    fn fate(&mut self) -> Fate {
        let n = self.calls;
        match self.fault {
            Some(Fault::Before(at)) if at == n => return Fate::CrashBefore,
            Some(Fault::After(at)) if at == n => return Fate::CrashAfter,
            Some(Fault::Unknown(at)) if at == n => return Fate::Unknown,
            _ => {}
        }
        let chaos = self.chaos;
        if self.rng.chance(chaos.crash) {
            return if self.rng.chance(50) { Fate::CrashBefore } else { Fate::CrashAfter };
        }
        if self.rng.chance(chaos.unknown) { Fate::Unknown } else { Fate::Fine }
    }

    /// A latency: as given, or by chance around it.
    fn latency(&mut self, ms: u64) -> u64 {
        if self.chaos.jitter { self.rng.below(2 * ms + 1) } else { ms }
    }

    pub(crate) fn manners_of(&self, environment: &EnvironmentId) -> Manners {
        let row = self.rows.as_ref().and_then(|rows| rows.environment(environment));
        row.and_then(|e| self.manners.get(&e.commit.id)).cloned().unwrap_or_default()
    }

    pub(crate) fn address(&mut self) -> SocketAddr {
        self.next_port += 1;
        SocketAddr::from(([10, 0, (self.next_port >> 8) as u8, (self.next_port & 255) as u8], 8080))
    }

    pub(crate) fn thing(&mut self, environment: &EnvironmentId) -> &mut Thing {
        self.things.entry(environment.clone()).or_default()
    }

    pub(crate) fn start(&mut self, environment: &EnvironmentId, id: &InstanceId) -> Backend {
        if self.removed.contains(environment) {
            self.violations.push(format!("gone is never raised: {environment}"));
        }
        let fresh = self.address();
        let thing = self.thing(environment);
        thing.snapshot = false;
        let inst = thing.instances.entry(id.clone()).or_insert(Inst {
            life: Life::Absent,
            address: fresh,
            workers: false,
        });
        match inst.life {
            Life::Running => {}
            Life::Frozen => inst.life = Life::Running,
            Life::Dead | Life::Absent => *inst = Inst { life: Life::Running, address: fresh, workers: false },
        }
        Backend { instance: id.clone(), address: inst.address, tcp: None }
    }

    pub(crate) fn lower(&mut self, environment: &EnvironmentId, to: Life) {
        promises::before_lowering(self, environment);
        for inst in self.thing(environment).instances.values_mut() {
            inst.life = to;
            inst.workers &= to == Life::Frozen;
        }
    }

    /// All instances that it should have run.
    pub(crate) fn is_sound(&self, environment: &EnvironmentId) -> bool {
        let count =
            self.rows.as_ref().and_then(|r| r.environment(environment)).map_or(1, |e| e.count as usize);
        self.things.get(environment).is_some_and(|thing| {
            thing.instances.values().filter(|i| i.life == Life::Running).count() == count
        })
    }

    pub(crate) fn is_whole_or_asleep(&self, environment: &EnvironmentId) -> bool {
        let count =
            self.rows.as_ref().and_then(|r| r.environment(environment)).map_or(1, |e| e.count as usize);
        let there = |i: &&Inst| matches!(i.life, Life::Running | Life::Frozen);
        self.things.get(environment).is_some_and(|t| t.instances.values().filter(there).count() == count)
    }

    /// An instance exits by itself.
    pub(crate) fn kill(&mut self, environment: &EnvironmentId, number: u32) {
        let id = environment.instance(number);
        if let Some(inst) = self.things.get_mut(environment).and_then(|t| t.instances.get_mut(&id))
            && inst.life == Life::Running
        {
            inst.life = Life::Dead;
            inst.workers = false;
        }
    }

    /// The host reboots: nothing of what ran or slept in memory is left; the router reads its saved table.
    pub(crate) fn reboot(&mut self) {
        for thing in self.things.values_mut() {
            thing.instances.clear();
        }
        self.crashed = true;
    }
}

/// Waits for the simulation's clock.
pub(crate) struct Wait<'a> {
    sim: &'a Sim,
    ms: u64,
    until: Option<Time>,
}

impl Future for Wait<'_> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.sim.lock();
        let ms = self.ms;
        let now = inner.now;
        let until = match self.until {
            Some(until) => until,
            None => now.plus(inner.latency(ms)),
        };
        let ready = inner.hurry || now >= until;
        if !ready {
            inner.wakes.insert(until);
        }
        drop(inner);
        self.until = Some(until);
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl World for Sim {
    type Error = Crash;

    fn now(&self) -> Time {
        self.lock().now
    }

    /// As the real store: rows that do not matter any more are left out.
    async fn load(&self, app: &AppId) -> Result<Option<Rows>, Crash> {
        let inner = self.lock();
        let Some(all) = inner.rows.as_ref().filter(|rows| rows.app.id == *app) else { return Ok(None) };
        let environments: Vec<_> =
            all.environments.iter().filter(|e| e.state != State::Gone).cloned().collect();
        let named: BTreeSet<&DeploymentId> = environments.iter().map(|e| &e.deployment).collect();
        let matters = |d: &&Deployment| !d.is_over() || named.contains(&d.id);
        let deployments = all.deployments.iter().filter(matters).cloned().collect();
        Ok(Some(Rows { app: all.app.clone(), deployments, environments }))
    }

    async fn commit(&self, base: u64, change: &Change) -> Result<Committed, Crash> {
        let mut inner = self.lock();
        inner.calls += 1;
        let conflict = inner.chaos.conflict;
        if inner.rng.chance(conflict) || inner.rows.as_ref().is_none_or(|rows| rows.app.version != base) {
            return Ok(Committed::Conflict);
        }
        let fate = inner.fate();
        if matches!(fate, Fate::CrashBefore) {
            inner.crashed = true;
            return Err(Crash);
        }
        store(&mut inner, change);
        if matches!(fate, Fate::CrashAfter) {
            inner.crashed = true;
            return Err(Crash);
        }
        Ok(Committed::Ok)
    }

    async fn perform(&self, rows: &Rows, step: &Step) -> Outcome {
        self.effect(rows, step).await
    }
}

/// What the transaction does to the store: upserts rows, appends events and mails.
fn store(inner: &mut Inner, change: &Change) {
    promises::at_commit(inner, change);
    let Some(rows) = inner.rows.as_mut() else { return };
    rows.app = change.rows.app.clone();
    for deployment in &change.rows.deployments {
        match rows.deployments.iter_mut().find(|d| d.id == deployment.id) {
            Some(row) => row.clone_from(deployment),
            None => rows.deployments.push(deployment.clone()),
        }
    }
    for environment in &change.rows.environments {
        match rows.environments.iter_mut().find(|e| e.id == environment.id) {
            Some(row) => row.clone_from(environment),
            None => rows.environments.push(environment.clone()),
        }
    }
    inner.events.extend(change.events.iter().cloned());
    inner.mails.extend(change.mails.iter().cloned());
    promises::at_every_instant(inner);
}
