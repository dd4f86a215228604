//! When the platform asks whether a rebuilt image would differ, and when it builds one, without anybody asking. A pure function of what is stored, of
//! what lies on the shelf, and of a given instant: whoever performs it may die anywhere, and the next look goes on.
//!
//! ```text
//! (never) ─► asked: Current | Differs ─► built: Built        asked or built in vain: Failed        built, and a user ended it: Cancelled
//! ```
//!
//! *Differs* is stored before the build begins and says of which version: once a version is there that was built after it, it is done, whoever built it.

use super::Window;
use crate::time::Time;
use serde::{Deserialize, Serialize};

const HOUR_MS: u64 = 3_600_000;
/// Failures beyond this make no pause longer.
const DOUBLINGS: u32 = 8;

/// How often it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// Never: images are built when a user says so.
    Off,
    /// Once a day.
    #[default]
    Daily,
    /// Once a week.
    Weekly,
}

impl Every {
    /// What passes at least from one time to the next. Shorter than its name: the same window on the next day or in the next week must not be missed
    /// by the minutes that the last time took.
    fn pause_ms(self) -> Option<u64> {
        match self {
            Self::Off => None,
            Self::Daily => Some(20 * HOUR_MS),
            Self::Weekly => Some(6 * 24 * HOUR_MS),
        }
    }

    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
        }
    }
}

/// What was found out last. The whole of what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Of which image, e.g. `debian-12`.
    pub image: String,
    /// When.
    pub at: Time,
    /// What.
    pub found: Found,
}

/// What a look at an image came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    /// A rebuilt one would be the same.
    Current {
        /// As this one.
        version: String,
    },
    /// A rebuilt one would differ: it is to be built.
    Differs {
        /// From this one.
        version: String,
        /// In so many packages.
        packages: u32,
        /// So many of which are for security.
        security: u32,
        /// Teal's own agent is another one.
        agent: bool,
        /// So many builds or questions in a row have failed before.
        failures: u32,
    },
    /// It was built.
    Built {
        /// The version.
        version: String,
    },
    /// Apt could not be asked, or the build broke.
    Failed {
        /// Why, in a sentence.
        why: String,
        /// How often in a row.
        times: u32,
    },
    /// A user ended the build.
    Cancelled {
        /// Who.
        by: String,
    },
}

impl Found {
    /// The word for users.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Current { .. } => "current",
            Self::Differs { .. } => "differs",
            Self::Built { .. } => "built",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// What there is, when it is looked at.
#[derive(Debug, Clone)]
pub struct Shelf<'a> {
    /// The image that is configured; `None`: the host's own system.
    pub image: Option<&'a str>,
    /// Its newest version, and when that was built.
    pub newest: Option<(&'a str, Time)>,
    /// The build that goes on, of whichever image, or the last one since the server started.
    pub build: Option<Build<'a>>,
}

/// A build.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// Of which image.
    pub image: &'a str,
    /// When it began.
    pub began: Time,
    /// How it ended; `None`: it goes on.
    pub end: Option<End<'a>>,
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    /// With this version.
    Built(&'a str),
    /// It broke.
    Failed(&'a str),
    /// This user ended it.
    Cancelled(&'a str),
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Ask apt, and store what it says.
    Ask,
    /// Begin to build.
    Build,
    /// Store this: something was found out without asking.
    Note(Found),
}

/// Looks at what is stored and at what there is.
#[must_use]
pub fn due(every: Every, last: Option<&Patch>, shelf: &Shelf<'_>, window: &Window, now: Time) -> Due {
    let (Some(image), Some((_, built))) = (shelf.image, shelf.newest) else { return Due::Nothing };
    let last = last.filter(|last| last.image == image);
    if let Some(patch) = last
        && let Found::Differs { failures, .. } = patch.found
        && let Some(came_to) = outcome(patch, failures, shelf, built)
    {
        return Due::Note(came_to);
    }
    let busy = shelf.build.as_ref().is_some_and(|build| build.end.is_none());
    if busy || every == Every::Off || !window.is_open(now) || next(every, last, now).is_none_or(|at| at > now)
    {
        return Due::Nothing;
    }
    if last.is_some_and(|last| matches!(last.found, Found::Differs { .. })) { Due::Build } else { Due::Ask }
}

/// What became of a build that is due; `None`: it is still due, or goes on.
fn outcome(patch: &Patch, failures: u32, shelf: &Shelf<'_>, built: Time) -> Option<Found> {
    let build = shelf.build.as_ref().filter(|build| build.image == patch.image && build.began >= patch.at);
    match build.and_then(|build| build.end) {
        Some(End::Failed(why)) => {
            Some(Found::Failed { why: why.to_owned(), times: failures.saturating_add(1) })
        }
        Some(End::Cancelled(by)) => Some(Found::Cancelled { by: by.to_owned() }),
        Some(End::Built(version)) => Some(Found::Built { version: version.to_owned() }),
        None if built >= patch.at => {
            shelf.newest.map(|(version, _)| Found::Built { version: version.to_owned() })
        }
        None => None,
    }
}

/// From when on something is due by the clock, whatever the window says; `None`: never.
fn next(every: Every, last: Option<&Patch>, now: Time) -> Option<Time> {
    let pause = every.pause_ms()?;
    // A clock that went back must not put patches off for as long as it was ahead.
    let Some(last) = last.filter(|last| last.at <= now) else { return Some(now) };
    Some(match &last.found {
        Found::Differs { .. } => last.at,
        Found::Failed { times, .. } => last.at.plus(retry(*times).min(pause)),
        Found::Current { .. } | Found::Built { .. } | Found::Cancelled { .. } => last.at.plus(pause),
    })
}

/// An hour after the first failure, twice as long after each further one.
fn retry(times: u32) -> u64 {
    HOUR_MS << times.saturating_sub(1).min(DOUBLINGS)
}

/// When it is looked at next, for users; `None`: never by itself.
#[must_use]
pub fn next_look(
    every: Every,
    last: Option<&Patch>,
    shelf: &Shelf<'_>,
    window: &Window,
    now: Time,
) -> Option<Time> {
    shelf.newest?;
    let last = last.filter(|last| shelf.image == Some(last.image.as_str()));
    let at = next(every, last, now)?.0.max(now.0);
    Some(window.opens(Time(at)).unwrap_or(Time(at)))
}

/// How often in a row it has failed. What asks and builds keeps count with it, so that a build that always breaks is not begun each hour.
#[must_use]
pub fn failures(last: Option<&Patch>) -> u32 {
    match last.map(|last| &last.found) {
        Some(Found::Failed { times, .. }) => *times,
        Some(Found::Differs { failures, .. }) => *failures,
        Some(Found::Current { .. } | Found::Built { .. } | Found::Cancelled { .. }) | None => 0,
    }
}

/// Versions of one image that can go: those beyond the newest `kept` that nobody uses. `versions` are the newest first.
#[must_use]
pub fn surplus<'a>(versions: &[&'a str], used: impl Fn(&str) -> bool, kept: usize) -> Vec<&'a str> {
    versions.iter().skip(kept.max(1)).filter(|version| !used(version)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is tried, how often it is asked, what is stored and what there is, the window, and what is due.
    type Row = (&'static str, Every, Option<Patch>, Shelf<'static>, &'static str, Due);

    const MINUTE: u64 = 60_000;
    const NOW: Time = Time(1_000 * HOUR_MS);

    fn window(text: &str) -> Window {
        Window::try_from(text.to_owned()).expect("legal")
    }

    fn patch(hours_ago: u64, found: Found) -> Patch {
        Patch { image: "debian-12".into(), at: Time(NOW.0 - hours_ago * HOUR_MS), found }
    }

    fn differs() -> Found {
        Found::Differs { version: "v1".into(), packages: 3, security: 1, agent: false, failures: 2 }
    }

    fn current() -> Found {
        Found::Current { version: "v1".into() }
    }

    /// A shelf whose newest version was built so many hours ago, and perhaps a build.
    fn shelf(built: u64, build: Option<(u64, Option<End<'static>>)>) -> Shelf<'static> {
        let ago = |hours: u64| Time(NOW.0 - hours * HOUR_MS);
        Shelf {
            image: Some("debian-12"),
            newest: Some(("v1", ago(built))),
            build: build.map(|(began, end)| Build { image: "debian-12", began: ago(began), end }),
        }
    }

    #[test]
    fn what_is_due_follows_from_what_is_stored() {
        use Every::{Daily, Off, Weekly};
        let built = || Due::Note(Found::Built { version: "v1".into() });
        let failed = |times| Found::Failed { why: "no mirror".into(), times };
        let cancelled = || Found::Cancelled { by: "ada".into() };
        let broke = || Due::Note(Found::Failed { why: "no room".into(), times: 3 });
        let (none, plain) = (Due::Nothing, || shelf(500, None));
        let table: Vec<Row> = vec![
            ("never asked", Daily, None, plain(), "", Due::Ask),
            ("switched off", Off, None, plain(), "", none.clone()),
            ("never built", Daily, None, Shelf { newest: None, ..plain() }, "", none.clone()),
            ("the host's own", Daily, None, Shelf { image: None, ..plain() }, "", none.clone()),
            ("window shut", Daily, None, plain(), "Sun 02:00-02:01", none.clone()),
            ("not yet", Daily, Some(patch(19, current())), plain(), "", none.clone()),
            ("a day later", Daily, Some(patch(20, current())), plain(), "", Due::Ask),
            ("not this week", Weekly, Some(patch(143, current())), plain(), "", none.clone()),
            ("a week later", Weekly, Some(patch(144, current())), plain(), "", Due::Ask),
            ("it differs", Daily, Some(patch(0, differs())), plain(), "", Due::Build),
            ("it differs, shut", Daily, Some(patch(0, differs())), plain(), "Sun 02:00-02:01", none.clone()),
            ("switched off since", Off, Some(patch(0, differs())), plain(), "", none.clone()),
            ("being built", Daily, Some(patch(2, differs())), shelf(500, Some((1, None))), "", none.clone()),
            ("built, and killed", Daily, Some(patch(2, differs())), shelf(1, None), "", built()),
            (
                "built",
                Daily,
                Some(patch(2, differs())),
                shelf(1, Some((1, Some(End::Built("v1"))))),
                "",
                built(),
            ),
            (
                "broke",
                Daily,
                Some(patch(2, differs())),
                shelf(500, Some((1, Some(End::Failed("no room"))))),
                "Sun 02:00-02:01",
                broke(),
            ),
            (
                "an older build broke",
                Daily,
                Some(patch(2, differs())),
                shelf(500, Some((3, Some(End::Failed("no room"))))),
                "",
                Due::Build,
            ),
            (
                "ended by a user",
                Daily,
                Some(patch(2, differs())),
                shelf(500, Some((1, Some(End::Cancelled("ada"))))),
                "",
                Due::Note(cancelled()),
            ),
            ("a user's wish is kept", Daily, Some(patch(19, cancelled())), plain(), "", none.clone()),
            ("until the next day", Daily, Some(patch(20, cancelled())), plain(), "", Due::Ask),
            ("failed just now", Daily, Some(patch(0, failed(1))), plain(), "", none.clone()),
            ("an hour ago", Daily, Some(patch(1, failed(1))), plain(), "", Due::Ask),
            ("for the fourth time", Daily, Some(patch(7, failed(4))), plain(), "", none.clone()),
            ("later", Daily, Some(patch(8, failed(4))), plain(), "", Due::Ask),
            ("for ever", Daily, Some(patch(20, failed(u32::MAX))), plain(), "", Due::Ask),
        ];
        for (what, every, last, shelf, open, expected) in table {
            assert_eq!(due(every, last.as_ref(), &shelf, &window(open), NOW), expected, "{what}");
        }
    }

    #[test]
    fn another_image_and_a_clock_that_went_back_are_asked_about_at_once() {
        let other = Patch { image: "debian-11".into(), ..patch(0, differs()) };
        assert_eq!(due(Every::Daily, Some(&other), &shelf(500, None), &window(""), NOW), Due::Ask);
        let ahead = Patch { at: NOW.plus(1_000 * HOUR_MS), ..patch(0, current()) };
        assert_eq!(due(Every::Weekly, Some(&ahead), &shelf(500, None), &window(""), NOW), Due::Ask);
    }

    #[test]
    fn a_daily_window_is_never_missed_though_each_time_takes_minutes() {
        let (open, mut last, mut asked, mut minute) = (window("daily 02:00-03:00"), None, 0, 0);
        while minute < 30 * 24 * 60 {
            let now = Time(NOW.0 + minute * MINUTE);
            minute += 1;
            if due(Every::Daily, last.as_ref(), &shelf(500, None), &open, now) == Due::Ask {
                asked += 1;
                minute += 3;
                let at = Time(NOW.0 + minute * MINUTE);
                last = Some(Patch { image: "debian-12".into(), at, found: current() });
            }
        }
        assert_eq!(asked, 30);
    }

    #[test]
    fn the_next_look_is_within_the_window() {
        let at = |last: Option<Patch>, text| {
            next_look(Every::Daily, last.as_ref(), &shelf(500, None), &window(text), NOW)
        };
        assert_eq!(at(None, ""), Some(NOW));
        assert_eq!(at(Some(patch(5, current())), ""), Some(NOW.plus(15 * HOUR_MS)));
        let opens = at(Some(patch(5, current())), "daily 02:00-03:00").expect("some time");
        assert!(opens >= NOW.plus(15 * HOUR_MS) && window("daily 02:00-03:00").is_open(opens));
        assert_eq!(next_look(Every::Off, None, &shelf(1, None), &window(""), NOW), None);
        assert_eq!(
            next_look(Every::Daily, None, &Shelf { newest: None, ..shelf(1, None) }, &window(""), NOW),
            None
        );
    }

    #[test]
    fn failures_count_until_something_else_is_found() {
        let failed = patch(1, Found::Failed { why: "a".into(), times: 4 });
        assert_eq!(failures(Some(&failed)), 4);
        assert_eq!(failures(Some(&patch(1, differs()))), 2);
        assert_eq!(failures(Some(&patch(1, current()))) + failures(None), 0);
    }

    #[test]
    fn only_old_versions_that_nobody_uses_are_too_many() {
        let versions = ["e", "d", "c", "b", "a"];
        assert_eq!(surplus(&versions, |version| version == "b", 2), ["c", "a"]);
        assert_eq!(surplus(&versions, |_| false, 0), ["d", "c", "b", "a"], "the newest always stays");
        assert_eq!(surplus(&["a"], |_| false, 2), [""; 0]);
    }
}
