//! Metrics over time and reports of switches. A fixed number of rows per app: what is old is written over.

use super::{Result, Store, all, integer, natural, one};
use rusqlite::Transaction;
use teal_core::{
    api::SwitchView,
    id::{AppId, DeploymentId},
    sample::{self, Sampled, Window},
    time::Time,
};

impl Store {
    /// Adds what the apps did in the span that ends now, to each of the rings, in one transaction. An app that is no more is left out.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn add_samples(&self, now: Time, samples: Vec<(AppId, Sampled)>) -> Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        self.write(move |t, _| {
            for (app, sampled) in &samples {
                Window::ALL.into_iter().try_for_each(|window| add(t, app, window, now, sampled))?;
            }
            Ok(())
        })
        .await
    }

    /// The steps of a window that ends now, with the instants that they began at, the oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn samples(&self, app: &AppId, window: Window, now: Time) -> Result<Vec<(Time, Sampled)>> {
        let app = app.clone();
        let sql = "SELECT step, body FROM samples WHERE app = ?1 AND window = ?2 AND step > ?3 AND step <= ?4 ORDER BY step";
        self.read(move |c, _| {
            let last = now.0 / window.step_ms();
            let span = (integer(last.saturating_sub(window.steps())), integer(last));
            let rows = all(c, sql, (app.as_str(), window as i64, span.0, span.1), |row| {
                Ok((natural(row.get(0)?), row.get::<_, String>(1)?))
            })?;
            let read = |(step, body): (u64, String)| {
                Ok((Time(step * window.step_ms()), serde_json::from_str(&body)?))
            };
            rows.into_iter().map(read).collect()
        })
        .await
    }

    /// Keeps the report of a switch; the first one stays.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn add_switch(&self, deployment: DeploymentId, view: SwitchView) -> Result<bool> {
        let sql = "INSERT OR IGNORE INTO switches (deployment, body) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM deployments WHERE id = ?1)";
        self.write(move |t, _| Ok(t.execute(sql, (deployment.as_str(), serde_json::to_string(&view)?))? > 0))
            .await
    }

    /// The reports of an app's switches, of the newest deployments.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn switches(&self, app: &AppId, limit: u32) -> Result<Vec<(String, SwitchView)>> {
        let app = app.clone();
        let sql = "SELECT switches.deployment, switches.body FROM deployments JOIN switches ON switches.deployment = deployments.id
            WHERE deployments.app = ?1 ORDER BY seq DESC LIMIT ?2";
        self.read(move |c, _| {
            let rows = all(c, sql, (app.as_str(), limit), |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            rows.into_iter().map(|(id, body)| Ok((id, serde_json::from_str(&body)?))).collect()
        })
        .await
    }

    /// The report of one switch.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn switch(&self, deployment: &DeploymentId) -> Result<Option<SwitchView>> {
        let deployment = deployment.clone();
        let sql = "SELECT body FROM switches WHERE deployment = ?1";
        self.read(move |c, _| {
            let body: Option<String> = one(c, sql, [deployment.as_str()], |row| row.get(0))?;
            Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
        })
        .await
    }
}

fn add(t: &Transaction<'_>, app: &AppId, window: Window, now: Time, sampled: &Sampled) -> Result<()> {
    // The span ended now: it belongs to the step in which it was.
    let step = now.0.saturating_sub(1) / window.step_ms();
    let place = step % window.steps();
    let key = (app.as_str(), window as i64, integer(place), integer(step));
    let sql = "SELECT body FROM samples WHERE app = ?1 AND window = ?2 AND place = ?3 AND step = ?4";
    let mut found = t.prepare_cached(sql)?;
    let body = found.query_map(key, |row| row.get::<_, String>(0))?.next().transpose()?;
    let mut sum: Sampled = body.map(|body| serde_json::from_str(&body)).transpose()?.unwrap_or_default();
    sample::add(&mut sum, sampled);
    let sql = "INSERT OR REPLACE INTO samples (app, window, place, step, body)
        SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM apps WHERE id = ?1)";
    t.prepare_cached(sql)?.execute((key.0, key.1, key.2, key.3, serde_json::to_string(&sum)?))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{appconfig::Overrides, secrets::Key};
    use teal_core::{
        deploy::{App, Settings},
        histogram::Histogram,
        route::Colour,
        sample::Sample,
    };

    async fn store(apps: usize) -> (tempfile::TempDir, Store, Vec<AppId>) {
        let place = tempfile::tempdir().expect("a directory");
        let key = Key::open(&place.path().join("key")).expect("a key");
        let store = Store::open(&place.path().join("store"), key).expect("opens");
        let mut ids = Vec::new();
        for number in 0..apps {
            let id: AppId = format!("a-{number}").parse().expect("legal");
            let app = App::new(id.clone(), format!("app{number}"), Vec::new(), Settings::default());
            store.create_app(app, Overrides::new(), None).await.expect("made");
            ids.push(id);
        }
        (place, store, ids)
    }

    fn sampled(answers: u64) -> Sampled {
        let latency = Histogram::new(vec![0, answers, 0, 3, 2, 1, 7], 0);
        [(
            Colour::Blue,
            Sample { span_ms: 10_000, answers, latency, memory: 1 << 27, instances: 1, ..Sample::default() },
        )]
        .into()
    }

    #[tokio::test]
    async fn coarse_steps_are_sums_and_a_ring_never_grows() {
        let (_place, store, ids) = store(1).await;
        let app = &ids[0];
        let begin = 1_000 * Window::Week.step_ms();
        for number in 1..=400 {
            store
                .add_samples(Time(begin + number * 10_000), vec![(app.clone(), sampled(number))])
                .await
                .expect("written");
        }
        let now = Time(begin + 400 * 10_000);
        let hour = store.samples(app, Window::Hour, now).await.expect("reads");
        // The step that begins now is empty yet.
        assert_eq!((hour.len(), hour[0].1[&Colour::Blue].answers), (359, 42));
        assert_eq!(hour[0].0, Time(begin + 41 * 10_000));
        let day = store.samples(app, Window::Day, now).await.expect("reads");
        assert_eq!((day.len(), day[0].1[&Colour::Blue].answers), (34, (1..=12).sum::<u64>()));
        assert_eq!((day[0].1[&Colour::Blue].span_ms, day[33].1[&Colour::Blue].span_ms), (120_000, 40_000));
        let week = store.samples(app, Window::Week, now).await.expect("reads");
        assert_eq!(week.iter().map(|(_, s)| s[&Colour::Blue].answers).sum::<u64>(), (1..=400).sum::<u64>());
        let count = "SELECT count(*) FROM samples";
        let rows: i64 =
            store.read(move |c, _| Ok(c.query_row(count, [], |row| row.get(0))?)).await.expect("reads");
        assert_eq!(rows, 360 + 34 + 5);
        let later = store.samples(app, Window::Hour, Time(now.0 + 7_200_000)).await.expect("reads");
        assert!(later.is_empty(), "what is too old is not told");
    }

    #[tokio::test]
    async fn an_app_that_is_no_more_is_left_out_and_takes_its_rows_with_it() {
        let (_place, store, ids) = store(1).await;
        let gone: AppId = "a-gone".parse().expect("legal");
        let both = vec![(gone.clone(), sampled(1)), (ids[0].clone(), sampled(1))];
        store.add_samples(Time(20_000_000), both).await.expect("written");
        assert_eq!(store.samples(&ids[0], Window::Hour, Time(20_000_000)).await.expect("reads").len(), 1);
        assert!(store.samples(&gone, Window::Hour, Time(20_000_000)).await.expect("reads").is_empty());
        store.forget_app(ids[0].clone()).await.expect("written");
        assert!(store.samples(&ids[0], Window::Hour, Time(20_000_000)).await.expect("reads").is_empty());
    }

    /// Not a promise but a figure: `cargo test -p teal-server --lib cost_of_samples -- --ignored --nocapture`.
    #[tokio::test]
    #[ignore = "prints what a pass over 100 apps costs"]
    async fn cost_of_samples() {
        let (place, store, ids) = store(100).await;
        let mut spans = Vec::new();
        for number in 1..=400_u64 {
            let all = ids.iter().map(|id| (id.clone(), sampled(number))).collect();
            let begun = std::time::Instant::now();
            store.add_samples(Time(number * 10_000), all).await.expect("written");
            spans.push(begun.elapsed());
        }
        spans.sort();
        let bytes = std::fs::metadata(place.path().join("store")).map_or(0, |facts| facts.len());
        let line = format!(
            "100 apps: p50 {:?}, p99 {:?} a pass, {} kB after 400\n",
            spans[200],
            spans[396],
            bytes / 1000
        );
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("written");
    }
}
