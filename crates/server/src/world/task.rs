//! A task: an app that is run once per deployment, to its end, in place of instances that stay. It runs by the same path as a release
//! command, so that a server that comes back never runs it a second time.

use super::{World, release_command::Once};
use crate::release;
use teal_core::{
    deploy::{Deployment, Environment, Fact, Outcome, Rows, runs_release_command},
    time::Time,
};

impl World {
    /// Runs the task of the deployment that raises this environment; `None`: its app is no task.
    pub(super) async fn task(
        &self,
        rows: &Rows,
        environment: &Environment,
        deadline: Time,
    ) -> Option<Outcome> {
        // What was live once is not run again as a task, whatever its variables say by now.
        let own = |d: &&Deployment| d.id.environment() == environment.id;
        let deployment = rows.candidate().filter(own)?;
        let (release, facts) = match self.facts(rows, environment).await {
            Ok(found) => found,
            Err(outcome) => return Some(outcome),
        };
        let id = environment.id.release_command();
        let spec = release::task_spec(&release, &facts, id, runs_release_command(rows, deployment))?;
        let once = Once { spec, what: "the task" };
        Some(match self.run_once(&rows.app.id, &deployment.id, &once, deadline).await {
            Ok(()) => Outcome::Done { fact: Fact::Ran },
            Err(outcome) => outcome,
        })
    }
}
