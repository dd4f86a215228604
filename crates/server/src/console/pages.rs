//! The pages: each loads what it shows, makes words of it, and renders a template. A fragment of a page is the same template without
//! its frame, for htmx.

use super::{
    assets, view,
    visitor::{Refusal, Visitor, safe_next},
    when::When,
};
use crate::api::{Problem, TheApp, TheDeployment, Web, read_log};
use askama::Template;
use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::{Html, IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use serde::Deserialize;
use teal_core::{
    api::{AppView, DeploymentView, StatusView},
    id::{AppId, DeploymentId},
    route::Colour,
};

/// Rows of the activity on the overview.
const ACTIVITY_ROWS: u32 = 20;
/// Lines of the running deployment's log on the overview.
const TAIL_LINES: usize = 30;
/// Lines of a log on a page of its own.
const PAGE_LINES: usize = 1000;

/// What every page has around it.
pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) user: Option<String>,
    pub(crate) csrf: String,
    pub(crate) assets: String,
}

impl Frame {
    pub(crate) fn of(title: impl Into<String>, visitor: &Visitor) -> Self {
        let user = Some(visitor.who().user.clone());
        Self { title: title.into(), user, csrf: visitor.csrf.clone(), assets: assets::base() }
    }

    fn nobody(title: impl Into<String>) -> Self {
        Self { title: title.into(), user: None, csrf: String::new(), assets: assets::base() }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    frame: Frame,
    next: &'a str,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    status: u16,
    problem: &'a Problem,
}

#[derive(Template)]
#[template(path = "once_more.html")]
struct OnceMore<'a> {
    page: &'a str,
}

#[derive(Template)]
#[template(path = "applications.html")]
struct ApplicationsPage {
    frame: Frame,
    list: List,
}

#[derive(Template)]
#[template(path = "list.html")]
pub(crate) struct List {
    pub(crate) apps: Vec<view::Listed>,
}

#[derive(Template)]
#[template(path = "overview.html")]
pub(crate) struct OverviewPage {
    pub(crate) frame: Frame,
    pub(crate) now: Overview,
}

/// The part of the overview that follows what happens.
#[derive(Template)]
#[template(path = "overview_now.html")]
pub(crate) struct Overview {
    pub(crate) app: String,
    pub(crate) badge: view::Badge,
    pub(crate) url: Option<String>,
    pub(crate) domains: Vec<String>,
    /// Where its streams arrive.
    pub(crate) streams: Vec<view::Door>,
    pub(crate) runtime: String,
    pub(crate) warnings: Vec<String>,
    /// Until when maintenance leaves it alone.
    pub(crate) pinned: Option<When>,
    pub(crate) git: String,
    pub(crate) head: view::Head,
    pub(crate) places: [view::Place; 2],
    pub(crate) start: Option<view::Start>,
    pub(crate) deploying: Option<view::Deployment>,
    pub(crate) log: Vec<view::Line>,
    pub(crate) activity: Vec<view::Deployment>,
    pub(crate) csrf: String,
}

#[derive(Template)]
#[template(path = "start.html")]
struct StartPage {
    frame: Frame,
    dialogue: StartDialogue,
}

#[derive(Template)]
#[template(path = "start_dialogue.html")]
pub(crate) struct StartDialogue {
    /// It is the whole page.
    pub(crate) alone: bool,
    pub(crate) app: String,
    pub(crate) csrf: String,
    pub(crate) start: Option<view::Start>,
}

#[derive(Template)]
#[template(path = "deployment.html")]
pub(crate) struct DeploymentPage {
    pub(crate) frame: Frame,
    pub(crate) app: String,
    pub(crate) deployment: view::Deployment,
    pub(crate) log: Vec<view::Line>,
    /// Lines before the first one that is shown.
    pub(crate) earlier: bool,
    /// The last line that is shown, if there are more after it.
    pub(crate) later: Option<u64>,
}

/// A page that says why there is no page.
pub(crate) fn problem(problem: &Problem) -> String {
    let title = match problem.status.as_u16() {
        404 => "Not found",
        409 => "Not now",
        429 => "Too many attempts",
        500.. => "Trouble",
        _ => "Refused",
    };
    render(&ProblemPage { frame: Frame::nobody(title), status: problem.status.as_u16(), problem })
}

/// The login, with what was wrong with the last attempt.
pub(crate) fn login_page(next: &str, error: Option<&str>) -> String {
    render(&LoginPage { frame: Frame::nobody("Log in"), next, error })
}

/// A page that asks for `page` once more, by itself.
pub(crate) fn once_more(page: &str) -> String {
    render(&OnceMore { page: safe_next(page) })
}

fn render(template: &impl Template) -> String {
    // Writing to a text cannot fail; should a template ever, the page is empty and the log says why.
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a page was not rendered");
        String::new()
    })
}

pub(crate) fn html(template: &impl Template) -> Html<String> {
    Html(render(template))
}

#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

/// `/login`.
pub(crate) async fn login(visitor: Result<Visitor, Refusal>, Query(Next { next }): Query<Next>) -> Response {
    match visitor {
        Ok(_) => Redirect::to(safe_next(&next)).into_response(),
        Err(_) => Html(login_page(safe_next(&next), None)).into_response(),
    }
}

/// `/`: all applications at a glance.
pub(crate) async fn applications(State(web): State<Web>, visitor: Visitor) -> Result<Html<String>, Refusal> {
    let list = list(&web, &visitor).await?;
    Ok(html(&ApplicationsPage { frame: Frame::of("Applications", &visitor), list }))
}

/// The list alone.
pub(crate) async fn applications_list(
    State(web): State<Web>,
    visitor: Visitor,
) -> Result<Html<String>, Refusal> {
    Ok(html(&list(&web, &visitor).await?))
}

async fn list(web: &Web, visitor: &Visitor) -> Result<List, Refusal> {
    Ok(List { apps: web.platform.apps(visitor.who()).await?.iter().map(view::listed).collect() })
}

/// `/apps/{name}`: the overview.
pub(crate) async fn overview(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
) -> Result<Html<String>, Refusal> {
    let now = load_overview(&web, &visitor, &app).await?;
    Ok(html(&OverviewPage { frame: Frame::of(now.app.clone(), &visitor), now }))
}

/// The part of it that follows what happens.
pub(crate) async fn overview_now(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
) -> Result<Html<String>, Refusal> {
    Ok(html(&load_overview(&web, &visitor, &app).await?))
}

async fn load_overview(web: &Web, visitor: &Visitor, app: &AppId) -> Result<Overview, Refusal> {
    let app_view = web.platform.app(app).await?;
    let status = web.platform.status(app).await?;
    let activity = web.platform.activity(app, ACTIVITY_ROWS).await?;
    let log = match &status.deploying {
        Some(deploying) => tail(web, &deploying.deployment, TAIL_LINES).await?,
        None => Vec::new(),
    };
    Ok(overview_of(&app_view, &status, &activity, log, &visitor.csrf, Timestamp::now()))
}

/// The overview's words, from what the platform says. Pure.
pub(crate) fn overview_of(
    app: &AppView,
    status: &StatusView,
    activity: &[DeploymentView],
    log: Vec<view::Line>,
    csrf: &str,
    now: Timestamp,
) -> Overview {
    Overview {
        app: status.app.clone(),
        badge: view::status_badge(&status.status),
        url: status.url.clone(),
        domains: status.domains.clone(),
        streams: view::doors(status.tcp.as_deref(), status.tls.as_deref()),
        runtime: status.runtime.clone(),
        warnings: status.warnings.clone(),
        pinned: status.pinned_until.as_deref().map(|until| When::new(until, now)),
        git: app.git_ssh.clone().unwrap_or_else(|| app.git_http.clone()),
        head: view::head(status),
        places: [Colour::Blue, Colour::Green].map(|colour| view::place(status, colour, now)),
        start: view::start(status),
        deploying: status.deploying.as_ref().map(|deploying| view::deployment(deploying, now)),
        log,
        activity: activity.iter().map(|row| view::deployment(row, now)).collect(),
        csrf: csrf.into(),
    }
}

/// `/apps/{name}/start`: what the button would do, and the button that does it.
pub(crate) async fn start(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
    headers: HeaderMap,
) -> Result<Html<String>, Refusal> {
    let status = web.platform.status(&app).await?;
    let start = view::start(&status);
    let alone = !headers.contains_key("hx-request");
    let dialogue = StartDialogue { alone, app: status.app, csrf: visitor.csrf.clone(), start };
    if !alone {
        return Ok(html(&dialogue));
    }
    Ok(html(&StartPage { frame: Frame::of("Start last pushed commit", &visitor), dialogue }))
}

#[derive(Deserialize)]
pub(crate) struct From {
    after: Option<u64>,
}

/// `/apps/{name}/deployments/{id}`: the verdict, the failure, the log.
pub(crate) async fn deployment(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
    TheDeployment(id): TheDeployment,
    Query(From { after }): Query<From>,
) -> Result<Html<String>, Refusal> {
    let view = web.platform.deployment(&app, &id).await?;
    let name = web.platform.app(&app).await?.name;
    let log: Vec<view::Line> = match after {
        Some(after) => read_log(&web, &id, after, PAGE_LINES).await?.into_iter().map(Into::into).collect(),
        None => tail(&web, &id, PAGE_LINES).await?,
    };
    let full = log.len() >= PAGE_LINES;
    let page = DeploymentPage {
        frame: Frame::of(format!("{name}: deployment"), &visitor),
        app: name,
        deployment: view::deployment(&view, Timestamp::now()),
        earlier: log.first().is_some_and(|line| line.number > 1),
        later: log.last().filter(|_| full && after.is_some()).map(|line| line.number),
        log,
    };
    Ok(html(&page))
}

async fn tail(web: &Web, id: &DeploymentId, limit: usize) -> Result<Vec<view::Line>, Refusal> {
    let (logs, id) = (web.platform.logs().clone(), id.clone());
    let lines = tokio::task::spawn_blocking(move || logs.tail(&id, limit)).await;
    let lines = lines.map_err(std::io::Error::other).and_then(|lines| lines);
    let lines = lines
        .map_err(|source| crate::platform::Error::Internal(format!("a log cannot be read: {source}")))?;
    Ok(lines.into_iter().map(Into::into).collect())
}
