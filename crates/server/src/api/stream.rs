//! Answers that go on: logs and events as server-sent events. Each is one task that reads what is new, hands it over at the reader's
//! pace, and waits for the next change; it ends with the reader, with the proof of who asked, or with what it follows.

use super::{Problem, Proof, Web, deployments};
use axum::{
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream::unfold;
use serde::Serialize;
use std::{convert::Infallible, sync::Arc, time::Duration};
use teal_core::{
    api::DeploymentView,
    id::{AppId, DeploymentId},
};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    broadcast::{self, error::RecvError},
    mpsc,
};

/// How many streams may be open at once, over all users.
const MAX_STREAMS: usize = 512;
/// How often a silent stream says that it is alive, and looks whether who asked may still read.
const BEAT: Duration = Duration::from_secs(15);
/// How long a log whose verdict is known waits for the line that says it, which a crash of the server may have lost.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Lines or events that are read at once.
const BATCH: usize = 500;

/// The streams that may still be opened.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_STREAMS)))
    }
}

/// The reader went away, or may not read on: nothing is left to do.
#[derive(Debug)]
pub(crate) struct Over;

/// What a stream's task holds.
pub(crate) struct Writer {
    web: Web,
    proof: Proof,
    out: mpsc::Sender<Event>,
    beat: tokio::time::Interval,
    _permit: OwnedSemaphorePermit,
}

/// Whether an answer that goes on is asked for.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(axum::http::header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/event-stream"))
}

/// The number of the last line or event that a reader got before it lost the connection.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(given) = headers.get("last-event-id") else { return Ok(None) };
    let number = given.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| Problem::invalid("`Last-Event-ID` is the number of a line or an event"))
}

/// Opens a stream: `write` is its task.
pub(crate) fn open<F, Task>(web: &Web, proof: Proof, write: F) -> Result<Response, Problem>
where
    F: FnOnce(Writer) -> Task,
    Task: Future<Output = ()> + Send + 'static,
{
    let permit = Arc::clone(&web.streams.0).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::too_many("too many streams are open on this server", 10))?;
    let (out, lines) = mpsc::channel::<Event>(16);
    let beat = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    tokio::spawn(write(Writer { web: web.clone(), proof, out, beat, _permit: permit }));
    let events = unfold(lines, |mut lines| async {
        let event = lines.recv().await?;
        Some((Ok::<_, Infallible>(event), lines))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(BEAT)).into_response())
}

/// The events of an app after `after`, as they happen.
pub(super) fn events(web: &Web, proof: Proof, app: AppId, after: u64) -> Result<Response, Problem> {
    let changes = web.platform.changes();
    open(web, proof, move |writer| async move {
        let _ = write_events(writer, changes, app, after).await;
    })
}

/// A deployment's log after line `after`, as it is written. `follow` goes on after the verdict.
pub(super) fn log(
    web: &Web,
    proof: Proof,
    app: AppId,
    deployment: DeploymentId,
    after: u64,
    follow: bool,
) -> Result<Response, Problem> {
    open(web, proof, move |writer| async move {
        let _ = write_log(writer, app, deployment, after, follow).await;
    })
}

async fn write_events(
    mut writer: Writer,
    mut changes: broadcast::Receiver<crate::platform::Changed>,
    app: AppId,
    mut after: u64,
) -> Result<(), Over> {
    loop {
        let batch = writer.web.platform.events(&app, after, BATCH as u32).await;
        let batch = writer.or_gone(batch).await?;
        let more = batch.len() == BATCH;
        for event in batch {
            after = event.number;
            writer.send("event", Some(event.number), &event).await?;
        }
        if more {
            continue;
        }
        loop {
            tokio::select! {
                changed = concerns(&mut changes, &app) => if changed? { break },
                alive = writer.alive() => alive?,
            }
        }
    }
}

async fn write_log(
    mut writer: Writer,
    app: AppId,
    deployment: DeploymentId,
    after: u64,
    follow: bool,
) -> Result<(), Over> {
    // Both are asked before the first look: what changes after the look wakes us.
    let mut changes = writer.web.platform.changes();
    let mut lines = writer.web.platform.logs().follow(&deployment);
    let mut view = writer.look(&app, &deployment).await?;
    let mut sent = Sent { number: after, teal_at: String::new() };
    loop {
        lines.mark_unchanged();
        writer.send_lines(&deployment, &mut sent).await?;
        let ended = view.state != "WIP" && !follow;
        if ended && sent.holds_verdict(&view) {
            return writer.send("end", None, &view).await;
        }
        loop {
            tokio::select! {
                written = lines.changed() => { written.map_err(|_| Over)?; break }
                changed = concerns(&mut changes, &app) => if changed? {
                    view = writer.look(&app, &deployment).await?;
                    break;
                },
                alive = writer.alive() => alive?,
                () = tokio::time::sleep(LAST_WORDS), if ended => {
                    writer.send_lines(&deployment, &mut sent).await?;
                    return writer.send("end", None, &view).await;
                }
            }
        }
    }
}

/// What a reader of a log has got.
struct Sent {
    /// The last line's number.
    number: u64,
    /// When Teal itself last said something.
    teal_at: String,
}

impl Sent {
    /// The verdict is committed an instant before its line is written: only with that line the log is whole.
    fn holds_verdict(&self, view: &DeploymentView) -> bool {
        view.ended_at.as_ref().is_none_or(|ended| self.teal_at >= *ended)
    }
}

/// Waits for a change; whether it concerns the app. A reader that lagged behind has to look again, whatever it missed.
async fn concerns(
    changes: &mut broadcast::Receiver<crate::platform::Changed>,
    app: &AppId,
) -> Result<bool, Over> {
    match changes.recv().await {
        Ok(changed) => Ok(changed.app == *app),
        Err(RecvError::Lagged(_)) => Ok(true),
        Err(RecvError::Closed) => Err(Over),
    }
}

impl Writer {
    /// Hands an event to the reader, waiting until there is room.
    async fn send<T: Serialize>(&self, name: &str, number: Option<u64>, data: &T) -> Result<(), Over> {
        let event = Event::default().event(name).json_data(data).map_err(|_| Over)?;
        let event = match number {
            Some(number) => event.id(number.to_string()),
            None => event,
        };
        self.out.send(event).await.map_err(|_| Over)
    }

    /// Tells the reader to look again. Nobody needs to hear it twice: with no room it is dropped, since the reader has one to read.
    pub(crate) fn nudge(&self) {
        let _ = self.out.try_send(Event::default().event("changed").data("look again"));
    }

    /// Returns at each beat at which everything is well.
    pub(crate) async fn alive(&mut self) -> Result<(), Over> {
        tokio::select! {
            _ = self.beat.tick() => {}
            () = self.out.closed() => return Err(Over),
        }
        if self.proof.still_holds(&self.web).await { Ok(()) } else { Err(Over) }
    }

    async fn send_lines(&self, deployment: &DeploymentId, sent: &mut Sent) -> Result<(), Over> {
        loop {
            let lines =
                deployments::read(&self.web, deployment, sent.number, BATCH).await.map_err(|_| Over)?;
            let last = lines.len() < BATCH;
            for line in lines {
                self.send("line", Some(line.number), &line).await?;
                sent.number = line.number;
                if line.stage == crate::log::TEAL {
                    sent.teal_at = line.at;
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    async fn look(&self, app: &AppId, deployment: &DeploymentId) -> Result<DeploymentView, Over> {
        let view = self.web.platform.deployment(app, deployment).await;
        self.or_gone(view).await
    }

    /// What was read; or the reader is told that it is gone, and why.
    async fn or_gone<T>(&self, read: crate::platform::Result<T>) -> Result<T, Over> {
        match read {
            Ok(value) => Ok(value),
            Err(error) => {
                // Anything but "not found" may be over soon: the reader connects again and goes on where it was.
                let problem = Problem::from(error);
                if problem.status == StatusCode::NOT_FOUND {
                    let _ = self.send("gone", None, &problem.view).await;
                }
                Err(Over)
            }
        }
    }
}
