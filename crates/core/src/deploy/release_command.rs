//! Which deployments run the app's release command: what changes data for a new version, once, before it starts.
//!
//! Whoever goes back must not run it: an older version's migrations know nothing of what came after them.

use super::{
    app::Rows,
    deployment::{Deployment, Kind},
};

/// Does this deployment run the release command before its environment starts? It does if it brings the newest commit, or new variables to it,
/// in an environment of its own. A wake of an environment, a redeploy of an older commit and what the platform does by itself do not.
#[must_use]
pub fn runs_release_command(rows: &Rows, deployment: &Deployment) -> bool {
    let own = deployment.environment.as_ref() == Some(&deployment.id.environment());
    let is_head = || {
        let head = rows.app.head.as_ref().map(|head| &head.commit.id);
        head.is_some() && head == deployment.commit.as_ref().map(|commit| &commit.id)
    };
    own && match deployment.kind {
        Kind::Push => true,
        Kind::Redeploy | Kind::Start | Kind::Wake | Kind::Config => is_head(),
        Kind::Restart | Kind::Scale | Kind::Maintenance | Kind::Rollback => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::{App, Cause, Commit, Head, Phase, Settings, Times};

    fn commit(id: &str) -> Commit {
        Commit { id: id.into(), message: "m".into(), author: "a".into() }
    }

    fn runs(kind: Kind, of: &str, environment: &str) -> bool {
        let mut app = App::new("a-1".parse().expect("legal"), "shop".into(), Vec::new(), Settings::default());
        let pushed = "d-2".parse().expect("legal");
        app.head = Some(Head { commit: commit("new"), deployment: pushed, image: "i".into() });
        let deployment = Deployment {
            id: "d-9".parse().expect("legal"),
            request: 9,
            kind,
            cause: Cause::Git,
            author: None,
            commit: Some(commit(of)),
            image: None,
            config: 0,
            instances: 1,
            release: None,
            cached: false,
            environment: Some(environment.parse().expect("legal")),
            phase: Phase::Starting,
            turn_before: None,
            retry_at: None,
            times: Times::default(),
            note: None,
            probes: Vec::new(),
        };
        runs_release_command(&Rows::new(app), &deployment)
    }

    #[test]
    fn only_what_goes_forward_runs_it() {
        assert!(runs(Kind::Push, "new", "e-9"));
        assert!(runs(Kind::Push, "older", "e-9"), "a push that a newer one has not overtaken yet");
        for kind in [Kind::Redeploy, Kind::Start, Kind::Wake, Kind::Config] {
            assert!(runs(kind, "new", "e-9"), "{kind:?}");
            assert!(!runs(kind, "older", "e-9"), "{kind:?} of an older commit");
        }
        for kind in [Kind::Restart, Kind::Scale, Kind::Maintenance, Kind::Rollback] {
            assert!(!runs(kind, "new", "e-9"), "{kind:?}");
        }
        assert!(!runs(Kind::Wake, "new", "e-2"), "an environment that is woken as it is");
    }
}
