//! Real applications with dependencies from real registries: the examples of this repository, deployed by `git push`, served on a domain of
//! their own, switched under load, put to sleep and awakened.

use crate::{at_rest, quick, until_status};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};
use teal_core::api::Action;
use teal_e2e::{Host, Options, Repository, Rig, slowness, until};

/// An example, and the change that makes its second version.
struct Example {
    folder: &'static str,
    file: &'static str,
    before: &'static str,
    after: &'static str,
    /// What its page says before and after.
    says: [&'static str; 2],
}

#[test]
fn an_express_app_with_packages_from_npm() -> Result<()> {
    life(&Example {
        folder: "node-express",
        file: "package.json",
        before: "\"version\": \"1.0.0\"",
        after: "\"version\": \"1.0.1\"",
        says: ["Hello from Express, version 1.0.0", "Hello from Express, version 1.0.1"],
    })
}

#[test]
fn a_flask_app_with_packages_from_pypi() -> Result<()> {
    life(&Example {
        folder: "flask",
        file: "app.py",
        before: "VERSION = \"1.0.0\"",
        after: "VERSION = \"1.0.1\"",
        says: ["Hello from Flask, version 1.0.0", "Hello from Flask, version 1.0.1"],
    })
}

#[test]
fn a_static_site() -> Result<()> {
    life(&Example {
        folder: "hello-static",
        file: "index.html",
        before: "<h1>Hello</h1>",
        after: "<h1>Hello again</h1>",
        says: ["<h1>Hello</h1>", "<h1>Hello again</h1>"],
    })
}

/// Push, push under load, sleep, wake: with no request lost.
fn life(example: &Example) -> Result<()> {
    let host = Host::start(&Options::default())?;
    host.api().create("shop", quick(), json!({}))?;
    host.api().send::<Value>("PATCH", "/apps/shop/domains", &json!({"add": ["www.shop.test"]}))?;
    let repository = Repository::new(&host, "shop")?;
    let files = files(example.folder)?;
    let texts: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    deploy(&repository, &texts, "one")?;
    let shows = |page: &str| {
        host.visit_domain("www.shop.test", "/").is_ok_and(|(code, body)| code == 200 && body.contains(page))
    };
    assert!(shows(example.says[0]), "{:?}", host.visit_domain("www.shop.test", "/"));
    until_status(&host, "shop", "at rest", at_rest)?;

    // Just enough for a verdict where each request takes an emulated processor long.
    let rate = if slowness() > 1 { "30" } else { "50" };
    let mut rig = Rig::start(&host, "shop", &["--rate", rate, "--posts", "0", "--sse", "0"])?;
    let (_, text) = texts.iter().find(|(name, _)| *name == example.file).context("no such file")?;
    let changed = text.replace(example.before, example.after);
    assert_ne!(&changed, text);
    deploy(&repository, &[(example.file, &changed)], "two")?;
    assert!(shows(example.says[1]));
    until_status(&host, "shop", "the first version sleeps", |status| {
        at_rest(status) && status.spare.as_ref().is_some_and(|spare| spare.state == "asleep")
    })?;
    rig.expect_back()?;
    host.api().act("shop", &Action::Wake)?;
    until("the first version answers again", || shows(example.says[0]).then_some(()))?;
    until("enough requests", || rig.standing().ok().filter(|(requests, _)| *requests > 1_200))?;
    let report = rig.stop()?;
    println!("{}: {} requests, {} failed", example.folder, report.requests, report.failed);
    report.expect_nothing_lost();
    Ok(())
}

fn deploy(repository: &Repository, files: &[(&str, &str)], message: &str) -> Result<()> {
    let pushed = repository.deploy(files, message)?;
    assert!(pushed.ok, "{}", pushed.output);
    Ok(())
}

/// The files of an example, without what its own `.gitignore` would leave out.
fn files(folder: &str) -> Result<Vec<(String, String)>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?));
        }
    }
    Ok(files)
}
