//! Public applications as they are published, fetched by the usual clients and deployed unchanged: `cargo test -p teal-e2e samples -- --ignored --nocapture`.
//!
//! None of their code is kept here; `TEAL_SAMPLES` names some of them. With `TEAL_IMAGE` they are built and run on that image; without it, those whose programs the host has.

use crate::quick;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{path::Path, process::Command};
use teal_e2e::{Host, Options, Repository};

/// From where an application comes.
#[derive(Debug, Clone, Copy)]
enum Registry {
    Npm,
    Pypi,
    Crates,
    Debian,
}

/// An application, and what its owner would set.
struct Sample {
    registry: Registry,
    name: &'static str,
    version: &'static str,
    kind: Option<&'static str>,
    variables: fn() -> Value,
    path: &'static str,
    says: &'static str,
}

const fn sample(
    registry: Registry,
    name: &'static str,
    version: &'static str,
    variables: fn() -> Value,
    says: &'static str,
) -> Sample {
    Sample { registry, name, version, kind: None, variables, path: "/", says }
}

const NONE: fn() -> Value = || json!({});

fn all() -> Vec<Sample> {
    use Registry::{Crates, Debian, Npm, Pypi};
    vec![
        sample(Npm, "http-server", "14.1.1", NONE, "Index of /"),
        sample(Npm, "serve", "14.2.7", NONE, "package.json"),
        sample(Npm, "node-red", "4.1.15", NONE, "Node-RED"),
        sample(Npm, "peer", "1.0.2", || json!({"CC_BUILD_COMMAND": "true"}), "PeerJS Server"),
        Sample { kind: Some("static"), ..sample(Npm, "swagger-ui-dist", "5.35.0", NONE, "Swagger UI") },
        Sample { kind: Some("static"), ..sample(Npm, "reveal.js", "6.0.2", NONE, "reveal") },
        sample(Pypi, "httpbin", "0.10.4", || json!({"CC_PYTHON_MODULE": "httpbin:app"}), "httpbin"),
        sample(
            Pypi,
            "pypiserver",
            "2.4.2",
            || json!({"CC_RUN_COMMAND": "exec pypi-server run -i 0.0.0.0 -p \"$PORT\" ."}),
            "pypiserver",
        ),
        sample(
            Pypi,
            "datasette",
            "0.65.5",
            || json!({"CC_RUN_COMMAND": "exec datasette serve -h 0.0.0.0 -p \"$PORT\""}),
            "Datasette",
        ),
        Sample {
            path: "/.web/",
            ..sample(
                Pypi,
                "radicale",
                "3.9.0",
                || {
                    json!({
                        "CC_RUN_COMMAND": "exec python3 -m radicale --server-hosts \"0.0.0.0:$PORT\" --storage-filesystem-folder \"$APP_HOME/collections\" --auth-type none",
                        "CC_HEALTH_CHECK_PATH": "/.web/",
                    })
                },
                "Radicale",
            )
        },
        Sample {
            path: "/Cargo.toml",
            ..sample(
                Crates,
                "basic-http-server",
                "0.8.1",
                || {
                    json!({
                        "CC_RUN_COMMAND": "exec basic-http-server -a \"0.0.0.0:$PORT\" .",
                        "CC_HEALTH_CHECK_PATH": "/Cargo.toml",
                    })
                },
                "basic-http-server",
            )
        },
        Sample {
            path: "/install.php",
            ..sample(
                Debian,
                "dokuwiki",
                "0.0.20220731.a",
                || json!({"CC_HEALTH_CHECK_PATH": "/install.php"}),
                "DokuWiki",
            )
        },
    ]
}

#[test]
#[ignore = "fetches a dozen applications from public registries"]
fn public_applications_deploy_unchanged() -> Result<()> {
    let image = std::env::var_os("TEAL_IMAGE").map(Into::into);
    let config = if image.is_some() { "image = \"debian-12\"\n".into() } else { String::new() };
    let host = Host::start(&Options { config, image, ..Options::default() })?;
    let mut bad = Vec::new();
    let wanted = std::env::var("TEAL_SAMPLES").unwrap_or_default();
    for sample in all()
        .into_iter()
        .filter(|sample| wanted.is_empty() || wanted.split_whitespace().any(|name| name == sample.name))
    {
        let verdict = deployed(&host, &sample);
        let word = if verdict.is_ok() { "live" } else { "NOT LIVE" };
        println!("{:?} {} {}: {word}", sample.registry, sample.name, sample.version);
        if let Err(error) = verdict {
            println!("{error:#}");
            bad.push(sample.name);
        }
    }
    ensure!(bad.is_empty(), "not live: {}", bad.join(", "));
    Ok(())
}

fn deployed(host: &Host, sample: &Sample) -> Result<()> {
    let app = sample.name.replace('.', "-");
    let mut config = quick();
    config["memory_mib"] = json!(512);
    if let Some(kind) = sample.kind {
        config["type"] = json!(kind);
    }
    host.api().create(&app, config, (sample.variables)())?;
    let repository = Repository::new(host, &app)?;
    fetch(sample, repository.path())?;
    let pushed = repository.deploy(&[], "as it is published")?;
    let found = host.visit(&app, sample.path);
    host.delete(&app)?;
    ensure!(pushed.ok, "{}", pushed.output);
    let (status, page) = found?;
    let page: String = page.chars().take(20_000).collect();
    ensure!(status == 200 && page.contains(sample.says), "{status}: {page}");
    Ok(())
}

/// Unpacks an application's published source into this directory.
fn fetch(sample: &Sample, into: &Path) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let script = match sample.registry {
        Registry::Npm => {
            "npm pack --silent \"$NAME@$VERSION\" > /dev/null && tar -xzf *.tgz -C \"$INTO\" --strip-components 1"
        }
        Registry::Pypi => {
            "python3 -m pip download -q --no-deps --no-binary \"$NAME\" \"$NAME==$VERSION\" && tar -xzf *.tar.gz -C \"$INTO\" --strip-components 1"
        }
        Registry::Crates => {
            "mkdir src && touch src/lib.rs && printf '[package]\\nname = \"fetch\"\\nversion = \"0.0.0\"\\nedition = \"2021\"\\n[dependencies]\\n\"%s\" = \"=%s\"\\n[workspace]\\n' \"$NAME\" \"$VERSION\" > Cargo.toml && CARGO_HOME=\"$PWD/home\" cargo fetch -q 2>&1 | grep -v 'missing a lib target' ; cp -r home/registry/src/*/\"$NAME-$VERSION\"/. \"$INTO\""
        }
        Registry::Debian => {
            "mkdir -p lists/partial cache/archives/partial && echo 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main' > list && options=\"-o Dir::Etc::sourcelist=$PWD/list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::Lists=$PWD/lists -o Dir::Cache=$PWD/cache\" && apt-get $options update -qq && { apt-get $options source --download-only -qq \"$NAME\" || true; } && tar -xf *.orig.tar.* -C \"$INTO\" --strip-components 1"
        }
    };
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(directory.path())
        .env("NAME", sample.name)
        .env("VERSION", sample.version)
        .env("INTO", into)
        .output()
        .context("bash")?;
    ensure!(output.status.success(), "cannot be fetched: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
