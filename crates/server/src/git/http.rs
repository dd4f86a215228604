//! Smart HTTP: `/<app>.git/{info/refs,git-upload-pack,git-receive-pack}`, to be nested beside the API. Basic authentication with a token's
//! id and secret. Bodies stream both ways; nothing is gathered in memory.

use super::{
    Error, Gate, Git,
    request::{Service, app_name, protocol},
    service::{Running, Streams, Talk},
};
use crate::platform::{self, Principal};
use axum::{
    Router,
    body::{Body, BodyDataStream},
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;
use std::{
    io::{self, Write},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::{Mutex, mpsc},
};

/// The longest `Authorization` header, in bytes.
const MAX_CREDENTIALS: usize = 1024;
/// What a wrong token costs, one caller after the other: guessing gets nowhere, and nobody can be locked out.
const WRONG: Duration = Duration::from_millis(200);
/// The longest a client may send nothing in the middle of its request.
const IDLE: Duration = Duration::from_secs(600);
/// Compressed bytes that are inflated at once: at most a thousandfold comes out.
const INFLATE: usize = 4 * 1024;
/// The largest inflated request of a fetch, in bytes. A push is limited by git.
const MAX_FETCH_REQUEST: usize = 64 * 1024 * 1024;
/// What is read from git at once, and how many such pieces may wait for a slow client.
const PIECE: usize = 32 * 1024;
const PIECES: usize = 8;
/// The most of git's complaints that the operator's log gets, in bytes.
const MAX_COMPLAINT: u64 = 4 * 1024;

/// A refusal; the text is what git shows as `remote: …`.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        let mut response = (status, format!("{text}\n")).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(
                "Basic realm=\"Teal: token id and token secret\", charset=\"UTF-8\"",
            );
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "a git request could not be served");
        Self(status, error.to_string())
    }
}

impl From<platform::Error> for Refusal {
    fn from(error: platform::Error) -> Self {
        let status = match error {
            platform::Error::NotFound(_) => StatusCode::NOT_FOUND,
            platform::Error::Forbidden(_) => StatusCode::FORBIDDEN,
            platform::Error::Invalid { .. } | platform::Error::Refused { .. } => StatusCode::CONFLICT,
            platform::Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, super::sentences(&error).join("\n"))
    }
}

struct Http<G> {
    git: Git<G>,
    wrong: std::sync::Arc<Mutex<()>>,
}

impl<G> Clone for Http<G> {
    fn clone(&self) -> Self {
        Self { git: self.git.clone(), wrong: std::sync::Arc::clone(&self.wrong) }
    }
}

impl<G: Gate> Git<G> {
    /// Git's routes. Merge them into the API's router, outside of any body limit or time-out: git limits pushes itself, and a push
    /// lasts until its verdict.
    pub fn http(&self) -> Router {
        let state = Http { git: self.clone(), wrong: std::sync::Arc::default() };
        Router::new()
            .route("/{repository}/info/refs", get(advertise::<G>))
            .route("/{repository}/git-upload-pack", post(upload_pack::<G>))
            .route("/{repository}/git-receive-pack", post(receive_pack::<G>))
            .with_state(state)
    }
}

async fn advertise<G: Gate>(
    State(http): State<Http<G>>,
    Path(repository): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let service = query.as_deref().and_then(|query| query.strip_prefix("service=")).and_then(Service::named);
    let Some(service) = service else {
        return Err(Refusal(StatusCode::FORBIDDEN, "Teal speaks git's smart protocol only.".into()));
    };
    let protocol = version(&headers);
    let (running, streams) = http.start(&repository, &headers, service, Talk::Advertise).await?;
    let greeting = match (service, protocol.as_deref()) {
        (Service::UploadPack, Some("version=2")) => Bytes::new(),
        _ => greeting(service),
    };
    let body = serve(running, streams, Incoming::nothing(), greeting);
    Ok(answer(service, "advertisement", body))
}

async fn upload_pack<G: Gate>(
    State(http): State<Http<G>>,
    Path(repository): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    http.rpc(&repository, &headers, Service::UploadPack, body).await
}

async fn receive_pack<G: Gate>(
    State(http): State<Http<G>>,
    Path(repository): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    http.rpc(&repository, &headers, Service::ReceivePack, body).await
}

impl<G: Gate> Http<G> {
    async fn rpc(
        &self,
        repository: &str,
        headers: &HeaderMap,
        service: Service,
        body: Body,
    ) -> Result<Response, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if kind != Some(format!("application/x-git-{}-request", service.subcommand()).as_bytes()) {
            let text = "That is not a request of git's smart protocol.";
            return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.into()));
        }
        let incoming = Incoming::of(body, headers, service)?;
        let (running, streams) = self.start(repository, headers, service, Talk::Stateless).await?;
        Ok(answer(service, "result", serve(running, streams, incoming, Bytes::new())))
    }

    async fn start(
        &self,
        repository: &str,
        headers: &HeaderMap,
        service: Service,
        talk: Talk,
    ) -> Result<(Running, Streams), Refusal> {
        // Nobody learns which apps there are before they have said who they are.
        let who = self.authenticate(headers).await?;
        let name = repository.strip_suffix(".git").and_then(app_name).ok_or_else(|| {
            let text = "There is no such repository here: its address ends in /<app>.git";
            Refusal(StatusCode::NOT_FOUND, text.into())
        })?;
        let visit = self.git.visit(who, name.to_owned(), service).await?;
        Ok(self.git.start(visit, service, talk, version(headers)).await?)
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Refusal> {
        let text = "Teal wants a token: its id as the user name, its secret as the password. Make one: teal tokens create";
        let unauthorised = || Refusal(StatusCode::UNAUTHORIZED, text.into());
        let (id, secret) = credentials(headers).ok_or_else(unauthorised)?;
        match self.git.gate().holder_of_token_pair(&id, &secret).await? {
            Some(who) => Ok(who),
            None => {
                let _one_at_a_time = self.wrong.lock().await;
                tokio::time::sleep(WRONG).await;
                Err(unauthorised())
            }
        }
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > MAX_CREDENTIALS {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn version(headers: &HeaderMap) -> Option<String> {
    headers.get("git-protocol").and_then(|value| value.to_str().ok()).and_then(protocol)
}

/// `# service=git-…`, then the end of the list.
fn greeting(service: Service) -> Bytes {
    let line = format!("# service=git-{}\n", service.subcommand());
    format!("{:04x}{line}0000", line.len() + 4).into()
}

fn answer(service: Service, what: &str, body: Body) -> Response {
    let kind = format!("application/x-git-{}-{what}", service.subcommand());
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache, max-age=0, must-revalidate".to_owned()),
        // A proxy must not gather what is to be seen as it happens.
        (header::HeaderName::from_static("x-accel-buffering"), "no".to_owned()),
    ];
    (headers, body).into_response()
}

/// A request's body, inflated if it was deflated.
struct Incoming {
    stream: Option<BodyDataStream>,
    inflate: Option<MultiGzDecoder<Vec<u8>>>,
    left: usize,
}

impl Incoming {
    const fn nothing() -> Self {
        Self { stream: None, inflate: None, left: 0 }
    }

    fn of(body: Body, headers: &HeaderMap, service: Service) -> Result<Self, Refusal> {
        let inflate = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => None,
            Some(b"gzip" | b"x-gzip") => Some(MultiGzDecoder::new(Vec::new())),
            Some(_) => {
                let text = "Teal reads plain and gzip bodies only.";
                return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.into()));
            }
        };
        let left = match service {
            Service::UploadPack => MAX_FETCH_REQUEST,
            Service::ReceivePack => usize::MAX,
        };
        Ok(Self { stream: Some(body.into_data_stream()), inflate, left })
    }

    /// Gives all of it to git. An error: the client broke off, or sent what cannot be read.
    async fn pour(mut self, stdin: ChildStdin) -> io::Result<()> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let mut git = Some(stdin);
        loop {
            let next = tokio::time::timeout(IDLE, stream.next()).await;
            let Some(piece) = next.map_err(|_| io::ErrorKind::TimedOut)? else { break };
            self.give(&piece.map_err(io::Error::other)?, &mut git).await?;
        }
        match self.inflate.take() {
            Some(inflate) => put(&mut git, &inflate.finish()?).await,
            None => Ok(()),
        }
    }

    async fn give(&mut self, piece: &[u8], git: &mut Option<ChildStdin>) -> io::Result<()> {
        let Some(inflate) = &mut self.inflate else {
            self.left = self.left.checked_sub(piece.len()).ok_or(io::ErrorKind::FileTooLarge)?;
            return put(git, piece).await;
        };
        for part in piece.chunks(INFLATE) {
            inflate.write_all(part)?;
            let plain = std::mem::take(inflate.get_mut());
            self.left = self.left.checked_sub(plain.len()).ok_or(io::ErrorKind::FileTooLarge)?;
            put(git, &plain).await?;
        }
        Ok(())
    }
}

/// Git may stop reading before the end, to say why it refuses: the rest is read and dropped, so that the client gets to the answer.
async fn put(git: &mut Option<ChildStdin>, bytes: &[u8]) -> io::Result<()> {
    if let Some(stdin) = git
        && let Err(error) = stdin.write_all(bytes).await
    {
        if error.kind() != io::ErrorKind::BrokenPipe {
            return Err(error);
        }
        *git = None;
    }
    Ok(())
}

/// Runs the request in a task of its own and returns the answer as it comes.
fn serve(running: Running, streams: Streams, incoming: Incoming, greeting: Bytes) -> Body {
    let (send, mut receive) = mpsc::channel::<Bytes>(PIECES);
    tokio::spawn(async move {
        let Streams { stdin, stdout, stderr } = streams;
        let complaints = tokio::spawn(complaints(stderr));
        let served = tokio::try_join!(incoming.pour(stdin), outgoing(greeting, stdout, &send));
        match served {
            Ok(_) => drop(running.end().await),
            Err(error) => {
                tracing::debug!(%error, "a git client left before the end");
                running.abandon().await;
            }
        }
        let _ = complaints.await;
    });
    let pieces = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
    Body::from_stream(pieces.map(Ok::<_, io::Error>))
}

/// Gives the client what git says. An error: the client has gone.
async fn outgoing(greeting: Bytes, mut stdout: ChildStdout, client: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    if !greeting.is_empty() {
        client.send(greeting).await.map_err(|_| gone())?;
    }
    loop {
        let mut piece = vec![0; PIECE];
        let length = tokio::select! {
            length = stdout.read(&mut piece) => length?,
            () = client.closed() => return Err(gone()),
        };
        if length == 0 {
            return Ok(());
        }
        piece.truncate(length);
        client.send(piece.into()).await.map_err(|_| gone())?;
    }
}

/// What git says beside the protocol is for the operator.
async fn complaints(stderr: ChildStderr) {
    let mut text = Vec::new();
    let mut stderr = stderr;
    let _ = (&mut stderr).take(MAX_COMPLAINT).read_to_end(&mut text).await;
    if !text.is_empty() {
        tracing::info!(said = %crate::log::harmless(&String::from_utf8_lossy(&text)), "git complained");
    }
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
}
