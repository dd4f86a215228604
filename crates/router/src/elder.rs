//! The worker that served before this one and still has clients: it is told of every change, so that a client on an old connection never sees
//! an older table than one on a new connection.
//!
//! It must never keep the server waiting for long: an elder that does not answer is given up, and stops by itself when its link ends.

use crate::frame::{self, Broken};
use std::{collections::BTreeMap, io, time::Duration};
use teal_core::{
    control::{MAX_FRAME, Reply, Request, Traffic, VERSION, decode},
    id::EnvironmentId,
    metrics::Metrics,
};
use tokio::{net::UnixStream, time::timeout};

/// How long an elder may take for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Counts by environment.
pub(crate) type Counts = BTreeMap<EnvironmentId, Traffic>;

/// A link to the elder, as long as it has clients.
#[derive(Debug, Default)]
pub(crate) struct Elder {
    link: Option<UnixStream>,
    /// Its last counts.
    last: Counts,
    /// Counts of elders that are gone.
    gone: Counts,
    /// What it and those before it told of clients last.
    told: Metrics,
}

impl Elder {
    /// An elder at the other end of `link`.
    pub(crate) fn new(link: UnixStream) -> Self {
        Self { link: Some(link), ..Self::default() }
    }

    /// There is one.
    pub(crate) fn is_there(&self) -> bool {
        self.link.is_some()
    }

    /// Says what it is to do, and waits until it is done. Whoever does not do it loses the link, and stops.
    pub(crate) async fn tell(&mut self, request: &Request) {
        match self.ask(request).await {
            None | Some(Reply::Acknowledged { .. } | Reply::Hello { .. }) => (),
            Some(other) => {
                tracing::warn!(?other, "the router's elder does not obey: it is given up");
                self.part();
            }
        }
    }

    /// Greets it: it may be of another version.
    pub(crate) async fn greet(&mut self) {
        self.tell(&Request::Hello { version: VERSION, requires: vec!["hold".into()] }).await;
    }

    /// Adds its counts, and those of elders before it, to `counts`.
    pub(crate) async fn add_to(&mut self, counts: &mut Counts) {
        if let Some(Reply::Traffic { environments, .. }) = self.ask(&Request::Traffic).await {
            self.last = environments;
        }
        for (environment, more) in self.last.iter().chain(&self.gone) {
            *counts.entry(environment.clone()).or_default() += more;
        }
    }

    /// Adds what it told of clients, so that an upgrade begins no count anew.
    pub(crate) async fn add_metrics(&mut self, metrics: &mut Metrics) {
        // One of before refuses: then it told nothing.
        if let Some(Reply::Metrics { metrics }) = self.ask(&Request::Metrics).await {
            self.told = *metrics;
        }
        if self.link.is_none() {
            self.told.nothing_is_open();
        }
        metrics.add(&self.told);
    }

    async fn ask(&mut self, request: &Request) -> Option<Reply> {
        let link = self.link.as_mut()?;
        let answer = timeout(PATIENCE, exchange(link, request)).await;
        match answer.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())) {
            Ok(reply) => Some(reply),
            Err(ended) => {
                tracing::info!(why = %ended, "the router's elder is gone");
                self.part();
                None
            }
        }
    }

    /// Its sums stay; nothing of it is in flight any more.
    fn part(&mut self) {
        self.link = None;
        for (environment, mut last) in std::mem::take(&mut self.last) {
            (last.in_flight, last.upgraded) = (0, 0);
            *self.gone.entry(environment).or_default() += &last;
        }
    }
}

async fn exchange(link: &mut UnixStream, request: &Request) -> Result<Reply, Broken> {
    frame::write(link, request).await?;
    Ok(decode(&frame::read(link, MAX_FRAME as usize).await?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> EnvironmentId {
        "e-1".parse().expect("legal")
    }

    async fn serve(mut end: UnixStream, counts: Counts) {
        frame::read(&mut end, 1 << 16).await.expect("a question");
        let reply =
            Reply::Traffic { at: teal_core::time::Time(1), environments: counts, troubles: Vec::new() };
        frame::write(&mut end, &reply).await.expect("answers");
    }

    #[tokio::test]
    async fn what_an_elder_did_is_not_forgotten_and_what_it_does_not_do_any_more_is() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut elder = Elder::new(ours);
        let counts = [(environment(), Traffic { in_flight: 3, requests: 7, ..Traffic::default() })].into();
        let mut sum = [(environment(), Traffic { requests: 1, ..Traffic::default() })].into();
        tokio::join!(elder.add_to(&mut sum), serve(theirs, counts));
        assert_eq!((sum[&environment()].in_flight, sum[&environment()].requests), (3, 8));
        let mut sum = Counts::new();
        elder.add_to(&mut sum).await;
        assert!(!elder.is_there());
        assert_eq!((sum[&environment()].in_flight, sum[&environment()].requests), (0, 7));
    }
}
