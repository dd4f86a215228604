//! Behaviours 2, 5, 6 and 12 at once: deployments while the server, the router and instances are killed at random moments. The seed is printed, and
//! `TEAL_SEED` takes one again; when a process is hit depends on the machine, too.

use crate::{app, at_rest, leftovers::traces, quick, served};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{collections::BTreeSet, process::Stdio, thread, time::Duration};
use teal_core::{api::DeploymentView, upkeep::chance::draw};
use teal_e2e::{Behaviour, Host, Options, Repository, Rig, kill, python_app, slowness, until};

/// Of the app: one may die, and the other goes on serving.
const INSTANCES: usize = 2;
/// Requests that would show both of them.
const MANY: usize = 10;
/// What the rig gives a request; it may have been under way for so long when something was killed.
const REQUEST_MS: f64 = 10_000.0;
/// What a verdict on a version says of which an instance was killed.
const TRUE_CAUSES: [&str; 4] = ["signal 9", "not there any more", "in a row failed", "was refused"];

/// Deployments: half as many where each takes several times as long.
fn rounds() -> u64 {
    if slowness() > 1 { 10 } else { 20 }
}

/// After a death this many milliseconds may pass until those who had connections know of their end.
fn news_ms() -> f64 {
    1_000.0 * f64::from(slowness())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Server,
    Router,
    Instance,
}

/// One kill, in milliseconds since the rig began.
#[derive(Debug, Clone)]
struct Blow {
    victim: Victim,
    /// Just before it.
    from: f64,
    /// The process was gone.
    gone: f64,
    /// All was as before, or in order otherwise.
    over: f64,
}

impl Blow {
    /// Was what failed under way inside what was killed? Nothing of users' goes through the server, and listening sockets outlive the router's worker.
    fn explains(&self, failure: &Value) -> bool {
        let (Some(at), Some(kind)) = (failure["at_ms"].as_f64(), failure["kind"].as_str()) else {
            return false;
        };
        match (self.victim, kind, failure["due_ms"].as_f64()) {
            (Victim::Server, ..) | (_, "connect", _) | (Victim::Router, "old version after new", _) => false,
            // Whatever an answer says, whoever gave it was not what was killed: it is right only for what was under way. A machine's kernel
            // says nothing of its end, so what was sent until the host had told was under way, too.
            (_, "status", Some(due)) => {
                let unknown = if slowness() > 1 { news_ms() } else { 0.0 };
                at >= self.from && self.from - REQUEST_MS <= due && due <= self.gone + unknown
            }
            (_, _, Some(due)) => {
                at >= self.from && self.from - REQUEST_MS <= due && due <= self.gone + news_ms()
            }
            (_, _, None) => self.from <= at && at - noticed_after_ms(kind) <= self.over + news_ms(),
        }
    }
}

/// How long after it began the rig tells of such a failure: a message on a WebSocket may take ten seconds, so that long nobody knows of a silence.
fn noticed_after_ms(kind: &str) -> f64 {
    if kind == "websocket silent" { 10_000.0 } else { 0.0 }
}

struct Run {
    host: Host,
    repository: Repository,
    rig: Rig,
    seed: u64,
    drawn: u64,
    blows: Vec<Blow>,
    /// The names of all run directories that were seen.
    seen: BTreeSet<String>,
}

#[test]
fn deployments_while_everything_is_killed_at_random() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let clean = traces(&host);
    let mut config = quick();
    config["instances"] = json!(INSTANCES);
    let repository = app(&host, "shop", config)?;
    crate::push_well(&repository, "v0")?;
    if host.api().status("shop")?.runtime == "process" {
        println!(
            "SKIPPED: this host has no sandbox, nor machines; a supervisor that is killed leaves its app running"
        );
        return Ok(());
    }
    let rate = if slowness() > 1 { "20" } else { "50" };
    let rig = Rig::start(&host, "shop", &["--rate", rate, "--websockets", "4", "--sse", "2"])?;
    let seed = std::env::var("TEAL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("TEAL_SEED={seed}");
    let mut run = Run { host, repository, rig, seed, drawn: 0, blows: Vec::new(), seen: BTreeSet::new() };
    for number in 1..=rounds() {
        run.round(&format!("v{number}"))
            .with_context(|| format!("round {number}, seed {seed}, {:#?}", run.blows))?;
    }
    let Run { host, rig, blows, seen, .. } = run;
    judge_requests(rig, &blows)?;
    host.delete("shop")?;
    // Agents and keepers have their instance's name on their command line, wherever they are.
    let orphans = || seen.iter().flat_map(|name| host.processes_saying(name)).collect::<Vec<_>>();
    until("nothing is left", || {
        (traces(&host) == clean && host.run_directories().is_empty() && orphans().is_empty()).then_some(())
    })
    .with_context(|| {
        format!(
            "before: {clean:#?}\nnow: {:#?}, {:?}, {:?}",
            traces(&host),
            host.run_directories(),
            orphans()
        )
    })
}

/// Every failure was under way inside something that was killed, and no POST was recorded twice.
fn judge_requests(rig: Rig, blows: &[Blow]) -> Result<()> {
    let report = rig.stop_within(Duration::from_secs(5) * slowness())?;
    let (excused, others): (Vec<&Value>, Vec<&Value>) =
        report.failures.iter().partition(|failure| blows.iter().any(|blow| blow.explains(failure)));
    let count = |victim| blows.iter().filter(|blow| blow.victim == victim).count();
    println!(
        "{} requests; killed: {} servers, {} routers, {} instances; with them {} requests and {} streams or idle connections; posts {}",
        report.requests,
        count(Victim::Server),
        count(Victim::Router),
        count(Victim::Instance),
        excused.iter().filter(|failure| failure["due_ms"].is_f64()).count(),
        excused.iter().filter(|failure| failure["due_ms"].is_null()).count(),
        report.posts
    );
    assert!(others.is_empty(), "failures that no kill explains: {others:#?}\n{blows:#?}");
    assert_eq!(report.posts["repeated"], 0, "{}", report.posts);
    // What an instance had said, and its agent had not read, died with it: those are acknowledged and never told of. They are not counted again.
    let told = report.failures.len() as u64 + report.posts["missing"].as_u64().unwrap_or(0);
    assert_eq!(report.failed, told, "there are more failures than are told in full");
    ensure!(report.requests > 1_000, "{} requests are too few to say anything", report.requests);
    Ok(())
}

impl Run {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        draw(self.seed, self.drawn) % bound.max(1)
    }

    /// One deployment, with one to three kills in it.
    fn round(&mut self, name: &str) -> Result<()> {
        let before = self.host.api().status("shop")?.live.context("nothing is live")?.commit.message;
        let first = self.blows.len();
        let files = python_app(name, &Behaviour::Good);
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        self.repository.commit(&files, name)?;
        let mut push = self.repository.push_command("HEAD:main", &["-q"]).stderr(Stdio::null()).spawn()?;
        for _ in 0..=self.below(3) {
            // The gaps are the test's input, not a wait for something.
            thread::sleep(Duration::from_millis(self.below(2_500) * u64::from(slowness())));
            self.strike(first)?;
        }
        push.wait()?;
        self.accepted(name)?;
        self.settle()?;
        self.judge(name, &before, first)
    }

    fn strike(&mut self, first: usize) -> Result<()> {
        // With both instances of a version dead nobody could serve, and that is not what is tried here.
        let once = self.blows[first..].iter().any(|blow| blow.victim == Victim::Instance);
        let victim = match self.below(4) {
            0 => Victim::Server,
            1 => Victim::Router,
            _ if once => Victim::Server,
            _ => Victim::Instance,
        };
        if victim == Victim::Instance {
            // Production may go back by itself.
            self.rig.expect_back()?;
        }
        let from = self.rig.elapsed_ms()?;
        match victim {
            Victim::Server => self.host.kill_server()?,
            Victim::Router => self.kill_router()?,
            Victim::Instance => {
                let all = self.host.instances();
                let Some(one) = all.get(usize::try_from(self.below(all.len() as u64))?) else {
                    return Ok(());
                };
                kill(one.pid)?;
            }
        }
        let gone = self.rig.elapsed_ms()?;
        match victim {
            Victim::Server => self.host.start_server(&[])?,
            Victim::Router => until("the edge answers again", || {
                self.host.visit("shop", "/").ok().filter(|(status, _)| *status == 200).map(drop)
            })?,
            Victim::Instance => {}
        }
        // An instance's place is taken sooner or later: that is known when all has settled.
        let over = if victim == Victim::Instance { f64::INFINITY } else { self.rig.elapsed_ms()? };
        let runs = self.host.run_directories();
        self.seen.extend(runs.iter().filter_map(|run| Some(run.file_name()?.to_str()?.to_owned())));
        println!("{victim:?} killed at {from:.0} ms");
        self.blows.push(Blow { victim, from, gone, over });
        Ok(())
    }

    /// Its worker; the supervisor, which has the sockets, is what a host's own supervisor would start again.
    fn kill_router(&self) -> Result<()> {
        let [_, workers @ ..] = &self.host.router_pids()[..] else { bail!("the router has no supervisor") };
        ensure!(!workers.is_empty(), "the router has no worker");
        workers.iter().try_for_each(|pid| kill(i32::try_from(*pid)?))
    }

    fn deployment_of(&self, name: &str) -> Option<DeploymentView> {
        let activity = self.host.api().activity("shop").ok()?;
        activity.into_iter().find(|d| d.commit.as_ref().is_some_and(|commit| commit.message == name))
    }

    /// Pushes again until there is a deployment of it: a server that was killed while it took the push may have taken nothing.
    fn accepted(&self, name: &str) -> Result<()> {
        until("the push is taken", || {
            self.deployment_of(name).map(drop).or_else(|| {
                self.repository.push_to("HEAD:main", &["-q"]).ok()?;
                None
            })
        })
    }

    /// Waits until nothing is under way and all instances of what is live answer.
    fn settle(&mut self) -> Result<()> {
        let host = &self.host;
        let settled = || {
            let status = host.api().status("shop").ok().filter(at_rest)?;
            (instances_of(host, &status.live?.commit.message) == INSTANCES).then_some(())
        };
        until("all instances of what is live answer", settled)
            .with_context(|| format!("{:#?}", host.api().status("shop")))?;
        let live = self.host.api().status("shop")?.live.context("nothing is live")?;
        self.rig.stays(&live.commit.message)?;
        let now = self.rig.elapsed_ms()?;
        self.blows.iter_mut().for_each(|blow| blow.over = blow.over.min(now));
        Ok(())
    }

    /// The pushed version is live; or an instance was killed, the verdict says so, and what was live still is.
    fn judge(&self, name: &str, before: &str, first: usize) -> Result<()> {
        let live = self.host.api().status("shop")?.live.context("nothing is live")?.commit.message;
        assert_eq!(served(&self.host, "shop")?, live, "status tells the truth");
        if live == name {
            return Ok(());
        }
        assert_eq!(live, before, "neither the new version nor the one before");
        let struck = self.blows[first..].iter().any(|blow| blow.victim == Victim::Instance);
        let deployment = self.deployment_of(name).context("no deployment")?;
        assert!(struck && deployment.state == "FAIL", "no instance was killed, but {deployment:#?}");
        let cause = deployment.failure.context("a failure has a cause")?.message;
        println!("{name} failed: {cause}");
        assert!(TRUE_CAUSES.iter().any(|words| cause.contains(words)), "not the true cause: {cause}");
        Ok(())
    }
}

/// How many instances answer, all of them well and with this version; 0 otherwise.
fn instances_of(host: &Host, version: &str) -> usize {
    let answers = (0..MANY).map(|_| host.ask("shop.localhost", "/", &[]).ok());
    let answers = answers.map(|answer| answer.filter(|a| a.status == 200 && a.version() == version));
    let instances: Option<BTreeSet<String>> =
        answers.map(|answer| Some(answer?.instance().to_owned())).collect();
    instances.map_or(0, |all| all.len())
}
