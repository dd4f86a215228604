//! The control socket: who may speak there, and when. What is asked is done by [`crate::keeper`].
//!
//! Whatever comes in is bounded and may be garbage. The newest connection that said hello is the server's; an older one is closed, so that a server that
//! was restarted never competes with its own past. A router that gives its place away closes the socket, and from then on obeys the one that took it.

use crate::{
    error::{self, Error},
    keeper::Keeper,
    peer::{self, Newest},
    router::runtime,
};
use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Mutex, Semaphore, mpsc, oneshot, watch},
    task::LocalSet,
};

/// Connections at a time.
const MAX_PEERS: usize = 16;

/// How often a TCP port that could not be opened is tried again.
const MEND: Duration = Duration::from_secs(1);

/// How much nicer to itself than to others the control thread is. It needs next to no time, but that at once.
const PRECEDENCE: i32 = 19;

/// How a turn went.
pub(crate) type Done = oneshot::Sender<Result<(), String>>;

/// A change of who serves.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Give table and socket away, and obey the stream.
    Yield(net::UnixStream, Done),
    /// Have them again.
    Keep(Done),
}

/// The control thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Handle {
    turns: Option<mpsc::Sender<Turn>>,
    abandoned: watch::Receiver<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Waits until the thread has ended.
    pub(crate) async fn broken(&self) {
        match &self.turns {
            Some(turns) => turns.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until the one that has the place is gone.
    pub(crate) async fn abandoned(&self) {
        if self.abandoned.clone().wait_for(|gone| *gone).await.is_err() {
            std::future::pending().await
        }
    }

    /// Has a turn made; blocks until it is.
    pub(crate) fn turn(&self, turn: impl FnOnce(Done) -> Turn) -> Result<(), String> {
        let (done, made) = oneshot::channel();
        let turns = self.turns.as_ref().ok_or("its control thread ends")?;
        turns.try_send(turn(done)).map_err(|_| "its control thread has ended")?;
        made.blocking_recv().unwrap_or_else(|_| Err("its control thread has ended".into()))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.turns = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the thread that serves the socket `path`, and returns when TCP ports are open; `link` leads to the router that had it before.
pub(crate) fn start(path: PathBuf, keeper: Keeper, link: Option<net::UnixStream>) -> Result<Handle, Error> {
    let failed = |part| move |source| Error::Start { part, source };
    let runtime = runtime()?;
    let (turns, turned) = mpsc::channel(4);
    let (gone, abandoned) = watch::channel(false);
    let (listener, link) = {
        let _context = runtime.enter();
        let link = link.map(adopt).transpose().map_err(failed("the link to the old worker"))?;
        (bind(&path)?, link)
    };
    let (open, opened) = std::sync::mpsc::channel();
    let body = move || {
        take_precedence();
        let serving = Control::new(path, keeper, gone).serve(listener, link, turned, open);
        LocalSet::new().block_on(&runtime, serving);
    };
    let thread = Builder::new().name("control".into()).spawn(body).map_err(failed("the control thread"))?;
    // An error is the thread's end, which its handle tells.
    let _ = opened.recv();
    Ok(Handle { turns: Some(turns), abandoned, thread: Some(thread) })
}

/// A change of the table does not wait behind the requests that it is for: they have all of the processor's time when it is short.
fn take_precedence() {
    if let Err(error) = rustix::process::nice(-PRECEDENCE) {
        tracing::debug!(%error, "the control thread has no precedence over requests");
    }
}

/// A thread that the control thread has started, and that nobody waits for, is as any other.
pub(crate) fn give_up_precedence() {
    // Without a right to precedence there was none.
    let _ = rustix::process::nice(PRECEDENCE);
}

fn adopt(stream: net::UnixStream) -> std::io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// What the control thread works with.
struct Control {
    path: PathBuf,
    keeper: Rc<Mutex<Keeper>>,
    newest: Rc<Newest>,
    room: Arc<Semaphore>,
    gone: watch::Sender<bool>,
}

impl Control {
    fn new(path: PathBuf, keeper: Keeper, gone: watch::Sender<bool>) -> Self {
        let (keeper, newest) = (Rc::new(Mutex::new(keeper)), Rc::default());
        Self { path, keeper, newest, room: Arc::new(Semaphore::new(MAX_PEERS)), gone }
    }

    /// Serves until nobody has turns to make any more.
    async fn serve(
        self,
        listener: net::UnixListener,
        link: Option<UnixStream>,
        mut turns: mpsc::Receiver<Turn>,
        open: std::sync::mpsc::Sender<()>,
    ) {
        self.keeper.lock().await.follow_ports().await;
        let _ = open.send(());
        if let Some(link) = link {
            self.keeper.lock().await.follow(link).await;
        }
        tokio::task::spawn_local(mend(Rc::clone(&self.keeper)));
        let mut listener = listen(listener);
        let mut master = None;
        loop {
            let turn = tokio::select! {
                turn = turns.recv() => turn,
                () = self.accept(listener.as_ref()) => return,
                () = self.obey(&mut master) => continue,
            };
            let (made, done) = match turn {
                Some(Turn::Yield(stream, done)) => {
                    listener = None;
                    (self.give_way(stream).await.map(|stream| master = Some(stream)), done)
                }
                Some(Turn::Keep(done)) => {
                    master = None;
                    (self.keep().await.map(|bound| listener = listen(bound)), done)
                }
                None => return,
            };
            // Whoever waits for it is the process itself.
            let _ = done.send(made.map_err(|error| error::in_full(&error)));
        }
    }

    /// Accepts peers; for ever nobody without a listener.
    async fn accept(&self, listener: Option<&UnixListener>) {
        let Some(listener) = listener else { return std::future::pending().await };
        while let Ok(place) = Arc::clone(&self.room).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (keeper, newest) = (Rc::clone(&self.keeper), Rc::clone(&self.newest));
                    tokio::task::spawn_local(async move {
                        let ended = peer::serve(stream, &keeper, &newest).await;
                        tracing::debug!(why = %ended, "a control connection ended");
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a control connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Does what the router says that has the place now, until it is gone; then nobody says anything any more.
    async fn obey(&self, master: &mut Option<UnixStream>) {
        let Some(stream) = master else { return std::future::pending().await };
        let ended = peer::converse(stream, &self.keeper, None).await;
        tracing::debug!(why = %ended, "the link to the router that serves now ended");
        *master = None;
        self.keeper.lock().await.directory.release();
        self.gone.send_replace(true);
    }

    async fn give_way(&self, stream: net::UnixStream) -> Result<UnixStream, Error> {
        let stream = adopt(stream).map_err(|source| Error::Start { part: "the link", source })?;
        // What is being done is done and answered first; then no peer is listened to any more.
        let mut keeper = self.keeper.lock().await;
        keeper.place.give_away();
        self.newest.overtake();
        self.gone.send_replace(false);
        Ok(stream)
    }

    async fn keep(&self) -> Result<net::UnixListener, Error> {
        let mut keeper = self.keeper.lock().await;
        let keeper = &mut *keeper;
        keeper.directory.release();
        keeper.place.take_back(&keeper.table)?;
        keeper.follow_ports().await;
        bind(&self.path)
    }
}

/// Ends with the thread.
async fn mend(keeper: Rc<Mutex<Keeper>>) {
    loop {
        tokio::time::sleep(MEND).await;
        keeper.lock().await.mend_ports().await;
    }
}

/// The listener; nothing if the system has no room for it.
fn listen(listener: net::UnixListener) -> Option<UnixListener> {
    UnixListener::from_std(listener)
        .inspect_err(|error| tracing::error!(%error, "the control socket cannot be served"))
        .ok()
}

/// Makes the control socket: under another name first, so that it is never there without its mode, and replaces one that is left over.
fn bind(path: &Path) -> Result<net::UnixListener, Error> {
    let failed = |source| Error::Control { path: path.to_owned(), source };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    match fs::remove_file(new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => (),
    }
    let listener = net::UnixListener::bind(new).map_err(failed)?;
    fs::set_permissions(new, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    fs::rename(new, path).map_err(failed)?;
    Ok(listener)
}
