//! What one app did in one step of time, by colour: cheap to add up, so that a coarse step is the sum of fine ones. Pure.

use crate::{
    histogram::{BUCKETS, Histogram},
    metrics::Served,
    route::Colour,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, str::FromStr};

/// How far back one looks, and how finely: a fixed number of steps, of which the oldest is written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// An hour, by ten seconds.
    #[default]
    Hour,
    /// A day, by two minutes.
    Day,
    /// A week, by a quarter of an hour.
    Week,
}

impl Window {
    /// All of them, the finest first.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    /// How long a step is.
    #[must_use]
    pub fn step_ms(self) -> u64 {
        match self {
            Self::Hour => 10_000,
            Self::Day => 120_000,
            Self::Week => 900_000,
        }
    }

    /// How many steps there are.
    #[must_use]
    pub fn steps(self) -> u64 {
        match self {
            Self::Hour => 360,
            Self::Day => 720,
            Self::Week => 672,
        }
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|window| window.word() == text);
        found.ok_or_else(|| format!("`{text}` is not one of hour, day, week"))
    }
}

/// What the environments in one place did during a step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Milliseconds that this is about: less than the step where nobody looked.
    #[serde(rename = "t", skip_serializing_if = "is_zero")]
    pub span_ms: u64,
    /// Answers.
    #[serde(rename = "a", skip_serializing_if = "is_zero")]
    pub answers: u64,
    /// Answers of 5xx among them.
    #[serde(rename = "e", skip_serializing_if = "is_zero")]
    pub errors: u64,
    /// Answers that broke off, and gateway errors.
    #[serde(rename = "f", skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Connections that instances refused: each such request was given to another one.
    #[serde(rename = "r", skip_serializing_if = "is_zero")]
    pub retried: u64,
    /// The most requests in flight that were seen.
    #[serde(rename = "i", skip_serializing_if = "is_zero")]
    pub in_flight: u64,
    /// The most WebSockets that were seen.
    #[serde(rename = "w", skip_serializing_if = "is_zero")]
    pub websockets: u64,
    /// Processor time of all instances, in microseconds.
    #[serde(rename = "c", skip_serializing_if = "is_zero")]
    pub cpu_us: u64,
    /// The most memory of all instances that was seen, in bytes.
    #[serde(rename = "m", skip_serializing_if = "is_zero")]
    pub memory: u64,
    /// The most instances that were seen.
    #[serde(rename = "n", skip_serializing_if = "is_zero")]
    pub instances: u64,
    /// How long answers took to begin.
    #[serde(rename = "l", with = "sparse", skip_serializing_if = "is_empty")]
    pub latency: Histogram,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_empty(histogram: &Histogram) -> bool {
    histogram.counts.is_empty()
}

impl Sample {
    /// What came between two looks at one environment.
    #[must_use]
    pub fn between(old: &Served, new: &Served, span_ms: u64) -> Self {
        Self {
            span_ms,
            answers: new.answered().saturating_sub(old.answered()),
            errors: new.answers[4].saturating_sub(old.answers[4]),
            failed: new.traffic.failed.saturating_sub(old.traffic.failed),
            retried: new.traffic.refused.saturating_sub(old.traffic.refused),
            in_flight: new.traffic.in_flight,
            websockets: new.websockets,
            latency: new.latency.since(&old.latency),
            ..Self::default()
        }
    }

    /// Adds another environment in the same place during the same span.
    pub fn beside(&mut self, other: &Self) {
        self.span_ms = self.span_ms.max(other.span_ms);
        self.in_flight += other.in_flight;
        self.websockets += other.websockets;
        self.memory += other.memory;
        self.instances += other.instances;
        self.count(other);
    }

    /// Adds the span that came next.
    pub fn then(&mut self, next: &Self) {
        self.span_ms += next.span_ms;
        self.in_flight = self.in_flight.max(next.in_flight);
        self.websockets = self.websockets.max(next.websockets);
        self.memory = self.memory.max(next.memory);
        self.instances = self.instances.max(next.instances);
        self.count(next);
    }

    fn count(&mut self, other: &Self) {
        self.answers += other.answers;
        self.errors += other.errors;
        self.failed += other.failed;
        self.retried += other.retried;
        self.cpu_us += other.cpu_us;
        self.latency.add(&other.latency);
    }

    /// Nothing ran and nothing moved: not worth a row.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        Self { span_ms: 0, ..self.clone() } == Self::default()
    }
}

/// Both places during a step. A place in which nothing was has none.
pub type Sampled = BTreeMap<Colour, Sample>;

/// Adds the span that came next to a step.
pub fn add(step: &mut Sampled, next: &Sampled) {
    for (colour, sample) in next {
        step.entry(*colour).or_default().then(sample);
    }
}

/// Only buckets that hold something: most rows have few.
mod sparse {
    use super::{BUCKETS, Histogram};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(histogram: &Histogram, to: S) -> Result<S::Ok, S::Error> {
        let filled = histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| (bucket, *count)).collect::<Vec<(usize, u64)>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Histogram, D::Error> {
        let mut counts = vec![0; BUCKETS];
        for (bucket, count) in Vec::<(usize, u64)>::deserialize(from)? {
            if let Some(place) = counts.get_mut(bucket) {
                *place = count;
            }
        }
        Ok(Histogram::new(counts, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::bucket_of;

    fn served(answers: u64, us: u64) -> Served {
        let mut counts = vec![0; bucket_of(us) + 1];
        counts[bucket_of(us)] = answers;
        let mut served = Served {
            answers: [0, answers - 1, 0, 0, 1],
            latency: Histogram::new(counts, 0),
            ..Served::default()
        };
        (served.traffic.in_flight, served.traffic.refused, served.websockets) = (answers, 2, 3);
        served
    }

    #[test]
    fn a_coarse_step_is_the_sum_of_fine_ones_and_what_is_open_is_the_most_of_them() {
        let first = Sample::between(&Served::default(), &served(10, 1000), 10_000);
        let second = Sample::between(&served(10, 1000), &served(30, 1000), 10_000);
        let mut step = Sampled::new();
        add(&mut step, &[(Colour::Blue, first.clone())].into());
        add(&mut step, &[(Colour::Blue, second)].into());
        let both = &step[&Colour::Blue];
        assert_eq!((both.span_ms, both.answers, both.errors, both.latency.count()), (20_000, 30, 1, 30));
        assert_eq!((both.in_flight, both.websockets, both.retried), (30, 3, 2));
        let mut beside = first.clone();
        beside.beside(&first);
        assert_eq!((beside.span_ms, beside.answers, beside.in_flight), (10_000, 20, 20));
    }

    #[test]
    fn a_row_is_small_and_read_back() {
        let sample = Sample::between(&Served::default(), &served(10, 1_000_000), 10_000);
        let text = serde_json::to_string(&sample).expect("JSON");
        assert_eq!(text, r#"{"t":10000,"a":10,"e":1,"r":2,"i":10,"w":3,"l":[[28,10]]}"#);
        assert_eq!(serde_json::from_str::<Sample>(&text).expect("reads"), sample);
        assert!(!sample.is_nothing() && Sample { span_ms: 5, ..Sample::default() }.is_nothing());
    }

    #[test]
    fn every_window_covers_its_span() {
        let hours = Window::ALL.map(|window| window.step_ms() * window.steps() / 3_600_000);
        assert_eq!(hours, [1, 24, 168]);
        assert!(
            Window::ALL.iter().all(|window| window.word().parse() == Ok(*window))
                && "year".parse::<Window>().is_err()
        );
    }
}
