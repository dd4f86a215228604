//! What the pages say: pure functions from the API's types and the present instant to words. No I/O, no clock.

use super::when::{When, span};
use jiff::Timestamp;
use teal_core::{
    api::{AppView, CommitView, DeploymentView, FailureView, LogView, SpareView, StatusView},
    route::Colour,
};

/// A commit, short enough for a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) id: String,
    pub(crate) short: String,
    pub(crate) message: String,
    pub(crate) author: String,
}

impl From<&CommitView> for Commit {
    fn from(view: &CommitView) -> Self {
        let CommitView { id, message, author } = view.clone();
        Self { short: id.chars().take(7).collect(), id, message, author }
    }
}

/// A word with a look: `tone` is a class of the style sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Badge {
    pub(crate) tone: &'static str,
    pub(crate) text: String,
    pub(crate) title: &'static str,
}

pub(crate) fn badge(tone: &'static str, text: impl Into<String>, title: &'static str) -> Badge {
    Badge { tone, text: text.into(), title }
}

/// The status of an app, in CONTRACT's words.
pub(crate) fn status_badge(status: &str) -> Badge {
    let (tone, title) = match status {
        "running" => ("good", "what is live answers"),
        "restarting" => ("busy", "a deployment is under way; what is live goes on serving"),
        "restart-failed" => ("warn", "the last deployment failed; the old version serves"),
        "starting" => ("busy", "the first deployment is under way"),
        "start-failed" => ("bad", "the first deployment failed; nothing serves"),
        "stopped" => ("idle", "taken out of production by a user"),
        _ => ("idle", ""),
    };
    badge(tone, status, title)
}

/// The state of a deployment.
pub(crate) fn state_badge(deployment: &DeploymentView) -> Badge {
    match deployment.state.as_str() {
        "OK" => badge("good", "OK", "it went live, or its task ran to its end"),
        "FAIL" => badge("bad", "FAIL", "it did not go live; what was live goes on serving"),
        "CANCELLED" => badge("idle", "CANCELLED", "a user or a newer push ended it"),
        _ => badge("busy", "WIP", "under way"),
    }
}

/// One line of a card: a label and a text or an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) label: &'static str,
    pub(crate) text: String,
    pub(crate) when: Option<When>,
}

fn fact(label: &'static str, text: impl Into<String>) -> Fact {
    Fact { label, text: text.into(), when: None }
}

fn instant(label: &'static str, exact: &str, now: Timestamp) -> Fact {
    Fact { label, text: String::new(), when: Some(When::new(exact, now)) }
}

/// Blue or Green: what is in this place now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) colour: &'static str,
    pub(crate) class: &'static str,
    /// `live`, `spare`, `candidate` or `empty`.
    pub(crate) role: &'static str,
    pub(crate) badge: Badge,
    pub(crate) commit: Option<Commit>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) note: String,
}

/// The colour's name as a title.
pub(crate) fn colour_name(colour: Colour) -> &'static str {
    match colour {
        Colour::Blue => "Blue",
        Colour::Green => "Green",
    }
}

/// What is in the place of this colour: live first, then what is on its way, then the way back.
pub(crate) fn place(status: &StatusView, colour: Colour, now: Timestamp) -> Place {
    if let Some(place) = live_place(status, colour, now) {
        return place;
    }
    let spare = status.spare.as_ref().filter(|spare| spare.colour == colour);
    let candidate = status.deploying.as_ref().filter(|deploying| deploying.colour == Some(colour));
    if let Some(candidate) = candidate.filter(|candidate| candidate.phase != "live") {
        return candidate_place(candidate, spare, colour, now);
    }
    match spare {
        Some(spare) => spare_place(spare, now),
        None => Place {
            role: "empty",
            badge: badge("idle", "Empty", ""),
            note: "Nothing is here. A deployment starts in the place that is not live.".into(),
            ..blank(colour)
        },
    }
}

fn blank(colour: Colour) -> Place {
    Place {
        colour: colour_name(colour),
        class: colour.word(),
        role: "empty",
        badge: badge("idle", "", ""),
        commit: None,
        facts: Vec::new(),
        note: String::new(),
    }
}

fn live_place(status: &StatusView, colour: Colour, now: Timestamp) -> Option<Place> {
    let live = status.live.as_ref().filter(|live| live.colour == colour)?;
    let up = if live.instances == 1 { "1 up".into() } else { format!("{} up", live.instances) };
    let note = match (&status.spare, live.baking) {
        (Some(spare), true) if spare.state == "up" => {
            format!("Watched until it has proved itself; {} stands by meanwhile.", colour_name(spare.colour))
        }
        (_, true) => "Watched until it has proved itself.".into(),
        _ => String::new(),
    };
    let mut facts = vec![instant("Live since", &live.since, now), fact("Instances", up)];
    facts.insert(0, fact("Author", &live.commit.author));
    let title = "all traffic comes here";
    Some(Place {
        role: "live",
        badge: if live.baking {
            badge("good", "Live · watched", title)
        } else {
            badge("good", "Live", title)
        },
        commit: Some((&live.commit).into()),
        facts,
        note,
        ..blank(colour)
    })
}

fn candidate_place(
    candidate: &DeploymentView,
    behind: Option<&SpareView>,
    colour: Colour,
    now: Timestamp,
) -> Place {
    let mut facts = vec![instant("Asked for", &candidate.started_at, now), fact("Cause", cause(candidate))];
    if let Some(spare) = behind {
        let commit = Commit::from(&spare.commit);
        let kept = format!("{} {} · {}", commit.short, commit.message, spare_words(&spare.state));
        facts.push(fact("Behind it", kept));
    }
    Place {
        role: "candidate",
        badge: badge("busy", phase_name(&candidate.phase), "it takes no traffic yet"),
        commit: candidate.commit.as_ref().map(Into::into),
        facts,
        note: "Takes the traffic once it is healthy. Until then nothing changes for visitors.".into(),
        ..blank(colour)
    }
}

fn spare_place(spare: &SpareView, now: Timestamp) -> Place {
    let (tone, word) = match spare.state.as_str() {
        "up" => ("ready", "Standing by"),
        "draining" => ("busy", "Draining"),
        "asleep" => ("sleep", "Asleep"),
        "asleep-on-disk" => ("sleep", "Asleep on disk"),
        "off" => ("idle", "Off"),
        "starting" => ("busy", "Waking"),
        other => ("idle", other),
    };
    let mut facts = vec![fact("Author", &spare.commit.author)];
    if let Some(off_at) = &spare.off_at {
        facts.push(instant("Turned off", off_at, now));
    }
    Place {
        role: "spare",
        badge: badge(tone, word, "the way back"),
        commit: Some((&spare.commit).into()),
        facts,
        note: spare_note(&spare.state).into(),
        ..blank(spare.colour)
    }
}

fn spare_note(state: &str) -> &'static str {
    match state {
        "up" => "Awake, in case the new one breaks: it takes over at once.",
        "draining" => "Ends what it has begun; then it falls asleep.",
        "asleep" | "asleep-on-disk" => "The way back: it wakes as it is, nothing is built.",
        _ => "The way back: its release is kept and starts again, nothing is built.",
    }
}

fn spare_words(state: &str) -> &str {
    match state {
        "up" => "standing by",
        "starting" => "waking",
        "asleep-on-disk" => "asleep on disk",
        other => other,
    }
}

/// `Git · ada`, or the cause alone where the platform itself asked.
pub(crate) fn cause(deployment: &DeploymentView) -> String {
    match &deployment.author {
        Some(author) => format!("{} · {author}", deployment.cause),
        None => deployment.cause.clone(),
    }
}

/// The last pushed commit against what is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) tone: &'static str,
    pub(crate) text: &'static str,
    pub(crate) commit: Option<Commit>,
}

/// Head against live, in one sentence.
pub(crate) fn head(status: &StatusView) -> Head {
    let Some(head) = &status.head else {
        return Head { tone: "idle", text: "Nothing was pushed yet.", commit: None };
    };
    let live = status.live.as_ref().is_some_and(|live| live.commit.id == head.id);
    let deploying = status.deploying.as_ref().and_then(|deploying| deploying.commit.as_ref());
    let coming = deploying.is_some_and(|commit| commit.id == head.id);
    let (tone, text) = match (live, coming) {
        (true, _) => ("good", "The last pushed commit is live:"),
        (false, true) => ("busy", "The last pushed commit is on its way:"),
        (false, false) if status.live.is_none() => ("warn", "Nothing is live. The last pushed commit is"),
        (false, false) => ("warn", "The last pushed commit is not the one that is live:"),
    };
    Head { tone, text, commit: Some(head.into()) }
}

/// One step of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// `done`, `current`, `failed` or `todo`.
    pub(crate) class: &'static str,
    pub(crate) at: Option<When>,
    pub(crate) took: String,
}

/// A phase as people read it.
pub(crate) fn phase_name(phase: &str) -> &'static str {
    match phase {
        "queued" => "Queued",
        "building" => "Building",
        "ready" => "Built",
        "starting" => "Starting",
        "checking" => "Checking",
        "held" => "Held",
        "live" => "Live",
        "ended" => "Ended",
        _ => "Under way",
    }
}

/// The steps of a deployment: those behind it, the one it is in, those to come.
pub(crate) fn steps(deployment: &DeploymentView, now: Timestamp) -> Vec<Step> {
    let seen = |phase: &str| deployment.phases.iter().position(|seen| seen.phase == phase);
    let ended = deployment.state != "WIP";
    // A wake builds nothing and holds happen only where they are asked for; what has ended shows only what it came to.
    let woke = seen("starting").is_some() && seen("building").is_none();
    let shown = |phase: &&str| match *phase {
        "building" | "ready" if woke => false,
        "held" => seen("held").is_some(),
        phase => !ended || seen(phase).is_some(),
    };
    let order = ["queued", "building", "ready", "starting", "checking", "held", "live"];
    let last = deployment.phases.iter().rposition(|phase| phase.phase != "ended");
    let step = |phase: &str| {
        let index = seen(phase);
        let began = index.and_then(|index| deployment.phases.get(index));
        let next = index.and_then(|index| deployment.phases.get(index + 1)).map(|next| &next.at);
        let until = next.or(deployment.ended_at.as_ref().filter(|_| phase != "live"));
        let class = match index {
            None => "todo",
            Some(_) if index != last => "done",
            Some(_) if deployment.state == "OK" || phase == "live" && !ended => "done",
            Some(_) if ended => "failed",
            Some(_) => "current",
        };
        Step {
            name: phase_name(phase),
            class,
            at: began.map(|began| When::new(&began.at, now)),
            took: began.zip(until).map(|(began, until)| span(&began.at, until)).unwrap_or_default(),
        }
    };
    order.into_iter().filter(shown).map(step).collect()
}

/// A deployment, for a row or for its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deployment {
    pub(crate) id: String,
    pub(crate) under_way: bool,
    /// It broke; one that was cancelled or superseded did not.
    pub(crate) failed: bool,
    pub(crate) badge: Badge,
    pub(crate) action: String,
    pub(crate) cause: String,
    /// What it brings besides the commit.
    pub(crate) note: Option<String>,
    pub(crate) phase: &'static str,
    pub(crate) commit: Option<Commit>,
    pub(crate) colour: Option<(&'static str, &'static str)>,
    pub(crate) started: When,
    pub(crate) took: String,
    pub(crate) failure: Option<FailureView>,
    pub(crate) steps: Vec<Step>,
    /// What users noticed of its switch.
    pub(crate) switch: Option<String>,
}

/// A deployment as a page shows it.
pub(crate) fn deployment(view: &DeploymentView, now: Timestamp) -> Deployment {
    let took = view.ended_at.as_ref().map(|ended| span(&view.started_at, ended)).unwrap_or_default();
    Deployment {
        id: view.deployment.to_string(),
        under_way: view.state == "WIP",
        failed: view.state == "FAIL",
        badge: state_badge(view),
        action: view.action.clone(),
        cause: cause(view),
        note: view.note.clone(),
        phase: phase_name(&view.phase),
        commit: view.commit.as_ref().map(Into::into),
        colour: view.colour.map(|colour| (colour.word(), colour_name(colour))),
        started: When::new(&view.started_at, now),
        took,
        failure: view.failure.clone(),
        steps: steps(view, now),
        switch: view.switch.as_ref().map(teal_core::api::SwitchView::sentence),
    }
}

/// What the button would start, and what will happen then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) commit: Commit,
    pub(crate) wakes: bool,
    pub(crate) label: String,
    /// What happens after the click, in order.
    pub(crate) happens: Vec<String>,
}

/// The button *Start last pushed commit*; `None` where there is nothing that it could start.
pub(crate) fn start(status: &StatusView) -> Option<Start> {
    let button = status.button.as_ref()?;
    let commit = Commit::from(&button.commit);
    let mut happens = Vec::new();
    match status.spare.as_ref().filter(|_| button.wakes) {
        Some(spare) if spare.state == "up" => {
            happens.push(format!("{} is awake already and is checked again.", colour_name(spare.colour)));
        }
        Some(spare) => {
            let name = colour_name(spare.colour);
            happens.push(format!("{name} wakes as it is: its release, its variables. Nothing is built."));
        }
        None => happens.push("New instances start from the release of this commit. Nothing is built.".into()),
    }
    happens.extend(button.note.iter().map(|note| format!("{note}.")));
    happens.push("Its health check has to pass; if it does not, nothing changes for visitors.".into());
    match &status.live {
        Some(live) => {
            let (name, live) = (colour_name(live.colour), Commit::from(&live.commit));
            happens.push("All traffic moves to it in one step.".into());
            happens.push(format!(
                "{name} ({} {}) falls asleep and becomes the way back.",
                live.short, live.message
            ));
        }
        None => happens.push("It takes all traffic.".into()),
    }
    Some(Start { commit, wakes: button.wakes, label: button.label.clone(), happens })
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) at: String,
    pub(crate) stage: String,
    pub(crate) text: String,
}

impl From<LogView> for Line {
    fn from(view: LogView) -> Self {
        let time = view.at.get(11..19).unwrap_or_default().to_owned();
        Self { number: view.number, at: time, stage: view.stage, text: view.text }
    }
}

/// Where streams arrive that are not looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) label: &'static str,
    pub(crate) address: String,
}

/// An app's public TCP port, and where the TLS arrives that it ends itself.
pub(crate) fn doors(tcp: Option<&str>, tls: Option<&str>) -> Vec<Door> {
    let door =
        |(label, address): (&'static str, Option<&str>)| Some(Door { label, address: address?.into() });
    [("TCP", tcp), ("TLS", tls)].into_iter().filter_map(door).collect()
}

/// An app in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) badge: Badge,
    pub(crate) live: Option<Commit>,
    pub(crate) domain: Option<String>,
    pub(crate) streams: Vec<Door>,
    pub(crate) git: String,
}

/// An app in the list, from the API's view of it.
pub(crate) fn listed(app: &AppView) -> Listed {
    Listed {
        name: app.name.clone(),
        badge: status_badge(&app.status),
        live: app.live.as_ref().map(Into::into),
        domain: app.domains.first().cloned(),
        streams: doors(app.tcp.as_deref(), app.tls.as_deref()),
        git: app.git_ssh.clone().unwrap_or_else(|| app.git_http.clone()),
    }
}
