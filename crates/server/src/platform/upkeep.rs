//! Maintenance as users ask for it: the state of it, orders, and pins.

use super::{Error, Platform, Principal, Result};
use crate::{
    log::{harmless, rfc3339},
    store::Pin,
    upkeep::{self, Upkeep},
    world::now,
};
use teal_core::{
    api::{Accepted, MaintenanceAction, MaintenanceView, PinView},
    id::AppId,
    time::Time,
};

/// Longer than this nothing is left without patches by one word.
const LONGEST_MS: u64 = 366 * 24 * 3_600 * 1_000;

impl From<upkeep::Error> for Error {
    fn from(error: upkeep::Error) -> Self {
        match error {
            upkeep::Error::Refused(refusal) => {
                Self::Refused { message: refusal.to_string(), hint: Some(refusal.hint().to_owned()) }
            }
            upkeep::Error::Store(error) => error.into(),
        }
    }
}

impl Platform {
    /// The keeper of rollouts and of the images that they move to.
    #[must_use]
    pub fn upkeep(&self) -> &Upkeep {
        &self.inner.upkeep
    }

    /// The image, the window, the newest rollout, the pins.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn maintenance(&self) -> Result<MaintenanceView> {
        Ok(self.inner.upkeep.view().await?)
    }

    /// Starts, resumes or ends a rollout.
    ///
    /// # Errors
    /// If it makes no sense now.
    pub async fn maintain(&self, who: &Principal, action: MaintenanceAction) -> Result<MaintenanceView> {
        self.inner.upkeep.order(&who.user, action).await?;
        self.maintenance().await
    }

    /// Leaves an app alone until a date.
    ///
    /// # Errors
    /// If it is no date, or not one of the coming year.
    pub async fn pin(&self, who: &Principal, app: &AppId, until: &str) -> Result<PinView> {
        let until = date(until, now())?;
        let name = self.rows(app).await?.app.name;
        let pin = Pin { until, author: who.user.clone() };
        self.store().set_pin(app, Some(pin)).await?;
        tracing::info!(by = who.user, app = name, until = rfc3339(until), "maintenance leaves the app alone");
        self.inner.upkeep.wake();
        Ok(PinView { app: name, until: rfc3339(until), author: who.user.clone() })
    }

    /// Ends that.
    ///
    /// # Errors
    /// If there is no such app.
    pub async fn unpin(&self, who: &Principal, app: &AppId) -> Result<Accepted> {
        let name = self.rows(app).await?.app.name;
        self.store().set_pin(app, None).await?;
        tracing::info!(by = who.user, app = name, "maintenance may move the app");
        self.inner.upkeep.wake();
        Ok(Accepted { deployment: None, message: "maintenance moves it with the others".into() })
    }

    /// Until when the app is left alone, if it is.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn pinned(&self, app: &AppId) -> Result<Option<String>> {
        let pin = self.store().pins().await?.remove(app);
        Ok(pin.filter(|pin| pin.until > now()).map(|pin| rfc3339(pin.until)))
    }
}

/// `2026-12-24` (its beginning, UTC) or an instant.
fn date(text: &str, now: Time) -> Result<Time> {
    let text = text.trim();
    let exact = text.parse::<jiff::Timestamp>().ok();
    let day = || {
        let date: jiff::civil::Date = text.parse().ok()?;
        Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let at = exact.or_else(day).and_then(|at| u64::try_from(at.as_millisecond()).ok()).map(Time);
    let Some(at) = at else {
        let message = format!("`{}` is no date", harmless(text).chars().take(40).collect::<String>());
        return Err(Error::invalid(
            message,
            "write it as 2026-12-24 (its beginning, UTC), or as an instant by RFC 3339",
        ));
    };
    if at <= now || at.since(now) > LONGEST_MS {
        return Err(Error::invalid(
            format!("{} is not in the coming year", rfc3339(at)),
            "give a date that is to come, at most a year ahead",
        ));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_coming_year_are_taken_and_others_are_not() {
        // 2026-11-23T17:00:00Z
        let now = Time(1_795_453_200_000);
        let day = date("2026-12-24", now).expect("a day");
        assert_eq!(rfc3339(day), "2026-12-24T00:00:00.000Z");
        assert_eq!(date("2026-12-24T02:00:00+02:00", now).expect("an instant"), day);
        for bad in ["", "tomorrow", "2026-11-23", "2020-01-01", "2027-12-24", "2026-13-01", "24.12.2026"] {
            assert!(matches!(date(bad, now), Err(Error::Invalid { .. })), "{bad}");
        }
    }
}
