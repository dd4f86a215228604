//! Git over SSH. The only file that knows russh: a change of that library is a change of this file. Public keys only; no shell, no
//! files, no forwarding.

use super::{
    Error, Gate, Git,
    home::{private_directory, write_file},
    request::{self, Service},
    service::{Streams, Talk},
};
use crate::platform::Principal;
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, MethodKind, MethodSet,
    keys::{HashAlg, PrivateKey, ssh_key},
    server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey},
};
use std::{
    borrow::Cow,
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::ChildStdin,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

/// The most connections, and the most of one address.
const MAX_CONNECTIONS: usize = 256;
const MAX_PER_ADDRESS: usize = 64;
/// The most channels at once on one connection: git needs one.
const MAX_CHANNELS: usize = 8;
/// How long a client may take to say who it is.
const LOGIN: Duration = Duration::from_secs(30);
/// A client that sends nothing at all for this long has gone; a living one answers a keep-alive.
const IDLE: Duration = Duration::from_secs(600);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What a wrong key costs. A client may honestly offer several.
const WRONG: Duration = Duration::from_millis(200);
const MAX_ATTEMPTS: usize = 10;
/// The longest command, in bytes.
const MAX_COMMAND: usize = 1024;
/// What is read from git at once.
const PIECE: usize = 32 * 1024;
/// The exit status of a command that was not served, as git's own.
const REFUSED: u32 = 128;
/// RFC 4254: extended data of type 1 is standard error.
const STDERR: u32 = 1;

/// Git over SSH: listening, and served by [`Self::run`].
#[derive(Debug)]
pub struct Ssh<G> {
    git: Git<G>,
    listener: TcpListener,
    address: SocketAddr,
    config: Arc<server::Config>,
    fingerprint: String,
}

impl<G: Gate> Git<G> {
    /// Listens for SSH on this address. The host key is made at the first start and kept.
    ///
    /// # Errors
    /// If the address cannot be listened on, or the host key cannot be read or made.
    pub async fn ssh(&self, address: SocketAddr) -> Result<Ssh<G>, Error> {
        let key = host_key(&self.inner.options.directory.join("ssh_host_ed25519_key"))?;
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Ssh { git: self.clone(), listener, address, config: Arc::new(config(key)), fingerprint })
    }
}

fn config(key: PrivateKey) -> server::Config {
    let mut methods = MethodSet::empty();
    methods.push(MethodKind::PublicKey);
    server::Config {
        server_id: russh::SshId::Standard(Cow::Borrowed("SSH-2.0-Teal")),
        methods,
        keys: vec![key],
        auth_rejection_time: WRONG,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: MAX_ATTEMPTS,
        inactivity_timeout: Some(IDLE),
        keepalive_interval: Some(KEEP_ALIVE),
        nodelay: true,
        ..server::Config::default()
    }
}

/// Reads the host key, or makes it.
fn host_key(path: &Path) -> Result<PrivateKey, Error> {
    let unusable = |why: String| Error::HostKey { path: path.to_owned(), why };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            check_private(path).map_err(unusable)?;
            PrivateKey::from_openssh(text).map_err(|error| unusable(error.to_string()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_host_key(path).map_err(unusable),
        Err(error) => Err(unusable(error.to_string())),
    }
}

fn check_private(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::metadata(path).map_err(|error| error.to_string())?.mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err("others may read it (chmod 600 mends that)".into()) }
}

fn make_host_key(path: &Path) -> Result<PrivateKey, String> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| "there is no randomness".to_owned())?;
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
    let key = PrivateKey::new(pair.into(), "teal").map_err(|error| error.to_string())?;
    let text = key.to_openssh(ssh_key::LineEnding::LF).map_err(|error| error.to_string())?;
    let written = path.parent().map_or(Ok(()), private_directory);
    written.and_then(|()| write_file(path, text.as_bytes(), 0o600)).map_err(|error| error.to_string())?;
    Ok(key)
}

impl<G: Gate> Ssh<G> {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The host key as users compare it: `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Accepts connections until this is dropped. Those that are there, then, end with the process; deployments under way go on.
    pub async fn run(self) {
        let limits = Limits::default();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let Some(permit) = limits.admit(peer.ip()) else { continue };
                    let config = Arc::clone(&self.config);
                    tokio::spawn(serve(self.git.clone(), config, stream, peer, permit));
                }
                Err(error) => {
                    // Mostly: no file descriptors left. Accepting again at once would only burn the processor.
                    tracing::warn!(%error, "an SSH connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// How many connections there are, in all and by address.
#[derive(Clone)]
struct Limits {
    all: Arc<Semaphore>,
    each: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_CONNECTIONS)), each: Arc::default() }
    }
}

impl Limits {
    fn admit(&self, address: IpAddr) -> Option<Permit> {
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let count = each.entry(address).or_default();
        if *count >= MAX_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Permit { _all: all, each: Arc::clone(&self.each), address })
    }
}

struct Permit {
    _all: OwnedSemaphorePermit,
    each: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = each.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                each.remove(&self.address);
            }
        }
    }
}

async fn serve<G: Gate>(
    git: Git<G>,
    config: Arc<server::Config>,
    stream: TcpStream,
    peer: SocketAddr,
    _permit: Permit,
) {
    let _ = stream.set_nodelay(true);
    let (known, mut is_known) = watch::channel(false);
    let places = Arc::new(Semaphore::new(MAX_CHANNELS));
    let handler = Handler { git, who: None, known, places, channels: HashMap::new() };
    let greeted = tokio::time::timeout(LOGIN, server::run_stream(config, stream, handler)).await;
    let Ok(Ok(mut session)) = greeted else { return };
    let handle = session.handle();
    let ended = tokio::select! {
        ended = &mut session => Some(ended),
        () = too_late(&mut is_known) => None,
    };
    match ended {
        Some(Err(error)) => tracing::debug!(%peer, %error, "an SSH connection ended"),
        Some(Ok(())) => {}
        None => {
            let words = "You took too long to say who you are.".to_owned();
            let _ = handle.disconnect(Disconnect::ByApplication, words, String::new()).await;
            let _ = tokio::time::timeout(LOGIN, session).await;
        }
    }
}

/// Returns if the client is not known in time, and otherwise never.
async fn too_late(known: &mut watch::Receiver<bool>) {
    if tokio::time::timeout(LOGIN, known.wait_for(|known| *known)).await.is_ok() {
        std::future::pending().await
    }
}

/// One connection.
struct Handler<G> {
    git: Git<G>,
    who: Option<Principal>,
    known: watch::Sender<bool>,
    /// One for each channel until its command has ended.
    places: Arc<Semaphore>,
    channels: HashMap<ChannelId, Waiting>,
}

/// A channel whose command has not come yet.
struct Waiting {
    channel: Channel<Msg>,
    protocol: Option<String>,
    _place: OwnedSemaphorePermit,
}

impl<G: Gate> Handler<G> {
    async fn holder_of(&self, key: &ssh_key::PublicKey) -> Option<Principal> {
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        match self.git.gate().holder_of_key(&fingerprint).await {
            Ok(who) => who,
            Err(error) => {
                tracing::warn!(%error, "an SSH key could not be looked up");
                None
            }
        }
    }

    /// Answers a request that is not git's in a sentence.
    fn refuse(&mut self, id: ChannelId, session: &mut Session, sentence: String) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        if let Some(waiting) = self.channels.remove(&id) {
            tokio::spawn(async move {
                let (_ears, mouth) = waiting.channel.split();
                let _ = farewell(&mouth, &sentence, REFUSED).await;
            });
        }
        Ok(())
    }
}

impl<G: Gate> server::Handler for Handler<G> {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(if self.holder_of(offer.public_key).await.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        self.who = self.holder_of(key.public_key).await;
        Ok(if self.who.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.known.send_replace(true);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Ok(()) };
        self.channels.insert(channel.id(), Waiting { channel, protocol: None, _place: place });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&id);
        Ok(())
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&id) {
            Some(waiting) if name == "GIT_PROTOCOL" => {
                waiting.protocol = request::protocol(value);
                session.channel_success(id)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        let user = self.who.as_ref().map_or("", |who| who.user.as_str());
        let sentence = format!("Hello {user}, your key works. {}", request::Refusal::NotGit);
        self.refuse(id, session, sentence)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let command = command.get(..MAX_COMMAND.min(command.len())).unwrap_or_default();
        let (service, name) = match request::command(command) {
            Ok(parsed) => parsed,
            Err(refusal) => return self.refuse(id, session, refusal.to_string()),
        };
        let (Some(waiting), Some(who)) = (self.channels.remove(&id), self.who.clone()) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        tokio::spawn(converse(self.git.clone(), who, service, name, waiting));
        Ok(())
    }
}

/// Serves one command on its channel.
async fn converse<G: Gate>(git: Git<G>, who: Principal, service: Service, name: String, waiting: Waiting) {
    let Waiting { channel, protocol, _place } = waiting;
    let (ears, mouth) = channel.split();
    let visit = match git.visit(who, name, service).await {
        Ok(visit) => visit,
        Err(error) => {
            return farewell(&mouth, &super::sentences(&error).join("\n"), REFUSED).await.unwrap_or(());
        }
    };
    let (running, streams) = match git.start(visit, service, Talk::Stateful, protocol).await {
        Ok(started) => started,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a git command could not be served");
            return farewell(&mouth, &error.to_string(), REFUSED).await.unwrap_or(());
        }
    };
    let Streams { stdin, stdout, stderr } = streams;
    let said = {
        let both = async { tokio::try_join!(copy(stdout, &mouth, None), copy(stderr, &mouth, Some(STDERR))) };
        tokio::select! {
            said = both => said.map(drop),
            () = listen(ears, stdin) => Err(russh::Error::Disconnect),
        }
    };
    match said {
        Ok(()) => {
            let status = running.end().await.and_then(|code| u32::try_from(code).ok()).unwrap_or(REFUSED);
            let _ = part(&mouth, status).await;
        }
        Err(_) => running.abandon().await,
    }
}

/// Gives git what the client sends. Returns when the client has gone; the end of what it sends is not that.
async fn listen(mut ears: ChannelReadHalf, stdin: ChildStdin) {
    let mut git = Some(stdin);
    while let Some(message) = ears.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                let refused = match &mut git {
                    Some(stdin) => stdin.write_all(&data).await.is_err(),
                    None => false,
                };
                // Git may stop reading before the end, to say why it refuses.
                if refused {
                    git = None;
                }
            }
            ChannelMsg::Eof => git = None,
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

/// Gives the client what git says.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mouth: &ChannelWriteHalf<Msg>,
    extended: Option<u32>,
) -> Result<(), russh::Error> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        let Some(said) = piece.get(..length).filter(|said| !said.is_empty()) else { return Ok(()) };
        match extended {
            None => mouth.data_bytes(said.to_vec()).await?,
            Some(kind) => mouth.extended_data_bytes(kind, said.to_vec()).await?,
        }
    }
}

/// Says a sentence on standard error and ends the channel.
async fn farewell(mouth: &ChannelWriteHalf<Msg>, sentence: &str, status: u32) -> Result<(), russh::Error> {
    mouth.extended_data_bytes(STDERR, format!("{sentence}\n")).await?;
    part(mouth, status).await
}

async fn part(mouth: &ChannelWriteHalf<Msg>, status: u32) -> Result<(), russh::Error> {
    mouth.exit_status(status).await?;
    mouth.eof().await?;
    mouth.close().await
}
