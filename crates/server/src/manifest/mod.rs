//! What a repository says about itself: `teal.toml` and `clevercloud/cron.json`, read before anything is built.
//!
//! Both are optional. What the owner set on the app wins over the file: the file says what every copy of the app needs, the app what this one
//! is. Nothing here runs anything, and a mistake is told with its place, never passed over.

mod crons;
mod file;
#[cfg(test)]
mod tests;

pub use crons::Cron;

use crate::{
    appconfig::{AppConfig, Overrides},
    build::detect::{Files, Variables},
};
use serde::{Deserialize, Serialize};

/// The file's name.
pub const FILE: &str = "teal.toml";
/// The crons' file.
pub const CRONS: &str = "clevercloud/cron.json";

/// Variables that make one list: an owner who sets one of them replaces the whole list of the file.
const LISTS: [&str; 2] = ["CC_WORKER_COMMAND", "CC_HEALTH_CHECK_PATH"];

/// What a repository says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Variables, below those that the owner set.
    pub variables: Variables,
    /// Settings, below those that the owner set.
    pub settings: Overrides,
    /// What runs at certain times.
    pub crons: Vec<Cron>,
    /// Domains, beside those that the owner added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
}

/// Why it is not taken: the file, the place in it and the reason, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something at a place in `teal.toml`.
    #[error("teal.toml cannot be used: line {line}, column {column}: {reason}")]
    At {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there, and what would be right.
        reason: String,
    },
    /// A whole file.
    #[error("{file} cannot be used: {reason}")]
    File {
        /// Which.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Manifest {
    /// Reads what is there.
    ///
    /// # Errors
    /// A sentence that names the file and the place.
    pub fn read(files: &dyn Files) -> Result<Self, Error> {
        let mut manifest =
            text(files, FILE)?.map_or_else(|| Ok(Self::default()), |text| file::parse(&text))?;
        if let Some(text) = text(files, CRONS)? {
            manifest.crons = crons::parse(&text)?;
        }
        Ok(manifest)
    }

    /// Says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Does it say something of the app as a whole, which counts once this version is live?
    #[must_use]
    pub fn concerns_app(&self) -> bool {
        !self.domains.is_empty() || self.settings.keys().any(|name| file::of_app(name))
    }

    /// The type that it names.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.settings.get("type")?.as_str()
    }

    /// All variables: those of the owner, and below them what the file says.
    #[must_use]
    pub fn variables_below(&self, owner: &Variables) -> Variables {
        let mut all = self.variables.clone();
        all.retain(|name, _| !replaced(name, owner));
        all.extend(owner.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }

    /// All settings of the app, likewise.
    ///
    /// # Errors
    /// A sentence that names the setting that is unknown or out of range.
    pub fn settings_below(&self, owner: &Overrides) -> Result<AppConfig, String> {
        let mut all = self.settings.clone();
        all.extend(owner.iter().map(|(name, value)| (name.clone(), value.clone())));
        AppConfig::of(&all)
    }

    /// Lines for the log: what was read, and what of it the app's own variables replace. Never a value.
    #[must_use]
    pub fn notes(&self, owner: &Variables) -> Vec<String> {
        let mut notes = Vec::new();
        let names: Vec<&str> =
            self.variables.keys().chain(self.settings.keys()).map(String::as_str).collect();
        if !names.is_empty() {
            notes.push(format!("{FILE} sets {}", names.join(", ")));
        }
        if self.concerns_app() {
            notes.push(format!(
                "What {FILE} says of the app as a whole counts as soon as this version is live"
            ));
        }
        let lost: Vec<&str> =
            self.variables.keys().map(String::as_str).filter(|n| replaced(n, owner)).collect();
        if !lost.is_empty() {
            notes.push(format!("The app's own variables take the place of {} in {FILE}", lost.join(", ")));
        }
        match self.crons.len() {
            0 => {}
            count => notes.push(format!("{CRONS}: {count} run beside the first instance, in UTC")),
        }
        notes
    }
}

/// Did the owner set this variable, or another one of its list?
fn replaced(name: &str, owner: &Variables) -> bool {
    let list = LISTS.into_iter().find(|list| name.starts_with(list));
    owner.contains_key(name) || list.is_some_and(|list| owner.keys().any(|other| other.starts_with(list)))
}

fn text(files: &dyn Files, file: &'static str) -> Result<Option<String>, Error> {
    if !files.has(file) {
        return Ok(None);
    }
    let unreadable = || Error::File { file, reason: "it is larger than 1 MiB, or not UTF-8".into() };
    files.read(file).map(Some).ok_or_else(unreadable)
}
