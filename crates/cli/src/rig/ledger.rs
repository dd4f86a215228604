//! The rig's book: every answer and every failure is entered here and judged at once. Pure: instants are given, in microseconds since the
//! run began.
//!
//! A version that was never seen begins an *epoch* by itself; going back to one that was seen needs an announcement made before. So an
//! answer of an old version after a new one is either a straggler (its request began before, and its client had not seen the new one)
//! or a violation.

use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A request may begin this long after the first answer of a new version and still get the old one, in microseconds.
pub(super) const GRACE_US: u64 = 50_000;
/// The most failures that are kept with their details.
const MAX_DETAILS: usize = 2_000;
/// The most answers whose latency is kept.
const MAX_SAMPLES: usize = 4_000_000;

/// The way by which something was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lane {
    /// On a connection that is kept.
    Kept,
    /// On a connection of its own.
    Fresh,
    /// On an HTTP/2 connection that others share.
    H2,
    /// A WebSocket.
    Websocket,
    /// Server-sent events.
    Stream,
    /// The rig's own trouble.
    Rig,
}

impl Lane {
    /// Its place among the counts of requests.
    fn index(self) -> usize {
        match self {
            Self::Fresh => 1,
            Self::H2 => 2,
            _ => 0,
        }
    }
}

/// What an answer said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// `x-version`.
    pub(super) version: Option<String>,
    /// `x-colour`.
    pub(super) colour: Option<String>,
}

/// One answered request.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) client: usize,
    /// The epoch that the client had seen when the request began.
    pub(super) floor: usize,
    pub(super) scheduled: u64,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) lane: Lane,
    pub(super) answer: Answer,
}

/// A failure, as it is reported.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    /// When, in milliseconds since the run began.
    pub(crate) at_ms: f64,
    /// When, RFC 3339.
    pub(crate) at: String,
    /// When the request was due, in milliseconds since the run began; `None` if no request was lost, or no connection was to be had for it.
    pub(crate) due_ms: Option<f64>,
    /// How it was asked.
    pub(crate) lane: Lane,
    /// What went wrong, in fixed words.
    pub(crate) kind: String,
    /// The rest.
    pub(crate) detail: String,
}

/// A span in which one version was current.
#[derive(Debug, Clone)]
pub(super) struct Epoch {
    pub(super) version: String,
    pub(super) colour: Option<String>,
    /// When its first answer was there.
    pub(super) first: u64,
    /// When the last request began that still got the version before.
    pub(super) last_old_began: Option<u64>,
    /// It was current before, and its return was announced.
    pub(super) returned: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Post {
    acknowledged: bool,
    recorded: u32,
}

/// What became of the POSTs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Posts {
    /// Begun.
    pub(crate) sent: u64,
    /// Answered with success.
    pub(crate) acknowledged: u64,
    /// Recorded exactly once.
    pub(crate) recorded_once: u64,
    /// Acknowledged, and never recorded.
    pub(crate) missing: u64,
    /// Recorded more than once.
    pub(crate) repeated: u64,
}

/// Counts of the streams.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Streams {
    /// Opened.
    pub(crate) opened: u64,
    /// Messages or events received.
    pub(crate) messages: u64,
    /// Ended by the server with notice (WebSocket close 1012).
    pub(crate) ended_with_notice: u64,
    /// Ended by the server without notice.
    pub(crate) cut: u64,
    /// Slowest first byte, in milliseconds.
    pub(crate) slowest_first_ms: f64,
}

/// A second of the run.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Second {
    /// Answers by version; "" is an answer that named none.
    pub(crate) versions: BTreeMap<String, u64>,
    /// Failures.
    pub(crate) failed: u64,
}

/// The book.
pub(super) struct Ledger {
    pub(super) wall: jiff::Timestamp,
    pub(super) epochs: Vec<Epoch>,
    back: Option<u64>,
    clients: Vec<usize>,
    pub(super) samples: Vec<(u64, u32)>,
    pub(super) requests: u64,
    pub(super) by_lane: [u64; 3],
    pub(super) failed: u64,
    pub(super) violations: u64,
    pub(super) unversioned: u64,
    pub(super) overrun: u64,
    pub(super) failures: Vec<Failure>,
    pub(super) seconds: Vec<Second>,
    pub(super) websockets: Streams,
    pub(super) streams: Streams,
    posts: HashMap<u64, Post>,
    heard: HashSet<(String, u64)>,
}

impl Ledger {
    /// An empty book that begins now.
    pub(super) fn new(wall: jiff::Timestamp) -> Self {
        Self {
            wall,
            epochs: Vec::new(),
            back: None,
            clients: Vec::new(),
            samples: Vec::new(),
            requests: 0,
            by_lane: [0; 3],
            failed: 0,
            violations: 0,
            unversioned: 0,
            overrun: 0,
            failures: Vec::new(),
            seconds: Vec::new(),
            websockets: Streams::default(),
            streams: Streams::default(),
            posts: HashMap::new(),
            heard: HashSet::new(),
        }
    }

    /// A new client: whoever must never see an old version after a new one.
    pub(super) fn client(&mut self) -> usize {
        self.clients.push(0);
        self.clients.len() - 1
    }

    /// The epoch that this client has seen: taken when a request begins.
    pub(super) fn floor(&self, client: usize) -> usize {
        self.clients.get(client).copied().unwrap_or(0)
    }

    /// The version that is current.
    pub(super) fn current(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// See [`super::Rig::expect_back`].
    pub(super) fn expect_back(&mut self, now: u64) {
        self.back = Some(now);
    }

    /// Enters an answer with a good status.
    pub(super) fn answered(&mut self, sample: Sample) {
        self.requests += 1;
        self.by_lane[sample.lane.index()] += 1;
        if self.samples.len() < MAX_SAMPLES {
            let latency = sample.ended.saturating_sub(sample.scheduled);
            self.samples.push((sample.ended, u32::try_from(latency).unwrap_or(u32::MAX)));
        }
        let version = sample.answer.version.clone().unwrap_or_default();
        *self.second(sample.ended).versions.entry(version.clone()).or_default() += 1;
        if version.is_empty() {
            self.unversioned += 1;
            return;
        }
        let epoch = self.epoch_of(&version, &sample);
        self.judge(epoch, &version, &sample);
        if let Some(seen) = self.clients.get_mut(sample.client) {
            *seen = (*seen).max(epoch);
        }
    }

    /// The epoch that an answer belongs to; begins one where that is right.
    fn epoch_of(&mut self, version: &str, sample: &Sample) -> usize {
        let known = self.epochs.iter().rposition(|epoch| epoch.version == version);
        let last = self.epochs.len().checked_sub(1);
        let back = self.back.is_some_and(|announced| sample.began >= announced);
        match known {
            Some(epoch) if Some(epoch) == last || !back => epoch,
            Some(_) => {
                self.back = None;
                self.open(version, sample, true)
            }
            None => self.open(version, sample, false),
        }
    }

    fn open(&mut self, version: &str, sample: &Sample, returned: bool) -> usize {
        self.epochs.push(Epoch {
            version: version.to_owned(),
            colour: sample.answer.colour.clone(),
            first: sample.ended,
            last_old_began: None,
            returned,
        });
        self.epochs.len() - 1
    }

    fn judge(&mut self, epoch: usize, version: &str, sample: &Sample) {
        let Some((last, current)) =
            self.epochs.len().checked_sub(1).and_then(|i| Some((i, self.epochs.get(i)?.clone())))
        else {
            return;
        };
        if epoch >= last {
            return;
        }
        if epoch + 1 == last {
            let latest =
                self.epochs[last].last_old_began.map_or(sample.began, |began| began.max(sample.began));
            self.epochs[last].last_old_began = Some(latest);
        }
        let new = &current.version;
        if epoch < sample.floor {
            let seen = self.epochs.get(sample.floor).map(|e| e.version.clone()).unwrap_or_default();
            self.violation(sample, format!("a client that had seen {seen} was answered by {version}"));
        } else if sample.began > current.first.saturating_add(GRACE_US) {
            let late = (sample.began - current.first) / 1000;
            self.violation(
                sample,
                format!(
                    "a request begun {late} ms after the first answer of {new} was answered by {version}"
                ),
            );
        }
    }

    fn violation(&mut self, sample: &Sample, detail: String) {
        self.violations += 1;
        self.fail(sample.ended, sample.lane, "old version after new", detail);
    }

    /// See [`super::Rig::stays`]. What looked like the announced return were answers that the old version gave on its way out.
    pub(super) fn stays(&mut self, version: &str) {
        self.back = None;
        if self.epochs.last().is_some_and(|last| last.returned && last.version != version) {
            self.epochs.pop();
            let last = self.epochs.len().saturating_sub(1);
            self.clients.iter_mut().for_each(|seen| *seen = (*seen).min(last));
        }
    }

    /// Enters a request that got no good answer; `due` if it was under way on a connection.
    pub(super) fn lost(&mut self, at: u64, due: Option<u64>, lane: Lane, kind: &str, detail: String) {
        self.requests += 1;
        self.by_lane[lane.index()] += 1;
        self.enter(at, due, lane, kind, detail);
    }

    /// Enters a failure that is not a request's.
    pub(super) fn fail(&mut self, at: u64, lane: Lane, kind: &str, detail: String) {
        self.enter(at, None, lane, kind, detail);
    }

    fn enter(&mut self, at: u64, due: Option<u64>, lane: Lane, kind: &str, detail: String) {
        self.failed += 1;
        self.second(at).failed += 1;
        if self.failures.len() < MAX_DETAILS {
            let micros = i64::try_from(at).unwrap_or(i64::MAX);
            let wall = self.wall.checked_add(jiff::SignedDuration::from_micros(micros)).unwrap_or(self.wall);
            let failure = Failure {
                at_ms: at as f64 / 1000.0,
                at: format!("{wall:.3}"),
                due_ms: due.map(|due| due as f64 / 1000.0),
                lane,
                kind: kind.into(),
                detail,
            };
            self.failures.push(failure);
        }
    }

    fn second(&mut self, at: u64) -> &mut Second {
        let index = usize::try_from(at / 1_000_000).unwrap_or(usize::MAX).min(1_000_000);
        if self.seconds.len() <= index {
            self.seconds.resize_with(index + 1, Second::default);
        }
        &mut self.seconds[index]
    }

    /// A POST begins.
    pub(super) fn post(&mut self, id: u64) {
        self.posts.insert(id, Post::default());
    }

    /// A POST was answered with success.
    pub(super) fn acknowledged(&mut self, id: u64) {
        self.posts.entry(id).or_default().acknowledged = true;
    }

    /// The app says that it recorded this id as its `sequence`th since it began. Saying it again changes nothing.
    pub(super) fn recorded(&mut self, boot: &str, sequence: u64, id: u64) {
        if self.heard.insert((boot.to_owned(), sequence))
            && let Some(post) = self.posts.get_mut(&id)
        {
            post.recorded += 1;
        }
    }

    /// Enters a stream that ended or could not be had.
    pub(super) fn stream_failed(&mut self, at: u64, lane: Lane, kind: &str, detail: String) {
        let streams = if lane == Lane::Websocket { &mut self.websockets } else { &mut self.streams };
        streams.cut += u64::from(kind.ends_with(" cut"));
        self.fail(at, lane, kind, detail);
    }

    /// When another version took this one's place; `None` while it is current (again).
    pub(super) fn replaced(&self, version: &str) -> Option<u64> {
        let last = self.epochs.iter().rposition(|epoch| epoch.version == version)?;
        Some(self.epochs.get(last + 1)?.first)
    }

    /// Whether every acknowledged POST is known to be recorded.
    pub(super) fn is_audited(&self) -> bool {
        self.audit().missing == 0
    }

    /// What became of the POSTs.
    pub(super) fn audit(&self) -> Posts {
        let count =
            |wanted: fn(&Post) -> bool| self.posts.values().filter(|post| wanted(post)).count() as u64;
        Posts {
            sent: self.posts.len() as u64,
            acknowledged: count(|p| p.acknowledged),
            recorded_once: count(|p| p.recorded == 1),
            missing: count(|p| p.acknowledged && p.recorded == 0),
            repeated: count(|p| p.recorded > 1),
        }
    }

    /// How it stands now.
    pub(super) fn standing(&self) -> super::Standing {
        super::Standing {
            requests: self.requests,
            failed: self.failed,
            version: self.current().map(|epoch| epoch.version.clone()),
            since_ms: self.current().map_or(0.0, |epoch| epoch.first as f64 / 1000.0),
            untold: self.audit().missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Book(Ledger);

    impl Book {
        fn new(clients: usize) -> Self {
            let mut ledger = Ledger::new(jiff::Timestamp::UNIX_EPOCH);
            for _ in 0..clients {
                ledger.client();
            }
            Self(ledger)
        }

        /// An answer to a request of this client, begun and ended at these milliseconds; the floor is taken as the client stands.
        fn answer(&mut self, client: usize, began: u64, ended: u64, version: &str) -> &mut Self {
            let floor = self.0.floor(client);
            let answer = Answer { version: Some(version.into()), colour: None };
            let (began, ended) = (began * 1000, ended * 1000);
            self.0.answered(Sample {
                client,
                floor,
                scheduled: began,
                began,
                ended,
                lane: Lane::Kept,
                answer,
            });
            self
        }
    }

    #[test]
    fn a_clean_switch_with_stragglers_is_no_violation() {
        let mut book = Book::new(2);
        book.answer(0, 0, 1, "v1").answer(1, 10, 12, "v2").answer(0, 9, 40, "v1").answer(0, 50, 51, "v2");
        assert_eq!((book.0.violations, book.0.failed, book.0.epochs.len()), (0, 0, 2));
        assert_eq!(book.0.epochs[1].last_old_began, Some(9000));
    }

    #[test]
    fn a_client_that_goes_back_is_a_violation_at_once() {
        let mut book = Book::new(1);
        book.answer(0, 0, 1, "v1").answer(0, 10, 12, "v2").answer(0, 13, 14, "v1");
        assert_eq!((book.0.violations, book.0.failed), (1, 1));
    }

    #[test]
    fn an_old_answer_long_after_the_new_one_is_a_violation_for_any_client() {
        let mut book = Book::new(2);
        book.answer(0, 0, 1, "v1").answer(0, 10, 12, "v2").answer(1, 61, 64, "v1");
        assert_eq!(book.0.violations, 0, "within the grace");
        book.answer(1, 63, 65, "v1");
        assert_eq!(book.0.violations, 1);
    }

    #[test]
    fn going_back_is_right_only_when_announced_before() {
        let mut book = Book::new(2);
        book.answer(0, 0, 1, "v1").answer(0, 100, 101, "v2");
        book.0.expect_back(200_000);
        book.answer(1, 102, 250, "v1");
        assert_eq!(book.0.epochs.len(), 2, "a straggler does not use up the announcement");
        book.answer(0, 210, 211, "v2").answer(0, 220, 221, "v1").answer(0, 300, 301, "v1");
        assert_eq!((book.0.violations, book.0.epochs.len()), (0, 3));
        book.answer(0, 400, 401, "v2");
        assert_eq!(book.0.violations, 1, "the announcement was for one return");
        book.0.expect_back(500_000);
        book.0.stays("v1");
        book.answer(0, 510, 511, "v2");
        assert_eq!((book.0.violations, book.0.epochs.len()), (2, 3), "an announcement that was withdrawn");
        book.0.expect_back(600_000);
        book.answer(0, 610, 615, "v3").answer(1, 612, 618, "v1");
        assert_eq!(book.0.epochs.len(), 5, "on its way out it looked as if it had come back");
        book.0.stays("v3");
        book.answer(0, 700, 701, "v3").answer(1, 702, 703, "v3");
        assert_eq!((book.0.violations, book.0.epochs.len()), (2, 4));
        book.answer(1, 704, 705, "v1");
        assert_eq!(book.0.violations, 3);
    }

    #[test]
    fn posts_are_recorded_exactly_once_or_it_shows() {
        let mut book = Book::new(1);
        for id in 0..4 {
            book.0.post(id);
            book.0.acknowledged(id);
        }
        book.0.recorded("a", 0, 0);
        book.0.recorded("a", 0, 0);
        book.0.recorded("a", 1, 1);
        book.0.recorded("b", 0, 1);
        book.0.recorded("b", 1, 2);
        book.0.recorded("b", 2, 99);
        let posts = book.0.audit();
        assert_eq!(posts, Posts { sent: 4, acknowledged: 4, recorded_once: 2, missing: 1, repeated: 1 });
        assert!(!book.0.is_audited());
    }
}
