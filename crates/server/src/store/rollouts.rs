//! Rollouts and pins: each step of a rollout is one transaction, compare-and-swap on its version, with the mails that it makes necessary.

use super::{Error, QueuedMail, Result, Store, all, integer, mails, natural, one};
use rusqlite::{Connection, Transaction};
use std::collections::BTreeMap;
use teal_core::{
    engine::Committed,
    id::{AppId, RolloutId},
    time::Time,
    upkeep::{Member, Rollout},
};

/// Rollouts that are kept beyond those that are open.
const KEPT: u32 = 50;

/// An app that maintenance leaves alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Until then.
    pub until: Time,
    /// Who pinned it.
    pub author: String,
}

impl Store {
    /// The rollouts that something is left to do of, the oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn open_rollouts(&self) -> Result<Vec<Rollout>> {
        self.read(|c, _| whole(c, "SELECT body FROM rollouts WHERE open = 1 ORDER BY id")).await
    }

    /// The newest rollout, over or not.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn newest_rollout(&self) -> Result<Option<Rollout>> {
        let found = self.read(|c, _| whole(c, "SELECT body FROM rollouts ORDER BY id DESC LIMIT 1")).await?;
        Ok(found.into_iter().next())
    }

    /// Stores rollouts after a step, all or none; each must be the next version of what is stored. Mails go out with it.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn store_rollouts(&self, rollouts: Vec<Rollout>, mails: Vec<QueuedMail>) -> Result<Committed> {
        let stored = self.write(move |t, _| {
            rollouts.iter().try_for_each(|rollout| store(t, rollout))?;
            mails.iter().try_for_each(|mail| mails::insert(t, mail))?;
            let old = "DELETE FROM rollouts WHERE open = 0 AND id NOT IN (SELECT id FROM rollouts ORDER BY id DESC LIMIT ?1)";
            t.execute(old, [KEPT])?;
            Ok(())
        });
        match stored.await {
            Ok(()) => Ok(Committed::Ok),
            Err(Error::Conflict) => Ok(Committed::Conflict),
            Err(error) => Err(error),
        }
    }

    /// Apps that are pinned, also those whose date has passed.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn pins(&self) -> Result<BTreeMap<AppId, Pin>> {
        let rows: Vec<(String, i64, String)> = self
            .read(|c, _| {
                all(c, "SELECT app, until, author FROM pins", [], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
            })
            .await?;
        let pin = |(app, until, author): (String, i64, String)| {
            Some((app.parse().ok()?, Pin { until: Time(natural(until)), author }))
        };
        Ok(rows.into_iter().filter_map(pin).collect())
    }

    /// Pins an app, or (`None`) lets it go.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn set_pin(&self, app: &AppId, pin: Option<Pin>) -> Result<()> {
        let app = app.clone();
        self.write(move |t, _| {
            let Some(pin) = pin else {
                return Ok(t.execute("DELETE FROM pins WHERE app = ?1", [app.as_str()]).map(drop)?);
            };
            let sql = "INSERT INTO pins (app, until, author) VALUES (?1, ?2, ?3)
                ON CONFLICT (app) DO UPDATE SET until = excluded.until, author = excluded.author";
            Ok(t.execute(sql, (app.as_str(), integer(pin.until.0), pin.author)).map(drop)?)
        })
        .await
    }
}

/// The apps are kept beside the body, which has none.
fn whole(connection: &Connection, sql: &str) -> Result<Vec<Rollout>> {
    let bodies = all(connection, sql, [], |row| row.get::<_, String>(0))?;
    let mut rollouts = Vec::new();
    for body in bodies {
        let mut rollout: Rollout = serde_json::from_str(&body)?;
        let sql = "SELECT body FROM rollout_apps WHERE rollout = ?1 ORDER BY place";
        let apps = all(connection, sql, [rollout.id.as_str()], |row| row.get::<_, String>(0))?;
        rollout.apps =
            apps.iter().map(|text| Ok(serde_json::from_str::<Member>(text)?)).collect::<Result<_>>()?;
        rollouts.push(rollout);
    }
    Ok(rollouts)
}

fn store(t: &Transaction<'_>, rollout: &Rollout) -> Result<()> {
    let id: &RolloutId = &rollout.id;
    let stored: Option<i64> =
        one(t, "SELECT version FROM rollouts WHERE id = ?1", [id.as_str()], |row| row.get(0))?;
    if stored.map_or(0, natural) + 1 != rollout.version {
        return Err(Error::Conflict);
    }
    let body = serde_json::to_string(&Rollout { apps: Vec::new(), ..rollout.clone() })?;
    let sql = "INSERT INTO rollouts (id, open, version, body) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (id) DO UPDATE SET open = excluded.open, version = excluded.version, body = excluded.body";
    t.execute(sql, (id.as_str(), rollout.is_open(), integer(rollout.version), body))?;
    let sql = "INSERT INTO rollout_apps (rollout, place, body) VALUES (?1, ?2, ?3)
        ON CONFLICT (rollout, place) DO UPDATE SET body = excluded.body WHERE body <> excluded.body";
    let mut insert = t.prepare_cached(sql)?;
    for (place, member) in rollout.apps.iter().enumerate() {
        insert.execute((id.as_str(), integer(place as u64), serde_json::to_string(member)?))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{appconfig::Overrides, secrets::Key};
    use teal_core::{
        deploy::{App, Settings},
        upkeep::{Apps, New, Ours, Progress, Seen, State, abort, start},
    };

    fn rollout(number: u32) -> Rollout {
        let seen = Seen {
            name: "shop".into(),
            live: Some("host".into()),
            stopped: false,
            users: false,
            works: false,
            maintained: false,
            pinned: None,
            ours: Ours::Absent,
        };
        let apps: Apps = (0..3).map(|n| (format!("a-{n}").parse().expect("legal"), seen.clone())).collect();
        let id = format!("m-{number:03}").parse().expect("legal");
        let new =
            New { id, image: "i-1".into(), author: None, at_once: false, only: None, seed: 1, now: Time(5) };
        start(new, &apps, |_| Vec::new())
    }

    fn opened(place: &tempfile::TempDir) -> Store {
        let key = Key::open(&place.path().join("key")).expect("a key");
        Store::open(&place.path().join("store"), key).expect("opens")
    }

    #[tokio::test]
    async fn a_step_is_stored_whole_and_only_upon_the_one_before() {
        let place = tempfile::tempdir().expect("a directory");
        let store = opened(&place);
        let first = rollout(1);
        let save = |rollouts| store.store_rollouts(rollouts, Vec::new());
        assert_eq!(save(vec![first.clone()]).await.expect("written"), Committed::Ok);
        assert_eq!(store.open_rollouts().await.expect("read"), std::slice::from_ref(&first));
        let mut second = first.clone();
        second.version += 1;
        second.apps[1].progress = Progress::UnderWay { deployment: "d-1".parse().expect("legal") };
        assert_eq!(save(vec![second.clone()]).await.expect("written"), Committed::Ok);
        // Two at once: whoever looked at the older one has to look again, and nothing of it is stored.
        let mut late = abort(&first, "ann").expect("open");
        late.apps[0].progress = Progress::UnderWay { deployment: "d-9".parse().expect("legal") };
        assert_eq!(save(vec![rollout(2), late]).await.expect("answered"), Committed::Conflict);
        assert_eq!(store.newest_rollout().await.expect("read"), Some(second));
    }

    #[tokio::test]
    async fn what_is_over_is_kept_for_a_while_and_not_looked_at() {
        let place = tempfile::tempdir().expect("a directory");
        let store = opened(&place);
        for number in 0..60 {
            let over =
                Rollout { state: State::Done, ended: Some(Time(6)), apps: Vec::new(), ..rollout(number) };
            store.store_rollouts(vec![over], Vec::new()).await.expect("written");
        }
        assert!(store.open_rollouts().await.expect("read").is_empty());
        let kept: i64 = store
            .read(|c, _| Ok(c.query_row("SELECT count(*) FROM rollouts", [], |row| row.get(0))?))
            .await
            .expect("read");
        assert_eq!(kept, i64::from(KEPT));
        assert_eq!(
            store.newest_rollout().await.expect("read").map(|r| r.id.to_string()),
            Some("m-059".into())
        );
    }

    #[tokio::test]
    async fn a_pin_is_an_apps_and_goes_with_it() {
        let place = tempfile::tempdir().expect("a directory");
        let store = opened(&place);
        let id: AppId = "a-1".parse().expect("legal");
        let app = App::new(id.clone(), "shop".into(), Vec::new(), Settings::default());
        store.create_app(app, Overrides::new(), None).await.expect("made");
        let pin = |until| Some(Pin { until: Time(until), author: "ann".into() });
        store.set_pin(&id, pin(5)).await.expect("pinned");
        store.set_pin(&id, pin(7)).await.expect("pinned");
        assert_eq!(store.pins().await.expect("read").get(&id), pin(7).as_ref());
        store.set_pin(&id, None).await.expect("let go");
        assert!(store.pins().await.expect("read").is_empty());
        store.set_pin(&id, pin(9)).await.expect("pinned");
        store.forget_app(id).await.expect("forgotten");
        assert!(store.pins().await.expect("read").is_empty());
    }
}
