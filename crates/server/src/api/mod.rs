//! The HTTP face of Teal: the API under `/api`, the console beside it, and what both share (authentication, limits, headers).
//!
//! It turns requests into calls of [`Platform`] and answers into JSON or pages. It must never decide anything, perform an effect, or
//! answer a request that has not proved whose it is.

mod access;
mod apps;
mod audit;
mod deployments;
mod document;
mod error;
mod hooks;
mod images;
mod input;
mod limiter;
mod maintenance;
mod members;
mod people;
mod protect;
mod rules;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod traffic;

pub(crate) use access::{Caller, Peer, Proof, authenticate, no_csrf, session_of};
pub(crate) use deployments::read as read_log;
pub use document::document;
pub(crate) use error::Problem;
pub(crate) use input::{TheApp, TheDeployment};
pub(crate) use stream::{Over, Streams, Writer, open as open_stream};

use crate::{
    console::{self, session::Sessions},
    platform::Platform,
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use limiter::Limiter;
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The largest request body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// What every handler of the API and the console shares. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) platform: Platform,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) failures: Arc<Limiter>,
    pub(crate) streams: Streams,
}

/// The API, the console, its assets and `/healthz`.
///
/// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: failed authentications are counted per peer address. Git's
/// router is merged beside it by whoever serves both; only this one has a fallback.
pub fn router(platform: Platform) -> Router {
    let over_tls = platform.server_config().public_url().starts_with("https://");
    let sessions = Sessions::new(&platform.session_key(), over_tls);
    let web =
        Web { platform, sessions: Arc::new(sessions), failures: Arc::default(), streams: Streams::default() };
    let (api, document) = routes().split_for_parts();
    let text: Arc<str> = document::render(&document).into();
    let api = api
        .route("/metrics", get(traffic::metrics))
        .route_layer(from_fn_with_state(web.clone(), access::require));
    let console = console::routes().route_layer(from_fn_with_state(web.clone(), access::watch));
    let asked = api.merge(console).route_layer(from_fn_with_state(web.clone(), audit::write_down));
    Router::new()
        .merge(asked)
        .route("/api/openapi.json", get(move || document::serve(text.clone())))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(error::no_such_page)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(from_fn(protect::time_limit))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(protect::headers))
        .with_state(web)
}

/// Every route of the API with its description. The document is made from this value, so that no route can be missing in it.
fn routes() -> OpenApiRouter<Web> {
    let app = OpenApiRouter::new()
        .routes(routes!(apps::list, apps::create))
        .routes(routes!(apps::show, apps::delete))
        .routes(routes!(apps::status))
        .routes(routes!(apps::activity))
        .routes(routes!(apps::events))
        .routes(routes!(apps::act))
        .routes(routes!(traffic::app_traffic))
        .routes(routes!(traffic::app_metrics))
        .routes(routes!(deployments::show))
        .routes(routes!(deployments::log))
        .routes(routes!(settings::variables, settings::set_variables))
        .routes(routes!(settings::domains, settings::set_domains))
        .routes(routes!(settings::certificates))
        .routes(routes!(settings::config, settings::set_config))
        .routes(routes!(maintenance::pin, maintenance::unpin))
        .routes(routes!(members::list))
        .routes(routes!(members::set));
    let server = OpenApiRouter::new()
        .routes(routes!(traffic::all_traffic))
        .routes(routes!(people::whoami))
        .routes(routes!(people::users, people::set_user))
        .routes(routes!(people::remove_user))
        .routes(routes!(people::tokens, people::create_token))
        .routes(routes!(people::remove_token))
        .routes(routes!(people::keys, people::add_key))
        .routes(routes!(people::remove_key))
        .routes(routes!(audit::list))
        .routes(routes!(images::list, images::build))
        .routes(routes!(images::progress, images::cancel))
        .routes(routes!(images::check))
        .routes(routes!(images::show, images::remove))
        .routes(routes!(images::diff))
        .routes(routes!(hooks::list, hooks::add))
        .routes(routes!(hooks::remove))
        .routes(routes!(hooks::test))
        .routes(routes!(hooks::deliveries))
        .routes(routes!(people::test_mail))
        .routes(routes!(people::doctor))
        .routes(routes!(maintenance::show))
        .routes(routes!(maintenance::act));
    OpenApiRouter::with_openapi(document::preface()).nest("/api/v1", app.merge(server))
}
