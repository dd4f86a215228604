//! The pages of webhooks: all of them with a form for another one, and each with its deliveries and the button that tests it.

use super::{
    pages::{Frame, html},
    view::{Badge, badge},
    visitor::{Refusal, Visitor},
    when::When,
};
use crate::api::Web;
use askama::Template;
use axum::{
    extract::{Form, Path, State},
    response::{Html, Redirect},
};
use jiff::Timestamp;
use serde::Deserialize;
use teal_core::{
    api::{HookDeliveryView, HookView, MadeHook, NewHook},
    hook::{HookEvent, HookFormat},
};

#[derive(Template)]
#[template(path = "hooks.html")]
pub(crate) struct HooksPage {
    pub(crate) frame: Frame,
    pub(crate) hooks: Vec<HookView>,
    pub(crate) events: [HookEvent; 7],
    pub(crate) apps: Vec<String>,
    /// Just made: its secret is shown this once.
    pub(crate) made: Option<MadeHook>,
}

#[derive(Template)]
#[template(path = "hook.html")]
pub(crate) struct HookPage {
    pub(crate) frame: Frame,
    pub(crate) hook: HookView,
    pub(crate) log: Vec<Row>,
    /// What the receiver said to the test that was just asked for.
    pub(crate) tested: Option<String>,
}

/// A delivery.
pub(crate) struct Row {
    pub(crate) badge: Badge,
    pub(crate) view: HookDeliveryView,
    pub(crate) queued: When,
    /// When it is tried next, if it is.
    pub(crate) again: Option<When>,
}

/// A row of the log. Pure.
pub(crate) fn row(view: HookDeliveryView, now: Timestamp) -> Row {
    let badge = match view.state.as_str() {
        "delivered" => badge("good", "delivered", "the receiver took it"),
        "waiting" if view.attempts == 0 => badge("busy", "waiting", "it is about to be delivered"),
        "waiting" => badge("warn", "waiting", "it is tried again"),
        _ => badge("bad", "given up", "it is not tried any more"),
    };
    let again = view.at.as_deref().filter(|_| view.state == "waiting").map(|at| When::new(at, now));
    Row { badge, queued: When::new(&view.queued_at, now), again, view }
}

/// `/webhooks`.
pub(crate) async fn page(State(web): State<Web>, visitor: Visitor) -> Result<Html<String>, Refusal> {
    show(&web, &visitor, None).await
}

async fn show(web: &Web, visitor: &Visitor, made: Option<MadeHook>) -> Result<Html<String>, Refusal> {
    let hooks = web.platform.hooks().await?;
    let apps = web.platform.apps(visitor.who()).await?.into_iter().map(|app| app.name).collect();
    Ok(html(&HooksPage { frame: Frame::of("Webhooks", visitor), hooks, events: HookEvent::ALL, apps, made }))
}

/// What the form says. Events come as often as they are ticked, which no structure can hold.
fn read(pairs: Vec<(String, String)>) -> Result<(String, NewHook), String> {
    let (mut csrf, mut app, mut name, mut url) = (String::new(), String::new(), String::new(), String::new());
    let (mut events, mut format) = (Vec::new(), HookFormat::Raw);
    for (field, value) in pairs {
        match field.as_str() {
            "csrf" => csrf = value,
            "name" => name = value,
            "url" => url = value,
            "app" => app = value,
            "event" => events.push(value.parse()?),
            "format" => format = value.parse()?,
            other => return Err(format!("the form has no field `{}`", crate::log::harmless(other))),
        }
    }
    Ok((csrf, NewHook { name, url, app: Some(app).filter(|app| !app.is_empty()), events, format }))
}

/// Makes one; the answer is the page itself, for the secret is in no other.
pub(crate) async fn add(
    State(web): State<Web>,
    visitor: Visitor,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Html<String>, Refusal> {
    let (csrf, new) =
        read(form).map_err(|why| crate::platform::Error::Invalid { message: why, hint: None })?;
    visitor.check(&web, &csrf)?;
    let made = web.platform.add_hook(visitor.who(), new).await?;
    show(&web, &visitor, Some(made)).await
}

/// `/webhooks/{id}`: how its deliveries went.
pub(crate) async fn one(
    State(web): State<Web>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Html<String>, Refusal> {
    show_one(&web, &visitor, &id, None).await
}

async fn show_one(
    web: &Web,
    visitor: &Visitor,
    id: &str,
    tested: Option<String>,
) -> Result<Html<String>, Refusal> {
    let log = web.platform.hook_deliveries(id).await?;
    let unknown = || crate::platform::Error::NotFound("there is no such webhook".into());
    let hook = web.platform.hooks().await?.into_iter().find(|hook| hook.id == id).ok_or_else(unknown)?;
    let now = Timestamp::now();
    let log = log.into_iter().map(|delivery| row(delivery, now)).collect();
    Ok(html(&HookPage { frame: Frame::of("Webhook", visitor), hook, log, tested }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plain {
    csrf: String,
}

/// Posts a test; that it was not taken is an answer, too.
pub(crate) async fn test(
    State(web): State<Web>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(Plain { csrf }): Form<Plain>,
) -> Result<Html<String>, Refusal> {
    visitor.check(&web, &csrf)?;
    let said = match web.platform.test_hook(visitor.who(), &id).await {
        Ok(accepted) => accepted.message,
        Err(crate::platform::Error::Refused { message, .. }) => message,
        Err(error) => return Err(error.into()),
    };
    show_one(&web, &visitor, &id, Some(said)).await
}

/// Removes one.
pub(crate) async fn remove(
    State(web): State<Web>,
    visitor: Visitor,
    Path(id): Path<String>,
    Form(Plain { csrf }): Form<Plain>,
) -> Result<Redirect, Refusal> {
    visitor.check(&web, &csrf)?;
    web.platform.remove_hook(visitor.who(), &id).await?;
    Ok(Redirect::to("/webhooks"))
}
