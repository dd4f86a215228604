//! HTTP/2 towards clients: hyper speaks it, and each request goes through the same HTTP/1.1 path as everybody's, over memory. So there is one
//! set of rules about what may be forwarded, and no second way to an instance.
//!
//! It must never forward what HTTP/1.1 would not let through: nothing here is trusted by what comes behind.

use crate::{
    metrics::Own,
    serve::{self, Client, Origin},
    wire::Wire,
    worker::Worker,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{cell::RefCell, convert::Infallible, future::Future, pin::pin, rc::Rc, time::Duration};

/// Requests that one client may have under way at once.
const STREAMS: u32 = 128;
/// What may be on its way through memory, each way, for each request.
const PIPE: usize = 64 * 1024;
/// Paths through memory that one client keeps for its next requests.
const KEPT: usize = 8;
/// A client that sends nothing for this long is asked whether it is there, and has as long to answer.
const ALIVE: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, hyper::Error>;
type Path = SendRequest<Incoming>;

/// What the requests of one client share.
struct Shared {
    worker: Rc<Worker>,
    origin: Origin,
    idle: RefCell<Vec<Path>>,
}

/// Serves one client until it goes or the router stops.
pub(crate) async fn connection(worker: Rc<Worker>, wire: Wire, origin: Origin) {
    let mut leaving = pin!(worker.leaving.clone().cancelled_owned());
    let builder = builder(&worker);
    let shared = Rc::new(Shared { worker, origin, idle: RefCell::default() });
    let service = service_fn(move |request| answer(Rc::clone(&shared), request));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(wire), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = leaving.as_mut() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended");
    }
}

fn builder(worker: &Worker) -> http2::Builder<Local> {
    let mut builder = http2::Builder::new(Local);
    let lines = u32::try_from(worker.limits.head_bytes).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(lines)
        .keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(PIPE);
    builder
}

async fn answer(shared: Rc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let Some(request) = translated(request) else {
        shared.worker.observer.edge.unrouted(Own::Refused);
        return Ok(refusal(StatusCode::BAD_REQUEST));
    };
    let path = match shared.path().await {
        Ok(path) => path,
        Err(_) => return Ok(refusal(StatusCode::BAD_GATEWAY)),
    };
    Ok(shared.exchange(path, request).await.unwrap_or_else(|_| refusal(StatusCode::BAD_GATEWAY)))
}

impl Shared {
    /// A path that is free, or a new one.
    async fn path(&self) -> hyper::Result<Path> {
        let free = {
            let mut idle = self.idle.borrow_mut();
            idle.retain(|path| !path.is_closed());
            let free = idle.iter().position(Path::is_ready);
            free.map(|index| idle.swap_remove(index))
        };
        match free {
            Some(path) => Ok(path),
            None => self.open().await,
        }
    }

    async fn open(&self) -> hyper::Result<Path> {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let client = Client::new(&self.worker, Wire::memory(theirs), self.origin.clone());
        self.worker.tasks.spawn_local(serve::connection(Rc::clone(&self.worker), client));
        let (path, driver) = http1::handshake(TokioIo::new(ours)).await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a path through memory ended");
            }
        });
        Ok(path)
    }

    async fn exchange(&self, mut path: Path, request: Request<Incoming>) -> hyper::Result<Response<Body>> {
        let response = path.send_request(request).await?;
        // It is free again once the body was read; if it is let go, it ends then.
        let mut idle = self.idle.borrow_mut();
        if idle.len() < KEPT {
            idle.push(path);
        }
        Ok(response.map(|body| body.boxed_unsync()))
    }
}

/// The request as HTTP/1.1 has it; `None` if it names no host, or two.
fn translated(request: Request<Incoming>) -> Option<Request<Incoming>> {
    let (mut head, body) = request.into_parts();
    let uri = std::mem::take(&mut head.uri);
    let authority = uri.authority().map(|authority| authority.as_str());
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = match (authority, hosts.next(), hosts.next()) {
        (Some(authority), None, None) => HeaderValue::from_str(authority).ok()?,
        (Some(authority), Some(host), None) if host.as_bytes() == authority.as_bytes() => host.clone(),
        (None, Some(host), None) => host.clone(),
        _ => return None,
    };
    head.headers.insert(header::HOST, host);
    join_cookies(&mut head.headers);
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    head.version = http::Version::HTTP_11;
    Some(Request::from_parts(head, body))
}

/// HTTP/2 may part one `Cookie` into several (RFC 9113, 8.2.3); HTTP/1.1 knows one.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

fn refusal(status: StatusCode) -> Response<Body> {
    let body = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Runs hyper's tasks on this very thread.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move { drop(task.await) });
    }
}
