//! Tests of the pages: every state of an app rendered from a sample, looked at for what it has to say and for what no page may hold.
//! With `TEAL_SAMPLES=directory` they are kept there, for a browser.

use super::{
    assets,
    maintenance::{MaintenancePage, maintenance_of},
    pages::{self, DeploymentPage, Frame, Overview, OverviewPage, StartDialogue},
    view,
};
use askama::Template;
use jiff::{SignedDuration, Timestamp};
use teal_core::{
    api::{
        AppView, ButtonView, CommitView, DeploymentView, FailureView, LiveView, LogView, MaintenanceView,
        PackageView, PatchView, PhaseView, PinView, RolloutAppView, RolloutView, SpareView, StatusView,
    },
    route::Colour,
};

const OLD: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334";
const NEW: &str = "c0ffee2b4d6f8091a2b3c4d5e6f708192a3b4c5d";

fn now() -> Timestamp {
    "2026-11-23T04:05:06Z".parse().expect("instant")
}

/// An instant so many seconds from now.
fn at(seconds: i64) -> String {
    let at = now().checked_add(SignedDuration::from_secs(seconds)).expect("in range");
    format!("{at:.3}")
}

fn old() -> CommitView {
    CommitView { id: OLD.into(), message: "Fix the cart's total".into(), author: "Ada Lovelace".into() }
}

fn new() -> CommitView {
    CommitView { id: NEW.into(), message: "Add coupons <b>& more</b>".into(), author: "Grace Hopper".into() }
}

fn live(colour: Colour, commit: CommitView, baking: bool) -> LiveView {
    LiveView {
        colour,
        commit,
        deployment: "d-1".parse().expect("id"),
        environment: "e-1".parse().expect("id"),
        since: at(-180),
        instances: 2,
        baking,
    }
}

fn spare(colour: Colour, commit: CommitView, state: &str) -> SpareView {
    let off_at = (state != "off").then(|| at(490));
    SpareView { colour, commit, environment: "e-0".parse().expect("id"), state: state.into(), off_at }
}

fn deployment(
    id: &str,
    state: &str,
    phase: &str,
    commit: CommitView,
    phases: &[(&str, i64)],
) -> DeploymentView {
    DeploymentView {
        switch: None,
        deployment: id.parse().expect("id"),
        state: state.into(),
        phase: phase.into(),
        action: "DEPLOY".into(),
        cause: "Git".into(),
        author: Some("grace".into()),
        commit: Some(commit),
        colour: Some(Colour::Green),
        note: None,
        started_at: at(phases.first().map_or(-9, |phase| phase.1)),
        ended_at: (state != "WIP").then(|| at(phases.last().map_or(-1, |phase| phase.1))),
        failure: None,
        phases: phases
            .iter()
            .map(|(phase, ago)| PhaseView { phase: (*phase).into(), at: at(*ago) })
            .collect(),
    }
}

fn checking() -> DeploymentView {
    let phases = [("queued", -9), ("building", -9), ("ready", -4), ("starting", -3), ("checking", -1)];
    deployment("d-3", "WIP", "checking", new(), &phases)
}

fn failed() -> DeploymentView {
    let phases = [
        ("queued", -900),
        ("building", -899),
        ("ready", -890),
        ("starting", -889),
        ("checking", -887),
        ("ended", -857),
    ];
    let mut failed = deployment("d-2", "FAIL", "ended", new(), &phases);
    failed.failure = Some(FailureView {
        stage: "check".into(),
        message: "GET /health answered 500 for 30 s; what was live goes on serving".into(),
        details: vec!["- GET /health returned 500.".into(), "listening: 0.0.0.0:8080".into()],
    });
    failed
}

fn landed() -> DeploymentView {
    let phases = [
        ("queued", -4000),
        ("building", -4000),
        ("ready", -3996),
        ("starting", -3996),
        ("checking", -3995),
        ("live", -3994),
        ("served", -3994),
    ];
    DeploymentView { colour: Some(Colour::Blue), ..deployment("d-1", "OK", "live", old(), &phases) }
}

fn status(word: &str) -> StatusView {
    StatusView {
        id: "a-shop".parse().expect("id"),
        app: "shop".into(),
        status: word.into(),
        head: None,
        live: None,
        spare: None,
        deploying: None,
        button: None,
        domains: vec!["shop.example.test".into()],
        url: Some("http://shop.example.test/".into()),
        tcp: None,
        tls: None,
        runtime: "sandbox".into(),
        pinned_until: None,
        warnings: Vec::new(),
    }
}

fn with_spare(state: &str) -> StatusView {
    let label = format!("wakes Blue · a1b2c3d Fix the cart's total · {state}, off in 8 min");
    StatusView {
        head: Some(new()),
        live: Some(live(Colour::Green, new(), state == "up")),
        spare: Some(spare(Colour::Blue, old(), state)),
        button: Some(ButtonView { commit: old(), wakes: true, label, note: None }),
        ..status("running")
    }
}

fn under_way() -> StatusView {
    StatusView {
        head: Some(new()),
        live: Some(live(Colour::Blue, old(), false)),
        deploying: Some(checking()),
        ..status("restarting")
    }
}

fn app() -> AppView {
    AppView {
        id: "a-shop".parse().expect("id"),
        name: "shop".into(),
        status: "running".into(),
        live: Some(old()),
        domains: vec!["shop.example.test".into()],
        tcp: None,
        tls: None,
        git_ssh: Some("ssh://git@teal.example.test:2222/shop.git".into()),
        git_http: "https://teal.example.test/shop.git".into(),
    }
}

fn log() -> Vec<view::Line> {
    let texts = [
        ("build", "Deploying commit ID c0ffee2b4d6f8091a2b3c4d5e6f708192a3b4c5d"),
        ("build", "npm ci: added 68 packages in 2 s"),
        ("build", "Build succeeded in 4 seconds"),
        ("start", "Nothing listening on 0.0.0.0:8080 yet…"),
        ("check", "Response from GET / is 200 <script>alert(1)</script>"),
    ];
    let view = |(index, (stage, text)): (usize, (&str, &str))| LogView {
        number: index as u64 + 1,
        at: at(index as i64 - 9),
        stage: stage.into(),
        text: text.into(),
    };
    texts.into_iter().enumerate().map(view).map(Into::into).collect()
}

fn frame(title: &str) -> Frame {
    Frame { title: title.into(), user: Some("ada".into()), csrf: "csrf-1".into(), assets: assets::base() }
}

fn overview(status: &StatusView, activity: &[DeploymentView]) -> Overview {
    let log = if status.deploying.is_some() { log() } else { Vec::new() };
    pages::overview_of(&app(), status, activity, log, "csrf-1", now())
}

fn overview_page(name: &str, status: &StatusView, activity: &[DeploymentView]) -> String {
    let page = OverviewPage { frame: frame("shop"), now: overview(status, activity) };
    checked(name, page.render().expect("renders"))
}

fn deployment_page(name: &str, deployment: &DeploymentView) -> String {
    let page = DeploymentPage {
        frame: frame("shop: deployment"),
        app: "shop".into(),
        deployment: view::deployment(deployment, now()),
        log: log(),
        earlier: true,
        later: None,
    };
    checked(name, page.render().expect("renders"))
}

/// Keeps the page for a browser if that is wished; refuses what the content policy would block and what a text could inject.
pub(super) fn checked(name: &str, page: String) -> String {
    if let Some(directory) = std::env::var_os("TEAL_SAMPLES").map(std::path::PathBuf::from) {
        let files = directory.join(assets::base().trim_start_matches('/'));
        std::fs::create_dir_all(&files).expect("directory");
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/assets")).expect("assets") {
            let entry = entry.expect("entry");
            std::fs::copy(entry.path(), files.join(entry.file_name())).expect("copied");
        }
        std::fs::write(directory.join(format!("{name}.html")), &page).expect("written");
    }
    for line in page.lines() {
        assert!(!line.contains("<script") || line.contains("<script src=\"/assets/"), "{name}: {line}");
        for inline in ["<style", " style=", " onclick=", " onload=", "javascript:", "hx-on", "<b>"] {
            assert!(!line.contains(inline), "{name}: {inline} in {line}");
        }
        for outside in line
            .match_indices("http")
            .map(|(at, _)| &line[at..])
            .filter(|rest| rest.starts_with("http://") || rest.starts_with("https://"))
        {
            assert!(outside.split('/').nth(2).is_some_and(|host| host.ends_with(".test")), "{name}: {line}");
        }
    }
    for id in page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{name}: id {id}");
    }
    page
}

fn says(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "`{text}` is missing in\n{page}");
    }
}

#[test]
fn a_spare_asleep_is_named_with_its_countdown_and_the_button_names_its_commit() {
    let page = overview_page("asleep", &with_spare("asleep"), &[landed(), failed()]);
    says(
        &page,
        &[
            "Blue",
            "Green",
            "Asleep",
            "in 8 minutes",
            "Start last pushed commit",
            "wakes Blue · a1b2c3d Fix the cart&#39;s total · asleep, off in 8 min",
            "The last pushed commit is live:",
            "2 up",
            "3 minutes ago",
            "Ada Lovelace",
            "Add coupons &#60;b&#62;&#38; more&#60;/b&#62;",
            "GET /health answered 500",
            "FAIL",
            "Git · grace",
        ],
    );
    assert!(
        page.contains("class=\"place green live\"") && page.contains("class=\"place blue spare\""),
        "{page}"
    );
    assert!(!page.contains("Deployment under way"), "{page}");
}

#[test]
fn each_state_of_a_spare_has_its_words() {
    for (state, badge, note) in [
        ("up", "Standing by", "Blue stands by meanwhile"),
        ("draining", "Draining", "then it falls asleep"),
        ("asleep-on-disk", "Asleep on disk", "nothing is built"),
        ("off", ">Off<", "its release is kept"),
        ("starting", "Waking", "The way back"),
    ] {
        says(&overview_page(&format!("spare-{state}"), &with_spare(state), &[]), &[badge, note]);
    }
    assert!(!overview_page("spare-off", &with_spare("off"), &[]).contains("Turned off"));
}

#[test]
fn a_deployment_under_way_shows_its_phases_its_log_and_how_to_cancel_it() {
    let page = overview_page("under-way", &under_way(), &[checking(), landed()]);
    says(
        &page,
        &[
            "Deployment under way",
            "aria-current=\"step\"",
            "class=\"step current\"",
            "Built",
            "aria-live=\"polite\"",
            "action=\"/apps/shop/cancel\"",
            "value=\"csrf-1\"",
            "value=\"d-3\"",
            "data-log=\"/api/v1/apps/shop/deployments/d-3/log\"",
            "data-after=\"5\"",
            "Build succeeded in 4 seconds",
            "&#60;script&#62;alert(1)",
            "The last pushed commit is on its way:",
            "class=\"place green candidate\"",
            "class=\"place blue live\"",
        ],
    );
    assert!(!page.contains("Start last pushed commit"), "there is no button to show:\n{page}");
}

#[test]
fn a_candidate_does_not_hide_the_way_back_that_shares_its_place() {
    let mut status = under_way();
    status.spare =
        Some(spare(Colour::Green, CommitView { message: "Before all that".into(), ..old() }, "asleep"));
    says(&overview_page("candidate", &status, &[]), &["Behind it", "Before all that · asleep"]);
}

#[test]
fn an_app_without_a_push_says_how_to_push() {
    let page = overview_page("never", &status("stopped"), &[]);
    says(
        &page,
        &[
            "Nothing was pushed yet.",
            "git push ssh://git@teal.example.test:2222/shop.git HEAD:main",
            "Nothing was deployed yet.",
        ],
    );
    assert_eq!(page.matches(">Empty<").count(), 2, "{page}");
}

#[test]
fn a_stopped_or_failed_app_says_so_and_offers_the_head() {
    let label = String::from("starts c0ffee2 Add coupons from its release");
    let button = Some(ButtonView { commit: new(), wakes: false, label, note: None });
    let stopped = StatusView { head: Some(new()), button: button.clone(), ..status("stopped") };
    says(
        &overview_page("stopped", &stopped, &[]),
        &["Nothing is live. The last pushed commit is", "starts c0ffee2", "stopped"],
    );
    let warnings = vec!["instances run without isolation".into()];
    let failing = StatusView {
        head: Some(new()),
        live: Some(live(Colour::Blue, old(), false)),
        button,
        warnings,
        ..status("restart-failed")
    };
    let page = overview_page("restart-failed", &failing, &[failed(), landed()]);
    says(
        &page,
        &[
            "restart-failed",
            "The last pushed commit is not the one that is live:",
            "instances run without isolation",
        ],
    );
}

#[test]
fn an_app_whose_streams_are_not_looked_into_says_where_they_arrive() {
    let (tcp, tls) =
        (Some("tcp://shop.example.test:5432".into()), Some("tls://shop.example.test:443".into()));
    let page = overview_page("streams", &StatusView { tcp: tcp.clone(), tls, ..status("running") }, &[]);
    says(
        &page,
        &[
            "<dt>TCP</dt><dd><code>tcp://shop.example.test:5432</code>",
            "<dt>TLS</dt><dd><code>tls://shop.example.test:443</code>",
        ],
    );
    let page = overview_page("no-streams", &status("running"), &[]);
    assert!(!page.contains("<dt>TCP</dt>") && !page.contains("<dt>TLS</dt>"), "{page}");
    let list = pages::List { apps: [AppView { tcp, ..app() }, app()].iter().map(view::listed).collect() };
    let list = list.render().expect("renders");
    assert_eq!(list.matches("tcp://shop.example.test:5432").count(), 1, "{list}");
}

#[test]
fn the_dialogue_says_what_will_happen_and_names_the_commit_it_sends() {
    let render = |status: &StatusView| {
        let start = view::start(status);
        StartDialogue { alone: false, app: "shop".into(), csrf: "csrf-1".into(), start }
            .render()
            .expect("renders")
    };
    let woken = checked("dialogue", render(&with_spare("asleep")));
    says(
        &woken,
        &[
            "Blue wakes as it is",
            "Green (c0ffee2 Add coupons",
            "falls asleep and becomes the way back",
            "Start a1b2c3d",
            &format!("name=\"commit\" value=\"{OLD}\""),
            "name=\"wakes\" value=\"true\"",
            "name=\"csrf\" value=\"csrf-1\"",
        ],
    );
    says(&render(&with_spare("up")), &["Blue is awake already"]);
    let mut migrated = with_spare("asleep");
    migrated.button.iter_mut().for_each(|button| button.note = Some("A release command ran since".into()));
    says(&render(&migrated), &["A release command ran since."]);
    assert!(!woken.contains("release command"), "{woken}");
    let button = Some(ButtonView { commit: new(), wakes: false, label: "starts c0ffee2".into(), note: None });
    let anew = render(&StatusView { head: Some(new()), button, ..status("stopped") });
    says(
        &anew,
        &["New instances start from the release", "It takes all traffic.", "name=\"wakes\" value=\"false\""],
    );
    says(&render(&status("stopped")), &["There is nothing that could be started"]);
}

#[test]
fn the_page_of_a_deployment_tells_why_it_failed() {
    let page = deployment_page("deployment-failed", &failed());
    says(
        &page,
        &[
            "Failed in stage “check”",
            "- GET /health returned 500.",
            "class=\"step failed\"",
            "Redeploy this commit",
            "30.0 s",
            "43.0 s",
            "Show it from the first line",
        ],
    );
    assert!(!page.contains("data-log="), "nothing is followed once it ended:\n{page}");
    let page = deployment_page("deployment-under-way", &checking());
    says(&page, &["data-log=\"/api/v1/apps/shop/deployments/d-3/log\"", ">Cancel<", "data-reload"]);
    let page = deployment_page("deployment-ok", &landed());
    assert!(!page.contains("class=\"step current\"") && !page.contains("class=\"step todo\""), "{page}");
}

#[test]
fn a_wake_shows_no_build() {
    let woken =
        deployment("d-4", "WIP", "checking", old(), &[("queued", -2), ("starting", -2), ("checking", -1)]);
    let names: Vec<&str> = view::steps(&woken, now()).iter().map(|step| step.name).collect();
    assert_eq!(names, ["Queued", "Starting", "Checking", "Live"]);
}

#[test]
fn pages_for_nobody_hold_to_the_same_rules() {
    let login = checked("login", pages::login_page("/apps/shop?x=\"><script>", Some("No such token.")));
    says(&login, &["name=\"token\"", "role=\"alert\"", "No such token."]);
    let problem = crate::api::Problem::not_found("there is nothing at /nowhere");
    says(&checked("problem", pages::problem(&problem)), &["Not found", "there is nothing at /nowhere"]);
    says(&pages::once_more("//evil.test"), &["url=/\""]);
}

fn rollout(state: &str, why: Option<&str>) -> RolloutView {
    let app = |name: &str, state: &str, why: Option<&str>| RolloutAppView {
        app: name.into(),
        from: "debian-12-a".into(),
        state: state.into(),
        deployment: why.is_none().then(|| "d-7".parse().expect("id")),
        why: why.map(Into::into),
    };
    let package = PackageView {
        package: "openssl".into(),
        from: Some("3.0.1".into()),
        to: Some("3.0.2".into()),
        security: true,
    };
    RolloutView {
        id: "m-1".into(),
        image: "debian-12-b".into(),
        from: Some("debian-12-a".into()),
        state: state.into(),
        why: why.map(Into::into),
        author: None,
        started_at: at(-300),
        ended_at: None,
        waiting: 4,
        under_way: 1,
        moved: 7,
        failed: 2,
        left: 1,
        security: 70,
        changes: vec![package; 70],
        apps: vec![
            app("shop", "moved", None),
            app("blog", "failed", None),
            app("wiki", "left", Some("it is stopped <b>")),
        ],
    }
}

fn maintenance_page(name: &str, rollout: Option<RolloutView>, opens: Option<String>, behind: u32) -> String {
    let view = MaintenanceView {
        image: "debian-12-b".into(),
        window: "Sun 02:00-05:00".into(),
        window_opens_at: opens,
        check: PatchView {
            every: "daily".into(),
            state: "failed".into(),
            detail: "it failed 2 times: no mirror <b>".into(),
            last_at: Some(at(-7_200)),
            next_at: Some(at(3_600)),
            packages: 0,
            security: 0,
        },
        behind,
        rollout,
        pins: vec![PinView { app: "old".into(), until: at(90_000), author: "ada".into() }],
    };
    let frame = Frame {
        title: "Maintenance".into(),
        user: Some("ada".into()),
        csrf: "csrf-1".into(),
        assets: assets::base(),
    };
    let now = maintenance_of(view, "csrf-1", now());
    checked(name, MaintenancePage { frame, now }.render().expect("renders"))
}

#[test]
fn maintenance_says_how_far_it_is_and_offers_what_makes_sense() {
    let why = Some("2 of its deployments failed: blog, cart");
    let halted = maintenance_page("maintenance-halted", Some(rollout("halted", why)), None, 6);
    says(
        &halted,
        &[
            "2 of its deployments failed",
            ">Go on<",
            ">End the rollout<",
            "7 moved · 2 failed · 1 left",
            "70 packages change, 70 for security",
            "it failed 2 times: no mirror &#60;b&#62;",
            "title=\"it is tried again by itself\">failed<",
            "openssl 3.0.1 → 3.0.2 · security",
            "and 10 more",
            "href=\"/apps/blog/deployments/d-7\"",
            "it is stopped &#60;b&#62;",
            "href=\"/apps/old\"",
            "name=\"csrf\" value=\"csrf-1\"",
        ],
    );
    assert!(!halted.contains(">Move apps now<"));
    let waits = maintenance_page("maintenance-waits", Some(rollout("running", None)), Some(at(7_200)), 6);
    says(&waits, &[">Move apps now<", ">End the rollout<", "opens"]);
    let done = maintenance_page("maintenance-done", Some(rollout("done", None)), None, 0);
    assert!(!done.contains("name=\"action\""), "{done}");
    says(&maintenance_page("maintenance-none", None, None, 3), &["No app was moved yet.", ">Move apps now<"]);
}
