//! One name's way to a certificate. Where it is on that way is known by the authority (the order's state) and by the store (the order's address and
//! the key): first run, retry and going on after a crash are the same steps. It must never ask for a proof to be looked at before the router has it.

use super::{
    authority::{Authority, NONCES},
    facts,
    failure::Error,
    forge, pause,
    shelf::{self, Shelf},
};
use crate::{
    config::Challenge,
    store::{self, Held, Store},
    world::now,
};
use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, ChallengeHandle, ChallengeStatus, ChallengeType, Identifier,
    NewOrder, Order, OrderStatus, RenewalInfo,
};
use std::{sync::Arc, time::Duration};
use teal_core::{certificate::Proof, time::Time};
use tokio::time::{sleep, timeout};

/// How long one attempt may take; the order is kept, and the next attempt goes on with it.
const ATTEMPT: Duration = Duration::from_secs(180);
/// The first and the longest pause between two looks at an order; they double.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK: Duration = Duration::from_secs(8);
/// The authority is asked about a renewal no sooner and no later than this, in milliseconds, whatever it wishes.
const LOOK_MS: std::ops::RangeInclusive<u64> = 600_000..=86_400_000;
/// Asked again after this, if the question failed.
const LOOK_AGAIN_MS: u64 = 6 * 3_600_000;

/// Whoever obtains certificates. Cheap to clone.
#[derive(Clone)]
pub(super) struct Issuer {
    pub(super) store: Store,
    pub(super) shelf: Arc<Shelf>,
    pub(super) authority: Arc<Authority>,
}

impl From<shelf::Error> for Error {
    fn from(error: shelf::Error) -> Self {
        match error {
            shelf::Error::Store(error) => Self::Store(error),
            shelf::Error::Router(error) => Self::Router(error),
        }
    }
}

impl Issuer {
    /// Obtains a certificate for this name; it is in the store then.
    ///
    /// # Errors
    /// If it could not be obtained this time.
    pub(super) async fn obtain(&self, name: &str) -> Result<(), Error> {
        // A router that takes no proofs is known before the authority is troubled.
        self.shelf.publish().await?;
        let result = timeout(ATTEMPT, self.steps(name)).await.unwrap_or(Err(Error::Slow));
        self.shelf.withdraw(name);
        match &result {
            Ok(()) => self.shelf.changed(),
            Err(error) if error.ends_account() => self.authority.forget().await?,
            Err(error) if error.ends_order() => self.store.set_certificate_order(name.into(), None).await?,
            Err(_) => {}
        }
        // Whatever the router says now, it is told again until it has it.
        drop(self.shelf.publish().await);
        result
    }

    /// Step after step. A nonce that was refused costs one step, which is made again from what the authority then says. So does the first refusal in an
    /// order that is under way: a server that was killed may have asked for the same just before, and the order has moved on meanwhile.
    async fn steps(&self, name: &str) -> Result<(), Error> {
        let mut course = None;
        let (mut nonces, mut refusals) = (0, 0);
        loop {
            let error = match self.step(name, &mut course).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    (nonces, refusals) = (0, 0);
                    continue;
                }
                Err(error) => error,
            };
            if error.kind() == "badNonce" && nonces < NONCES {
                nonces += 1;
            } else if error.is_refusal() && course.is_some() && refusals == 0 {
                refusals += 1;
            } else {
                return Err(error);
            }
            course = None;
        }
    }

    /// One step; whether the certificate is there.
    async fn step(&self, name: &str, slot: &mut Option<Course>) -> Result<bool, Error> {
        let course = match slot {
            Some(course) => course,
            None => slot.insert(self.course(name).await?),
        };
        match course.order.state().status {
            OrderStatus::Pending => self.prove(name, course).await?,
            OrderStatus::Ready => {
                let request = forge::request(name, &course.kept.key)?;
                course.order.finalize_csr(&request).await?;
            }
            OrderStatus::Processing => course.look().await?,
            OrderStatus::Valid => {
                let chain = course.order.certificate().await?;
                let chain = chain.ok_or_else(|| Error::Other("the authority gave no certificate".into()))?;
                self.keep(name, chain, course).await?;
                return Ok(true);
            }
            OrderStatus::Invalid => return Err(course.why().await),
        }
        Ok(false)
    }

    /// The order under way, or a new one, which is durable before anything is done with it.
    async fn course(&self, name: &str) -> Result<Course, Error> {
        let account = self.authority.account().await?;
        let directory = &self.authority.config.directory;
        let kept =
            self.store.certificate_order(name.into()).await?.filter(|order| order.directory == *directory);
        if let Some(kept) = kept {
            let order = account.order(kept.url.clone()).await?;
            return Ok(Course { order, kept, pause: FIRST_LOOK });
        }
        let key = forge::key()?;
        let identifiers = [Identifier::Dns(name.to_owned())];
        let mut new = NewOrder::new(&identifiers);
        if let Some(replaced) = self.replaced(name).await? {
            new = new.replaces(replaced);
        }
        let order = account.new_order(&new).await?;
        let kept = store::Order { directory: directory.clone(), url: order.url().to_owned(), key };
        self.store.set_certificate_order(name.into(), Some(kept.clone())).await?;
        tracing::debug!(name, order = kept.url, "a certificate is ordered");
        Ok(Course { order, kept, pause: FIRST_LOOK })
    }

    /// The certificate that the new one replaces, if the authority wants to know (RFC 9773). After a failure it is left out: it may be the reason.
    async fn replaced(
        &self,
        name: &str,
    ) -> Result<Option<instant_acme::CertificateIdentifier<'static>>, Error> {
        let row = self.store.certificate_row(name.into()).await?;
        let knows =
            row.is_some_and(|row| row.attempts == 0 && row.held.is_some_and(|held| held.look_at.is_some()));
        if !knows {
            return Ok(None);
        }
        Ok(self.store.certificate_chain(name.into()).await?.and_then(|chain| facts::identifier(&chain)))
    }

    /// Answers what the authority asks, and waits until it has looked.
    async fn prove(&self, name: &str, course: &mut Course) -> Result<(), Error> {
        let kind = self.authority.config.challenge;
        let mut authorizations = course.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let mut challenge = choose(&mut authorization, kind)?;
            self.shelf.prove(name, proof(name, kind, &challenge)?);
            self.shelf.publish().await?;
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await?;
            }
        }
        while course.order.state().status == OrderStatus::Pending {
            course.look().await?;
        }
        Ok(())
    }

    /// The certificate is ours: from now on it is the one.
    async fn keep(&self, name: &str, chain: String, course: &Course) -> Result<(), Error> {
        let dates = facts::validity(&chain).map_err(Error::Other)?;
        let (renew_at, look_at) = self.renewal(name, &chain).await;
        let held = Held {
            issuer: Some(self.authority.config.directory.clone()),
            not_before: dates.not_before,
            not_after: dates.not_after,
            renew_at,
            look_at,
        };
        self.store.set_certificate(name.into(), chain, course.kept.key.clone(), held).await?;
        tracing::info!(name, until = crate::log::rfc3339(dates.not_after), "a certificate was issued");
        Ok(())
    }

    /// When this certificate is renewed and when to ask again: what the authority suggests, or two thirds of the lifetime.
    async fn renewal(&self, name: &str, chain: &str) -> (Time, Option<Time>) {
        let dates = facts::validity(chain);
        let usual = dates.map_or(now(), |dates| pause::two_thirds(dates.not_before, dates.not_after));
        let Some(identifier) = facts::identifier(chain) else { return (usual, None) };
        let Ok(account) = self.authority.account().await else {
            return (usual, Some(now().plus(LOOK_AGAIN_MS)));
        };
        match account.renewal_info(&identifier).await {
            Ok((info, again)) => suggested(name, &info, again, now()),
            Err(instant_acme::Error::Unsupported(_)) => (usual, None),
            Err(error) => {
                tracing::debug!(name, %error, "the authority does not say when to renew");
                (usual, Some(now().plus(LOOK_AGAIN_MS)))
            }
        }
    }

    /// Asks the authority again when it wants this name's certificate to be renewed.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub(super) async fn look(&self, name: &str) -> Result<(), Error> {
        let Some(chain) = self.store.certificate_chain(name.into()).await? else { return Ok(()) };
        let (renew_at, look_at) = self.renewal(name, &chain).await;
        Ok(self.store.set_renewal(name.into(), renew_at, look_at).await?)
    }
}

/// An order on its way.
struct Course {
    order: Order,
    kept: store::Order,
    pause: Duration,
}

impl Course {
    /// Waits a while and looks at the order again.
    async fn look(&mut self) -> Result<(), Error> {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LAST_LOOK);
        self.order.refresh().await?;
        Ok(())
    }

    /// Why the authority will not fulfil it: what it saw when it looked, or what it says of the order.
    async fn why(&mut self) -> Error {
        let mut authorizations = self.order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            // What was fetched before the challenge was looked at does not say how that went.
            if let Err(error) = authorization.refresh().await {
                return error.into();
            }
            if let Some(problem) =
                authorization.challenges.iter().find_map(|challenge| challenge.error.clone())
            {
                return Error::Unproved(problem);
            }
        }
        let unknown = || instant_acme::Problem {
            r#type: None,
            detail: Some("the order is invalid, and the CA does not say why".into()),
            status: None,
            subproblems: Vec::new(),
        };
        instant_acme::Error::Api(self.order.state().error.clone().unwrap_or_else(unknown)).into()
    }
}

/// The name's own moment in the window that an authority suggests, and when to ask it again after so long.
fn suggested(name: &str, info: &RenewalInfo, again: Duration, now: Time) -> (Time, Option<Time>) {
    let time = |seconds: i64| Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
    let window = &info.suggested_window;
    let (begin, end) = (time(window.start.unix_timestamp()), time(window.end.unix_timestamp()));
    let again = u64::try_from(again.as_millis()).unwrap_or(u64::MAX);
    (pause::between(name, begin, end), Some(now.plus(again.clamp(*LOOK_MS.start(), *LOOK_MS.end()))))
}

/// The challenge of the kind that the operator wants.
fn choose<'a>(
    authorization: &'a mut AuthorizationHandle<'a>,
    kind: Challenge,
) -> Result<ChallengeHandle<'a>, Error> {
    let wanted = match kind {
        Challenge::Http => ChallengeType::Http01,
        Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
    };
    authorization.challenge(wanted).ok_or_else(|| {
        let other = match kind {
            Challenge::Http => "tls-alpn-01",
            Challenge::TlsAlpn => "http-01",
        };
        Error::Other(format!(
            "the authority does not offer this kind of challenge: try `[acme] challenge = \"{other}\"`"
        ))
    })
}

/// What the router must answer.
fn proof(name: &str, kind: Challenge, challenge: &ChallengeHandle<'_>) -> Result<Proof, Error> {
    let authorization = challenge.key_authorization();
    let domain = name.to_owned();
    Ok(match kind {
        Challenge::Http => {
            Proof::Http { domain, token: challenge.token.clone(), answer: authorization.as_str().to_owned() }
        }
        Challenge::TlsAlpn => {
            let forged = forge::proof(name, authorization.digest().as_ref())?;
            Proof::Alpn { domain, chain: forged.chain, key: forged.key }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_in_the_window_that_the_authority_suggests() {
        let text = r#"{"suggestedWindow": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-04T00:00:00Z"}}"#;
        let info: RenewalInfo = serde_json::from_str(text).expect("parses");
        let (begin, end) = (Time(1_767_312_000_000), Time(1_767_484_800_000));
        let moments =
            ["a.test", "b.test"].map(|name| suggested(name, &info, Duration::from_secs(7_200), Time(0)));
        for (renew_at, look_at) in moments {
            assert!(begin <= renew_at && renew_at <= end, "{renew_at:?}");
            assert_eq!(look_at, Some(Time(7_200_000)));
        }
        assert_ne!(moments[0].0, moments[1].0);
        let (_, soon) = suggested("a.test", &info, Duration::ZERO, Time(0));
        assert_eq!(soon, Some(Time(600_000)), "nobody is asked all the time");
    }
}
