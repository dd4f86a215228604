//! Applications that are broken before they are healthy: each verdict says what to do about it. What breaks a health check is in `bad_green`.

use crate::quick;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::Duration;
use teal_core::api::DeploymentView;
use teal_e2e::{Host, Options, Repository, until, within};

/// A broken application, and words that its verdict must hold.
struct Broken {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    variables: fn() -> Value,
    config: fn() -> Value,
    says: &'static [&'static str],
}

const fn broken(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    variables: fn() -> Value,
    says: &'static [&'static str],
) -> Broken {
    Broken { name, files, variables, config: || json!({}), says }
}

/// What is only so where memory, disk and addresses are an instance's own.
const LIMITED: [&str; 6] = ["full-disk", "full-build", "hungry", "wrong-port", "loopback", "hungry-build"];

const NOTHING: fn() -> Value = || json!({});

/// A page of Python after a first line that breaks.
macro_rules! python {
    ($line:literal) => {
        &[("app.py", concat!("import os, socket\n", $line, "\n")), ("Procfile", "web: python3 app.py")]
    };
}

// long: a table, a row for each way to be broken.
fn all() -> Vec<Broken> {
    vec![
        broken(
            "no-start",
            &[("package.json", "{}")],
            NOTHING,
            &["no scripts.start and no main", "set CC_RUN_COMMAND"],
        ),
        broken(
            "old-lock",
            &[
                (
                    "package.json",
                    r#"{"name":"x","version":"1.0.0","scripts":{"start":"node x"},"dependencies":{"ms":"2.1.3"}}"#,
                ),
                (
                    "package-lock.json",
                    r#"{"name":"x","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"x","version":"1.0.0"}}}"#,
                ),
            ],
            NOTHING,
            &["stage `dependencies`", "package-lock.json does not fit package.json: run `npm install`"],
        ),
        broken(
            "compile-error",
            &[
                ("Makefile", "build:\n\tcc -o app app.c\nrun:\n\t./app\n"),
                ("app.c", "int main(void) { return x; }\n"),
            ],
            NOTHING,
            &["stage `build`", "exit code 2", "the first line with `error:`"],
        ),
        broken(
            "no-variable",
            python!("print(os.environ['DATABASE_URL'])"),
            NOTHING,
            &["exited with code 1", "teal env set DATABASE_URL=…"],
        ),
        broken(
            "no-database",
            python!("socket.create_connection(('127.0.0.1', 5432))"),
            NOTHING,
            &["exited with code 1", "its database"],
        ),
        broken(
            "no-module",
            python!("import flask"),
            NOTHING,
            &["exited with code 1", "`flask` is not installed", "requirements"],
        ),
        broken(
            "no-command",
            &[("Procfile", "web: gunicorm app:app")],
            NOTHING,
            &["exited with code 127", "a program that the command names"],
        ),
        broken(
            "no-registry",
            &[("x", "")],
            || json!({"CC_RUN_COMMAND": "x", "CC_BUILD_COMMAND": "curl --fail http://registry.invalid/simple/x"}),
            &["stage `build`", "a registry cannot be reached"],
        ),
        Broken {
            config: || json!({"build_memory_mib": 64}),
            ..broken(
                "hungry-build",
                &[("x", "")],
                || json!({"CC_RUN_COMMAND": "x", "CC_BUILD_COMMAND": "python3 -c 'x = [bytearray(1 << 20) for _ in range(1000)]'"}),
                &["ran out of memory in the stage `build`", "build_memory_mib"],
            )
        },
        Broken {
            config: || json!({"disk_mib": 64}),
            ..broken(
                "full-disk",
                python!("open('filler', 'wb').write(b'x' * (200 << 20))"),
                NOTHING,
                &["exited with code 1", "filled its disk", "disk_mib"],
            )
        },
        broken(
            "full-build",
            &[("x", "")],
            || json!({"CC_RUN_COMMAND": "x", "CC_BUILD_COMMAND": "fallocate -l 5G filler"}),
            &["the build filled its disk", "larger than 4096 MiB", "disk_mib"],
        ),
        Broken {
            config: || json!({"memory_mib": 64}),
            ..broken(
                "hungry",
                python!("x = [bytearray(1 << 20) for _ in range(1000)]"),
                NOTHING,
                &["ran out of memory", "memory_mib"],
            )
        },
        Broken {
            config: || json!({"start_deadline_s": 5}),
            ..broken(
                "wrong-port",
                &[("x", "")],
                || json!({"CC_RUN_COMMAND": "exec python3 -m http.server 3000"}),
                &["nothing listens on 0.0.0.0:8080, but on 0.0.0.0:3000", "the port that PORT names"],
            )
        },
        broken(
            "loopback",
            &[("x", "")],
            || json!({"CC_RUN_COMMAND": "exec python3 -m http.server --bind 127.0.0.1 \"$PORT\""}),
            &["127.0.0.1:8080 only", "make it listen on 0.0.0.0:8080"],
        ),
        broken(
            "late-crash",
            python!(
                "import http.server, threading, time\nthreading.Thread(target=lambda: (time.sleep(5), print('no licence', flush=True), os._exit(4))).start()\ntime.sleep(60)"
            ),
            NOTHING,
            &["`start` exited with code 4", "the last lines of its log say why"],
        ),
        Broken {
            config: || json!({"build_deadline_s": 3}),
            ..broken(
                "endless-build",
                &[("x", "")],
                || json!({"CC_RUN_COMMAND": "x", "CC_BUILD_COMMAND": "sleep 86399"}),
                &["took too long", "stage `build`", "build_deadline_s"],
            )
        },
    ]
}

#[test]
fn every_broken_application_is_told_what_to_do() -> Result<()> {
    let host = Host::start(&Options::default())?;
    for broken in all() {
        let mut config = quick();
        if let (Some(config), Value::Object(more)) = (config.as_object_mut(), (broken.config)()) {
            config.extend(more);
        }
        host.api().create(broken.name, config, (broken.variables)())?;
        if LIMITED.contains(&broken.name) && host.api().status(broken.name)?.runtime == "process" {
            println!("SKIPPED: {}: nothing limits it on this host", broken.name);
            host.delete(broken.name)?;
            continue;
        }
        let repository = Repository::new(&host, broken.name)?;
        let pushed = repository.deploy(broken.files, "broken")?;
        assert!(!pushed.ok, "{}: git push said that all is well:\n{}", broken.name, pushed.output);
        let message = failure(&host, broken.name)?.failure.context("a failure has a cause")?.message;
        println!("{}: {message}", broken.name);
        for word in broken.says {
            assert!(
                message.contains(word),
                "{}: no `{word}` in the verdict: {message}\n{}",
                broken.name,
                pushed.output
            );
            assert!(
                pushed.output.contains(word),
                "{}: git push does not say `{word}`: {}",
                broken.name,
                pushed.output
            );
        }
        host.delete(broken.name)?;
    }
    gone(&host, "sleep\x0086399")
}

/// The deployment, once its verdict is there.
fn failure(host: &Host, app: &str) -> Result<DeploymentView> {
    until("the verdict", || host.api().activity(app).ok()?.into_iter().find(|one| one.state == "FAIL"))
}

fn gone(host: &Host, text: &str) -> Result<()> {
    within(Duration::from_secs(30), "no process of a build is left", || {
        host.processes_saying(text).is_empty().then_some(())
    })
}

/// Builds that do too much and are still builds: a flood of log is cut, processes that are left behind are ended.
#[test]
fn a_build_that_floods_its_log_and_leaves_processes_behind() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let build = "(setsid sleep 86398 >/dev/null 2>&1 &) ; head -c 2147483648 /dev/zero | tr '\\0' 'x' | fold -w 200; echo flooded";
    let variables =
        json!({"CC_BUILD_COMMAND": build, "CC_RUN_COMMAND": "exec python3 -m http.server \"$PORT\""});
    host.api().create("flood", quick(), variables)?;
    let repository = Repository::new(&host, "flood")?;
    let pushed = repository.deploy(&[("index.html", "here")], "flood")?;
    assert!(pushed.ok, "{}", &pushed.output[pushed.output.len().saturating_sub(2_000)..]);
    gone(&host, "sleep\x0086398")?;
    assert!(pushed.output.contains("flooded"), "its last line is there");
    let kept = size(&host.path().join("data/logs"));
    println!("{} MiB of log were kept, {} MiB came with the push", kept >> 20, pushed.output.len() >> 20);
    assert!(kept < 200 << 20, "{kept} bytes of log are kept");
    host.delete("flood")
}

fn size(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, found)| if found.is_dir() { size(&path) } else { found.len() })
        .sum()
}
