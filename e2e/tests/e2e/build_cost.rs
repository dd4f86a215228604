//! What a build costs: nothing where the release is there already, and little more than its own commands where it is not.

use crate::{at_rest, push_well, quick, until_status};
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use std::{fs, path::Path, path::PathBuf, process::Command, time::Instant};
use teal_core::api::{Action, DeploymentView};
use teal_e2e::{Host, Options, Repository, until};

#[test]
fn an_older_commit_is_redeployed_without_a_build_and_the_log_says_both() -> Result<()> {
    let host = Host::start(&Options::default())?;
    host.api().create("shop", quick(), json!({"CC_BUILD_COMMAND": "echo built anew"}))?;
    let repository = Repository::new(&host, "shop")?;
    let first = push_well(&repository, "one")?;
    assert!(first.output.contains("built anew"), "{}", first.output);
    let second = push_well(&repository, "two")?;
    host.api().act("shop", &Action::Redeploy { commit: first.commit.clone() })?;
    until_status(&host, "shop", "the first commit is live", |status| {
        at_rest(status) && status.live.as_ref().is_some_and(|live| live.commit.message == "one")
    })?;
    let newest = host.api().activity("shop")?.remove(0);
    let says = format!(
        "redeploys {}, not the commit that was pushed last ({} two)",
        &first.commit[..7],
        &second.commit[..7]
    );
    assert_eq!(newest.note.as_deref(), Some(says.as_str()));
    let log = host.api().log("shop", &newest.deployment)?;
    let log: Vec<String> = log.into_iter().map(|line| line.text).collect();
    for words in [says.as_str(), "This commit was built before", "is taken from the build cache"] {
        assert!(log.iter().any(|line| line.contains(words)), "{words}: {log:#?}");
    }
    assert!(!log.iter().any(|line| line.contains("built anew")), "{log:#?}");
    Ok(())
}

/// An example with the commands that somebody would type for it.
struct Tree {
    folder: &'static str,
    commands: &'static str,
}

const TREES: [Tree; 2] = [
    Tree { folder: "node-express", commands: "npm ci --omit=dev" },
    Tree {
        folder: "flask",
        commands: "python3 -m venv --clear .venv && .venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off -r requirements.txt",
    },
];

/// Where Debian keeps the certificate authorities that the operator trusts: builds are told of them.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Builds of each, in turns, so that both meet the same network.
const ROUNDS: usize = 5;

#[test]
#[ignore = "a measurement: asks public registries again and again"]
fn a_build_takes_little_longer_than_its_commands_by_hand() -> Result<()> {
    let host = Host::start(&Options::default())?;
    for tree in &TREES {
        host.api().create(tree.folder, quick(), json!({}))?;
        let repository = Repository::new(&host, tree.folder)?;
        let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            by_hand.push(typed(tree)?);
            copy(tree.folder, repository.path())?;
            fs::write(repository.path().join("round"), round.to_string())?;
            let pushed = repository.deploy(&[], "build")?;
            ensure!(pushed.ok, "{}", pushed.output);
            let built = until("it is served", || {
                host.api().activity(tree.folder).ok()?.into_iter().next().filter(|one| one.state == "OK")
            })?;
            ours.push(span(&built, "building", "ready")?);
        }
        let (ours, by_hand) = (median(ours), median(by_hand));
        println!(
            "{}: Teal's build {ours:.2} s, the same commands by hand {by_hand:.2} s: {:+.2} s, {:+.0} % (goal: at most 5 % and 1 s more)",
            tree.folder,
            ours - by_hand,
            (ours / by_hand - 1.0) * 100.0
        );
        host.delete(tree.folder)?;
    }
    Ok(())
}

/// The commands by hand, in a fresh copy and with nothing in their caches, as a build has it.
fn typed(tree: &Tree) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let (files, home) = (directory.path().join("files"), directory.path().join("home"));
    fs::create_dir_all(&files)?;
    fs::create_dir_all(&home)?;
    copy(tree.folder, &files)?;
    let mut command = Command::new("/bin/bash");
    // Whoever runs this may have settings of package managers of their own, which a build does not get.
    command.args(["-c", tree.commands]).current_dir(&files).env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &home);
    if Path::new(AUTHORITIES).exists() {
        command.envs(["NODE_EXTRA_CA_CERTS", "PIP_CERT", "SSL_CERT_FILE"].map(|name| (name, AUTHORITIES)));
    }
    let begun = Instant::now();
    let output = command.output()?;
    ensure!(output.status.success(), "{}: {}", tree.folder, String::from_utf8_lossy(&output.stderr));
    Ok(begun.elapsed().as_secs_f64())
}

fn copy(folder: &str, to: &Path) -> Result<()> {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(folder);
    for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// From the begin of one phase to that of another.
fn span(deployment: &DeploymentView, from: &str, to: &str) -> Result<f64> {
    let at = |phase: &str| -> Result<Timestamp> {
        let found = deployment.phases.iter().find(|one| one.phase == phase);
        Ok(found.with_context(|| format!("there was no phase {phase}"))?.at.to_string().parse()?)
    };
    Ok(at(to)?.duration_since(at(from)?).as_secs_f64())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
