//! The form of `teal.toml`. Every key is documented where it is defined (and in docs/teal-toml.md); an unknown one is refused with its place.
//!
//! Each key becomes the variable or the setting that an owner would set: whoever knows one way knows the other, and there is one path behind.

use super::{Error, FILE, Manifest};
use crate::{
    appconfig::AppConfig,
    build::variables,
    release::{FAILED_HOOK, RELEASE_COMMAND, SUCCEEDED_HOOK, TASK},
};
use serde::Deserialize;
use std::collections::BTreeMap;
use teal_core::domain;
use toml::Spanned;

/// What an app may not say here: it counts before the file is read.
const TOO_LATE: [&str; 3] = ["APP_FOLDER", "CC_DISABLE_BUILD_CACHE_UPLOAD", "CC_CACHE_DEPENDENCIES"];
/// The most commands of workers, and paths of the health check.
const MAX_LIST: usize = 50;

type Text = Option<Spanned<String>>;
type Number = Option<Spanned<u64>>;
type Flag = Option<Spanned<bool>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// The setting `type`.
    r#type: Text,
    build: Build,
    run: Run,
    health: Health,
    release: Release,
    worker: Worker,
    instance: Instance,
    app: App,
    /// Domains of the app, beside those that its owner added.
    domains: Vec<Spanned<String>>,
    /// Any other variable. No secrets: whoever reads the repository reads them.
    variables: BTreeMap<String, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Build {
    /// `CC_BUILD_COMMAND`.
    command: Text,
    /// `CC_PRE_BUILD_HOOK`.
    before: Text,
    /// `CC_POST_BUILD_HOOK`.
    after: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Run {
    /// `CC_RUN_COMMAND`.
    command: Text,
    /// `CC_PRE_RUN_HOOK`.
    before: Text,
    /// `CC_TASK`.
    task: Flag,
    /// `CC_RUN_SUCCEEDED_HOOK`.
    succeeded: Text,
    /// `CC_RUN_FAILED_HOOK`.
    failed: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Health {
    /// `CC_HEALTH_CHECK_PATH_0`, `_1`, …
    paths: Vec<Spanned<String>>,
    /// The setting `strict_health`.
    strict: Flag,
    /// The setting `health`: `http` or `tcp`.
    kind: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Release {
    /// `CC_RELEASE_COMMAND`.
    command: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Worker {
    /// `CC_WORKER_COMMAND_0`, `_1`, …
    commands: Vec<Spanned<String>>,
    /// `CC_WORKER_RESTART`.
    restart: Text,
    /// `CC_WORKER_RESTART_DELAY`.
    restart_delay_s: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Instance {
    /// The setting of this name.
    memory_mib: Number,
    /// The setting of this name.
    cpu_milli: Number,
    /// The setting of this name.
    pids: Number,
    /// The setting of this name.
    disk_mib: Number,
}

/// Settings of the app as a whole, by their own names: they count as soon as a version that says so is live.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct App {
    instances: Number,
    bake_s: Number,
    drain_s: Number,
    upgraded_s: Number,
    off_after_s: Number,
    disk_after_s: Number,
    start_deadline_s: Number,
    good_probes: Number,
    max_requests: Number,
    max_requests_per_client: Number,
    hold: Flag,
    cancel_on_push: Flag,
    force_https: Flag,
    sticky_sessions: Flag,
}

impl App {
    fn numbers(&self) -> [(&'static str, &Number); 10] {
        [
            ("instances", &self.instances),
            ("bake_s", &self.bake_s),
            ("drain_s", &self.drain_s),
            ("upgraded_s", &self.upgraded_s),
            ("off_after_s", &self.off_after_s),
            ("disk_after_s", &self.disk_after_s),
            ("start_deadline_s", &self.start_deadline_s),
            ("good_probes", &self.good_probes),
            ("max_requests", &self.max_requests),
            ("max_requests_per_client", &self.max_requests_per_client),
        ]
    }

    fn flags(&self) -> [(&'static str, &Flag); 4] {
        [
            ("hold", &self.hold),
            ("cancel_on_push", &self.cancel_on_push),
            ("force_https", &self.force_https),
            ("sticky_sessions", &self.sticky_sessions),
        ]
    }
}

/// Does this setting concern the app as a whole?
pub(super) fn of_app(name: &str) -> bool {
    let app = App::default();
    app.numbers().iter().any(|(known, _)| *known == name)
        || app.flags().iter().any(|(known, _)| *known == name)
}

/// Reads the file.
pub(super) fn parse(text: &str) -> Result<Manifest, Error> {
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        at(text, start, error.message().to_owned())
    })?;
    let mut reader = Reader { text, manifest: Manifest::default() };
    reader.settings(&file)?;
    reader.commands(&file)?;
    reader.lists(&file)?;
    reader.app(&file)?;
    for (name, value) in &file.variables {
        reader.own(name, value)?;
    }
    Ok(reader.manifest)
}

/// The place of a byte, counted as editors do.
fn at(text: &str, offset: usize, reason: String) -> Error {
    let before = text.get(..offset.min(text.len())).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::At { line, column, reason }
}

struct Reader<'a> {
    text: &'a str,
    manifest: Manifest,
}

impl Reader<'_> {
    fn settings(&mut self, file: &File) -> Result<(), Error> {
        let Instance { memory_mib, cpu_milli, pids, disk_mib } = &file.instance;
        self.setting("type", file.r#type.as_ref())?;
        self.setting("strict_health", file.health.strict.as_ref())?;
        self.setting("health", file.health.kind.as_ref())?;
        for (name, value) in
            [("memory_mib", memory_mib), ("cpu_milli", cpu_milli), ("pids", pids), ("disk_mib", disk_mib)]
        {
            self.setting(name, value.as_ref())?;
        }
        Ok(())
    }

    fn commands(&mut self, file: &File) -> Result<(), Error> {
        let all = [
            ("CC_BUILD_COMMAND", &file.build.command),
            ("CC_PRE_BUILD_HOOK", &file.build.before),
            ("CC_POST_BUILD_HOOK", &file.build.after),
            ("CC_RUN_COMMAND", &file.run.command),
            ("CC_PRE_RUN_HOOK", &file.run.before),
            (SUCCEEDED_HOOK, &file.run.succeeded),
            (FAILED_HOOK, &file.run.failed),
            (RELEASE_COMMAND, &file.release.command),
            ("CC_WORKER_RESTART", &file.worker.restart),
        ];
        for (name, value) in all {
            if let Some(value) = value {
                self.variable(name, value)?;
            }
        }
        self.written("CC_WORKER_RESTART_DELAY", file.worker.restart_delay_s.as_ref())?;
        self.written(TASK, file.run.task.as_ref())
    }

    /// A number or a switch that becomes a variable.
    fn written<T: ToString>(&mut self, name: &str, value: Option<&Spanned<T>>) -> Result<(), Error> {
        let Some(value) = value else { return Ok(()) };
        self.variable(name, &Spanned::new(value.span(), value.get_ref().to_string()))
    }

    fn app(&mut self, file: &File) -> Result<(), Error> {
        for (name, value) in file.app.numbers() {
            self.setting(name, value.as_ref())?;
        }
        for (name, value) in file.app.flags() {
            self.setting(name, value.as_ref())?;
        }
        for (given, number) in file.domains.iter().zip(0..) {
            let start = given.span().start;
            if number >= MAX_LIST {
                return Err(at(self.text, start, format!("this list has at most {MAX_LIST} entries")));
            }
            let parsed = domain::parse(given.get_ref()).map_err(|why| {
                at(self.text, start, format!("`{}` {why}", crate::log::harmless(given.get_ref())))
            })?;
            self.manifest.domains.push(parsed);
        }
        Ok(())
    }

    fn lists(&mut self, file: &File) -> Result<(), Error> {
        let lists =
            [("CC_HEALTH_CHECK_PATH", &file.health.paths), ("CC_WORKER_COMMAND", &file.worker.commands)];
        for (name, values) in lists {
            for (value, number) in values.iter().zip(0..) {
                if number >= MAX_LIST {
                    let start = value.span().start;
                    return Err(at(self.text, start, format!("this list has at most {MAX_LIST} entries")));
                }
                self.variable(&format!("{name}_{number}"), value)?;
            }
        }
        Ok(())
    }

    fn own(&mut self, name: &str, value: &Spanned<String>) -> Result<(), Error> {
        if TOO_LATE.contains(&name) {
            let reason = format!("`{name}` counts before {FILE} is read: set it with `teal env set`");
            return Err(at(self.text, value.span().start, reason));
        }
        if self.manifest.variables.contains_key(name) {
            let reason = format!("`{name}` is said by another key of this file already");
            return Err(at(self.text, value.span().start, reason));
        }
        self.variable(name, value)
    }

    fn variable(&mut self, name: &str, value: &Spanned<String>) -> Result<(), Error> {
        variables::check(name, value.get_ref())
            .map_err(|error| at(self.text, value.span().start, error.to_string()))?;
        self.manifest.variables.insert(name.to_owned(), value.get_ref().clone());
        Ok(())
    }

    fn setting<T>(&mut self, name: &str, value: Option<&Spanned<T>>) -> Result<(), Error>
    where
        T: Clone + Into<serde_json::Value>,
    {
        let Some(value) = value else { return Ok(()) };
        let json: serde_json::Value = value.get_ref().clone().into();
        AppConfig::of(&BTreeMap::from([(name.to_owned(), json.clone())]))
            .map_err(|reason| at(self.text, value.span().start, reason))?;
        self.manifest.settings.insert(name.to_owned(), json);
        Ok(())
    }
}
