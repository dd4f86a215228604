//! The example of every type, deployed by `git push` and changed once. On an image (`TEAL_IMAGE`) those whose programs are in it, else those
//! whose programs the host has; what is skipped says so.

use crate::quick;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use teal_e2e::{Host, Options, Repository};

/// An example of `examples/`, or files of its own.
struct Example {
    name: &'static str,
    /// Programs that builds and instances need.
    needs: &'static [&'static str],
    /// Images have them.
    in_images: bool,
    variables: fn() -> Value,
    /// What the log of the build says of its type.
    kind: &'static str,
    /// The file that has the version.
    file: &'static str,
    says: &'static str,
}

const fn example(
    name: &'static str,
    needs: &'static [&'static str],
    kind: &'static str,
    file: &'static str,
    says: &'static str,
) -> Example {
    Example { name, needs, in_images: true, variables: || json!({}), kind, file, says }
}

fn all() -> Vec<Example> {
    vec![
        example(
            "make",
            &["make", "gcc"],
            "Type linux: Makefile has a target `run`",
            "hello.c",
            "Hello from C",
        ),
        example("rust", &["cargo"], "Type rust: Cargo.toml is there", "src/main.rs", "Hello from Rust"),
        example("go", &["go"], "Type go: go.mod is there", "main.go", "Hello from Go"),
        example(
            "php",
            &["php", "composer"],
            "Type php: composer.json is there",
            "index.php",
            "Hello from PHP",
        ),
        example("ruby", &["ruby", "bundle"], "Type ruby: Gemfile is there", "server.rb", "Hello from Ruby"),
        Example {
            in_images: false,
            variables: || {
                json!({
                    "CC_BUILD_COMMAND": "mkdir out && javac -d out Main.java && jar --create --file app.jar --main-class Main -C out .",
                    "CC_JAR_PATH": "app.jar",
                })
            },
            ..example(
                "java",
                &["java", "javac"],
                "Type java: CC_JAR_PATH is set",
                "Main.java",
                "Hello from Java",
            )
        },
    ]
}

#[test]
fn the_example_of_every_type() -> Result<()> {
    let image = std::env::var_os("TEAL_IMAGE").map(PathBuf::from);
    let config = if image.is_some() { "image = \"debian-12\"\n".into() } else { String::new() };
    let host = Host::start(&Options { config, image: image.clone(), ..Options::default() })?;
    for example in all() {
        let there = match &image {
            Some(_) => example.in_images,
            None => example.needs.iter().all(|program| Path::new("/usr/bin").join(program).exists()),
        };
        if !there {
            println!("SKIPPED: {}: {} is not there", example.name, example.needs.join(", "));
            continue;
        }
        lives(&host, &example).with_context(|| example.name)?;
        println!("{}: {}", example.name, example.says);
    }
    Ok(())
}

/// Two versions, one after the other.
fn lives(host: &Host, example: &Example) -> Result<()> {
    host.api().create(example.name, quick(), (example.variables)())?;
    let repository = Repository::new(host, example.name)?;
    let files = files(example.name)?;
    let texts: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let pushed = repository.deploy(&texts, "one")?;
    assert!(pushed.ok && pushed.output.contains(example.kind), "{}: {}", example.name, pushed.output);
    let (status, page) = host.visit(example.name, "/")?;
    assert!(status == 200 && page.contains(&format!("{}, version 1.0.0", example.says)), "{status} {page}");
    let (_, text) = texts.iter().find(|(name, _)| *name == example.file).context("no such file")?;
    let pushed = repository.deploy(&[(example.file, &text.replacen("1.0.0", "1.0.1", 1))], "two")?;
    assert!(pushed.ok, "{}: {}", example.name, pushed.output);
    let (_, page) = host.visit(example.name, "/")?;
    assert!(page.contains(&format!("{}, version 1.0.1", example.says)), "{page}");
    host.delete(example.name)
}

/// The files of an example, with its folders.
fn files(name: &str) -> Result<Vec<(String, String)>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path().strip_prefix(&root)?.to_string_lossy().into_owned();
            files.push((path, fs::read_to_string(entry.path())?));
        }
    }
    Ok(files)
}

const APP: &str = "async def app(scope, receive, send):\n    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n    await send({'type': 'http.response.body', 'body': b'asgi'})\n";
const WSGI: &str =
    "def app(environ, start):\n    start('200 OK', [('content-type', 'text/plain')])\n    return [b'wsgi']\n";

/// What serves a Python app, and its files beside it.
#[test]
fn every_server_of_python_with_static_files() -> Result<()> {
    let host = Host::start(&Options::default())?;
    for (server, text) in [("gunicorn", WSGI), ("uvicorn", APP), ("daphne", APP)] {
        let variables = json!({
            "CC_PYTHON_MODULE": "web:app", "CC_PYTHON_BACKEND": server,
            "STATIC_FILES_PATH": "public", "STATIC_URL_PREFIX": "/assets", "CC_CACHE_DEPENDENCIES": "true",
        });
        host.api().create(server, quick(), variables)?;
        let repository = Repository::new(&host, server)?;
        let files = [("web.py", text), ("requirements.txt", ""), ("public/a.css", "body{}")];
        let pushed = repository.deploy(&files, "one")?;
        assert!(pushed.ok, "{server}: {}", pushed.output);
        let page = host.visit(server, "/")?;
        assert!(page.0 == 200 && page.1.ends_with("sgi"), "{server}: {page:?}");
        assert_eq!(host.visit(server, "/assets/a.css")?, (200, "body{}".into()), "{server}");
        let inside = host.visit(server, "/assets/%2e%2e/web.py")?;
        assert!(!inside.1.contains("def app"), "{server}: {inside:?}");
        host.delete(server)?;
    }
    Ok(())
}

/// A manager, the version that `packageManager` names, and a lock file of its own.
const MANAGERS: [(&str, &str, &str, &str); 4] = [
    ("pnpm", "pnpm@9.15.9", "pnpm-lock.yaml", PNPM),
    ("yarn", "yarn@1.22.22", "yarn.lock", YARN),
    ("berry", "yarn@4.9.1", "yarn.lock", BERRY),
    ("bun", "bun@1.2.20", "bun.lock", BUN),
];

const PNPM: &str = "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .:\n    dependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\n\npackages:\n\n  ms@2.1.3:\n    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}\n\nsnapshots:\n\n  ms@2.1.3: {}\n";
const YARN: &str = "# yarn lockfile v1\n\n\nms@2.1.3:\n  version \"2.1.3\"\n  resolved \"https://registry.yarnpkg.com/ms/-/ms-2.1.3.tgz#574c8138ce1d2b5861f0b44579dbadd60c6615b2\"\n  integrity sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==\n";
const BERRY: &str = "# This file is generated by running \"yarn install\" inside your project.\n# Manual changes might be lost - proceed with caution!\n\n__metadata:\n  version: 8\n  cacheKey: 10c0\n\n\"ms@npm:2.1.3\":\n  version: 2.1.3\n  resolution: \"ms@npm:2.1.3\"\n  checksum: 10c0/d924b57e7312b3b63ad21fc5b3dc0af5e78d61a1fc7cfb5457edaf26326bf62be5307cc87ffb6862ef1c2b33b0233cdb5d4f01c4c958cc0d660948b65a287a48\n  languageName: node\n  linkType: hard\n\n\"x@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"x@workspace:.\"\n  dependencies:\n    ms: \"npm:2.1.3\"\n  languageName: unknown\n  linkType: soft\n";
const BUN: &str = r#"{"lockfileVersion":1,"workspaces":{"":{"name":"x","dependencies":{"ms":"2.1.3"}}},"packages":{"ms":["ms@2.1.3","",{},"sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=="]}}"#;

/// Managers that the host lacks come from the registry, into the release.
#[test]
fn managers_of_node_that_the_host_lacks() -> Result<()> {
    let server = "require('http').createServer((q, s) => s.end('ms: ' + require('ms')('2s'))).listen(process.env.PORT, '0.0.0.0')";
    let host = Host::start(&Options::default())?;
    for (name, manager, lock, text) in MANAGERS {
        let package = json!({
            "name": "x", "version": "1.0.0", "packageManager": manager,
            "scripts": {"start": "node server.js"}, "dependencies": {"ms": "2.1.3"},
        });
        host.api().create(name, quick(), json!({}))?;
        let repository = Repository::new(&host, name)?;
        let files = [
            ("package.json", package.to_string()),
            ("server.js", server.to_owned()),
            (lock, text.to_owned()),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let pushed = repository.deploy(&files, "one")?;
        assert!(pushed.ok, "{name}: {}", pushed.output);
        assert_eq!(host.visit(name, "/")?, (200, "ms: 2000".into()), "{name}");
        host.delete(name)?;
    }
    Ok(())
}
