//! Tasks of `mise`: a `[tasks.build]` and a `[tasks.run]` in its configuration, or files of these names in its directories of tasks.
//!
//! mise itself runs them, also in instances, where it may need nothing from a registry: so it is kept in the release where the image lacks it.

use crate::build::{
    detect::{Error, Source},
    script,
};

const CONFIGURATIONS: [&str; 6] = [
    "mise.toml",
    ".mise.toml",
    "mise/config.toml",
    ".mise/config.toml",
    ".config/mise.toml",
    ".config/mise/config.toml",
];
const DIRECTORIES: [&str; 5] =
    ["mise-tasks", ".mise-tasks", "mise/tasks", ".mise/tasks", ".config/mise/tasks"];

/// Its own configuration is trusted, and tools that it installs are part of the app.
const SETUP: &str =
    "export MISE_YES=1 MISE_TRUSTED_CONFIG_PATHS=\"$PWD\" MISE_DATA_DIR=\"$PWD/.teal/mise\"\n";

/// What a commit has for mise.
pub(super) struct Mise {
    /// Where it is configured.
    file: String,
    tasks: Vec<String>,
    /// It names tools that mise has to install.
    tools: bool,
}

impl Mise {
    pub(super) fn find(source: &Source<'_>) -> Result<Option<Self>, Error> {
        let mut found: Option<Self> = None;
        for file in CONFIGURATIONS {
            let Some(text) = source.files.read(file) else { continue };
            let table: toml::Table = text.parse().map_err(|error: toml::de::Error| Error::Unreadable {
                file: file.into(),
                reason: format!("it is not TOML ({}); correct it and push again", error.message()),
            })?;
            let keys = |name: &str| {
                table
                    .get(name)
                    .and_then(toml::Value::as_table)
                    .map(|table| table.keys().cloned().collect::<Vec<_>>())
            };
            let all =
                found.get_or_insert_with(|| Self { file: file.into(), tasks: Vec::new(), tools: false });
            all.tasks.extend(keys("tasks").unwrap_or_default());
            all.tools |= keys("tools").is_some_and(|tools| !tools.is_empty());
        }
        for directory in DIRECTORIES {
            for task in ["build", "run"] {
                let file = format!("{directory}/{task}");
                if source.files.has(&file) {
                    let all = found.get_or_insert_with(|| Self { file, tasks: Vec::new(), tools: false });
                    all.tasks.push(task.into());
                }
            }
        }
        Ok(found.filter(|mise| mise.has("build") || mise.has("run")))
    }

    pub(super) fn has(&self, task: &str) -> bool {
        self.tasks.iter().any(|name| name == task)
    }

    /// For the log.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn command(task: &str) -> String {
        format!("exec mise run {task}")
    }

    /// Before everything that runs in the app's directory.
    pub(super) fn prelude() -> String {
        script::first_in_path(script::KEPT_TOOLS) + SETUP
    }

    /// The stage `dependencies`: mise, and the tools that it is told to install.
    pub(super) fn install(&self) -> String {
        let fetch = script::keep_tool("mise", "@jdxcode/mise");
        let tools = if self.tools { "mise install" } else { "" };
        script::lines([fetch.as_str(), tools].into_iter().filter(|line| !line.is_empty()))
    }
}
