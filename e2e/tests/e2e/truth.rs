//! Behaviour 19: status, exit codes and logs tell the truth.

use crate::{app, push, push_well, quick, served};
use anyhow::Result;
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::Instant,
};
use teal_e2e::{Behaviour, Host, Options, Repository, python_app};

#[test]
fn git_push_streams_lines_as_they_happen_and_ends_with_the_verdict() -> Result<()> {
    let host = Host::start(&Options::default())?;
    host.api().create(
        "shop",
        quick(),
        json!({"CC_PRE_BUILD_HOOK": "for i in 1 2 3 4; do echo said $(date +%s.%N); sleep 0.5; done"}),
    )?;
    let repository = Repository::new(&host, "shop")?;
    let files = python_app("one", &Behaviour::Good);
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    repository.commit(&files, "one")?;
    let mut push = repository.push_command("HEAD:main", &[]).stderr(Stdio::piped()).spawn()?;
    let mut delays = Vec::new();
    let begin = Instant::now();
    for line in BufReader::new(push.stderr.take().expect("piped")).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let said =
            line.split("said ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        if let Some(said) = said {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
            delays.push(now - said);
        }
    }
    assert!(push.wait()?.success());
    println!("lines of the build were seen after {delays:?} s, the push took {:?}", begin.elapsed());
    assert_eq!(delays.len(), 4);
    // Not a claim of speed: lines that came only at the end would be seconds late.
    assert!(delays[0] < 1.5, "lines come only at the end");
    assert_eq!(served(&host, "shop")?, "one");
    Ok(())
}

#[test]
fn losing_the_connection_changes_nothing() -> Result<()> {
    let host = Host::start(&Options::default())?;
    host.api().create("shop", quick(), json!({"CC_PRE_BUILD_HOOK": "sleep 2"}))?;
    let repository = Repository::new(&host, "shop")?;
    let files = python_app("one", &Behaviour::Good);
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    repository.commit(&files, "one")?;
    let mut child = repository.push_command("HEAD:main", &["-q"]).spawn()?;
    teal_e2e::until("the deployment is under way", || host.api().status("shop").ok()?.deploying)?;
    child.kill()?;
    child.wait()?;
    teal_e2e::until("it goes live all the same", || (served(&host, "shop").ok()? == "one").then_some(()))
}

#[test]
fn verdicts_are_right_whenever_an_app_begins_to_listen() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let mut config = quick();
    config["start_deadline_s"] = json!(20);
    let repository = app(&host, "shop", config)?;
    for (number, delay) in [0.0, 0.05, 0.35, 0.9, 2.3, 4.7].into_iter().enumerate() {
        push(&repository, &format!("late{number}"), &Behaviour::Late(delay))
            .map(|pushed| assert!(pushed.ok, "{}", pushed.output))?;
        assert_eq!(served(&host, "shop")?, format!("late{number}"));
    }
    let late = push(&repository, "too late", &Behaviour::Late(1000.0))?;
    assert!(!late.ok && late.output.contains("nothing listens on 0.0.0.0:8080"), "{}", late.output);
    assert_eq!(served(&host, "shop")?, "late5");
    push_well(&repository, "fine")?;
    Ok(())
}
