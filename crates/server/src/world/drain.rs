//! Drain: wait until nothing is in flight in an environment that the router no longer routes to, then cut what is left.

use super::{World, now};
use std::time::Duration;
use teal_core::{control::Traffic, deploy::Outcome, engine, id::EnvironmentId, time::Time};

/// How often the router is asked. With nothing in flight the first answer ends the drain.
const EVERY: Duration = Duration::from_millis(25);
/// Upgraded streams are closed spread over this span, so that their clients do not come back all at once.
const SPREAD: Duration = Duration::from_secs(30);

impl World {
    pub(super) async fn drain(&self, environment: &EnvironmentId, deadline: Time, cap: Time) -> Outcome {
        let mut cut = None;
        loop {
            match self.link.traffic().await {
                Ok(traffic) => {
                    let left = traffic.get(environment).copied().unwrap_or_default();
                    if left.in_flight == 0 && left.upgraded == 0 {
                        return engine::done();
                    }
                    if let Some(spread) =
                        due(left, now(), deadline, cap).filter(|spread| cut.is_none_or(|done| done > *spread))
                    {
                        match self.link.cut(environment.clone(), spread).await {
                            Ok(()) => cut = Some(spread),
                            Err(error) => {
                                tracing::warn!(%environment, %error, "drain: could not cut, trying again")
                            }
                        }
                    }
                }
                // A router that is gone took its connections with it; one that is coming back will say that nothing is left.
                Err(error) => {
                    tracing::debug!(%environment, %error, "drain: the router does not answer, asking again")
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// Whether what is left is to be cut now, and over which span: ordinary requests past their deadline at once, upgraded streams at the cap.
fn due(left: Traffic, now: Time, deadline: Time, cap: Time) -> Option<Duration> {
    let ordinary_late = left.in_flight > 0 && left.upgraded == 0 && now >= deadline;
    if now >= cap.plus(u64::try_from(SPREAD.as_millis()).unwrap_or(0)) || ordinary_late {
        return Some(Duration::ZERO);
    }
    (now >= cap).then_some(SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_requests_are_cut_at_the_deadline_and_streams_at_the_cap() {
        let (deadline, cap) = (Time(1_000), Time(9_000));
        let left = |in_flight, upgraded| Traffic { in_flight, upgraded, ..Traffic::default() };
        assert_eq!(due(left(1, 0), Time(999), deadline, cap), None);
        assert_eq!(due(left(1, 0), Time(1_000), deadline, cap), Some(Duration::ZERO));
        assert_eq!(due(left(1, 1), Time(1_000), deadline, cap), None);
        assert_eq!(due(left(0, 1), Time(8_999), deadline, cap), None);
        assert_eq!(due(left(0, 1), Time(9_000), deadline, cap), Some(SPREAD));
        assert_eq!(due(left(0, 1), Time(39_000), deadline, cap), Some(Duration::ZERO));
    }
}
