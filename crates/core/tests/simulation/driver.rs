//! The driver of the simulation: built from the engine's pieces, as the server's is, but it moves the clock itself.

use crate::{
    promises,
    rng::Rng,
    world::{Crash, Inner, Life, Manners, Sim},
};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use teal_core::{
    deploy::{
        Act, App, Cause, Commit, Deployment, Failure, Observation, Outcome, Phase, Refusal, Rejection,
        Request, Rows, Settings, Stage, State, Step,
    },
    engine::{self, Due, Error, World},
    id::AppId,
    time::Time,
};

/// When the next line of a script is due, once the one before is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Now,
    /// Nothing is under way and nothing bakes.
    Rest,
    /// So many milliseconds later.
    After(u64),
    /// The newest deployment of this commit has this phase (by its word).
    In(&'static str, &'static str),
    /// The newest environment of this commit has this state (by its word).
    Is(&'static str, &'static str),
}

/// A line of a script.
#[derive(Clone, Copy)]
pub(crate) enum Do {
    Push(&'static str),
    Redeploy(&'static str),
    Wake,
    Restart,
    Config,
    Scale(u32),
    Stop,
    Start,
    /// The newest deployment that is not over, or else the newest.
    Cancel,
    GoLive,
    Delete,
    Maintain(&'static str),
    Set(fn(&mut Settings)),
    Manners(&'static str, fn(&mut Manners)),
    /// Instance number n of the newest environment of this commit exits.
    Kill(&'static str, u32),
    Reboot,
    /// The server is down for so many milliseconds.
    Down(u64),
    Nothing,
}

pub(crate) type Script = Vec<(When, Do)>;

type Task<'a> = (Step, Pin<Box<dyn Future<Output = Outcome> + 'a>>);

pub(crate) struct Driver<'a> {
    pub(crate) sim: &'a Sim,
    app: AppId,
    tasks: Vec<Task<'a>>,
    /// Steps whose answer was "unknown" pause for a moment.
    pauses: BTreeMap<String, Time>,
    down_until: Option<Time>,
    script: Script,
    line: usize,
    line_since: Time,
    /// The present line was due once: what a crash interrupts is asked again.
    line_due: bool,
    /// The present line was asked, but the answer was lost: the second answer may well be a refusal.
    asked: bool,
    /// What exactly was asked: asking again is asking for the same.
    asking: Option<Act>,
    /// Something was seen that is not told to the machine yet.
    unseen: bool,
    configs: u64,
    rng: Rng,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) trace: bool,
}

/// Runs a future whose every wait is over already.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the engine waits for nothing but the world"),
    }
}

pub(crate) fn app_id() -> AppId {
    "a-shop".parse().expect("legal")
}

pub(crate) fn fresh_rows(settings: Settings) -> Rows {
    Rows::new(App::new(app_id(), "shop".into(), vec!["shop.test".into()], settings))
}

pub(crate) fn commit(name: &str) -> Commit {
    Commit { id: name.into(), message: format!("make {name}"), author: "ann".into() }
}

/// More turns of the loop than any run needs.
const MAX_TURNS: usize = 60_000;

/// How long a step pauses after an answer that said nothing.
const PAUSE_MS: u64 = 1_000;

/// How long a crashed server is away.
const RESTART_MS: u64 = 700;

impl<'a> Driver<'a> {
    pub(crate) fn new(sim: &'a Sim, script: Script, seed: u64) -> Self {
        let line_since = sim.lock().now;
        Self {
            sim,
            app: app_id(),
            tasks: Vec::new(),
            pauses: BTreeMap::new(),
            down_until: None,
            script,
            line: 0,
            line_since,
            line_due: false,
            asked: false,
            asking: None,
            unseen: false,
            configs: 0,
            rng: Rng::new(seed ^ 0x5EED),
            refusals: Vec::new(),
            trace: false,
        }
    }

    /// Runs the script, and then until nothing is left to do but for the clocks that are years away.
    pub(crate) fn run(&mut self) {
        for _ in 0..MAX_TURNS {
            if !self.sim.lock().violations.is_empty() {
                return;
            }
            match self.turn() {
                Turn::Again => {}
                Turn::Quiet => return,
            }
        }
        self.sim.lock().violations.push("it never comes to rest".into());
    }

    fn turn(&mut self) -> Turn {
        self.rise_or_fall();
        let now = self.sim.now();
        let mut next = None;
        let mut progress = false;
        if self.down_until.is_none() {
            match now_or_never(engine::settle(self.sim, &self.app)) {
                Ok(due) => {
                    next = due.next;
                    progress |= self.arrange(&due);
                    progress |= self.poll();
                    progress |= self.look(&due.rows);
                }
                Err(error) => self.store_failed(&error),
            }
        }
        progress |= self.play();
        if progress || self.sim.lock().crashed {
            return Turn::Again;
        }
        self.advance(now, next)
    }

    fn store_failed(&mut self, error: &Error<Crash>) {
        if !matches!(error, Error::Store(_) | Error::Busy) {
            self.sim.lock().violations.push(format!("the machine is at fault: {error:?}"));
        }
    }

    /// A crash takes every task with it; some of their effects happen all the same.
    fn rise_or_fall(&mut self) {
        let (crashed, now) = {
            let mut inner = self.sim.lock();
            (std::mem::take(&mut inner.crashed), inner.now)
        };
        if crashed {
            self.trace("-- the server dies");
            while let Some((_, task)) = self.tasks.pop() {
                self.abort(task);
            }
            self.pauses.clear();
            let until = self.down_until.unwrap_or_default().max(now.plus(RESTART_MS));
            self.down_until = Some(until);
        }
        self.down_until = self.down_until.filter(|until| now < *until);
        self.sim.lock().crashed = false;
    }

    /// Drops a task; by chance its effect was beyond recall. Gives its answer, if it came to one.
    fn abort(&mut self, mut task: Pin<Box<dyn Future<Output = Outcome> + 'a>>) -> Option<Outcome> {
        let jitter = self.sim.lock().chaos.jitter;
        if !jitter || self.rng.chance(50) {
            return None;
        }
        self.sim.lock().hurry = true;
        let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.sim.lock().hurry = false;
        match polled {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// An answer that comes after its step was given up: the machine must not want it.
    fn too_late(&mut self, step: &Step, outcome: &Outcome) {
        self.trace(&format!("   too late {} {outcome:?}", step.key()));
        if let Ok(true) = now_or_never(engine::answer(self.sim, &self.app, step, outcome)) {
            self.sim
                .lock()
                .violations
                .push(format!("an answer that nobody wants is dropped: {}", step.key()));
        }
    }

    fn arrange(&mut self, due: &Due) -> bool {
        let moves = engine::moves(self.tasks.iter().map(|(step, _)| step), &due.steps);
        for key in &moves.end {
            if let Some(place) = self.tasks.iter().position(|(step, _)| step.key() == *key) {
                let (step, task) = self.tasks.remove(place);
                self.trace(&format!("   aborts {}", step.key()));
                if let Some(outcome) = self.abort(task) {
                    self.too_late(&step, &outcome);
                }
            }
        }
        let now = self.sim.now();
        self.pauses.retain(|_, until| now < *until);
        let mut began = false;
        for step in moves.begin {
            if self.pauses.contains_key(&step.key()) {
                continue;
            }
            began = true;
            self.trace(&format!("   begins {}", step.key()));
            let (sim, rows, own) = (self.sim, due.rows.clone(), step.clone());
            self.tasks.push((step, Box::pin(async move { sim.perform(&rows, &own).await })));
        }
        began || !moves.end.is_empty()
    }

    fn poll(&mut self) -> bool {
        let mut ended = Vec::new();
        let mut place = 0;
        while place < self.tasks.len() {
            let polled = self.tasks[place].1.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Ready(outcome) => ended.push((self.tasks.remove(place).0, outcome)),
                Poll::Pending => place += 1,
            }
            if self.sim.lock().crashed {
                return true;
            }
        }
        let progress = !ended.is_empty();
        if self.sim.lock().chaos.jitter && self.rng.chance(50) {
            ended.reverse();
        }
        for (step, outcome) in ended {
            self.trace(&format!("   ended {} {outcome:?}", step.key()));
            let known = now_or_never(engine::answer(self.sim, &self.app, &step, &outcome));
            if !matches!(known, Ok(true)) {
                let until = self.sim.now().plus(PAUSE_MS);
                self.sim.lock().wakes.insert(until);
                self.pauses.insert(step.key(), until);
            }
            match known {
                Err(error) => {
                    self.store_failed(&error);
                    return true;
                }
                Ok(_) if self.sim.lock().crashed => return true,
                Ok(_) => {}
            }
        }
        progress
    }

    /// Compares what the rows say with what is there.
    fn look(&mut self, rows: &Rows) -> bool {
        let seen: Vec<Observation> =
            rows.environments.iter().flat_map(|e| seen_of(&self.sim.lock(), e)).collect();
        self.unseen = !seen.is_empty();
        let late = self.sim.lock().chaos.jitter && self.rng.chance(60);
        if late && !seen.is_empty() {
            let soon = self.sim.now().plus(200);
            self.sim.lock().wakes.insert(soon);
            return false;
        }
        let mut news = false;
        for observation in seen {
            news |= matches!(now_or_never(engine::observe(self.sim, &self.app, &observation)), Ok(true));
        }
        news
    }

    /// Plays the next line of the script, if it is due.
    fn play(&mut self) -> bool {
        let Some((when, act)) = self.script.get(self.line).copied() else { return false };
        self.line_due = self.line_due || self.is_due(when);
        if !self.line_due {
            return false;
        }
        let done = self.act(act);
        if done {
            self.line += 1;
            self.line_due = false;
            self.asked = false;
            self.asking = None;
            self.line_since = self.sim.now();
        }
        done
    }

    fn is_due(&self, when: When) -> bool {
        let mut inner = self.sim.lock();
        let now = inner.now;
        let at = match when {
            When::Now => return true,
            When::After(ms) => self.line_since.plus(ms),
            _ => Time(0),
        };
        if now < at {
            inner.wakes.insert(at);
            return false;
        }
        let Some(rows) = &inner.rows else { return true };
        match when {
            When::Now | When::After(_) => true,
            When::Rest => promises::is_quiet(rows),
            When::In(commit, phase) => newest(rows, commit).is_some_and(|d| d.phase.word() == phase),
            When::Is(commit, state) => {
                let of = rows.environments.iter().rfind(|e| e.commit.id == commit);
                of.is_some_and(|e| e.state.word() == state)
            }
        }
    }

    fn act(&mut self, act: Do) -> bool {
        match act {
            Do::Nothing => true,
            Do::Manners(commit, change) => {
                change(self.sim.lock().manners.entry(commit.into()).or_default());
                true
            }
            Do::Kill(commit, number) => {
                let mut inner = self.sim.lock();
                let id =
                    inner.rows.as_ref().and_then(|r| r.environments.iter().rfind(|e| e.commit.id == commit));
                if let Some(id) = id.map(|e| e.id.clone()) {
                    inner.kill(&id, number);
                }
                true
            }
            Do::Reboot => {
                self.sim.lock().reboot();
                true
            }
            Do::Down(ms) => {
                let mut inner = self.sim.lock();
                inner.crashed = true;
                let until = inner.now.plus(ms);
                inner.wakes.insert(until);
                self.down_until = Some(until);
                true
            }
            _ => self.ask(act),
        }
    }

    /// A user asks until there is an answer, always under the same id.
    fn ask(&mut self, act: Do) -> bool {
        if self.down_until.is_some() {
            return false;
        }
        let Some(act) = self.asking.clone().or_else(|| self.translate(act)) else { return true };
        self.asking = Some(act.clone());
        let cause = match act {
            Act::Push { .. } => Cause::Git,
            Act::Maintenance { .. } => Cause::Maintenance,
            _ => Cause::Console,
        };
        let author = (cause != Cause::Maintenance).then(|| "ann".to_owned());
        let id = format!("d-{}", self.line + 1).parse().expect("legal");
        let request = Request { id, cause, author, act };
        self.trace(&format!("-- asks {:?}", request.act));
        match now_or_never(engine::request(self.sim, &self.app, &request)) {
            Ok(_) => true,
            Err(Error::Rejected(Rejection::Refused(refusal))) => {
                if !self.asked {
                    self.refusals.push(refusal);
                }
                true
            }
            Err(error) => {
                self.store_failed(&error);
                self.asked = true;
                false
            }
        }
    }

    fn translate(&mut self, act: Do) -> Option<Act> {
        let image = || "img-1".to_owned();
        let target = || {
            let inner = self.sim.lock();
            let rows = inner.rows.as_ref()?;
            let mut all: Vec<&Deployment> = rows.deployments.iter().collect();
            all.sort_by_key(|d| (!matches!(d.phase, Phase::Baked { .. } | Phase::Ended { .. }), d.request));
            all.last().map(|d| d.id.clone())
        };
        Some(match act {
            Do::Push(name) => Act::Push { commit: commit(name), image: image() },
            Do::Redeploy(name) => Act::Redeploy { commit: commit(name), image: image() },
            Do::Wake => Act::Wake,
            Do::Restart => Act::Restart,
            Do::Config => {
                self.configs += 1;
                Act::Config { config: self.configs }
            }
            Do::Scale(instances) => Act::Scale { instances },
            Do::Stop => Act::Stop,
            Do::Start => Act::Start,
            Do::Cancel => Act::Cancel { deployment: target()? },
            Do::GoLive => Act::GoLive { deployment: target()? },
            Do::Delete => Act::Delete,
            Do::Maintain(image) => Act::Maintenance { image: image.to_owned(), note: None },
            Do::Set(change) => {
                let inner = self.sim.lock();
                let app = &inner.rows.as_ref()?.app;
                let mut settings = app.settings.clone();
                change(&mut settings);
                Act::Set { settings, name: app.name.clone(), domains: app.domains.clone() }
            }
            Do::Manners(..) | Do::Kill(..) | Do::Reboot | Do::Down(_) | Do::Nothing => return None,
        })
    }

    /// Nothing is left to do at this instant: on to the next one.
    fn advance(&mut self, now: Time, due: Option<Time>) -> Turn {
        let mut inner = self.sim.lock();
        inner.wakes.retain(|at| *at > now && *at < Time(u64::MAX));
        let down = self.down_until;
        let next = [inner.wakes.first().copied(), due, down].into_iter().flatten().min();
        let idle = self.tasks.is_empty() && self.pauses.is_empty() && down.is_none() && !self.unseen;
        if idle && inner.rows.as_ref().is_some_and(promises::is_quiet) {
            promises::at_rest(&mut inner);
        }
        match next {
            Some(next) => {
                inner.now = next;
                Turn::Again
            }
            None => {
                if self.line < self.script.len() {
                    let line = self.line;
                    inner.violations.push(format!("line {line} of the script never comes due"));
                }
                Turn::Quiet
            }
        }
    }

    fn trace(&self, text: &str) {
        if self.trace {
            let inner = self.sim.lock();
            eprintln!("{:>8} {text}", inner.now.0 - 1_000_000);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Turn {
    Again,
    Quiet,
}

pub(crate) fn newest<'r>(rows: &'r Rows, commit: &str) -> Option<&'r Deployment> {
    let of = rows.deployments.iter().filter(|d| d.commit.as_ref().is_some_and(|c| c.id == commit));
    of.max_by_key(|d| d.request)
}

/// What a look at an environment finds out.
fn seen_of(inner: &Inner, environment: &teal_core::deploy::Environment) -> Vec<Observation> {
    let thing = inner.things.get(&environment.id);
    let has_any = thing.is_some_and(|t| t.snapshot || t.instances.values().any(|i| i.life != Life::Absent));
    let should = matches!(environment.state, State::Up | State::Draining { .. } | State::Memory);
    if should && !has_any {
        return vec![Observation::Vanished { environment: environment.id.clone(), epoch: environment.epoch }];
    }
    if environment.state != State::Up {
        return Vec::new();
    }
    let lost = environment.instances.iter().filter(|i| i.is_good()).filter(|i| {
        let real = thing.and_then(|t| t.instances.get(&i.id));
        real.is_none_or(|real| real.life != Life::Running)
    });
    lost.map(|i| Observation::Lost {
        environment: environment.id.clone(),
        instance: i.id.clone(),
        epoch: i.epoch,
        failure: Failure::new(Stage::Bake, format!("instance {} exited with 1", i.id)),
    })
    .collect()
}
