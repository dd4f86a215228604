//! Which type an app is, and what is therefore to be run: a pure function of the files of a commit and the variables.
//!
//! It never touches a disk by itself and never guesses in silence: [`Plan::because`] says which file decided, and every refusal is a
//! sentence that says what is missing and what to do. One file per type is in `kinds`.

use super::{kinds, script};
use crate::release::{Kind, Run};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use teal_runtime::Command;

/// The largest file that detection reads, in bytes.
pub const MAX_READ: u64 = 1024 * 1024;

/// Variables by name.
pub type Variables = BTreeMap<String, String>;

/// What detection may see of a commit. Paths are relative to the app's directory and separated by `/`.
pub trait Files {
    /// Is there a regular file of this name?
    fn has(&self, path: &str) -> bool;
    /// Its text; `None` if it is not there, larger than [`MAX_READ`] or not UTF-8.
    fn read(&self, path: &str) -> Option<String>;
    /// The names at the top, directories with a `/` at the end, in order.
    fn top(&self) -> Vec<String>;
}

/// What is to be done with a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its type.
    pub kind: Kind,
    /// Which file or setting decided, and how to override it: a line for the log.
    pub because: String,
    /// The commands of the build, in order.
    pub build: Vec<Command>,
    /// Further lines for the log: what was seen and is not done.
    pub notes: Vec<String>,
    /// How its instances run.
    pub run: Run,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The app's setting names no type of ours.
    #[error("the app's type `{given}` is not one that Teal builds: set it to {}", Kind::names())]
    UnknownType {
        /// The setting.
        given: String,
    },
    /// Nothing says what it is.
    #[error(
        "cannot tell what this app is: at the top of the commit there is no package.json, requirements.txt, pyproject.toml, Gemfile, composer.json, go.mod, Cargo.toml, pom.xml, index.html, Procfile, mise.toml or Makefile with a `run` target ({seen}); add one, set APP_FOLDER to the folder that has it, or set CC_RUN_COMMAND"
    )]
    Undetected {
        /// What is at the top instead.
        seen: String,
    },
    /// A file is there and is not what it should be.
    #[error("{file} cannot be used: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Something that the type needs is not there.
    #[error("{what}: {remedy}")]
    Lacking {
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A variable has a value that means nothing.
    #[error("{name}={value} means nothing: {remedy}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Its value (none of these variables is a secret).
        value: String,
        /// What would be right.
        remedy: String,
    },
}

/// What a type has to look at.
pub(super) struct Source<'a> {
    /// The files of the commit.
    pub(super) files: &'a dyn Files,
    /// The user's variables.
    pub(super) variables: &'a Variables,
}

impl Source<'_> {
    /// A variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A variable that names a path inside the app's directory; a leading `/` means that directory.
    pub(super) fn folder(&self, name: &'static str) -> Result<Option<String>, Error> {
        let Some(value) = self.variable(name) else { return Ok(None) };
        super::tree::inside(value).map(Some).ok_or_else(|| Error::Variable {
            name,
            value: value.to_owned(),
            remedy: "give a path inside the app's directory, without `..`".into(),
        })
    }
}

/// What a type makes of its source; the hooks are put around it by [`plan`].
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Commands that have to be there, with the Debian package that brings each.
    pub(super) tools: Vec<Tool>,
    /// Put before everything that runs in the app's directory: its own tools first in `PATH`.
    pub(super) prelude: String,
    /// The stage `dependencies`.
    pub(super) dependencies: Option<String>,
    /// The stage `build`; `CC_BUILD_COMMAND` takes its place.
    pub(super) build: Option<String>,
    /// The stage `finish`: after the last hook, before the release is sealed.
    pub(super) finish: Option<String>,
    /// What the type would start; `CC_RUN_COMMAND` takes its place.
    pub(super) start: Option<Start>,
    /// Variables of the instances, unless the user sets them.
    pub(super) variables: Variables,
    /// It is served by Teal's own static file server.
    pub(super) needs_teal: bool,
    /// Lines for the log.
    pub(super) notes: Vec<String>,
}

/// What starts the app, or what would be needed to start it.
#[derive(Debug)]
pub(super) enum Start {
    /// This script.
    Script(String),
    /// Nothing, unless `CC_RUN_COMMAND` is set.
    Lacking(Error),
}

/// A command that the host must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tool {
    /// As it is called.
    pub(super) command: &'static str,
    /// How to get it.
    pub(super) remedy: &'static str,
}

/// Decides the type and makes the plan.
///
/// # Errors
/// A sentence for the log and the mail: what is missing and what to do.
pub fn plan(files: &dyn Files, variables: &Variables, explicit: Option<&str>) -> Result<Plan, Error> {
    let source = Source { files, variables };
    let (kind, because) = decide(&source, explicit)?;
    let mut draft = kinds::of(kind).draft(&source)?;
    if let Some(path) = kinds::dockerfile(&source) {
        draft.notes.push(format!("{path} is there and is not used: Teal builds this app as {kind}"));
    }
    assemble(&source, kind, because, draft)
}

fn decide(source: &Source<'_>, explicit: Option<&str>) -> Result<(Kind, String), Error> {
    if let Some(given) = explicit.map(str::trim).filter(|given| !given.is_empty()) {
        if given == "docker" {
            return Err(kinds::no_docker(source));
        }
        let kind = Kind::named(given).ok_or_else(|| Error::UnknownType { given: given.to_owned() })?;
        return Ok((kind, format!("Type {kind}: the app's setting `type` says so")));
    }
    let claim = Kind::ALL.into_iter().find_map(|kind| Some((kind, kinds::of(kind).claims(source)?)));
    let Some((kind, found)) = claim else {
        let docker = kinds::dockerfile(source).is_some();
        return Err(if docker { kinds::no_docker(source) } else { undetected(source) });
    };
    Ok((kind, format!("Type {kind}: {found} (set the app's setting `type` to override)")))
}

fn undetected(source: &Source<'_>) -> Error {
    let top = source.files.top();
    let shown: Vec<_> = top.iter().take(12).map(String::as_str).collect();
    let seen = match (top.len(), shown.len()) {
        (0, _) => "the commit is empty".to_owned(),
        (all, some) if all > some => format!("there is {} and {} more", shown.join(", "), all - some),
        _ => format!("there is {}", shown.join(", ")),
    };
    Error::Undetected { seen }
}

/// Puts the hooks around a type's draft, in CONTRACT's order.
fn assemble(source: &Source<'_>, kind: Kind, because: String, draft: Draft) -> Result<Plan, Error> {
    let command = |stage: &str, text: &str| Command {
        stage: stage.to_owned(),
        script: format!("{}{text}", draft.prelude),
    };
    let hook = |name: &'static str| source.variable(name).map(|text| command(name, text));
    let own = source.variable("CC_BUILD_COMMAND").map(str::to_owned);
    let build = [
        script::tools(&draft.tools).map(|text| Command { stage: TOOLS.into(), script: text }),
        hook("CC_PRE_BUILD_HOOK"),
        draft.dependencies.as_deref().map(|text| command("dependencies", text)),
        own.or(draft.build).map(|text| command("build", &text)),
        hook("CC_POST_BUILD_HOOK"),
        draft.finish.as_deref().map(|text| command("finish", text)),
    ];
    let start = match (draft.start, source.variable("CC_RUN_COMMAND")) {
        (Some(Start::Script(text)), _) => Some(text),
        (_, Some(_)) => None,
        (Some(Start::Lacking(error)), None) => return Err(error),
        (None, None) => return Err(undetected(source)),
    };
    let mut notes = draft.notes;
    notes.push(starts(source, start.as_deref()));
    let run = Run {
        prelude: draft.prelude.clone(),
        start,
        variables: draft.variables,
        port: PORT,
        needs_teal: draft.needs_teal,
    };
    Ok(Plan { kind, because, build: build.into_iter().flatten().collect(), notes, run })
}

/// What will start the app, for the log. A command of the user's own may hold a secret: only its variable is named.
fn starts(source: &Source<'_>, start: Option<&str>) -> String {
    if source.variable("CC_RUN_COMMAND").is_some() {
        return "Start: CC_RUN_COMMAND".into();
    }
    let line = start.and_then(|text| text.lines().last()).unwrap_or_default();
    let line: String = line.trim_start_matches("exec ").chars().take(200).collect();
    format!("Start: {} (set CC_RUN_COMMAND to override)", crate::log::harmless(&line))
}

/// The stage that looks for the commands that a type needs.
pub(super) const TOOLS: &str = "tools";

/// Where every app listens.
pub const PORT: u16 = 8080;

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
