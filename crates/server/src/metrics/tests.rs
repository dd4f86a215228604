//! Pages are read by a parser that is stricter than Prometheus's: what it takes, `promtool check metrics` takes.

use super::{Facts, Maintenance, Page, page::Kind, render};
use std::collections::{BTreeMap, BTreeSet};
use teal_core::{
    deploy::{App, Rows},
    histogram::Histogram,
    metrics::{Edge, Metrics, Served},
    time::Time,
    upkeep::{
        Apps, Member, New, Progress, Rollout, State,
        patch::{Found, Patch},
        start,
    },
};

/// A page, read: samples by name and labels.
#[derive(Debug, Default)]
pub(crate) struct Read {
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
    kinds: BTreeMap<String, String>,
}

impl Read {
    /// Reads a page; panics where it breaks a rule.
    pub(crate) fn of(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends");
        let (mut read, mut present, mut over) = (Self::default(), String::new(), BTreeSet::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help");
                assert!(!help.is_empty() && over.insert(name.to_owned()), "a second family {name}");
                let kind = lines
                    .next()
                    .and_then(|line| line.strip_prefix("# TYPE "))
                    .expect("a type behind the help");
                let (same, kind) = kind.split_once(' ').expect("a type");
                assert!(same == name && matches!(kind, "counter" | "gauge" | "histogram"), "{kind}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
                read.kinds.insert(name.to_owned(), kind.to_owned());
                name.clone_into(&mut present);
            } else {
                read.sample(line, &present);
            }
        }
        read.check_histograms();
        read
    }

    fn sample(&mut self, line: &str, family: &str) {
        let end = line.find(['{', ' ']).expect("a name");
        let (name, rest) = line.split_at(end);
        assert!(is_name(name), "{name}");
        let suffix =
            name.strip_prefix(family).unwrap_or_else(|| panic!("{name} is not of the family {family}"));
        let legal: &[&str] =
            if self.kinds[family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(legal.contains(&suffix), "{name} of {family}");
        let (labels, rest) = read_labels(rest);
        let value: f64 =
            rest.strip_prefix(' ').and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(self.samples.insert((name.to_owned(), labels), value).is_none(), "twice: {line}");
    }

    /// Buckets only grow, end at infinity, and agree with the count.
    fn check_histograms(&self) {
        for family in self.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut all: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
            for ((_, labels), value) in
                self.samples.iter().filter(|((name, _), _)| *name == format!("{family}_bucket"))
            {
                let mut labels = labels.clone();
                let le = labels.remove("le").expect("a bound");
                let le = if le == "+Inf" { f64::INFINITY } else { le.parse().expect("a number") };
                all.entry(labels).or_default().push((le, *value));
            }
            for (labels, mut buckets) in all {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(
                    buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1),
                    "{labels:?}"
                );
                let last = buckets.last().expect("some");
                assert!(
                    last.0.is_infinite()
                        && self.samples.contains_key(&(format!("{family}_sum"), labels.clone()))
                );
                assert_eq!(Some(&last.1), self.samples.get(&(format!("{family}_count"), labels)));
            }
        }
    }

    /// The value of one sample.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}

fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    text.starts_with("teal_") && text.chars().all(legal)
}

/// Labels and what follows them.
fn read_labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (labels, text) };
    loop {
        let (name, value) = rest.split_once("=\"").expect("a label");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        let (value, behind) = read_value(value);
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice");
        match behind.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, behind.strip_prefix('}').expect("an end")),
        }
    }
}

fn read_value(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next().expect("an escape").1 {
                'n' => '\n',
                same @ ('\\' | '"') => same,
                other => panic!("an escape of {other}"),
            }),
            plain => value.push(plain),
        }
    }
    panic!("no end of {text}")
}

fn shop() -> Rows {
    let settings = crate::appconfig::AppConfig::of(&BTreeMap::new()).expect("legal").machine();
    let id = "a-1".parse().expect("legal");
    let mut rows = Rows::new(App::new(id, "shop".into(), vec!["shop.test".into()], settings));
    let environment = serde_json::json!({
        "id": "e-1", "deployment": "d-1", "release": "r-1", "image": "host", "config": 1, "count": 1, "colour": "green", "state": "up",
        "commit": { "id": "c".repeat(40), "message": "Sell", "author": "Ada" },
        "since": 1, "epoch": 1, "turn": 1, "routed": true, "replaced_at": null, "sleepless": false, "instances": []
    });
    rows.environments.push(serde_json::from_value(environment).expect("an environment"));
    rows
}

fn counted() -> Metrics {
    let mut counts = vec![0; 41];
    (counts[0], counts[3], counts[40]) = (5, 2, 1);
    let served = Served {
        answers: [0, 6, 0, 1, 1],
        own: [("broken".into(), 1)].into(),
        bytes_out: 12,
        websockets: 3,
        latency: Histogram::new(counts, 2_500_000_000),
        ..Served::default()
    };
    let environments =
        [("e-1", served.clone()), ("e-gone", served)].map(|(id, s)| (id.parse().expect("legal"), s));
    let edge = Edge { connections: 4, unrouted: [("refused".into(), 2)].into(), ..Edge::default() };
    Metrics { at: Time(9000), since: Time(1500), edge, environments: environments.into() }
}

#[test]
fn every_series_of_a_router_and_a_platform_can_be_read() {
    let (apps, metrics) = ([shop()], counted());
    let ends = [("ok".to_owned(), 7), ("failed".to_owned(), 2)].into();
    let maintenance = maintenance();
    let facts = Facts {
        apps: &apps,
        ends: &ends,
        router: Some(&metrics),
        generation: Some(17),
        maintenance: &maintenance,
    };
    let read = Read::of(&render(&facts));
    let whose = [("app", "shop"), ("environment", "e-1"), ("colour", "green")];
    let with = |label, value| read_with(&read, &whose, label, value);
    assert_eq!(with("code", "2xx"), Some(6.0));
    assert_eq!(read.get("teal_router_websockets_open", &whose), Some(3.0));
    assert_eq!(read.get("teal_router_request_duration_seconds_sum", &whose), Some(2.5));
    for (le, count) in
        [("0.000064", 5.0), ("0.000128", 5.0), ("0.000256", 7.0), ("33.554432", 7.0), ("+Inf", 8.0)]
    {
        let labels = [&whose[..], &[("le", le)]].concat();
        assert_eq!(read.get("teal_router_request_duration_seconds_bucket", &labels), Some(count), "{le}");
    }
    let commit = "c".repeat(40);
    let info = [&whose[..], &[("role", "live"), ("commit", &commit)]].concat();
    assert_eq!(read.get("teal_environment_info", &info), Some(1.0));
    assert_eq!(read.get("teal_router_table_generation", &[]), Some(17.0));
    assert_eq!(read.get("teal_deployments_ended", &[("outcome", "failed")]), Some(2.0));
    assert_eq!(read.get("teal_router_start_time_seconds", &[]), Some(1.5));
    assert_eq!(read.get("teal_router_unrouted_requests_total", &[("reason", "refused")]), Some(2.0));
    for (progress, count) in [("waiting", 1.0), ("failed", 1.0), ("moved", 0.0)] {
        assert_eq!(read.get("teal_rollout_apps", &[("progress", progress)]), Some(count), "{progress}");
    }
    for (name, value) in [
        ("teal_apps_behind", 1.0),
        ("teal_rollout_halted", 1.0),
        ("teal_rollout_running", 0.0),
        ("teal_image_looked_at_seconds", 9.0),
        ("teal_image_failures", 2.0),
        ("teal_image_security_updates", 3.0),
    ] {
        assert_eq!(read.get(name, &[]), Some(value), "{name}");
    }
    assert!(!render(&facts).contains("e-gone"), "nobody knows whose it was");
}

/// A rollout that halted, and an image that lacks updates.
fn maintenance() -> Maintenance {
    let member = |app: &str, progress| Member {
        app: app.parse().expect("legal"),
        name: app.into(),
        from: "one".into(),
        progress,
    };
    let new = New {
        id: "m-1".parse().expect("legal"),
        image: "two".into(),
        author: None,
        at_once: false,
        only: None,
        seed: 1,
        now: Time(1),
    };
    let failed = Progress::Failed { deployment: "d-1".parse().expect("legal") };
    let rollout = Rollout {
        state: State::Halted { why: "too many".into() },
        apps: vec![member("a-1", Progress::Waiting), member("a-2", failed)],
        ..start(new, &Apps::new(), |_| Vec::new())
    };
    let found = Found::Differs { version: "one".into(), packages: 7, security: 3, agent: false, failures: 2 };
    let patch = Patch { image: "debian-12".into(), at: Time(9_999), found };
    Maintenance { image: "two".into(), rollout: Some(rollout), patch: Some(patch) }
}

fn read_with(read: &Read, whose: &[(&str, &str)], label: &str, value: &str) -> Option<f64> {
    read.get("teal_router_requests_total", &[whose, &[(label, value)]].concat())
}

#[test]
fn without_a_router_the_platform_still_tells_its_own() {
    let (ends, maintenance) = (BTreeMap::new(), Maintenance::default());
    let facts = Facts { apps: &[], ends: &ends, router: None, generation: None, maintenance: &maintenance };
    let read = Read::of(&render(&facts));
    assert_eq!((read.get("teal_router_up", &[]), read.get("teal_apps", &[])), (Some(0.0), Some(0.0)));
}

#[test]
fn labels_are_escaped_and_read_back() {
    let mut page = Page::default();
    page.family("teal_test", Kind::Gauge, "One\nline \\ only.");
    let hostile = "a\"} 1\nteal_fake 2 \\";
    page.sample("teal_test", &[("app", hostile), ("b", "")], 7);
    let read = Read::of(&page.into_text());
    assert_eq!(read.get("teal_test", &[("app", hostile), ("b", "")]), Some(7.0));
}
