//! Tasks, the hooks after a verdict, what a build gets to know, and what teal.toml says of the app as a whole.

use crate::{at_rest, push, push_files, push_well, quick, served, until_status};
use anyhow::Result;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};
use teal_core::api::Action;
use teal_e2e::{Behaviour, Host, Options, Repository, python_app, until};

struct Stage {
    host: Host,
    repository: Repository,
    ledger: PathBuf,
}

impl Stage {
    fn new(variables: &Value) -> Result<Self> {
        // Only where instances see the host's files one file can be everybody's witness.
        let host = Host::start(&Options { config: "runtime = \"process\"".into(), ..Options::default() })?;
        let ledger = host.path().join("ledger");
        fs::write(&ledger, "")?;
        host.api().create("shop", quick(), json!({"LEDGER": ledger}))?;
        let stage = Self { repository: Repository::new(&host, "shop")?, host, ledger };
        stage.set(variables)?;
        Ok(stage)
    }

    fn set(&self, variables: &Value) -> Result<()> {
        self.host.api().send::<Value>("PATCH", "/apps/shop/variables", variables).map(drop)
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.ledger).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The log of the newest deployment.
    fn log(&self) -> Result<Vec<String>> {
        let newest = self.host.api().activity("shop")?.remove(0).deployment;
        let lines = self.host.api().log("shop", &newest)?;
        Ok(lines.into_iter().map(|line| format!("{}: {}", line.stage, line.text)).collect())
    }

    fn until_said(&self, words: &str) -> Result<Vec<String>> {
        until(&format!("the log says `{words}`"), || {
            self.log().ok().filter(|lines| lines.iter().any(|line| line.contains(words)))
        })
    }
}

const FILE: [(&str, &str); 1] = [("job.sh", "echo working; echo $CC_COMMIT_ID >> $LEDGER\n")];

#[test]
fn a_task_runs_once_and_its_environment_ends_with_it() -> Result<()> {
    let mut stage =
        Stage::new(&json!({"CC_TASK": "true", "CC_RUN_COMMAND": "bash job.sh; exit $(cat code)"}))?;
    let first = stage.repository.deploy(&[FILE[0], ("code", "0")], "one")?;
    assert!(first.ok && first.output.contains("working"), "{}", first.output);
    assert!(first.output.contains("ran to its end"), "{}", first.output);
    assert_eq!(stage.lines(), [first.commit.as_str()]);
    until("nothing of it is left", || stage.host.run_directories().is_empty().then_some(()))?;
    let status = stage.host.api().status("shop")?;
    assert!(status.status == "stopped" && status.live.is_none(), "{status:?}");

    let second = stage.repository.deploy(&[("code", "7")], "two")?;
    assert!(!second.ok && second.output.contains("the task exited with code 7"), "{}", second.output);
    assert_eq!(stage.host.api().status("shop")?.status, "start-failed");

    stage.host.api().act("shop", &Action::Redeploy { commit: first.commit.clone() })?;
    until("it ran again", || (stage.lines().len() == 3).then_some(()))?;
    until_status(&stage.host, "shop", "its end is known", |status| status.deploying.is_none())?;
    assert_eq!(stage.lines()[2], first.commit);

    let waits = "echo $CC_COMMIT_ID >> $LEDGER; while [ ! -e $LEDGER.go ]; do sleep 0.05; done";
    stage.set(&json!({"CC_RUN_COMMAND": waits}))?;
    stage.host.api().act("shop", &Action::Redeploy { commit: second.commit })?;
    until("it runs", || (stage.lines().len() == 4).then_some(()))?;
    stage.host.kill_server()?;
    stage.host.start_server(&[])?;
    fs::write(stage.ledger.with_extension("go"), "")?;
    until_status(&stage.host, "shop", "its end is known", |status| status.deploying.is_none())?;
    assert_eq!(stage.host.api().activity("shop")?[0].state, "OK");
    assert_eq!(stage.lines().len(), 4, "never twice, also if the server dies meanwhile");
    Ok(())
}

#[test]
fn hooks_run_after_the_verdict_and_change_nothing() -> Result<()> {
    let stage = Stage::new(&json!({
        "CC_RUN_SUCCEEDED_HOOK": "echo cheers; echo well $INSTANCE_TYPE >> $LEDGER",
        "CC_RUN_FAILED_HOOK": "echo badly >> $LEDGER; exit 9",
    }))?;
    push_well(&stage.repository, "one")?;
    let log = stage.until_said("CC_RUN_SUCCEEDED_HOOK succeeded")?;
    let at = |words: &str| log.iter().position(|line| line.contains(words)).unwrap_or(usize::MAX);
    assert!(at("Successfully deployed in") < at("CC_RUN_SUCCEEDED_HOOK: cheers"), "{log:#?}");
    assert_eq!(stage.lines(), ["well production"]);

    let pushed = push(&stage.repository, "two", &Behaviour::Exits(3, 0.0))?;
    assert!(!pushed.ok, "{}", pushed.output);
    stage.until_said("Ignored: CC_RUN_FAILED_HOOK exited with code 9")?;
    assert_eq!(stage.lines()[1..], ["badly"]);
    assert_eq!(served(&stage.host, "shop")?, "one");
    Ok(())
}

#[test]
fn a_build_gets_no_secrets_of_production_unless_it_is_asked_to() -> Result<()> {
    let stage = Stage::new(&json!({
        "DB_PASSWORD": "s3cret-1", "PLAIN": "p", "CC_BUILD_COMMAND": "echo got ${DB_PASSWORD:-nothing} $PLAIN",
    }))?;
    let pushed = push_well(&stage.repository, "one")?;
    for words in ["The build does not get DB_PASSWORD", "TEAL_BUILD_SECRETS=", "got nothing p"] {
        assert!(pushed.output.contains(words), "{words}: {}", pushed.output);
    }
    let (_, body) = stage.host.visit("shop", "/")?;
    assert!(body.contains("s3cret-1"), "the app gets it: {body}");

    stage.set(&json!({"DB_PASSWORD": "s3cret-2"}))?;
    stage.host.api().act("shop", &Action::Redeploy { commit: pushed.commit.clone() })?;
    stage.until_said("is taken from the build cache")?;
    until("the new one is there", || {
        stage.host.visit("shop", "/").ok()?.1.contains("s3cret-2").then_some(())
    })?;

    stage.set(&json!({"CC_BUILD_COMMAND": "grep $DB_PASSWORD app.py"}))?;
    let pushed = push(&stage.repository, "two", &Behaviour::Good)?;
    assert!(!pushed.ok, "{}", pushed.output);
    stage
        .set(&json!({"TEAL_BUILD_SECRETS": "DB_PASSWORD", "CC_BUILD_COMMAND": "test -n \"$DB_PASSWORD\""}))?;
    push_well(&stage.repository, "three")?;
    Ok(())
}

#[test]
fn what_the_file_says_of_the_app_counts_with_its_version_and_goes_with_it() -> Result<()> {
    let host = Host::start(&Options::default())?;
    host.api().create("shop", json!({"bake_s": 1, "drain_s": 5}), json!({}))?;
    host.api().create("other", quick(), json!({}))?;
    host.api().send::<Value>("PATCH", "/apps/other/domains", &json!({"add": ["taken.test"]}))?;
    let repository = Repository::new(&host, "shop")?;
    push_well(&repository, "one")?;
    let mut files = python_app("two", &Behaviour::Good);
    let text = "domains = [\"www.shop.test\", \"taken.test\"]\n[app]\nbake_s = 50\noff_after_s = 77\ninstances = 2\n";
    files.push(("teal.toml".into(), text.into()));
    let pushed = push_files(&repository, "two", &files)?;
    assert!(pushed.ok, "{}", pushed.output);

    let config = || host.api().get::<Value>("/apps/shop/config");
    until("the domain leads to it", || {
        host.visit_domain("www.shop.test", "/")
            .ok()
            .filter(|(code, body)| *code == 200 && body.contains("two"))
    })?;
    until_status(&host, "shop", "two instances", |status| {
        at_rest(status) && status.live.as_ref().is_some_and(|live| live.instances == 2)
    })?;
    let said = config()?;
    assert_eq!(
        (&said["bake_s"], &said["off_after_s"]),
        (&json!(1), &json!(77)),
        "the owner's word counts more"
    );
    let domains = host.api().status("shop")?.domains;
    assert!(!domains.contains(&"taken.test".to_owned()), "{domains:?}");
    let removed =
        host.api().send::<Value>("PATCH", "/apps/shop/domains", &json!({"remove": ["www.shop.test"]}));
    assert!(removed.is_err_and(|error| error.to_string().contains("named by teal.toml")));

    host.api().act("shop", &Action::Wake)?;
    until_status(&host, "shop", "the first version is live", |status| {
        at_rest(status) && status.live.as_ref().is_some_and(|live| live.commit.message == "one")
    })?;
    assert_eq!(config()?["off_after_s"], json!(900), "it went with the version that said it");
    Ok(())
}
