//! One push under way: its own socket, on which the hooks of its git process ask, and the answers. What was accepted no longer depends
//! on it: the user may go away, git may die, and the deployment goes on.

use super::{
    Error, Gate, Git,
    follow::{Follow, Verdict},
    intake::Taken,
    rules, wire,
    wire::{Hook, Reply, Request},
};
use crate::platform::Principal;
use std::{
    collections::BTreeMap,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use teal_core::id::AppId;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// The longest that a hook may take to say what it wants.
const ASK: Duration = Duration::from_secs(60);

/// Who came, to which app.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) who: Principal,
    pub(super) app: AppId,
    /// The app's name.
    pub(super) name: String,
}

/// The push's socket; dropping it ends the conversation and nothing else.
#[derive(Debug)]
pub(super) struct Session {
    directory: PathBuf,
    task: JoinHandle<()>,
}

impl Session {
    /// Opens the socket under a name that cannot be guessed, in a directory that only the server's user may enter.
    pub(super) fn open<G: Gate>(git: &Git<G>, visit: Visit) -> Result<Self, Error> {
        let directory = git.home().pushes().join(ulid::Ulid::generate().to_string().to_lowercase());
        let failed = |source| Error::Home { path: directory.clone(), source };
        super::home::private_directory(&directory).map_err(failed)?;
        let listener = bind(&directory).map_err(failed)?;
        let task = tokio::spawn(serve(git.clone(), Arc::new(visit), listener));
        Ok(Self { directory, task })
    }

    /// The socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join(NAME)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const NAME: &str = "s";

/// Binds by way of the open directory: a socket's address has room for 108 bytes only.
fn bind(directory: &Path) -> io::Result<UnixListener> {
    let open = std::fs::File::open(directory)?;
    UnixListener::bind(Path::new("/proc/self/fd").join(open.as_raw_fd().to_string()).join(NAME))
}

async fn serve<G: Gate>(git: Git<G>, visit: Arc<Visit>, listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut voice = Voice::new(stream);
        if let Err(error) = answer(&git, &visit, &mut voice).await {
            tracing::debug!(app = %visit.app, %error, "a push was left before its verdict");
        }
    }
}

async fn answer<G: Gate>(git: &Git<G>, visit: &Arc<Visit>, voice: &mut Voice) -> io::Result<()> {
    let request = tokio::time::timeout(ASK, voice.hear()).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let refused = match request.hook {
        Hook::PreReceive => admit(git, visit, request, voice).await?,
        Hook::ProcReceive => take(git, visit, request, voice).await?,
    };
    voice.done(refused).await
}

/// May the push come in? Its objects are dropped if not.
async fn admit<G: Gate>(
    git: &Git<G>,
    visit: &Visit,
    request: Request,
    voice: &mut Voice,
) -> io::Result<BTreeMap<String, String>> {
    let judged = match git.gate().branches(&visit.app).await {
        Ok(_) if request.shallow => Err(vec![
            "This clone is shallow: it lacks a part of the history that Teal does not have either."
                .to_owned(),
            "Fetch the rest from where it was cloned, then push again: git fetch --unshallow".to_owned(),
        ]),
        Ok(branches) => rules::judge(&visit.name, &branches, &request.updates).map(drop),
        Err(error) => Err(super::sentences(&error)),
    };
    let Err(lines) = judged else { return Ok(BTreeMap::new()) };
    for line in lines {
        voice.say(&line).await?;
    }
    Ok(request.updates.into_iter().map(|update| (update.name, "refused".to_owned())).collect())
}

/// Takes the push and stays with its deployment to the end.
async fn take<G: Gate>(
    git: &Git<G>,
    visit: &Arc<Visit>,
    request: Request,
    voice: &mut Voice,
) -> io::Result<BTreeMap<String, String>> {
    let updates = request.updates;
    let names: Vec<String> = updates.iter().map(|update| update.name.clone()).collect();
    // A task of its own: once it began, a lost connection must not stop it half-way.
    let taking = tokio::spawn({
        let (git, visit) = (git.clone(), Arc::clone(visit));
        async move { git.take(&visit, updates).await }
    });
    match taking.await.map_err(io::Error::other)? {
        Ok(taken) => conclude(git, visit, taken, voice).await,
        Err(error) => {
            tracing::warn!(app = %visit.app, error = &error as &dyn std::error::Error, "a push could not be taken");
            voice.say(&format!("{error}. Push again; if it stays, the operator's log says more.")).await?;
            Ok(names.into_iter().map(|name| (name, "Teal could not take it".to_owned())).collect())
        }
    }
}

async fn conclude<G: Gate>(
    git: &Git<G>,
    visit: &Visit,
    taken: Taken,
    voice: &mut Voice,
) -> io::Result<BTreeMap<String, String>> {
    for line in &taken.says {
        voice.say(line).await?;
    }
    let mut refused = taken.refused;
    if let Some(begun) = taken.begun {
        let follow = Follow {
            gate: git.gate(),
            app: &visit.app,
            deployment: &begun.deployment,
            name: &visit.name,
            commit: begun.commit.get(..7).unwrap_or_default(),
        };
        let verdict = follow.to_the_end(voice).await?;
        // Before git reports: whoever pushes again right after the verdict must find the branch where it belongs.
        git.settled(&visit.app).await;
        git.tidy(&visit.app);
        if let Verdict::Not(reason) = verdict {
            refused.extend(begun.references.into_iter().map(|name| (name, reason.clone())));
        }
    }
    Ok(refused)
}

/// The server's side of a hook's connection.
pub(super) struct Voice {
    ears: BufReader<OwnedReadHalf>,
    mouth: OwnedWriteHalf,
}

impl Voice {
    fn new(stream: UnixStream) -> Self {
        let (ears, mouth) = stream.into_split();
        Self { ears: BufReader::new(ears), mouth }
    }

    async fn hear(&mut self) -> io::Result<Request> {
        let mut line = Vec::new();
        (&mut self.ears).take(wire::MAX_LINE).read_until(b'\n', &mut line).await?;
        Ok(serde_json::from_slice(&line)?)
    }

    /// Says a line to the user. An error: nobody listens any more.
    pub(super) async fn say(&mut self, line: &str) -> io::Result<()> {
        self.send(&Reply::Say(line.to_owned())).await
    }

    async fn done(&mut self, refused: BTreeMap<String, String>) -> io::Result<()> {
        self.send(&Reply::Done(refused)).await
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        self.mouth.write_all(&line).await
    }

    /// Returns when the hook is gone: it has nothing more to say, so anything that can be read is its end.
    pub(super) async fn gone(&mut self) {
        let _ = self.ears.fill_buf().await;
    }
}
