//! The supervisor: binds the listening sockets once and keeps a worker process on them, so that clients wait while it starts again
//! instead of being refused; and puts a newer program in its place without that anybody has to wait.
//!
//! It serves nothing and parses nothing that others say: the less it does, the less it can die of.

use crate::{
    channel::{self, Channel, Command, Report},
    child::Child,
    error::Error,
    listeners::Sockets,
    options::{Limits, Options},
    process::Signals,
    router::runtime,
    succession,
};
use futures_util::future::select_all;
use nix::unistd::setsid;
use std::{
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::{sleep, sleep_until, timeout};

/// The first wait before a worker is started again, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A worker that lived this long did not die of its start.
const SETTLED: Duration = Duration::from_secs(10);

/// After the drain deadline: how long a worker may take to go before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// The address may still be held by a predecessor's worker that drains.
const BIND_FOR: Duration = Duration::from_secs(30);

/// Binds `options.http`, then keeps a worker running until SIGTERM or SIGINT, which it passes on. The worker is this very program with the arguments `argv`: they must
/// lead to [`crate::run`] with the same options and `inherited: true`. It makes a session of its own, so that it outlives whoever started it.
///
/// An upgrade that was asked for (see [`crate::upgrade()`]) starts a worker of the program that is installed now beside the old one, changes over when the new
/// one is ready, and then puts the new program in the supervisor's place, too: same process, same sockets, same workers.
///
/// # Errors
/// If the sockets cannot be had, or no worker can be started at all.
pub fn supervise(options: &Options, argv: &[OsString]) -> Result<(), Error> {
    // Fails only for the leader of a group, which then is nobody's child to be taken along.
    let _ = setsid();
    let runtime = runtime()?;
    let program =
        std::env::current_exe().map_err(|source| Error::Start { part: "a worker process", source })?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        let mut supervisor = Supervisor {
            program,
            argv,
            limits: options.limits.clone(),
            sockets: Sockets::default(),
            serving: None,
            retired: Vec::new(),
            again: Again { began: Instant::now(), wait: BACK_OFF.0, at: Some(Instant::now()) },
        };
        supervisor.settle_in(options).await?;
        supervisor.keep(signals).await
    })
}

/// The supervisor and all that it holds.
pub(crate) struct Supervisor<'a> {
    program: PathBuf,
    argv: &'a [OsString],
    limits: Limits,
    pub(crate) sockets: Sockets,
    /// The worker that accepts clients.
    pub(crate) serving: Option<Child>,
    /// Those that accept nobody any more, oldest first.
    pub(crate) retired: Vec<Child>,
    again: Again,
}

/// When the next worker is started, if none serves.
struct Again {
    began: Instant,
    wait: Duration,
    at: Option<Instant>,
}

/// What the supervisor has to act on.
enum Event {
    /// It is time to start a worker.
    Start,
    /// The worker that serves says something; nothing if it is gone.
    Serving(Option<(Report, Vec<OwnedFd>)>),
    /// A retired one does.
    Retired(usize, Option<Report>),
    /// The oldest retired one has had its time.
    Overdue,
}

impl<'a> Supervisor<'a> {
    /// Takes over what a predecessor left in the standard input, or begins with sockets of its own.
    async fn settle_in(&mut self, options: &Options) -> Result<(), Error> {
        match channel::inherited().map_err(Error::Inherit)? {
            Some(end) => {
                let channel = Channel::new(end).map_err(Error::Inherit)?;
                succession::inherit(self, &channel).await.map_err(Error::Inherit)?;
                if self.serving.is_some() {
                    self.again.at = None;
                }
            }
            None => {
                self.sockets = bind_patiently(options).await?;
                // The caller must hear of it if the very first one does not start.
                self.start().await.map_err(|source| Error::Start { part: "a worker process", source })?;
            }
        }
        Ok(())
    }

    async fn keep(mut self, mut signals: Signals) -> Result<(), Error> {
        let mut stop = pin!(signals.next());
        loop {
            let event = tokio::select! {
                why = &mut stop => return self.stop(why).await,
                event = self.next() => event,
            };
            tokio::select! {
                why = &mut stop => return self.stop(why).await,
                () = self.act(event) => (),
            }
        }
    }

    async fn next(&self) -> Event {
        let serving = async {
            match (&self.serving, self.again.at) {
                (Some(child), _) => Event::Serving(child.hear().await),
                (None, Some(at)) => {
                    sleep_until(at.into()).await;
                    Event::Start
                }
                (None, None) => std::future::pending().await,
            }
        };
        let retired = async {
            if self.retired.is_empty() {
                return std::future::pending().await;
            }
            let all = self.retired.iter().map(|child| Box::pin(child.hear()));
            let (heard, index, _) = select_all(all).await;
            Event::Retired(index, heard.map(|(report, _)| report))
        };
        let overdue = async {
            let Some(since) = self.retired.first().and_then(|child| child.retired) else {
                return std::future::pending().await;
            };
            sleep_until((since + self.limits.retirement).into()).await;
            Event::Overdue
        };
        tokio::select! { event = serving => event, event = retired => event, event = overdue => event }
    }

    async fn act(&mut self, event: Event) {
        match event {
            Event::Start => {
                if let Err(error) = self.start().await {
                    tracing::error!(%error, "no worker can be started");
                    self.start_later();
                }
            }
            Event::Serving(None) => {
                if let Some(child) = self.serving.take() {
                    child.bury();
                }
                self.start_later();
            }
            Event::Serving(Some((Report::Upgrade, _))) => self.upgrade().await,
            Event::Serving(Some((report @ (Report::Opened | Report::Closed { .. }), fds))) => {
                self.sockets.note(&report, fds);
            }
            Event::Serving(Some((report, _))) => {
                tracing::debug!(?report, "a worker says what it was not asked");
            }
            Event::Retired(index, None) => self.retired.remove(index).bury(),
            Event::Retired(index, Some(Report::Finished)) => {
                self.retired[index].finished = true;
                self.dismiss().await;
            }
            Event::Retired(..) => (),
            Event::Overdue => self.end_oldest().await,
        }
        if self.retired.first().is_some_and(|oldest| oldest.finished) {
            self.dismiss().await;
        }
    }

    /// A retired worker hands on to the ones before it what it is told, so it goes after them.
    async fn dismiss(&self) {
        for child in self.retired.iter().take_while(|child| child.finished) {
            child.tell(&Command::End, &[]).await;
        }
    }

    async fn end_oldest(&mut self) {
        if self.retired.is_empty() {
            return;
        }
        let child = self.retired.remove(0);
        tracing::info!(
            pid = child.pid.as_raw(),
            "a retired worker still has clients after its time: it ends"
        );
        child.terminate();
        let _ = timeout(self.limits.drain + GRACE, ended(&child)).await;
        child.bury();
    }

    async fn start(&mut self) -> io::Result<()> {
        let child = Child::start(self.program(), self.argv, &self.sockets, false).await?;
        self.serving = Some(child);
        (self.again.began, self.again.at) = (Instant::now(), None);
        Ok(())
    }

    fn start_later(&mut self) {
        if self.again.began.elapsed() >= SETTLED {
            self.again.wait = BACK_OFF.0;
        }
        let wait = self.again.wait;
        tracing::error!(?wait, "the router's worker ended: another one is started");
        self.again.at = Some(Instant::now() + wait);
        self.again.wait = (wait * 2).min(BACK_OFF.1);
    }

    /// A newer program in the same place is taken; one that is gone is not missed.
    fn program(&self) -> &Path {
        if self.program.exists() { &self.program } else { Path::new("/proc/self/exe") }
    }

    async fn upgrade(&mut self) {
        let Some(old) = self.serving.take() else { return };
        tracing::info!("the router is to be upgraded");
        let program = self.program().to_owned();
        match succession::change_over(old, &program, self.argv, &mut self.sockets).await {
            Ok((old, heir)) => {
                tracing::info!(pid = heir.pid.as_raw(), "another worker serves, the old one retires");
                self.serving = Some(heir);
                (self.again.began, self.again.wait) = (Instant::now(), BACK_OFF.0);
                old.tell(&Command::Upgraded { error: None }, &[]).await;
                self.retired.push(old);
                let error = succession::exec(self, self.program()).await;
                tracing::error!(%error, "the new program cannot be the supervisor: the old one goes on");
            }
            Err((old, error)) => {
                tracing::error!(error, "the router is not upgraded, and serves as before");
                old.tell(&Command::Upgraded { error: Some(error) }, &[]).await;
                self.serving = Some(old);
            }
        }
    }

    async fn stop(mut self, why: &str) -> Result<(), Error> {
        tracing::info!(why, "the supervisor stops its workers");
        let all: Vec<Child> = self.retired.drain(..).chain(self.serving.take()).collect();
        all.iter().for_each(Child::terminate);
        let gone = async {
            for child in &all {
                ended(child).await;
            }
        };
        if timeout(self.limits.drain + GRACE, gone).await.is_err() {
            tracing::error!("a worker did not stop in time: it is killed");
        }
        all.into_iter().for_each(Child::bury);
        Ok(())
    }
}

/// Waits until it is gone.
async fn ended(child: &Child) {
    while child.hear().await.is_some() {}
}

async fn bind_patiently(options: &Options) -> Result<Sockets, Error> {
    let deadline = Instant::now() + BIND_FOR;
    loop {
        match Sockets::bind(&options.http, &options.https, options.worker_count()) {
            Err(Error::Listen { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(50)).await;
            }
            bound => return bound,
        }
    }
}
