//! A router as a process: from its start by a person or a supervisor to its end, and its part in an upgrade.
//!
//! One word of the supervisor after another, acted on between two looks: nothing here happens at the same time as something else.

use crate::{
    channel::{self, Channel, Command, Report},
    control,
    error::Error,
    listeners::Sockets,
    options::Options,
    ports::News,
    router::{Ask, Router, runtime},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{io, os::fd::OwnedFd, os::unix::net::UnixStream};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

/// Runs a router until SIGTERM or SIGINT, or, for a worker, until its supervisor is gone or has no use for it any more.
///
/// # Errors
/// If it cannot start, or if one of its threads ends by itself.
pub fn run(mut options: Options) -> Result<(), Error> {
    raise_open_files(&mut options);
    let runtime = runtime()?;
    let _context = runtime.enter();
    let mut signals = Signals::new()?;
    if !options.inherited {
        let router = Router::start(options)?;
        return Process { router, supervisor: None, asked: None, retired: false }
            .serve(&runtime, &mut signals);
    }
    let channel = channel::inherited().and_then(|end| end.map(Channel::new).transpose());
    let channel =
        channel.map_err(Error::Inherit)?.ok_or_else(|| inherit("standard input is not its channel"))?;
    let started = runtime.block_on(signals.unless(begin(&options, &channel)));
    // A signal, or the supervisor ended before there was anything to serve.
    let Some(Some(start)) = started.transpose()? else { return Ok(()) };
    let heir = start.link.is_some();
    let router = match Router::serve(options, start.sockets, start.link, start.keeps) {
        Ok(router) => router,
        Err(error) => return fail(&runtime, &channel, error),
    };
    if heir {
        runtime.block_on(report(&channel, &Report::Serving));
    }
    Process { router, supervisor: Some(channel), asked: None, retired: false }.serve(&runtime, &mut signals)
}

fn inherit(why: &str) -> Error {
    Error::Inherit(io::Error::other(why.to_owned()))
}

/// Tells the supervisor, too.
fn fail(runtime: &Runtime, channel: &Channel, error: Error) -> Result<(), Error> {
    runtime.block_on(report(channel, &Report::Failed { why: crate::error::in_full(&error) }));
    Err(error)
}

async fn report(channel: &Channel, report: &Report) {
    if let Err(error) = channel.send(report, &[]).await {
        // It is gone: that is heard next.
        tracing::debug!(%error, "the supervisor cannot be told");
    }
}

/// What a worker begins with.
struct Start {
    sockets: Sockets,
    /// To the worker that served before.
    link: Option<UnixStream>,
    /// The supervisor keeps TCP ports.
    keeps: bool,
}

/// Waits until this worker is to serve; nothing if the supervisor has no use for it any more.
async fn begin(options: &Options, channel: &Channel) -> Result<Option<Start>, Error> {
    let Some((command, fds)) = channel.hear().await.map_err(Error::Inherit)? else { return Ok(None) };
    let Command::Serve { plain, heir, tls, keeps } = command else {
        return Err(inherit("its first word is not `serve`"));
    };
    let mut sockets = Sockets::of(fds, plain, tls).map_err(Error::Inherit)?;
    if !heir {
        return Ok(Some(Start { sockets, link: None, keeps }));
    }
    match Router::rehearse(options) {
        Ok(()) => report(channel, &Report::Ready).await,
        Err(error) => {
            report(channel, &Report::Failed { why: crate::error::in_full(&error) }).await;
            return Err(error);
        }
    }
    match channel.hear().await.map_err(Error::Inherit)? {
        Some((Command::Take { keeps }, mut fds)) => {
            let link = fds.pop().map(UnixStream::from).ok_or_else(|| inherit("the link is missing"))?;
            sockets.tcp = fds.into_iter().map(Into::into).collect();
            Ok(Some(Start { sockets, link: Some(link), keeps }))
        }
        Some(_) => Err(inherit("an heir's second word is not `take`")),
        None => Ok(None),
    }
}

/// A router that serves, and who commands it.
struct Process {
    router: Router,
    supervisor: Option<Channel>,
    /// Who asked for the upgrade that is under way.
    asked: Option<Ask>,
    retired: bool,
}

/// What a process has to act on.
enum Event {
    Signal(&'static str),
    /// Nothing if the supervisor is gone.
    Command(Option<(Command, Vec<OwnedFd>)>),
    /// A thread has ended that should not have.
    Broken,
    /// Somebody at the control socket asks for an upgrade.
    Asked(Ask),
    /// A TCP port was opened or closed.
    Port(News),
    /// A retired router has no client left.
    Finished,
    /// Nobody tells a retired router of changes any more.
    Abandoned,
}

impl Process {
    fn serve(mut self, runtime: &Runtime, signals: &mut Signals) -> Result<(), Error> {
        let mut finished = false;
        loop {
            match runtime.block_on(self.next(signals, finished)) {
                Event::Signal(why) => {
                    tracing::info!(why, "the router stops");
                    break;
                }
                Event::Broken => return Err(Error::Broken),
                Event::Abandoned => {
                    tracing::warn!("the router that this one follows is gone: it stops");
                    break;
                }
                Event::Command(None) => {
                    tracing::warn!("the supervisor is gone: the router stops");
                    break;
                }
                Event::Command(Some((Command::End, _))) => break,
                Event::Command(Some((command, fds))) => {
                    if let Some(answer) = self.obey(command, fds) {
                        // First, so that the supervisor can hand all of them on.
                        self.pass_on(runtime);
                        self.report(runtime, &answer);
                    }
                }
                Event::Asked(ask) => self.ask(runtime, ask),
                Event::Port(news) => self.tell(runtime, &news),
                Event::Finished => {
                    finished = true;
                    self.report(runtime, &Report::Finished);
                }
            }
        }
        self.router.stop();
        Ok(())
    }

    async fn next(&mut self, signals: &mut Signals, finished: bool) -> Event {
        let command = async {
            match &self.supervisor {
                Some(channel) => Event::Command(channel.hear().await.unwrap_or_else(|error| {
                    tracing::error!(%error, "the supervisor cannot be understood");
                    None
                })),
                None => std::future::pending().await,
            }
        };
        let (retired, parts) = (self.retired, self.router.parts());
        let workers = async {
            match retired {
                false => parts.workers.broken().await,
                true if finished => std::future::pending().await,
                true => {
                    parts.workers.all_ended().await;
                    return Event::Finished;
                }
            }
            Event::Broken
        };
        tokio::select! {
            why = signals.next() => Event::Signal(why),
            event = command => event,
            event = workers => event,
            () = control_broken(parts.control) => Event::Broken,
            Some(ask) = parts.asks.recv() => Event::Asked(ask),
            Some(news) = parts.news.recv() => Event::Port(news),
            () = abandoned(parts.control), if retired => Event::Abandoned,
        }
    }

    /// Tells the supervisor of all ports that it does not know of yet.
    fn pass_on(&mut self, runtime: &Runtime) {
        while let Ok(news) = self.router.parts().news.try_recv() {
            self.tell(runtime, &news);
        }
    }

    fn tell(&self, runtime: &Runtime, news: &News) {
        let Some(channel) = &self.supervisor else { return };
        let (report, fds) = news.report();
        if let Err(error) = runtime.block_on(channel.send(&report, &fds)) {
            tracing::debug!(%error, "the supervisor cannot be told of a port");
        }
    }

    fn report(&self, runtime: &Runtime, what: &Report) {
        if let Some(channel) = &self.supervisor {
            runtime.block_on(report(channel, what));
        }
    }

    /// Does what the supervisor says; its answer, if it waits for one.
    fn obey(&mut self, command: Command, mut fds: Vec<OwnedFd>) -> Option<Report> {
        let answer = |done: Result<(), String>, report| match done {
            Ok(()) => report,
            Err(why) => Report::Failed { why },
        };
        match command {
            Command::Yield => {
                let link = fds.pop().map(UnixStream::from).ok_or("the link is missing".to_owned());
                Some(answer(link.and_then(|link| self.router.give_way(link)), Report::Yielded))
            }
            Command::Keep => Some(answer(self.router.keep(), Report::Kept)),
            Command::Retire => {
                tracing::info!("another router serves: this one keeps the clients that it has");
                self.retired = true;
                self.router.retire();
                None
            }
            Command::Upgraded { error } => {
                if let Some(ask) = self.asked.take() {
                    // Who asked may be gone.
                    let _ = ask.send(error.map_or(Ok(()), Err));
                }
                None
            }
            Command::Serve { .. } | Command::Take { .. } | Command::End => {
                tracing::warn!(?command, "the supervisor says what does not fit");
                None
            }
        }
    }

    fn ask(&mut self, runtime: &Runtime, ask: Ask) {
        let refusal = match (&self.supervisor, &self.asked) {
            (None, _) => "it has no supervisor that could start another one: restart it with --supervise",
            (_, Some(_)) => "another upgrade is under way: ask again when it is done",
            _ if self.retired => "it has given its place to another one: ask that one",
            _ => {
                self.asked = Some(ask);
                return self.report(runtime, &Report::Upgrade);
            }
        };
        let _ = ask.send(Err(refusal.to_owned()));
    }
}

async fn control_broken(control: Option<&control::Handle>) {
    match control {
        Some(control) => control.broken().await,
        None => std::future::pending().await,
    }
}

async fn abandoned(control: Option<&control::Handle>) {
    match control {
        Some(control) => control.abandoned().await,
        None => std::future::pending().await,
    }
}

/// The signals that stop a process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Nobody waits for it: a log that was moved away is noticed anyway. But it must not kill.
    _hangup: Signal,
}

impl Signals {
    /// From now on the signals do not kill.
    pub(crate) fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|source| Error::Start { part: "a signal handler", source });
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            _hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// The future's value, unless a signal comes first.
    async fn unless<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! { _ = self.next() => None, value = future => Some(value) }
    }
}

/// As many open files as allowed; clients get less than half, because each may need a connection to an instance.
fn raise_open_files(options: &mut Options) {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let share = usize::try_from(soft.saturating_sub(64) / 2).unwrap_or(usize::MAX).max(64);
    options.limits.connections = options.limits.connections.min(share);
}
