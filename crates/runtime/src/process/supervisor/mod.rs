//! The small program beside each instance of the process runtime: it outlives the server, writes the log, and knows how the instance ended.
//!
//! The `teal` binary runs [`main`] when it is started as a supervisor, and becomes one of three, told by its environment:
//! the *launcher* leaves the server's session and starts the supervisor, so that nobody's child remains; the *supervisor* runs the commands and
//! answers on a socket; a *keeper* stands between it and one worker. Orphans below a supervisor or keeper become its children, however often
//! they fork: what is below it is the whole instance (or worker). It never prints, and it opens nothing but its instance's own files.

mod children;
mod instance;
mod keeper;
mod workers;

use super::{
    home::{Home, Record},
    log::Log,
    proc::Identity,
    wire::{self, Reply, Request},
};
use instance::Instance;
use nix::{
    fcntl::Flock,
    sys::{prctl, stat},
    unistd,
};
use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io::{self, Read},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    task, time,
};

/// Which of the three this process is.
pub(crate) const ROLE: &str = "TEAL_SUPERVISE";
/// The instance's directory.
pub(crate) const HOME: &str = "TEAL_SUPERVISE_HOME";
/// The mark of the instance that it is meant for: another one may be in the directory by now.
pub(crate) const MARK: &str = "TEAL_INSTANCE";

/// How long the lock may be held by somebody who only looks.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long a client may take to say what it wants.
const CLIENT_WAIT: Duration = Duration::from_secs(5);
/// How long the last answers may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The most that an instance's variables may hold, in bytes.
const MAX_VARIABLES: u64 = 8 << 20;
/// Clients at once.
const MAX_CLIENTS: usize = 32;

/// A request and where its answer goes.
type Asked = (Request, oneshot::Sender<Reply>);

/// What the `teal` binary does when its first argument is `__instance`. It returns when the instance has ended.
#[must_use]
pub fn main() -> ExitCode {
    let done = match env::var(ROLE).as_deref() {
        Ok("launch") => launch(),
        Ok("run") => run(),
        Ok("keep") => return keeper::main(),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(64) }
}

/// This program again, in another role.
fn again(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(env::args_os().skip(1)).env(ROLE, role).stdin(Stdio::null());
    if let Some(name) = env::args_os().next() {
        command.arg0(name);
    }
    command
}

/// Leaves the session of whoever started it, and starts the supervisor, which is nobody's child then.
fn launch() -> io::Result<()> {
    // It leads a session already if it was started by hand from a shell: as good.
    let _leader = unistd::setsid();
    // The variables are on their way through standard input.
    again("run").stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}

fn run() -> io::Result<()> {
    let variables = serde_json::from_reader(io::stdin().lock().take(MAX_VARIABLES))?;
    let home = Home::new(env::var_os(HOME).map(PathBuf::from).ok_or(io::ErrorKind::InvalidInput)?);
    env::set_current_dir(home.path())?;
    stat::umask(stat::Mode::from_bits_truncate(0o022));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(task::LocalSet::new().run_until(supervise(home, variables)))
}

async fn supervise(home: Home, variables: BTreeMap<String, String>) -> io::Result<()> {
    let _lock = lock(&home).await?;
    let meant = env::var(MARK).ok();
    let known = home.record().filter(|record| Some(&record.mark) == meant.as_ref());
    // Somebody has put another instance there meanwhile, or it has run already: not ours to run.
    let (Some(mut record), None) = (known, home.ending()) else { return Ok(()) };
    record.spec.variables = variables;
    prctl::set_child_subreaper(true)?;
    let own = Identity::of(unistd::getpid().as_raw()).ok_or(io::ErrorKind::NotFound)?;
    home.write_who(own)?;
    serve(home, record).await
}

/// Holds the lock until the process ends, however it does.
async fn lock(home: &Home) -> io::Result<Flock<File>> {
    let until = time::Instant::now() + LOCK_WAIT;
    loop {
        match home.lock()? {
            Some(lock) => return Ok(lock),
            None if time::Instant::now() > until => return Err(io::ErrorKind::ResourceBusy.into()),
            None => time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(home: Home, record: Record) -> io::Result<()> {
    let (asked, requests) = mpsc::channel(MAX_CLIENTS);
    let log = Log::open(record.log.clone());
    // The commands run before the socket is there: who connects finds an instance that has begun.
    let instance = Instance::begin(home, record, log)?;
    // A relative name: the directory's own may be too long for a socket.
    let listener = UnixListener::bind(wire::SOCKET)?;
    let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
    let accepting = task::spawn_local(accept(listener, asked, Arc::clone(&clients)));
    let ended = instance.run(requests).await;
    accepting.abort();
    let everyone = u32::try_from(MAX_CLIENTS).unwrap_or(u32::MAX);
    let _in_time = time::timeout(LAST_WORDS, clients.acquire_many(everyone)).await;
    ended
}

async fn accept(listener: UnixListener, asked: mpsc::Sender<Asked>, clients: Arc<Semaphore>) {
    loop {
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let asked = asked.clone();
                task::spawn_local(async move {
                    let _client_gone = answer(stream, asked).await;
                    drop(permit);
                });
            }
            Err(_) => time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn answer(mut stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let request = time::timeout(CLIENT_WAIT, wire::receive(&mut stream)).await??;
    let (reply, replied) = oneshot::channel();
    asked.send((request, reply)).await.map_err(io::Error::other)?;
    let reply = replied.await.map_err(io::Error::other)?;
    time::timeout(CLIENT_WAIT, wire::send(&mut stream, &reply)).await?
}
