//! Watches a build's sandbox until it ends: its log goes into the deployment's as it is written, its deadline ends it.

use super::{Plan, cache, course::Stop, job::Job, notes::Ended, quiet::Quiet, tail::Tail, tree};
use crate::{log::Logs, world::now};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use teal_core::{
    id::{DeploymentId, InstanceId},
    time::Time,
};
use teal_runtime::{LogLine, Outcome, Runtime, State};

/// The stage of Teal's own lines; a build's commands have others.
pub(super) const STAGE: &str = crate::log::TEAL;
/// From one look to the next. A line is at most this late, and a little.
const LOOK: Duration = Duration::from_millis(100);
/// A runtime that does not answer for so long is left alone; the build goes on and is found again.
const PATIENCE: Duration = Duration::from_secs(30);
/// One look waits for an answer so long.
const ANSWER: Duration = Duration::from_secs(5);
/// The disk is looked at every so many looks.
const DISK: u32 = 20;
/// Its files are measured every so many looks, and at its end.
const FILES: u32 = 100;
/// Below so much free space, in bytes, a build is ended: the rest belongs to what is live.
const FLOOR: u64 = 512 * 1024 * 1024;

/// A build's log, on its way into the deployment's.
pub(super) struct Feed<'a> {
    logs: &'a Logs,
    deployment: &'a DeploymentId,
    tail: Tail,
}

impl<'a> Feed<'a> {
    pub(super) fn new(logs: &'a Logs, deployment: &'a DeploymentId, log: &Path, home: &Path) -> Self {
        let mut tail = Tail::new(log.to_owned(), home.join("mark.json"));
        let since = logs.read(deployment, tail.noted(), usize::MAX).unwrap_or_default();
        tail.skip(since.iter().filter(|line| line.stage != STAGE).count() as u64);
        Self { logs, deployment, tail }
    }

    /// Passes on what is new, all of it, and says whether anything was. Never fails: a log that cannot be kept must not stop a build.
    pub(super) async fn pass(&mut self) -> bool {
        let mut any = false;
        loop {
            let lines = match self.tail.read() {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::warn!(%error, "the log of a build cannot be read");
                    return any;
                }
            };
            if lines.is_empty() {
                return any;
            }
            any = true;
            for group in lines.chunk_by(|a, b| a.at == b.at && a.stage == b.stage) {
                self.append(group);
            }
            let number = *self.logs.follow(self.deployment).borrow();
            if let Err(error) = self.tail.note(number) {
                tracing::warn!(%error, "how far the log of a build was read cannot be noted");
            }
            tokio::task::yield_now().await;
        }
    }

    /// A line of Teal's own.
    fn say(&self, text: &str) {
        if let Err(error) = self.logs.append(self.deployment, now(), STAGE, text) {
            tracing::warn!(%error, deployment = %self.deployment, "the log of a build cannot be kept");
        }
    }

    /// One line stays one line, also an empty one: how far it got is counted in lines.
    fn append(&self, group: &[LogLine]) {
        let Some(first) = group.first() else { return };
        let text = group
            .iter()
            .fold(String::new(), |text, line| text + &line.text.replace(['\n', '\r'], " ") + "\n");
        if let Err(error) = self.logs.append(self.deployment, Time(first.at), &first.stage, &text) {
            tracing::warn!(%error, deployment = %self.deployment, "the log of a build cannot be kept");
        }
    }
}

/// Waits until the sandbox has ended, whatever the reason.
pub(super) async fn follow<R: Runtime>(
    runtime: &R,
    job: &Job,
    plan: &Plan,
    feed: &mut Feed<'_>,
    home: &Path,
) -> Result<Ended, Stop> {
    let id = job.deployment.build();
    let (mut answered, mut stage, mut looks) = (Instant::now(), String::from("start"), 0_u32);
    let mut quiet = Quiet::new(answered);
    loop {
        let spoke = feed.pass().await;
        if let Some(words) = quiet.words(spoke, &stage, Instant::now()) {
            feed.say(&words);
        }
        match look(runtime, &id).await {
            Outcome::Done(State::Exited(exit)) => {
                let large = exit.code == 0 && too_large(job, home).await;
                return Ok(if large { Ended::Large } else { Ended::Exit(Some(exit)) });
            }
            Outcome::Done(State::Absent) => {
                return Err(Stop::Unknown("the build's sandbox is not there any more".into()));
            }
            Outcome::Done(state) => {
                answered = Instant::now();
                if let State::Preparing { stage: now } = state {
                    stage = now;
                } else if let Some(last) = plan.build.last() {
                    stage.clone_from(&last.stage);
                }
            }
            Outcome::Broke(failure) => return Err(Stop::Broke(failure.message)),
            Outcome::Unknown(why) if answered.elapsed() > PATIENCE => return Err(Stop::Unknown(why)),
            Outcome::Unknown(_) => {}
        }
        if now() > job.deadline {
            return Ok(Ended::Late { stage });
        }
        looks = looks.wrapping_add(1);
        if looks % FILES == 0 && too_large(job, home).await {
            return Ok(Ended::Large);
        }
        if looks % DISK == 0 && nearly_full(&job.repository) {
            return Ok(Ended::Full);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look<R: Runtime>(runtime: &R, id: &InstanceId) -> Outcome<State> {
    match tokio::time::timeout(ANSWER, runtime.inspect(id)).await {
        Ok(Outcome::Done(inspection)) => Outcome::Done(inspection.state),
        Ok(Outcome::Broke(failure)) => Outcome::Broke(failure),
        Ok(Outcome::Unknown(why)) => Outcome::Unknown(why),
        Err(_) => Outcome::Unknown("the runtime did not answer in time".into()),
    }
}

/// Are the files of the build larger than it may make them? They are on the server's own disk, which nothing else limits.
async fn too_large(job: &Job, home: &Path) -> bool {
    let (tree, limit) = (tree::of(home), job.limits.disk_mib.saturating_mul(1024 * 1024));
    let size = tokio::task::spawn_blocking(move || cache::size(&tree)).await;
    size.is_ok_and(|size| size > limit)
}

fn nearly_full(path: &Path) -> bool {
    let Ok(disk) = nix::sys::statvfs::statvfs(path) else { return false };
    disk.blocks_available() * disk.fragment_size() < FLOOR
}
