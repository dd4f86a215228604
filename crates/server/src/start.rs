//! The start of `teal server`: everything is parsed and opened first, then served, then every app is driven on from where it was.

use crate::{
    api,
    build::builder::Builder,
    certificates,
    config::Config,
    driver::Driver,
    git::{self, Git},
    images::{self, HOST_IMAGE, Images},
    keeper,
    log::Logs,
    notify,
    platform::Platform,
    release::{self, Releases},
    routerlink::RouterLink,
    runtime, sampler,
    secrets::{self, Key},
    serve::serve,
    store::{self, NewRow, Store},
    world::{Hooks, World, now},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use teal_core::{api::UserView, role::Role};
use teal_runtime::any::Any;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, broadcast},
};

/// The first user.
pub(crate) const ADMIN: &str = "admin";
/// Changes that a slow reader may be behind by; past it, it just looks again.
const CHANGES: usize = 256;

/// Why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be what is wanted.
    #[error("{0}")]
    Config(String),
    /// The data directory cannot be used.
    #[error("{path} cannot be used")]
    Data {
        /// Which path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another server has it.
    #[error("another teal server uses {0}: stop it first, or give this one another `data` directory")]
    Locked(PathBuf),
    /// The store.
    #[error("the store cannot be opened")]
    Store(#[from] store::Error),
    /// The key.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// Git.
    #[error(transparent)]
    Git(#[from] git::Error),
    /// What was built.
    #[error(transparent)]
    Releases(#[from] release::Error),
    /// What instances run on.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The runtime that was asked for.
    #[error("the runtime `{name}` does not work here: {why}")]
    Runtime {
        /// Which one.
        name: String,
        /// Why.
        why: String,
    },
    /// The address.
    #[error("cannot listen on {address}: another process may have it")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Where a running server is; also written to `server.json` in its data directory, for scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its process.
    pub pid: u32,
    /// API, console and git over HTTP.
    pub http: SocketAddr,
    /// Git over SSH.
    pub ssh: Option<SocketAddr>,
    /// The runtime that it uses.
    pub runtime: String,
    /// The file with the administrator's token, if this was the first start.
    pub admin_token: Option<PathBuf>,
}

/// Serves until SIGTERM or SIGINT. `program` is the `teal` binary, which hooks and instances run parts of. `ready` is told once it serves.
///
/// # Errors
/// If it cannot start; each says what to do.
pub async fn run(mut config: Config, program: PathBuf, ready: impl FnOnce(&Facts)) -> Result<(), Error> {
    check(&config)?;
    let _lock = prepare(&config.data)?;
    let http = listen(config.listen).await?;
    let local = http.local_addr().map_err(|source| Error::Listen { address: config.listen, source })?;
    config.listen = local;
    let store = Store::open(&config.data.join("teal.sqlite"), Key::open(&config.data.join("teal.key"))?)?;
    let admin_token = first_user(&store, &config.data).await?;
    let (runtime, warnings) = runtime::open(&config).await?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));

    let config = Arc::new(config);
    let world = world(Arc::clone(&config), store, runtime, program.clone()).await?;
    let driver = Driver::new(world.clone());
    let platform = Platform::new(world.clone(), driver.clone(), warnings);
    let options = git::Options { directory: config.data.join("git-home"), program, max_push: git::MAX_PUSH };
    let git = Git::open(platform.clone(), options)?;
    let ssh = match config.ssh {
        Some(address) => Some(git.ssh(address).await?),
        None => None,
    };
    let ssh_address = ssh.as_ref().map(git::Ssh::local_addr);
    for app in world.store.apps().await? {
        driver.wake(&app.id);
    }
    tokio::spawn(keeper::keep(world.clone(), driver));
    tokio::spawn(platform.clone().keep_wishes());
    tokio::spawn(sampler::keep(world.clone()));
    tokio::spawn(platform.upkeep().clone().keep());
    tokio::spawn(platform.upkeep().clone().keep_patched());
    if let Some(smtp) = config.smtp.clone() {
        tokio::spawn(notify::deliver(notify::Post(smtp), world.store.clone(), world.changes.subscribe()));
    }
    tokio::spawn(notify::deliver(platform.telling(), world.store.clone(), world.changes.subscribe()));
    let (link, changes) = (Arc::clone(&world.link), world.changes.subscribe());
    tokio::spawn(certificates::keep(Arc::clone(&world.config), world.store.clone(), link, changes));
    let facts = Facts {
        pid: std::process::id(),
        http: local,
        ssh: ssh_address,
        runtime: world.runtime.described().into(),
        admin_token,
    };
    if let Some(ssh) = ssh {
        tokio::spawn(ssh.run());
    }
    write_facts(&config.data, &facts)?;
    ready(&facts);
    let routes = api::router(platform).merge(git.http());
    serve_until_told(http, routes).await;
    runtime::leave(&world.runtime).await;
    Ok(())
}

/// What no server may be started with.
fn check(config: &Config) -> Result<(), Error> {
    if !config.listen.ip().is_loopback() && !config.insecure_http {
        let message = format!(
            "`listen = \"{}\"` would serve tokens in clear text to the network: listen on 127.0.0.1 behind a proxy with TLS, or set `insecure_http = true`",
            config.listen
        );
        return Err(Error::Config(message));
    }
    runtime::check(config).map_err(Error::Config)?;
    certificates::check(config).map_err(Error::Config)
}

/// The data directory, for this server alone as long as the file is held.
fn prepare(data: &Path) -> Result<File, Error> {
    let unusable = |source| Error::Data { path: data.to_owned(), source };
    fs::create_dir_all(data).map_err(unusable)?;
    let lock = File::create(data.join("server.lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Locked(data.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(unusable(source)),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// On the first start: the administrator and a token, in a file that only root can read.
async fn first_user(store: &Store, data: &Path) -> Result<Option<PathBuf>, Error> {
    let path = data.join("admin.token");
    if !store.users().await?.is_empty() {
        return Ok(path.exists().then_some(path));
    }
    let unusable = |source| Error::Data { path: path.clone(), source };
    let secret = secrets::new_secret().map_err(unusable)?;
    secrets::write_private(&path, format!("{secret}\n").as_bytes()).map_err(unusable)?;
    store.set_user(UserView { name: ADMIN.into(), email: None, role: Role::Admin }).await?;
    store.add_token(NewRow::unlimited("t-admin", "first start", ADMIN, now()), &secret).await?;
    Ok(Some(path))
}

pub(crate) async fn world(
    config: Arc<Config>,
    store: Store,
    runtime: Any,
    program: PathBuf,
) -> Result<World, Error> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Data { path, source }
    };
    // Processes without isolation see the host's own system, whatever is configured.
    let image = if matches!(runtime, Any::Process(_)) { HOST_IMAGE } else { &config.image };
    let images = Images::open(&config.data, image)?;
    let logs = Logs::open(config.data.join("logs")).map_err(unusable(&config.data))?;
    let runtime = Arc::new(runtime);
    let releases = Arc::new(Releases::open(&config.data.join("releases"))?);
    let builder =
        Builder::new(Arc::clone(&runtime), Arc::clone(&releases), logs.clone(), &config, program.clone());
    let builder = builder.on(images.clone());
    let mut routes = BTreeMap::new();
    for app in store.apps().await? {
        let rows = store.load(&app.id).await?;
        routes.extend(rows.and_then(|rows| Some((app.id, rows.app.routing.asked?))));
    }
    Ok(World {
        link: Arc::new(RouterLink::new(config.router_control(), routes)),
        build_slots: Arc::new(Semaphore::new(config.builds.max(1))),
        maintenance_slots: Arc::new(Semaphore::new(config.builds.saturating_sub(1).max(1))),
        changes: broadcast::Sender::new(CHANGES),
        hooks: Hooks::default(),
        builder: Arc::new(builder),
        program,
        store,
        runtime,
        releases,
        images,
        logs,
        config,
    })
}

fn write_facts(data: &Path, facts: &Facts) -> Result<(), Error> {
    let path = data.join("server.json");
    let text = serde_json::to_vec_pretty(facts).unwrap_or_default();
    secrets::write_private(&path, &text).map_err(|source| Error::Data { path, source })
}

/// Serves until told to stop. Requests in flight are not waited for: pushes and streams would keep the server for minutes, and all of
/// them continue or can be asked again.
async fn serve_until_told(listener: TcpListener, routes: axum::Router) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        () = serve(listener, routes) => {}
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
