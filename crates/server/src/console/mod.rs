//! The web console: pages made on the server, readable without a script; htmx and one small script keep them current.
//!
//! It asks the platform and shows what it says. It must never serve or load anything that is not Teal's own, nor contain a script or a
//! style inside a page.

mod assets;
mod changes;
mod chart;
mod forms;
mod hooks;
mod maintenance;
mod metrics;
pub(crate) mod pages;
#[cfg(test)]
mod samples;
pub(crate) mod session;
mod view;
mod visitor;
mod when;

pub(crate) use visitor::Refusal;

use crate::api::Web;
use axum::{
    Router,
    routing::{get, post},
};

/// Every route of the console.
pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(pages::applications))
        .route("/list", get(pages::applications_list))
        .route("/changes", get(changes::all))
        .route("/maintenance", get(maintenance::page).post(maintenance::order))
        .route("/maintenance/now", get(maintenance::page_now))
        .route("/webhooks", get(hooks::page).post(hooks::add))
        .route("/webhooks/{id}", get(hooks::one))
        .route("/webhooks/{id}/test", post(hooks::test))
        .route("/webhooks/{id}/remove", post(hooks::remove))
        .route("/apps/{name}/pin", post(maintenance::pin))
        .route("/login", get(pages::login).post(forms::login))
        .route("/logout", post(forms::logout))
        .route("/apps/{name}", get(pages::overview))
        .route("/apps/{name}/now", get(pages::overview_now))
        .route("/apps/{name}/changes", get(changes::of_app))
        .route("/apps/{name}/metrics", get(metrics::page))
        .route("/apps/{name}/metrics/now", get(metrics::page_now))
        .route("/apps/{name}/start", get(pages::start).post(forms::start))
        .route("/apps/{name}/cancel", post(forms::cancel))
        .route("/apps/{name}/deployments/{id}", get(pages::deployment))
        .route("/apps/{name}/deployments/{id}/redeploy", post(forms::redeploy))
        .route("/assets/{version}/{file}", get(assets::serve))
        .route("/favicon.ico", get(assets::icon))
}
