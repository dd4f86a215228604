//! The deployment health check: every path of every instance, again and again, until enough good probes in a row. The verdict says all that is known.

use super::{World, now};
use crate::{
    diagnosis,
    instancelog::{self, Follower},
    log::{self, Logs},
    probe::{Finding, Probe, connect, probe},
};
use futures_util::future::try_join_all;
use std::{collections::HashMap, net::SocketAddr, time::Duration};
use teal_core::{
    deploy::{Fact, Failure, Outcome, Rows, Stage},
    id::{DeploymentId, EnvironmentId},
    route::Backend,
    time::Time,
};
use teal_runtime::{Exit, LogLine, Outcome as Effect, Runtime, State};

/// From the end of one probe to the begin of the next.
const EVERY: Duration = Duration::from_millis(100);
/// An app that answers badly, or listens on 127.0.0.1 only, for so long will not get better. Longer where it runs slowly.
const GRACE_MS: u64 = 10_000;
/// How often the log repeats what has not changed.
const REMIND_MS: u64 = 5_000;
/// Lines of the app's log that a failure shows.
const LINES: usize = 50;

/// What healthy means for one environment.
pub(super) struct Health {
    /// All of these must be answered well: paths, and [`TCP`].
    pub(super) questions: Vec<String>,
    /// The `Host` of the probes.
    pub(super) host: String,
    /// Only 200 is good.
    pub(super) strict: bool,
    /// Good probes in a row.
    pub(super) good: u32,
    /// The port inside.
    pub(super) port: u16,
    /// The port inside that streams go to; often the same.
    pub(super) tcp_port: u16,
    /// How long one probe may take.
    pub(super) patience: Duration,
}

/// The question whether the port for streams accepts connections: no path is empty.
pub(super) const TCP: &str = "";

impl Health {
    /// Asks one instance one of the questions.
    pub(super) async fn probe(&self, backend: &Backend, question: &str) -> Probe {
        match question {
            TCP => connect(backend.streams()).await,
            path => probe(backend.address, &self.host, path, self.patience).await,
        }
    }

    /// The port inside that a question is for, and the variable that names it.
    fn port_of(&self, question: &str) -> (u16, &'static str) {
        if question == TCP && self.tcp_port != self.port {
            return (self.tcp_port, "TCP_PORT");
        }
        (self.port, "PORT")
    }
}

impl World {
    pub(super) async fn check(
        &self,
        rows: &Rows,
        deployment: &DeploymentId,
        id: &EnvironmentId,
        deadline: Time,
    ) -> Outcome {
        let Some(environment) = rows.environment(id) else { return Outcome::Unknown };
        let health = match self.health(rows, environment).await {
            Ok(health) => health,
            Err(outcome) => return outcome,
        };
        let backends = environment.backends();
        let all = backends
            .iter()
            .map(|backend| Checker::new(self, Some(deployment), backend, &health).until(deadline));
        match try_join_all(all).await {
            Ok(probes) => {
                Outcome::Done { fact: Fact::Healthy { probes: probes.into_iter().flatten().collect() } }
            }
            Err(failure) => {
                self.say(deployment, "check", &format!("Health check failed: {}", failure.message));
                Outcome::Broke { failure: failure.bounded() }
            }
        }
    }

    /// Probes one instance outside of any deployment; the message says why it is not healthy.
    pub(super) async fn until_healthy(&self, rows: &Rows, backend: &Backend) -> Result<(), String> {
        let environment = backend
            .instance
            .environment()
            .and_then(|id| rows.environment(&id))
            .ok_or("its environment is gone")?;
        let health = self.health(rows, environment).await.map_err(|_| "its variables cannot be read")?;
        let deadline = now().plus(rows.app.settings.start_ms);
        Checker::new(self, None, backend, &health)
            .until(deadline)
            .await
            .map(drop)
            .map_err(|failure| failure.message)
    }
}

/// Checks one instance.
struct Checker<'a> {
    world: &'a World,
    deployment: Option<&'a DeploymentId>,
    backend: &'a Backend,
    health: &'a Health,
    follower: Follower,
    good: u32,
    bad_since: Option<Time>,
    /// What the log said last of each path, and when.
    told: HashMap<String, (String, Time)>,
    last: Vec<Probe>,
}

impl<'a> Checker<'a> {
    fn new(
        world: &'a World,
        deployment: Option<&'a DeploymentId>,
        backend: &'a Backend,
        health: &'a Health,
    ) -> Self {
        let follower = Follower::at_begin(world.runtime.log(&backend.instance));
        Self {
            world,
            deployment,
            backend,
            health,
            follower,
            good: 0,
            bad_since: None,
            told: HashMap::new(),
            last: Vec::new(),
        }
    }

    /// Until enough good probes in a row, or it cannot get better, or the deadline.
    async fn until(mut self, deadline: Time) -> Result<Vec<String>, Failure> {
        loop {
            self.pass_on_log();
            let state = self.state().await;
            if let Some(State::Exited(exit)) = &state {
                self.pass_on_log();
                return Err(self.failure(&exited(exit), None));
            }
            self.probe_all().await;
            if self.good >= self.health.good {
                return Ok(self.last.iter().map(|p| format!("{}: {p}", self.backend.instance)).collect());
            }
            let listening = listening(state.as_ref());
            if let Some(message) = self.verdict(&listening, deadline) {
                return Err(self.failure(&message, Some(&listening)));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn state(&self) -> Option<State> {
        match self.world.runtime.inspect(&self.backend.instance).await {
            Effect::Done(inspection) => Some(inspection.state),
            Effect::Broke(_) | Effect::Unknown(_) => None,
        }
    }

    async fn probe_all(&mut self) {
        self.last.clear();
        for question in &self.health.questions {
            let found = self.health.probe(self.backend, question).await;
            let good = found.finding.good(self.health.strict);
            self.last.push(found);
            if !good {
                break;
            }
        }
        let good = self.last.iter().all(|p| p.finding.good(self.health.strict))
            && self.last.len() == self.health.questions.len();
        self.good = if good { self.good + 1 } else { 0 };
        self.tell();
    }

    /// Every probe with its latency, and beside them the lines that users of this contract know, when something changed.
    fn tell(&mut self) {
        for index in 0..self.last.len() {
            let found = &self.last[index];
            self.write(log::PROBE, &found.to_string());
            let (path, words) = (found.path.clone(), self.words(found));
            let known =
                self.told.get(&path).is_some_and(|(told, at)| *told == words && now().since(*at) < REMIND_MS);
            if !known {
                self.write("check", &words);
                self.told.insert(path, (words, now()));
            }
        }
    }

    fn words(&self, found: &Probe) -> String {
        let (port, _) = self.health.port_of(&found.path);
        match &found.finding {
            Finding::NotListening => format!("Nothing listening on 0.0.0.0:{port} yet…"),
            Finding::Status { code, .. } => format!("Response from GET {} is {code}", found.path),
            Finding::Accepts => format!("0.0.0.0:{port} accepts connections"),
            Finding::Broken(why) => format!("GET {} {why}", found.path),
        }
    }

    /// Why it will not get better, or is too late.
    fn verdict(&mut self, listening: &[SocketAddr], deadline: Time) -> Option<String> {
        let refused = self.last.iter().find(|p| p.finding == Finding::NotListening);
        let (port, variable) = self.health.port_of(refused.map_or("/", |probe| &probe.path));
        let only_loopback = listening.iter().any(|a| a.port() == port && a.ip().is_loopback())
            && !listening.iter().any(|a| a.port() == port && !a.ip().is_loopback());
        let refused = refused.is_some();
        let hopeless = self.good == 0 && (!refused || only_loopback);
        self.bad_since = if hopeless { self.bad_since.or(Some(now())) } else { None };
        let waited = self
            .bad_since
            .is_some_and(|since| now().since(since) >= GRACE_MS * u64::from(self.world.runtime.slowness()));
        if !waited && now() < deadline {
            return None;
        }
        Some(match (only_loopback, refused) {
            (true, _) => format!(
                "the app listens on 127.0.0.1:{port} only, where nobody else can reach it: make it listen on 0.0.0.0:{port}"
            ),
            (false, true) => not_listening(port, variable, listening),
            (false, false) => self.last.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        })
    }

    fn failure(&self, message: &str, listening: Option<&[SocketAddr]>) -> Failure {
        let mut details: Vec<String> = self.last.iter().map(|p| format!("- {p}")).collect();
        if let Some(listening) = listening {
            let all: Vec<String> = listening.iter().map(ToString::to_string).collect();
            details.push(format!(
                "listening inside {}: {}",
                self.backend.instance,
                if all.is_empty() { "nothing".into() } else { all.join(", ") }
            ));
        }
        let lines = instancelog::tail(&self.world.runtime.log(&self.backend.instance), LINES);
        // An app that answers started well: what its log complains of is another matter.
        let silent = self.last.iter().all(|p| p.finding == Finding::NotListening);
        let message = match listening {
            // Without an answer of what listens it ended by itself.
            None => last_words(message, &lines),
            Some(_) if silent => with_hint(message, diagnosis::of_start(&texts(&lines))),
            Some(_) => message.to_owned(),
        };
        details
            .extend(lines.iter().map(|line| format!("{}: {}", line.stage, crate::log::harmless(&line.text))));
        Failure { stage: Stage::Check, message, details }
    }

    /// What the app writes while it starts belongs to the deployment's log.
    fn pass_on_log(&mut self) {
        let Some(deployment) = self.deployment else { return };
        for line in self.follower.more().unwrap_or_default() {
            let logs: &Logs = &self.world.logs;
            if let Err(error) = logs.append(deployment, Time(line.at), &line.stage, &line.text) {
                tracing::error!(%deployment, %error, "the deployment's log cannot be written");
            }
        }
    }

    fn write(&self, stage: &str, text: &str) {
        if let Some(deployment) = self.deployment {
            self.world.say(deployment, stage, text);
        }
    }
}

fn listening(state: Option<&State>) -> Vec<SocketAddr> {
    match state {
        Some(State::Running { listening }) => listening.clone(),
        _ => Vec::new(),
    }
}

fn not_listening(port: u16, variable: &str, listening: &[SocketAddr]) -> String {
    let others: Vec<String> = listening.iter().map(ToString::to_string).collect();
    if others.is_empty() {
        return format!(
            "nothing listens on 0.0.0.0:{port}: the app must listen on the port that {variable} names"
        );
    }
    format!(
        "nothing listens on 0.0.0.0:{port}, but on {}: the app must listen on the port that {variable} names",
        others.join(", ")
    )
}

/// What an instance that ended by itself said of it: what that means where it is known, and where to look otherwise.
pub(crate) fn last_words(message: &str, lines: &[LogLine]) -> String {
    let look = || (!lines.is_empty()).then(|| "the last lines of its log say why".to_owned());
    with_hint(message, diagnosis::of_start(&texts(lines)).or_else(look))
}

fn with_hint(message: &str, hint: Option<String>) -> String {
    hint.map_or_else(|| message.to_owned(), |hint| format!("{message}; {hint}"))
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| &*line.text).collect()
}

/// How an instance ended, in words.
pub(crate) fn exited(exit: &Exit) -> String {
    if exit.out_of_memory {
        return format!(
            "the app ran out of memory (`{}` was ended by the kernel): give it more with `teal config set memory_mib=…`",
            exit.stage
        );
    }
    match exit.code {
        code @ 129.. => format!("`{}` was ended by signal {}", exit.stage, code - 128),
        code => format!("`{}` exited with code {code}", exit.stage),
    }
}
