//! What the demo shows, step by step, each verified as it happens.

use super::{
    app::{App, Kind},
    footprint::memory_kib,
    interrupt::until,
    show::Show,
    stage::{APP, Stage},
    summary::Summary,
};
use crate::{
    error::{Error, Result},
    git,
    rig::{Options, Rig},
    text,
};
use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};
use teal_core::{
    api::{Action, DeploymentView, NewApp, StatusView},
    id::DeploymentId,
};

/// The longest that any single step may take.
const LONG: Duration = Duration::from_secs(120);

/// The demo under way.
pub(super) struct Story<'a> {
    show: &'a Show,
    stage: &'a mut Stage,
    app: App,
    rate: u32,
    faults: Vec<String>,
}

impl<'a> Story<'a> {
    /// Starts router and server and makes the app.
    pub(super) fn begin(show: &'a Show, stage: &'a mut Stage, rate: u32) -> Result<Self> {
        show.chapter("Starting Teal in a temporary directory");
        show.step(format!("everything is in {}", stage.path().display()));
        let router = stage.start_router()?;
        show.good(format!("router (process {router}) serves http://{}", stage.edge));
        let server = stage.start_server()?;
        show.good(format!("server (process {server}): console and API on {}", stage.console()));
        show.good(format!("instances run under the runtime `{}`", stage.runtime()));
        show.good(format!("mail server on {}", stage.mailbox.address()));
        let app = stage.checkout()?;
        // Times are short where waiting is pointless: by default a new version is watched for 60 s.
        let config = [("bake_s", 3), ("drain_s", 10), ("start_deadline_s", 10), ("off_after_s", 600)];
        let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        stage.client()?.create_app(&NewApp { name: APP.into(), config })?;
        show.good(format!("made the app `{APP}`: {}", app.kind.name()));
        Ok(Self { show, stage, app, rate, faults: Vec::new() })
    }

    /// The whole of it.
    pub(super) fn tell(&mut self) -> Result<Summary> {
        let first = self.first_version()?;
        let rig = self.load()?;
        let (second, push_to_live_s, switch_ms) = self.second_version(&rig)?;
        self.failing_version(&rig, &second)?;
        self.crash_at_rest(&rig, &second)?;
        let (wake_ms, woken_from) = self.wake(&rig, &first)?;
        let converged_s = self.crash_in_a_deployment(&rig, &second)?;
        self.show.chapter("Ending the load");
        let load = rig.stop();
        self.show.step(format!("{} requests, {} failed", load.requests, load.failed));
        let (server, router) = self.stage.pids();
        let mib = |pid: Option<u32>| pid.map_or(0.0, |pid| memory_kib(pid) as f64 / 1024.0);
        let (server_mib, router_mib) = (mib(server), mib(router));
        let runtime = self.status()?.runtime;
        let faults = std::mem::take(&mut self.faults);
        Ok(Summary {
            runtime,
            push_to_live_s,
            switch_ms,
            wake_ms,
            woken_from,
            converged_s,
            server_mib,
            router_mib,
            faults,
            load,
        })
    }

    fn first_version(&mut self) -> Result<String> {
        self.show.chapter("git push: version 1");
        let commit = self.app.commit("v1", false, "Say hello")?;
        self.expect(self.push()?.success(), "the push of version 1 ended with its verdict");
        let status = self.served(&commit)?;
        let since =
            status.live.as_ref().map(|live| text::colour(&self.show.out(), live.colour)).unwrap_or_default();
        self.show.good(format!("{} is live as {since}, runtime `{}`", text::short(&commit), status.runtime));
        status.warnings.iter().for_each(|warning| self.show.warn(warning));
        Ok(commit)
    }

    /// Begins the load, and waits until it is well under way.
    fn load(&self) -> Result<Rig> {
        self.show.chapter("Load: every request is counted, none is tried twice");
        let full = self.app.kind == Kind::Python;
        let options = Options {
            target: self.stage.edge,
            secure: None,
            host: format!("{APP}.localhost"),
            rate: self.rate,
            posts: if full { 20 } else { 0 },
            websockets: if full { 20 } else { 0 },
            streams: if full { 4 } else { 0 },
            hold: false,
        };
        let (rate, sockets, streams) = (options.rate, options.websockets, options.streams);
        let rig = Rig::start(options)?;
        self.show.step(format!("{rate} requests/s (75 % kept connections, 25 % new ones), {sockets} WebSockets, {streams} event streams"));
        self.requests(&rig, u64::from(rate) * 2)?;
        self.counted(&rig);
        Ok(rig)
    }

    fn second_version(&mut self, rig: &Rig) -> Result<(String, f64, Option<f64>)> {
        self.show.chapter("git push: version 2, under load");
        let commit = self.app.commit("v2", false, "Say hello better")?;
        let began = rig.elapsed_ms();
        self.expect(self.push()?.success(), "the push of version 2 ended with its verdict");
        let since = self.seen(rig, "v2")?;
        let push_to_live_s = (since - began) / 1000.0;
        self.show.good(format!("version 2 answers {push_to_live_s:.1} s after the push began"));
        let live = self.served(&commit)?;
        let view = live.live.map(|live| self.deployment(&live.deployment)).transpose()?;
        let switch_ms = view.as_ref().and_then(|view| between(view, "live", "served"));
        if let Some(ms) = switch_ms {
            self.show.good(format!("decided → acknowledged by every worker of the router: {ms:.0} ms"));
        }
        self.rest()?;
        self.counted(rig);
        Ok((commit, push_to_live_s, switch_ms))
    }

    fn failing_version(&mut self, rig: &Rig, live: &str) -> Result<()> {
        self.show.chapter("git push: version 3, which is broken");
        let commit = self.app.commit("v3", true, "Say hello worse")?;
        let before = self.stage.mailbox.mails().len();
        self.expect(!self.push()?.success(), "the push of version 3 ended with a failure");
        let view = self.newest()?;
        let failure = view.failure.as_ref().map(text::failure).unwrap_or_default();
        self.expect(
            view.state == "FAIL" && view.commit.is_some_and(|c| c.id == commit),
            "the deployment failed",
        );
        failure.lines().take(4).for_each(|line| self.show.quote(line));
        let mails = until("the mail arrives", LONG, || {
            let mails = self.stage.mailbox.mails();
            Ok((mails.len() > before).then_some(mails))
        })?;
        if let Some(mail) = mails.last() {
            self.show.good(format!("a mail came to {}:", mail.to.join(", ")));
            self.show.quote(&format!("Subject: {}", mail.subject));
            mail.text.lines().take(14).for_each(|line| self.show.quote(line));
        }
        self.served(live)?;
        self.show.good(format!("{} still serves: it never noticed", text::short(live)));
        self.counted(rig);
        Ok(())
    }

    fn crash_at_rest(&mut self, rig: &Rig, live: &str) -> Result<()> {
        self.show.chapter("kill -9 of the server");
        self.stage.kill_server()?;
        let before = rig.standing();
        self.requests(rig, before.requests + u64::from(self.rate) * 2)?;
        let failed = rig.standing().failed - before.failed;
        self.expect(failed == 0, &format!("two seconds without a server: {failed} requests failed"));
        let pid = self.stage.start_server()?;
        self.served(live)?;
        self.show.good(format!("server (process {pid}) is back and knows what is live"));
        self.counted(rig);
        Ok(())
    }

    fn wake(&mut self, rig: &Rig, commit: &str) -> Result<(f64, String)> {
        self.show.chapter("One click back: wake version 1");
        let status = self.status()?;
        let from = status.spare.as_ref().map(|spare| spare.state.clone()).unwrap_or_default();
        if let Some(button) = &status.button {
            self.show.step(format!("the button says: {}", button.label));
        }
        rig.expect_back();
        let began = rig.elapsed_ms();
        self.stage.client()?.act(APP, &Action::Wake)?;
        let wake_ms = self.seen(rig, "v1")? - began;
        self.served(commit)?;
        self.show.good(format!("version 1 answers after {wake_ms:.0} ms (it was {from})"));
        self.rest()?;
        self.counted(rig);
        Ok((wake_ms, from))
    }

    fn crash_in_a_deployment(&mut self, rig: &Rig, commit: &str) -> Result<f64> {
        self.show.chapter("kill -9 of the server in the middle of a deployment");
        rig.expect_back();
        self.stage.client()?.act(APP, &Action::Wake)?;
        self.stage.kill_server()?;
        self.show.step("asked for version 2 again, and killed the server at once");
        let began = Instant::now();
        self.stage.start_server()?;
        self.served(commit)?;
        self.seen(rig, "v2")?;
        let converged = began.elapsed().as_secs_f64();
        self.show.good(format!(
            "the new server finished what the old one had begun: {converged:.1} s after its start"
        ));
        self.rest()?;
        self.counted(rig);
        Ok(converged)
    }
}

impl Story<'_> {
    /// A push by the real git; what the server says is shown as it comes.
    fn push(&self) -> Result<ExitStatus> {
        let client = self.stage.client()?;
        let remote = client.app(APP)?.git_http;
        self.show.step(format!("git push {remote} HEAD:main"));
        let mut child = self.app.checkout.push(client, &remote, "main", false)?;
        if let Some(stderr) = child.stderr.take() {
            let mut quotes = self.show.quotes();
            git::relay(stderr, |line| quotes.line(line));
        }
        child.wait().map_err(|e| Error::because("git cannot be waited for", e))
    }

    fn status(&self) -> Result<StatusView> {
        self.stage.client()?.status(APP)
    }

    fn deployment(&self, id: &DeploymentId) -> Result<DeploymentView> {
        self.stage.client()?.deployment(APP, id)
    }

    fn newest(&self) -> Result<DeploymentView> {
        let rows = self.stage.client()?.activity(APP, 1)?;
        rows.into_iter()
            .next()
            .ok_or_else(|| Error::new(crate::error::Kind::Verdict, "the activity is empty after a push"))
    }

    /// Waits until this commit is what the router serves.
    fn served(&mut self, commit: &str) -> Result<StatusView> {
        let status = until(&format!("{} is served", text::short(commit)), LONG, || {
            let status = self.status()?;
            Ok(status.live.as_ref().is_some_and(|live| live.commit.id == commit).then_some(status))
        })?;
        self.remember()?;
        Ok(status)
    }

    /// Every environment's name, for the search at the end.
    fn remember(&mut self) -> Result<()> {
        let rows = self.stage.client()?.activity(APP, 100)?;
        let ids = rows.iter().map(|row| row.deployment.as_str().trim_start_matches("d-").to_owned());
        self.stage.footprint.names = ids.collect();
        Ok(())
    }

    /// Waits until the load client was answered by this version; when that was.
    fn seen(&self, rig: &Rig, version: &str) -> Result<f64> {
        until(&format!("{version} is seen at the edge"), LONG, || {
            let standing = rig.standing();
            Ok((standing.version.as_deref() == Some(version)).then_some(standing.since_ms))
        })
    }

    fn requests(&self, rig: &Rig, count: u64) -> Result<()> {
        until(&format!("{count} requests"), LONG, || Ok((rig.standing().requests >= count).then_some(())))
    }

    /// Waits until the new version is no longer watched and the other one sleeps.
    fn rest(&mut self) -> Result<()> {
        let spare = until("the other version sleeps", LONG, || {
            let status = self.status()?;
            let baked = status.live.as_ref().is_some_and(|live| !live.baking);
            let asleep = |state: &str| matches!(state, "asleep" | "asleep-on-disk" | "off");
            Ok(status.spare.filter(|spare| baked && asleep(&spare.state)))
        })?;
        let off = spare.off_at.as_deref().map(|at| format!(", off {}", text::age(at))).unwrap_or_default();
        let colour = text::colour(&self.show.out(), spare.colour);
        self.show.good(format!("baked; {colour} ({}) is {}{off}", text::commit(&spare.commit), spare.state));
        Ok(())
    }

    fn counted(&self, rig: &Rig) {
        let standing = rig.standing();
        self.show.step(format!("{} requests so far, {} failed", standing.requests, standing.failed));
    }

    fn expect(&mut self, is: bool, what: &str) {
        if is {
            self.show.good(what);
        } else {
            self.show.bad(format!("not so: {what}"));
            self.faults.push(format!("not so: {what}"));
        }
    }
}

/// Milliseconds between the beginnings of two phases.
fn between(view: &DeploymentView, from: &str, to: &str) -> Option<f64> {
    let at = |name: &str| {
        let phase = view.phases.iter().find(|phase| phase.phase == name)?;
        phase.at.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
    };
    Some((at(to)? - at(from)?) as f64)
}
