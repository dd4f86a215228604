//! A router in a directory of its own, and the server's side of its control socket.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use teal_core::{
    control::{PortTrouble, Reply, Request, Traffic, VERSION, encode},
    id::EnvironmentId,
    metrics::{Metrics, Served},
    route::{AppRoute, Backend, Colour, Table, Target},
};
use teal_router::{Options, Router};

pub(crate) struct Rig {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) router: Option<Router>,
    pub(crate) control: Control,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut options = options(directory.path());
        change(&mut options);
        let router = Router::start(options).expect("starts");
        let control = Control::connect(&directory.path().join("control"));
        Self { directory, router: Some(router), control }
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.router.as_ref().expect("runs").http()[0]
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    /// Stops the router and starts another one on the same directory.
    pub(crate) fn restart(&mut self) {
        self.router.take().expect("runs").stop();
        self.router = Some(Router::start(options(self.directory.path())).expect("starts"));
    }
}

pub(crate) fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory.join("control"), directory.join("state"));
    options.workers = 2;
    options.limits.drain = Duration::from_secs(5);
    options
}

/// The server's side.
pub(crate) struct Control {
    pub(crate) stream: UnixStream,
    pub(crate) generation: u64,
}

impl Control {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("sets");
        let mut control = Self { stream, generation: 0 };
        match control.ask(&Request::Hello { version: VERSION, requires: vec![] }) {
            Reply::Hello { generation, .. } => control.generation = generation,
            other => panic!("{other:?}"),
        }
        control
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Reply {
        let mut bytes = Vec::new();
        encode(request, &mut bytes).expect("encodes");
        self.stream.write_all(&bytes).expect("writes");
        self.reply().expect("a reply")
    }

    pub(crate) fn reply(&mut self) -> std::io::Result<Reply> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix)?;
        let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(teal_core::control::decode(&body).expect("a reply"))
    }

    /// Replaces the whole table; returns when it is acknowledged.
    pub(crate) fn replace(&mut self, apps: Vec<AppRoute>) {
        self.generation += 1;
        let named = |(number, app)| (format!("a-{number}").parse().expect("legal"), app);
        let apps = apps.into_iter().enumerate().map(named).collect();
        let reply = self.ask(&Request::Replace { table: Table { generation: self.generation, apps } });
        assert_eq!(reply, Reply::Acknowledged { generation: self.generation });
    }

    /// Changes the first app; returns when it is acknowledged.
    pub(crate) fn change(&mut self, app: Option<AppRoute>) {
        let base_generation = self.generation;
        self.generation += 1;
        let apps = [("a-0".parse().expect("legal"), app)].into();
        let reply = self.ask(&Request::Change { base_generation, generation: self.generation, apps });
        assert_eq!(reply, Reply::Acknowledged { generation: self.generation });
    }

    pub(crate) fn traffic(&mut self) -> BTreeMap<EnvironmentId, Traffic> {
        match self.ask(&Request::Traffic) {
            Reply::Traffic { environments, .. } => environments,
            other => panic!("{other:?}"),
        }
    }

    /// Everything that is counted.
    pub(crate) fn metrics(&mut self) -> Metrics {
        match self.ask(&Request::Metrics) {
            Reply::Metrics { metrics } => *metrics,
            other => panic!("{other:?}"),
        }
    }

    /// TCP ports that cannot be opened.
    pub(crate) fn troubles(&mut self) -> Vec<PortTrouble> {
        match self.ask(&Request::Traffic) {
            Reply::Traffic { troubles, .. } => troubles,
            other => panic!("{other:?}"),
        }
    }

    /// What clients got from one environment; nothing if it is not counted.
    pub(crate) fn served(&mut self, environment: &str) -> Served {
        let environment: EnvironmentId = environment.parse().expect("legal");
        self.metrics().environments.remove(&environment).unwrap_or_default()
    }

    /// One environment's counts; all zero if it has none.
    pub(crate) fn counts(&mut self, environment: &str) -> Traffic {
        let environment: EnvironmentId = environment.parse().expect("legal");
        self.traffic().get(&environment).copied().unwrap_or_default()
    }

    pub(crate) fn cut(&mut self, environment: &str, spread_ms: u64) {
        let environment = environment.parse().expect("legal");
        let reply = self.ask(&Request::Cut { environment, spread_ms });
        assert_eq!(reply, Reply::Acknowledged { generation: self.generation });
    }
}

pub(crate) fn target(environment: &str, addresses: &[SocketAddr]) -> Target {
    let environment: EnvironmentId = environment.parse().expect("legal");
    let backend = |(number, address): (usize, &SocketAddr)| Backend {
        instance: environment.instance(u32::try_from(number).expect("few")),
        address: *address,
        tcp: None,
    };
    let instances = addresses.iter().enumerate().map(backend).collect();
    Target { environment, colour: Colour::Blue, instances }
}

pub(crate) fn route(environment: &str, addresses: &[SocketAddr]) -> AppRoute {
    AppRoute {
        name: "shop".into(),
        domains: vec!["shop.test".into()],
        live: Some(target(environment, addresses)),
        ..AppRoute::default()
    }
}

/// An address where nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address")
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
