//! How a release runs: what its build found out. What the user's variables say (another command, hooks, workers) is added at each start, so
//! that a restart obeys a changed variable, and no variable, which may be a secret, is kept in a release.

use super::Kind;
use crate::manifest::{Cron, Manifest};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use teal_core::{
    id::ReleaseId,
    worker::{CRON, DELAY_S, MAX_DELAY_S, Restart, Rule, Worker},
};
use teal_runtime::Command;

/// How the instances of a release run. Nothing in it names a place of this host or of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Put before everything that runs in the app's directory: its own tools first in `PATH`.
    pub prelude: String,
    /// What starts the app, unless `CC_RUN_COMMAND` does.
    pub start: Option<String>,
    /// Variables that the user did not set.
    pub variables: BTreeMap<String, String>,
    /// Where the app listens.
    pub port: u16,
    /// The `teal` binary has to be there: it serves static files.
    pub needs_teal: bool,
}

/// The variable with what is run once per deployment, and the stage that the log calls it.
pub const RELEASE_COMMAND: &str = "CC_RELEASE_COMMAND";

/// The variable that makes an app a task: it is run once per deployment, to its end.
pub const TASK: &str = "CC_TASK";

/// The variables with what is run after the verdict: where it went well, and where it failed.
pub const SUCCEEDED_HOOK: &str = "CC_RUN_SUCCEEDED_HOOK";
/// See [`SUCCEEDED_HOOK`].
pub const FAILED_HOOK: &str = "CC_RUN_FAILED_HOOK";

/// What is run if neither the release nor a variable says what.
const NOTHING: &str = "echo 'Nothing says how this app is started: CC_RUN_COMMAND was removed; set it again, or push a commit that says it' >&2; exit 127";

impl Run {
    /// The name of a release with this tree that runs like this.
    pub(super) fn name(&self, kind: Kind, manifest: &Manifest, tree: &[u8; 32]) -> ReleaseId {
        let mut sum = Sha256::new();
        sum.update(tree);
        sum.update(kind.word());
        sum.update(serde_json::to_vec(self).unwrap_or_default());
        // What the repository says is in the tree, unless the owner keeps these files out of it.
        if !manifest.is_empty() {
            sum.update(serde_json::to_vec(manifest).unwrap_or_default());
        }
        super::cache::named(&sum.finalize().into())
    }

    /// The pre-run hook, if there is one, then the app.
    #[must_use]
    pub fn commands(&self, variables: &BTreeMap<String, String>) -> Vec<Command> {
        let hook = set(variables, "CC_PRE_RUN_HOOK").map(|text| self.command("CC_PRE_RUN_HOOK", text));
        let start = set(variables, "CC_RUN_COMMAND").or(self.start.as_deref()).unwrap_or(NOTHING);
        hook.into_iter().chain([self.command("start", start)]).collect()
    }

    /// Run beside the app, in one colour only: `CC_WORKER_COMMAND`, then `CC_WORKER_COMMAND_<n>` by number, each as `CC_WORKER_RESTART` and
    /// `CC_WORKER_RESTART_DELAY` say.
    #[must_use]
    pub fn workers(&self, variables: &BTreeMap<String, String>) -> Vec<Worker> {
        // What means nothing was refused when it was set.
        let restart = set(variables, "CC_WORKER_RESTART").and_then(Restart::named).unwrap_or_default();
        let delay_s = set(variables, "CC_WORKER_RESTART_DELAY").and_then(|text| text.parse().ok());
        let rule = Rule::Lasting { restart, delay_s: delay_s.unwrap_or(DELAY_S).min(MAX_DELAY_S) };
        let mut found: Vec<(u64, &str)> = variables
            .iter()
            .filter_map(|(name, value)| {
                let rest = name.strip_prefix("CC_WORKER_COMMAND")?;
                let number = if rest.is_empty() {
                    0
                } else {
                    rest.strip_prefix('_')?.parse::<u64>().ok()?.checked_add(1)?
                };
                Some((number, value.trim()))
            })
            .filter(|(_, text)| !text.is_empty())
            .collect();
        found.sort_by_key(|(number, _)| *number);
        let worker =
            |(_, text): (u64, &str)| Worker { rule: rule.clone(), ..Worker::from(self.script(text)) };
        found.into_iter().map(worker).collect()
    }

    /// What runs at certain times, as the repository says it; the app's directory is `$ROOT`.
    #[must_use]
    pub fn crons(&self, crons: &[Cron]) -> Vec<Worker> {
        let worker = |cron: &Cron| Worker {
            stage: CRON.to_owned(),
            script: format!("export ROOT=\"$PWD\"\n{}", self.script(&cron.command)),
            rule: Rule::Timed { schedule: cron.schedule.clone() },
        };
        crons.iter().map(worker).collect()
    }

    /// What `CC_RELEASE_COMMAND` says is run once, before an environment of a new commit starts.
    #[must_use]
    pub fn release_command(&self, variables: &BTreeMap<String, String>) -> Option<Command> {
        set(variables, RELEASE_COMMAND).map(|text| self.command(RELEASE_COMMAND, text))
    }

    /// All that a task runs, once and in this order: the release command if this deployment runs it, the pre-run hook, the app. `None`: the
    /// app is no task.
    #[must_use]
    pub fn task(&self, variables: &BTreeMap<String, String>, release_command: bool) -> Option<Vec<Command>> {
        if !is_on(variables, TASK) {
            return None;
        }
        let first = release_command.then(|| self.release_command(variables)).flatten();
        Some(first.into_iter().chain(self.commands(variables)).collect())
    }

    /// What a hook says is run after the verdict.
    #[must_use]
    pub fn hook(&self, variables: &BTreeMap<String, String>, hook: &str) -> Option<Command> {
        set(variables, hook).map(|text| self.command(hook, text))
    }

    fn script(&self, text: &str) -> String {
        format!("{}{text}", self.prelude)
    }

    fn command(&self, stage: &str, text: &str) -> Command {
        Command { stage: stage.to_owned(), script: self.script(text) }
    }
}

/// A variable that is set to something.
fn set<'a>(variables: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// A variable that switches something on.
pub(crate) fn is_on(variables: &BTreeMap<String, String>, name: &str) -> bool {
    let value = set(variables, name).map(str::to_ascii_lowercase);
    value.is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "no" | "off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_decide_at_each_start() {
        let run = Run {
            prelude: "export A=1\n".into(),
            start: Some("serve".into()),
            variables: BTreeMap::new(),
            port: 8080,
            needs_teal: false,
        };
        let of = |pairs: &[(&str, &str)]| {
            let variables =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let commands = run.commands(&variables).into_iter().map(|c| format!("{}: {}", c.stage, c.script));
            (commands.collect::<Vec<_>>(), run.workers(&variables))
        };
        assert_eq!(of(&[("CC_RUN_COMMAND", " ")]).0, ["start: export A=1\nserve"]);
        let (commands, workers) = of(&[
            ("CC_RUN_COMMAND", "other"),
            ("CC_PRE_RUN_HOOK", "first"),
            ("CC_WORKER_COMMAND_10", "c"),
            ("CC_WORKER_COMMAND_2", "b"),
            ("CC_WORKER_COMMAND", "a"),
            ("CC_WORKER_COMMAND_X", "no"),
        ]);
        assert_eq!(commands, ["CC_PRE_RUN_HOOK: export A=1\nfirst", "start: export A=1\nother"]);
        assert_eq!(workers, ["export A=1\na", "export A=1\nb", "export A=1\nc"].map(Worker::from));
        let (_, workers) = of(&[
            ("CC_WORKER_COMMAND", "a"),
            ("CC_WORKER_RESTART", "always"),
            ("CC_WORKER_RESTART_DELAY", "7"),
        ]);
        assert_eq!(workers[0].rule, Rule::Lasting { restart: Restart::Always, delay_s: 7 });
        let task = |pairs: &[(&str, &str)], release_command| {
            let variables = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let commands = run.task(&variables, release_command)?;
            Some(commands.into_iter().map(|command| command.stage).collect::<Vec<_>>())
        };
        let all = [("CC_TASK", "true"), ("CC_RELEASE_COMMAND", "migrate"), ("CC_PRE_RUN_HOOK", "first")];
        assert_eq!(task(&all, true).expect("a task"), ["CC_RELEASE_COMMAND", "CC_PRE_RUN_HOOK", "start"]);
        assert_eq!(task(&all[..2], false).expect("a task"), ["start"]);
        assert_eq!(task(&[("CC_TASK", "false")], true), None);
        let cron = Cron { schedule: "0 3 * * *".parse().expect("understood"), command: "$ROOT/job".into() };
        let script = run.crons(&[cron])[0].script.clone();
        assert_eq!(script, "export ROOT=\"$PWD\"\nexport A=1\n$ROOT/job");
        let nothing = Run { start: None, ..run.clone() }.commands(&BTreeMap::new());
        assert!(nothing[0].script.contains("CC_RUN_COMMAND") && nothing[0].script.ends_with("exit 127"));
    }
}
