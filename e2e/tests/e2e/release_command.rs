//! Behaviour 17: a release command runs once per deployment, before traffic; never on the way back; never twice, also if the server dies.

use crate::{at_rest, push, push_files, push_well, quick, served, until_status};
use anyhow::Result;
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Stdio};
use teal_core::api::Action;
use teal_e2e::{Behaviour, Host, Options, Repository, python_app, until};

struct Stage {
    host: Host,
    repository: Repository,
    ledger: PathBuf,
}

impl Stage {
    fn new(command: &str) -> Result<Self> {
        // Only where instances see the host's files one file can be everybody's witness.
        let host = Host::start(&Options { config: "runtime = \"process\"".into(), ..Options::default() })?;
        let ledger = host.path().join("ledger");
        fs::write(&ledger, "")?;
        host.api().create("shop", quick(), json!({"LEDGER": ledger, "CC_RELEASE_COMMAND": command}))?;
        let repository = Repository::new(&host, "shop")?;
        Ok(Self { host, repository, ledger })
    }

    /// The deployments in which it ran, in order.
    fn ran(&self) -> Result<Vec<String>> {
        Ok(fs::read_to_string(&self.ledger)?.lines().map(str::to_owned).collect())
    }

    fn newest(&self) -> Result<String> {
        Ok(self.host.api().activity("shop")?[0].deployment.to_string())
    }

    fn set(&self, command: &str) -> Result<()> {
        let changed = json!({"CC_RELEASE_COMMAND": command});
        self.host.api().send::<Value>("PATCH", "/apps/shop/variables", &changed).map(drop)
    }
}

const RUNS: &str = "echo migrating; echo $CC_DEPLOYMENT_ID >> $LEDGER";

#[test]
fn it_runs_once_per_deployment_and_not_on_the_way_back() -> Result<()> {
    let stage = Stage::new(RUNS)?;
    let host = &stage.host;
    push_well(&stage.repository, "one")?;
    let first = stage.newest()?;
    assert_eq!(stage.ran()?, [first.as_str()]);
    let pushed = push_well(&stage.repository, "two")?;
    let second = stage.newest()?;
    assert_eq!(stage.ran()?, [first.as_str(), second.as_str()]);
    let place = |text: &str| pushed.output.find(text).unwrap_or_else(|| panic!("{text}: {}", pushed.output));
    assert!(place("migrating") < place("The release command succeeded"));
    assert!(place("The release command succeeded") < place("traffic moves to it now"));

    let note = until_status(host, "shop", "at rest", at_rest)?.button.expect("a way back").note;
    assert!(note.is_some_and(|note| note.contains(&second)), "the way back says what it does not undo");
    host.api().act("shop", &Action::Wake)?;
    until("one is live again", || (served(host, "shop").ok()? == "one").then_some(()))?;
    let forward = until_status(host, "shop", "at rest", at_rest)?.button.expect("a way forward");
    assert_eq!(forward.note, None, "forward again nothing is missing");
    let before = host.api().status("shop")?.live.expect("live").environment;
    host.api().act("shop", &Action::Restart)?;
    until_status(host, "shop", "restarted", |status| {
        at_rest(status) && status.live.as_ref().is_some_and(|live| live.environment != before)
    })?;
    assert_eq!(stage.ran()?, [first, second], "neither the wake nor the restart ran it");
    Ok(())
}

#[test]
fn a_failure_touches_nothing_and_shows_its_last_lines() -> Result<()> {
    let stage = Stage::new(RUNS)?;
    push_well(&stage.repository, "one")?;
    stage.set("echo the table is locked; exit 7")?;
    let pushed = push(&stage.repository, "two", &Behaviour::Good)?;
    assert!(!pushed.ok, "{}", pushed.output);
    for text in
        ["the table is locked", "the release command exited with code 7", "Please review the lines above"]
    {
        assert!(pushed.output.contains(text), "{text}: {}", pushed.output);
    }
    assert_eq!(served(&stage.host, "shop")?, "one");
    let failure = stage.host.api().activity("shop")?[0].failure.clone().expect("failed");
    assert!(failure.details.iter().any(|line| line.contains("the table is locked")), "{failure:#?}");
    Ok(())
}

#[test]
fn a_server_that_dies_meanwhile_never_runs_it_twice() -> Result<()> {
    let waits = "echo $CC_DEPLOYMENT_ID >> $LEDGER; while [ ! -e $LEDGER.go ]; do sleep 0.05; done; echo done waiting";
    let mut stage = Stage::new(waits)?;
    let files = python_app("one", &Behaviour::Good);
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    stage.repository.commit(&files, "one")?;
    let mut push = stage.repository.push_command("HEAD:main", &[]);
    let mut push = push.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    for _ in 0..2 {
        until("it runs", || (stage.ran().ok()?.len() == 1).then_some(()))?;
        stage.host.kill_server()?;
        stage.host.start_server(&[])?;
    }
    fs::write(stage.ledger.with_extension("go"), "")?;
    until_status(&stage.host, "shop", "it went live", |status| at_rest(status) && status.live.is_some())?;
    let _ = push.kill();
    push.wait()?;
    let id = stage.newest()?;
    assert_eq!(stage.ran()?, [id.as_str()]);
    let log = stage.host.api().log("shop", &id.parse()?)?;
    assert_eq!(log.iter().filter(|line| line.text == "done waiting").count(), 1, "{log:#?}");
    Ok(())
}

#[test]
fn the_repository_says_it_and_the_app_has_the_last_word() -> Result<()> {
    let stage = Stage::new("")?;
    let host = &stage.host;
    host.api().send::<Value>("PATCH", "/apps/shop/variables", &json!({"CC_RELEASE_COMMAND": null}))?;
    let mut files = python_app("one", &Behaviour::Good);
    files.push((
        "teal.toml".into(),
        "[release]\ncommand = \"echo from the file >> $LEDGER\"\n[variables]\nGREETING = \"file\"\nLEDGER = \"x\"\n".into(),
    ));
    let pushed = push_files(&stage.repository, "one", &files)?;
    assert!(pushed.ok, "{}", pushed.output);
    assert_eq!(stage.ran()?, ["from the file"], "and the app's own LEDGER counts");
    let (_, body) = host.visit("shop", "/")?;
    assert!(body.contains("\"GREETING\": \"file\""), "{body}");
    Ok(())
}
