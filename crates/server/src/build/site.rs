//! The static file server: what `teal __static <root>` runs inside an instance. Ranges, ETag, compression, `404.html`.
//!
//! Files come from tower-http's `ServeDir`; here is only what a site expects beyond it. Hidden files are not served (`.git`, `.env`), save
//! `.well-known`.

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::any,
};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::net::TcpListener;
use tower::ServiceExt;
use tower_http::{
    compression::CompressionLayer,
    services::{ServeDir, ServeFile},
};

const NOT_FOUND: &str =
    "<!doctype html><title>Not found</title><h1>Not found</h1><p>There is no such page here.</p>";

/// Serves `root` on `0.0.0.0:port` until SIGTERM; then ends what is under way and returns.
///
/// # Errors
/// If it cannot listen there, or `root` is not a directory.
pub async fn run(root: &Path, port: u16) -> io::Result<()> {
    if !std::fs::metadata(root)?.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} is not a directory", root.display()),
        ));
    }
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).await?;
    serve(listener, root, async move {
        term.recv().await;
    })
    .await
}

/// Serves `root` on this listener until `stop` is ready.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(
    listener: TcpListener,
    root: &Path,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(root)).with_graceful_shutdown(stop).await
}

fn router(root: &Path) -> Router {
    let lost = root.join("404.html");
    let files = ServeDir::new(root).precompressed_gzip().precompressed_br();
    let missing = any(move |request: Request| not_found(lost.clone(), request));
    Router::new()
        .fallback_service(files.fallback(missing))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(finish))
        .layer(middleware::from_fn(refuse_hidden))
}

/// The site's own `404.html`, or a plain one, always with status 404 and never cached for long.
async fn not_found(page: PathBuf, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let mut plain = Request::new(axum::body::Body::empty());
    // Without the conditions and ranges of the request: a 404 is whole or not at all.
    *plain.method_mut() = parts.method;
    let found = ServeFile::new(page).oneshot(plain).await;
    match found {
        Ok(found) if found.status() == StatusCode::OK => {
            let mut response = found.map(axum::body::Body::new);
            *response.status_mut() = StatusCode::NOT_FOUND;
            for name in [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES] {
                response.headers_mut().remove(name);
            }
            response
        }
        _ => (StatusCode::NOT_FOUND, Html(NOT_FOUND)).into_response(),
    }
}

/// A compressed body is another representation: its ETag may only be a weak one. And caches ask again, unless the site said otherwise.
async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let compressed = response.headers().contains_key(header::CONTENT_ENCODING);
    let headers = response.headers_mut();
    if compressed
        && let Some(tag) = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok())
        && !tag.starts_with("W/")
        && let Ok(weak) = HeaderValue::from_str(&format!("W/{tag}"))
    {
        headers.insert(header::ETAG, weak);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn refuse_hidden(request: Request, next: Next) -> Response {
    let hidden = |part: &str| {
        let dot =
            part.starts_with('.') || part.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2e"));
        dot && part != ".well-known"
    };
    if request.uri().path().split('/').any(hidden) {
        return (StatusCode::NOT_FOUND, Html(NOT_FOUND)).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
#[path = "site_tests.rs"]
mod tests;
