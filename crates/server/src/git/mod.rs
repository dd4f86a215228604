//! Git over SSH and HTTP, both through the git binary and the same hook code.
//!
//! ```text
//! ssh ─┐                              ┌─ pre-receive: rules (objects in quarantine)
//!      ├─► service: git receive-pack ─┤                                                    ┌─ ledger (refs/teal)
//! http ┘            git upload-pack   └─ proc-receive ─► session ─► intake: branch, platform ┤
//!                                          ▲  log lines, verdict ◄─ follow ◄────────────────┘
//! ```
//!
//! A branch moves before its deployment begins and moves back if it fails, so that git's report tells the truth either way
//! (`docs/decisions/0003-push-verdict.md`). Git must never wait for a user to do what was accepted, and never decides about traffic.

mod follow;
mod gate;
mod home;
mod hook;
mod http;
mod intake;
mod ledger;
mod pktline;
mod repository;
mod request;
mod rules;
mod service;
mod session;
mod ssh;
mod wire;

pub use gate::Gate;
pub use hook::{hook_main, run as run_hook};
pub use ssh::Ssh;

use crate::platform;
use home::Home;
use repository::Repository;
use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use teal_core::id::AppId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest push by default, in bytes.
pub const MAX_PUSH: u64 = 1024 * 1024 * 1024;
/// The most git processes at once; a push keeps its own until its verdict.
const MAX_PROCESSES: usize = 128;

/// What git needs to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory of git's own, below the data directory: configuration, hooks, the SSH host key.
    pub directory: PathBuf,
    /// The program that hooks run as `<program> __hook <name>`: the `teal` binary.
    pub program: PathBuf,
    /// The largest push, in bytes.
    pub max_push: u64,
}

/// Why git could not do something. The source is for the operator's log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Teal's own directory for git.
    #[error("Teal's directory for git, {path}, could not be prepared")]
    Home {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An app's repository.
    #[error("the repository could not be made or written")]
    Repository {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The git binary said no.
    #[error("git {doing} failed: {said}")]
    Git {
        /// The sub-command.
        doing: String,
        /// Its last words.
        said: String,
    },
    /// The host key.
    #[error(
        "the SSH host key {path} cannot be used: {why}. Move it away to have a new one made; clients will warn of the change"
    )]
    HostKey {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A socket.
    #[error(
        "git over SSH cannot listen on {address}: another process may have it, or the address is not this host's"
    )]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Too many visitors.
    #[error("Teal serves as many git clients as it may; try again in a moment")]
    Busy,
}

/// Git for all apps. Cheap to clone.
#[derive(Debug)]
pub struct Git<G> {
    inner: Arc<Inner<G>>,
}

impl<G> Clone for Git<G> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

#[derive(Debug)]
struct Inner<G> {
    gate: G,
    home: Home,
    options: Options,
    turns: Mutex<HashMap<AppId, Arc<tokio::sync::Mutex<()>>>>,
    processes: Arc<Semaphore>,
    tidying: tokio::sync::Mutex<()>,
}

impl<G: Gate> Git<G> {
    /// Prepares git's own directory. Listens nowhere yet: see [`Self::http`] and [`Self::ssh`].
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn open(gate: G, options: Options) -> Result<Self, Error> {
        let home = Home::open(options.directory.clone(), options.program.clone(), options.max_push)?;
        let processes = Arc::new(Semaphore::new(MAX_PROCESSES));
        Ok(Self {
            inner: Arc::new(Inner {
                gate,
                home,
                options,
                turns: Mutex::default(),
                processes,
                tidying: tokio::sync::Mutex::default(),
            }),
        })
    }

    fn gate(&self) -> &G {
        &self.inner.gate
    }

    fn home(&self) -> &Home {
        &self.inner.home
    }

    /// Whoever holds it may change the app's references.
    fn turn(&self, app: &AppId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.inner.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(app.clone()).or_default())
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.inner.processes).try_acquire_owned().map_err(|_| Error::Busy)
    }

    async fn open_repository(&self, app: &AppId, branches: &[String]) -> Result<Repository<'_>, Error> {
        let branch = branches.first().map_or("main", String::as_str);
        Repository::open(self.home(), self.gate().repository(app), branch).await
    }

    /// Before anybody looks into the repository: it is there, and verdicts are drawn.
    async fn prepare(&self, app: &AppId, branches: &[String]) -> Result<(), Error> {
        {
            let turn = self.turn(app);
            let _mine = turn.lock().await;
            self.open_repository(app, branches).await?;
        }
        self.settled(app).await;
        Ok(())
    }
}

/// What the platform says, as lines for the user: the hint on a line of its own.
fn sentences(error: &platform::Error) -> Vec<String> {
    let hint = match error {
        platform::Error::Invalid { hint, .. } | platform::Error::Refused { hint, .. } => hint.clone(),
        platform::Error::NotFound(_) | platform::Error::Forbidden(_) | platform::Error::Internal(_) => None,
    };
    std::iter::once(error.to_string()).chain(hint).collect()
}
