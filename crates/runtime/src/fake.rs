//! A runtime in memory, for tests of whoever drives one: real loopback sockets, made-up instances, and failures on request.
//!
//! It keeps the promises of [`Runtime`] (idempotent, keyed, `Absent` after removal) and can be told to break them exactly as the real ones may:
//! not done, done but not known, broken. A frozen instance accepts connections and answers nothing, as a real one does. It ends with its process.

use crate::{Exit, Failure, Inspection, InstanceSpec, LogLine, Outcome, Runtime, State};
use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use teal_core::id::InstanceId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time,
};

/// The longest head of a request that is read, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(60);

/// The calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named after the call of the trait")]
pub enum Call {
    Ensure,
    Inspect,
    Sleep,
    Wake,
    Stop,
    Remove,
    Forget,
    Singletons,
    List,
}

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done, and that is not known.
    UnknownBefore,
    /// It was done, and that is not known.
    UnknownAfter,
    /// It answers this for certain, and nothing was done.
    Broke(String),
}

/// How an app behaves once it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// The status of every answer.
    pub status: u16,
    /// The body of every answer.
    pub body: String,
    /// Does it listen at all?
    pub listens: bool,
    /// It ends at once with this code; instances without a port (builds) end with 0 if nothing is said.
    pub exits: Option<i32>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { status: 200, body: "hello".to_owned(), listens: true, exits: None }
    }
}

/// The fake runtime. Cheap to clone; all clones are the same one.
#[derive(Debug, Clone)]
pub struct Fake {
    logs: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    instances: BTreeMap<InstanceId, Instance>,
    /// For instances that are to come, by their app's id.
    behaviours: BTreeMap<String, Behaviour>,
    faults: Vec<(Call, Option<InstanceId>, Fault)>,
    calls: Vec<(Call, Option<InstanceId>)>,
}

#[derive(Debug)]
struct Instance {
    spec: InstanceSpec,
    address: Option<SocketAddr>,
    exit: Option<Exit>,
    workers: bool,
    mode: watch::Sender<Mode>,
    server: Option<JoinHandle<()>>,
}

/// What a fake app does with its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mode {
    frozen: bool,
    status: u16,
    body: String,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.server.iter().for_each(JoinHandle::abort);
    }
}

impl Fake {
    /// No instances. `logs` is a directory that exists.
    #[must_use]
    pub fn new(logs: PathBuf) -> Self {
        Self { logs, inner: Arc::default() }
    }

    /// The next call of this kind (on this instance, if one is named) fails so, once. Several are used up in their order.
    pub fn inject(&self, call: Call, id: Option<&InstanceId>, fault: Fault) {
        self.lock().faults.push((call, id.cloned(), fault));
    }

    /// How the instances of an app behave that are started from now on.
    pub fn behave(&self, app: &str, behaviour: Behaviour) {
        self.lock().behaviours.insert(app.to_owned(), behaviour);
    }

    /// Changes what a running instance answers.
    pub fn answer(&self, id: &InstanceId, status: u16, body: &str) {
        if let Some(instance) = self.lock().instances.get(id) {
            instance.mode.send_modify(|mode| (mode.status, mode.body) = (status, body.to_owned()));
        }
    }

    /// The instance ends by itself.
    pub fn exit(&self, id: &InstanceId, code: i32, out_of_memory: bool) {
        if let Some(instance) = self.lock().instances.get_mut(id) {
            instance.end(code, out_of_memory);
        }
    }

    /// The host is started again: nothing runs any more.
    pub fn reboot(&self) {
        self.lock().instances.clear();
    }

    /// Appends a line to an instance's log.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn say(&self, id: &InstanceId, at: u64, stage: &str, text: &str) -> io::Result<()> {
        let line = LogLine { at, stage: stage.to_owned(), error: false, text: text.to_owned() };
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.log(id))?;
        file.write_all(&[serde_json::to_vec(&line)?, vec![b'\n']].concat())
    }

    /// Every call so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<(Call, Option<InstanceId>)> {
        self.lock().calls.clone()
    }

    /// The instances whose workers run now: never more than one environment's, if its driver is right.
    #[must_use]
    pub fn with_workers(&self) -> Vec<InstanceId> {
        let inner = self.lock();
        let running =
            inner.instances.iter().filter(|(_, instance)| instance.workers && instance.exit.is_none());
        running.map(|(id, _)| id.clone()).collect()
    }

    // Private

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call and takes the fault that is meant for it.
    fn note(&self, call: Call, id: Option<&InstanceId>) -> Option<Fault> {
        let mut inner = self.lock();
        inner.calls.push((call, id.cloned()));
        let meant = |(kind, which, _): &(Call, Option<InstanceId>, Fault)| {
            *kind == call && (which.is_none() || which.as_ref() == id)
        };
        let at = inner.faults.iter().position(meant)?;
        Some(inner.faults.remove(at).2)
    }

    /// Does `work` as far as the fault lets it.
    async fn perform<T>(
        &self,
        call: Call,
        id: Option<&InstanceId>,
        work: impl Future<Output = Outcome<T>>,
    ) -> Outcome<T> {
        match self.note(call, id) {
            None => work.await,
            Some(Fault::Broke(message)) => Outcome::Broke(Failure { message }),
            Some(Fault::UnknownBefore) => Outcome::Unknown("injected: nothing was done".to_owned()),
            Some(Fault::UnknownAfter) => {
                let _not_told = work.await;
                Outcome::Unknown("injected: it was done".to_owned())
            }
        }
    }

    fn with<T>(&self, id: &InstanceId, change: impl FnOnce(&mut Instance) -> T) -> Outcome<T> {
        let mut inner = self.lock();
        match inner.instances.get_mut(id).filter(|instance| instance.exit.is_none()) {
            Some(instance) => Outcome::Done(change(instance)),
            None => Outcome::Broke(Failure {
                message: format!("the instance {id} is not there any more; start it again"),
            }),
        }
    }

    async fn start(&self, spec: &InstanceSpec) -> Outcome<Inspection> {
        if let Some(known) = self.lock().instances.get(&spec.id) {
            return Outcome::Done(known.inspect());
        }
        let behaviour = self.lock().behaviours.get(spec.app.as_str()).cloned().unwrap_or_default();
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await {
            Ok(listener) => listener,
            Err(error) => return Outcome::Unknown(error.to_string()),
        };
        let instance = Instance::new(spec, behaviour, listener);
        let mut inner = self.lock();
        // Started twice at once: the first one counts.
        Outcome::Done(inner.instances.entry(spec.id.clone()).or_insert(instance).inspect())
    }
}

impl Instance {
    fn new(spec: &InstanceSpec, behaviour: Behaviour, listener: TcpListener) -> Self {
        let (mode, modes) =
            watch::channel(Mode { frozen: false, status: behaviour.status, body: behaviour.body });
        let address = spec.port.and(listener.local_addr().ok());
        let listens = address.is_some() && behaviour.listens;
        let server = listens.then(|| tokio::spawn(serve(listener, modes)));
        let mut instance = Self { spec: spec.clone(), address, exit: None, workers: false, mode, server };
        if let Some(code) = behaviour.exits.or(spec.port.is_none().then_some(0)) {
            instance.end(code, false);
        }
        instance
    }

    fn end(&mut self, code: i32, out_of_memory: bool) {
        let stage = self.spec.commands.last().map(|command| command.stage.clone()).unwrap_or_default();
        self.exit = Some(Exit { stage, code, out_of_memory });
        self.workers = false;
        self.server.take().iter().for_each(JoinHandle::abort);
    }

    fn inspect(&self) -> Inspection {
        let listening = self.address.filter(|_| self.server.is_some()).into_iter().collect();
        let state = match &self.exit {
            Some(exit) => State::Exited(exit.clone()),
            None if self.mode.borrow().frozen => State::Frozen,
            None => State::Running { listening },
        };
        // What listens does not care what it is asked.
        let tcp_address = self.spec.tcp_port.and(self.address);
        Inspection { state, address: self.address, tcp_address, memory_bytes: Some(1 << 20) }
    }

    fn freeze(&self, frozen: bool) {
        self.mode.send_modify(|mode| mode.frozen = frozen);
    }
}

impl Runtime for Fake {
    async fn ensure(&self, spec: &InstanceSpec) -> Outcome<Inspection> {
        self.perform(Call::Ensure, Some(&spec.id), self.start(spec)).await
    }

    async fn inspect(&self, id: &InstanceId) -> Outcome<Inspection> {
        let look = async {
            let absent =
                Inspection { state: State::Absent, address: None, tcp_address: None, memory_bytes: None };
            Outcome::Done(self.lock().instances.get(id).map_or(absent, Instance::inspect))
        };
        self.perform(Call::Inspect, Some(id), look).await
    }

    async fn sleep(&self, id: &InstanceId) -> Outcome<()> {
        self.perform(Call::Sleep, Some(id), async { self.with(id, |instance| instance.freeze(true)) }).await
    }

    async fn save(&self, _: &InstanceId) -> Outcome<()> {
        Outcome::Broke(Failure { message: "a made-up instance has no memory that could be saved".to_owned() })
    }

    async fn wake(&self, id: &InstanceId) -> Outcome<Inspection> {
        let wake = |instance: &mut Instance| {
            instance.freeze(false);
            instance.inspect()
        };
        self.perform(Call::Wake, Some(id), async { self.with(id, wake) }).await
    }

    async fn stop(&self, id: &InstanceId, _deadline: Duration) -> Outcome<()> {
        let stop = async {
            self.lock().instances.remove(id);
            Outcome::Done(())
        };
        self.perform(Call::Stop, Some(id), stop).await
    }

    async fn remove(&self, id: &InstanceId) -> Outcome<()> {
        let remove = async {
            self.lock().instances.remove(id);
            Outcome::Done(())
        };
        self.perform(Call::Remove, Some(id), remove).await
    }

    async fn forget(&self, id: &InstanceId) -> Outcome<()> {
        let forget = async {
            match fs::remove_file(self.log(id)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Outcome::Unknown(error.to_string()),
                _ => Outcome::Done(()),
            }
        };
        self.perform(Call::Forget, Some(id), forget).await
    }

    async fn singletons(&self, id: &InstanceId, run: bool) -> Outcome<()> {
        let set = async {
            match self.with(id, |instance| instance.workers = run) {
                Outcome::Broke(_) if !run => Outcome::Done(()),
                told => told,
            }
        };
        self.perform(Call::Singletons, Some(id), set).await
    }

    async fn list(&self) -> Outcome<Vec<InstanceId>> {
        let list = async { Outcome::Done(self.lock().instances.keys().cloned().collect()) };
        self.perform(Call::List, None, list).await
    }

    fn log(&self, id: &InstanceId) -> PathBuf {
        self.logs.join(format!("{id}.log"))
    }
}

async fn serve(listener: TcpListener, modes: watch::Receiver<Mode>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(converse(stream, modes.clone()));
    }
}

/// Answers requests on one connection, one after another; while the instance is frozen, not at all.
async fn converse(mut stream: TcpStream, mut modes: watch::Receiver<Mode>) -> io::Result<()> {
    loop {
        let Some(length) = time::timeout(IDLE, head(&mut stream)).await?? else { return Ok(()) };
        let mut body = (&mut stream).take(length);
        tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
        let mode = modes.wait_for(|mode| !mode.frozen).await.map_err(io::Error::other)?.clone();
        let (status, length) = (mode.status, mode.body.len());
        let answer = format!("HTTP/1.1 {status} Fake\r\ncontent-length: {length}\r\n\r\n{}", mode.body);
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Reads a request's head and answers how long its body is; `None` at the end of the connection.
async fn head(stream: &mut TcpStream) -> io::Result<Option<u64>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) if head.len() < MAX_HEAD => head.push(byte),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    Ok(Some(length.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Limits, Tree};

    fn spec(port: Option<u16>) -> InstanceSpec {
        InstanceSpec {
            id: "e-1-0".parse().expect("legal"),
            app: "shop".parse().expect("legal"),
            image: None,
            tree: Tree::Sealed("/release".into()),
            commands: vec![Command { stage: "start".to_owned(), script: "x".to_owned() }],
            workers: Vec::new(),
            variables: BTreeMap::new(),
            port,
            tcp_port: None,
            limits: Limits { memory_mib: 64, cpu_milli: 100, pids: 10, disk_mib: 10 },
            mounts: Vec::new(),
            egress: false,
        }
    }

    fn fake() -> (Fake, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        (Fake::new(dir.path().to_owned()), dir)
    }

    async fn get(stream: &mut TcpStream) -> String {
        stream.write_all(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi").await.expect("sent");
        let mut buffer = [0; 512];
        let length = stream.read(&mut buffer).await.expect("an answer");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[tokio::test]
    async fn it_serves_freezes_and_ends() {
        let (fake, _dir) = fake();
        let spec = spec(Some(8080));
        let Outcome::Done(seen) = fake.ensure(&spec).await else { panic!("started") };
        assert_eq!(fake.ensure(&spec).await, Outcome::Done(seen.clone()));
        let address = seen.address.expect("it has a port");
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        assert!(get(&mut stream).await.starts_with("HTTP/1.1 200 "));
        fake.answer(&spec.id, 503, "no");
        assert!(get(&mut stream).await.ends_with("no"));
        assert_eq!(fake.sleep(&spec.id).await, Outcome::Done(()));
        let mut late = TcpStream::connect(address).await.expect("a frozen one accepts");
        assert!(
            time::timeout(Duration::from_millis(100), get(&mut late)).await.is_err(),
            "and answers nothing"
        );
        fake.wake(&spec.id).await;
        assert!(late.read_u8().await.is_ok(), "until it is awake");
        fake.exit(&spec.id, 3, false);
        assert!(matches!(fake.wake(&spec.id).await, Outcome::Broke(_)));
        fake.remove(&spec.id).await;
        assert_eq!(fake.list().await, Outcome::Done(Vec::new()));
    }

    #[tokio::test]
    async fn faults_are_used_once_and_say_what_they_did() {
        let (fake, _dir) = fake();
        let spec = spec(None);
        let other: InstanceId = "e-2-0".parse().expect("legal");
        fake.inject(Call::Ensure, Some(&other), Fault::Broke("not for this one".to_owned()));
        fake.inject(Call::Ensure, None, Fault::UnknownBefore);
        fake.inject(Call::Ensure, None, Fault::UnknownAfter);
        assert!(matches!(fake.ensure(&spec).await, Outcome::Unknown(_)));
        assert_eq!(fake.list().await, Outcome::Done(Vec::new()));
        assert!(matches!(fake.ensure(&spec).await, Outcome::Unknown(_)));
        assert_eq!(fake.list().await, Outcome::Done(vec![spec.id.clone()]));
        let Outcome::Done(seen) = fake.ensure(&spec).await else { panic!("no fault left") };
        assert!(matches!(seen.state, State::Exited(Exit { code: 0, .. })), "a build ends well");
    }
}
