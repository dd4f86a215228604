//! Accepts connections of the API, the console and git over HTTP, with limits: a client that is slow to ask, or many that ask nothing, must
//! not take the server's descriptors.

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::ServiceExt;

/// How long a client may take to send the head of a request, and how long a kept connection may be idle.
const HEAD: Duration = Duration::from_secs(30);
/// Connections at once; the rest wait to be accepted.
const MAX_CONNECTIONS: usize = 4_096;
/// After a failure to accept: descriptors may be free again then.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until the returned future is dropped; connections that were accepted go on.
pub(crate) async fn serve(listener: TcpListener, routes: Router) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let builder = builder();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tolerate(&error).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (builder, routes) = (builder.clone(), routes.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(routes.clone(), peer, request));
            if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
            drop(slot);
        });
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD).keep_alive_timeout(HEAD);
    builder
}

async fn answer(
    routes: Router,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<axum::response::Response, std::convert::Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    routes.oneshot(request).await
}

/// A connection that was gone before it was accepted is nothing; anything else is the host's trouble and may pass.
async fn tolerate(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "connections to the API cannot be accepted");
        tokio::time::sleep(PAUSE).await;
    }
}
