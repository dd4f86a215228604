//! `teal deploy`: pushes HEAD with the real git and waits for the verdict, as the API tells it: it ends well only if that very commit is live.

use super::wait;
use crate::{
    cli::AppName,
    client::Client,
    context::Context,
    error::{Error, Kind, Result},
    git::{self, Checkout},
    out::{Out, harmless},
    text,
};
use clap::Args;
use std::{
    collections::BTreeSet,
    process::Child,
    time::{Duration, Instant},
};
use teal_core::{
    api::{Action, DeploymentView},
    id::DeploymentId,
};

/// How long the deployment of an accepted push may take to appear.
const APPEARS: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(
    after_help = "Pushes to the branch that the app deploys (main, unless its setting `branch` names another).

Examples:
  teal deploy
  teal deploy shop --no-wait
  teal deploy && curl http://shop.localhost/"
)]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    app: AppName,
    /// Do not wait for the verdict.
    #[arg(long)]
    no_wait: bool,
    /// Push although the app's head is no ancestor of HEAD.
    #[arg(long)]
    force: bool,
}

/// One run of the command.
struct Deploy<'a> {
    out: &'a Out,
    client: Client,
    app: String,
    commit: String,
    before: BTreeSet<DeploymentId>,
}

/// Pushes, and waits.
pub(crate) fn run(context: &Context, args: DeployArgs) -> Result<()> {
    let top = context.checkout()?.ok_or_else(|| {
        Error::usage("this is no git checkout").hint("change into the checkout whose HEAD is to be deployed")
    })?;
    let checkout = Checkout::at(top);
    let commit = checkout.head()?;
    if checkout.is_dirty()? {
        context.out.say("note: changes that are not committed are not deployed");
    }
    let (app, client) = (context.app(args.app.given())?, context.client()?);
    let before = client.activity(&app, 100)?.into_iter().map(|row| row.deployment).collect();
    let deploy = Deploy { out: &context.out, client, app, commit, before };
    let id = deploy.begin(&checkout, &args)?;
    let Some(id) = id else { return deploy.already_live() };
    if args.no_wait {
        let view = deploy.client.deployment(&deploy.app, &id)?;
        return context.out.show(&view, |_| {
            format!("{id} deploys {}; `teal activity` shows its verdict.", text::short(&deploy.commit))
        });
    }
    deploy.finish(&id)
}

impl Deploy<'_> {
    /// Pushes; the deployment that it made. `None`: HEAD is live already, there was nothing to do.
    fn begin(&self, checkout: &Checkout, args: &DeployArgs) -> Result<Option<DeploymentId>> {
        let app = self.client.app(&self.app)?;
        let config = self.client.config(&self.app)?;
        let branch =
            config.get("branch").and_then(|v| v.as_str()).filter(|b| !b.is_empty()).unwrap_or("main");
        if self.client.status(&self.app)?.head.is_some_and(|head| head.id == self.commit) {
            return self.again();
        }
        let child = checkout.push(&self.client, &app.git_http, branch, args.force)?;
        self.follow(child, args.no_wait)
    }

    /// HEAD was pushed before: git would do nothing, so it is asked for by name unless it is live.
    fn again(&self) -> Result<Option<DeploymentId>> {
        let status = self.client.status(&self.app)?;
        if let Some(under_way) =
            status.deploying.filter(|d| d.commit.as_ref().is_some_and(|c| c.id == self.commit))
        {
            return Ok(Some(under_way.deployment));
        }
        if status.live.is_some_and(|live| live.commit.id == self.commit) {
            return Ok(None);
        }
        self.out.say(format!(
            "{} was pushed before and is not live: deploying it again",
            text::short(&self.commit)
        ));
        Ok(self.client.act(&self.app, &Action::Redeploy { commit: self.commit.clone() })?.deployment)
    }

    /// Shows what git says until it ends (or, not waiting, until the deployment is there), and finds the deployment.
    fn follow(&self, mut child: Child, no_wait: bool) -> Result<Option<DeploymentId>> {
        let stderr = child.stderr.take();
        let out = self.out.clone();
        let reader = std::thread::spawn(move || {
            if let Some(stderr) = stderr {
                git::relay(stderr, |line| out.say(harmless(line)));
            }
        });
        let mut found = None;
        let status = loop {
            if let Some(status) =
                child.try_wait().map_err(|e| Error::because("git cannot be waited for", e))?
            {
                break status;
            }
            if no_wait && found.is_none() {
                found = self.mine().ok().flatten();
            }
            if found.is_some() {
                // The push is durable: losing the connection changes nothing, and the user did not want to wait.
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let _ = reader.join();
        if let Some(view) = found {
            return Ok(Some(view.deployment));
        }
        self.appears(status.success()).map(Some)
    }

    /// The deployment that this push made, waiting for it if git said that all is well.
    fn appears(&self, accepted: bool) -> Result<DeploymentId> {
        let mut progress = self.out.progress();
        let began = Instant::now();
        loop {
            if let Some(view) = wait::patient(&mut progress, || self.mine())? {
                return Ok(view.deployment);
            }
            if !accepted {
                return Err(Error::new(Kind::Refused, format!("the push to {} was not accepted", self.app))
                    .hint("git says why above"));
            }
            if began.elapsed() > APPEARS {
                return Err(Error::new(
                    Kind::Other,
                    "the push was accepted, but no deployment of it is to be seen",
                )
                .hint("see `teal activity` and the server's log"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn mine(&self) -> Result<Option<DeploymentView>> {
        let rows = self.client.activity(&self.app, 100)?;
        Ok(rows.into_iter().find(|row| {
            !self.before.contains(&row.deployment) && row.commit.as_ref().is_some_and(|c| c.id == self.commit)
        }))
    }

    fn already_live(&self) -> Result<()> {
        let status = self.client.status(&self.app)?;
        self.out.show(&status, |_| format!("{} is live already: nothing to do.", text::short(&self.commit)))
    }

    /// Waits for the verdict. Well only if it is good *and* the pushed commit is what is served.
    fn finish(&self, id: &DeploymentId) -> Result<()> {
        let view = wait::verdict(self.out, &self.client, &self.app, id)?;
        let mut progress = self.out.progress();
        let status = wait::patient(&mut progress, || self.client.status(&self.app))?;
        drop(progress);
        if self.out.is_json() {
            self.out.show(&view, |_| String::new())?;
        }
        wait::outcome(&view)?;
        let live = status.live.map(|live| live.commit.id);
        if live.as_deref() != Some(self.commit.as_str()) {
            let now = live.as_deref().map_or_else(|| "nothing".into(), text::short);
            let message = format!("{} went live, but {now} is live now", text::short(&self.commit));
            return Err(
                Error::new(Kind::Verdict, message).hint("something newer came after it; see `teal activity`")
            );
        }
        if self.out.is_json() { Ok(()) } else { self.out.show(&view, |out| wait::line(out, &view)) }
    }
}
