//! Which package manager installs a Node app's dependencies, and how each of them is called.

use super::node::Package;
use crate::build::{
    detect::{Error, Source, Tool},
    script,
};

const NODE: Tool = Tool { command: "node", remedy: "install the Debian package `nodejs`" };
const NPM: Tool = Tool { command: "npm", remedy: "install the Debian package `npm`" };
/// Quiet, and nothing that asks a registry for more than packages.
const QUIET: &str = "export npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Manager {
    NpmCi,
    NpmInstall,
    Yarn,
    YarnBerry,
    Pnpm,
    Bun,
    Custom(String),
}

/// What happens to development dependencies (`CC_NODE_DEV_DEPENDENCIES`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Development {
    /// `install`: installed and kept.
    Keep,
    /// `ignore`: never installed.
    Ignore,
    /// Not set: there for the build, gone afterwards.
    Prune,
}

/// The package manager of one app.
pub(super) struct Packages {
    manager: Manager,
    development: Development,
    /// `name@version` of `packageManager`, for a manager that this server lacks.
    version: Option<String>,
    /// What reads the lock file, for pnpm.
    pnpm: &'static str,
    berry: Berry,
    /// Has it development dependencies at all?
    has_dev: bool,
    /// A line for the log.
    pub(super) because: String,
    /// A further one.
    pub(super) note: Option<&'static str>,
}

impl Packages {
    pub(super) fn choose(source: &Source<'_>, package: &Package) -> Result<Self, Error> {
        let (manager, because) = match source.variable("CC_NODE_BUILD_TOOL") {
            Some(tool) => (named(source, tool)?, format!("CC_NODE_BUILD_TOOL={tool}")),
            None => by_lock(source),
        };
        let unlocked = manager == Manager::NpmInstall && source.variable("CC_NODE_BUILD_TOOL").is_none();
        Ok(Self {
            development: development(source)?,
            version: package.package_manager.as_deref().and_then(version),
            pnpm: pnpm(source),
            berry: Berry::of(source),
            has_dev: !package.dev_dependencies.is_empty(),
            because: format!("Dependencies: {} ({because})", manager.word()),
            note: unlocked.then_some(
                "Without a lock file two builds of this commit may differ: commit package-lock.json",
            ),
            manager,
        })
    }

    pub(super) fn tools(&self) -> Vec<Tool> {
        match self.manager {
            Manager::Bun => Vec::new(),
            _ => vec![NODE, NPM],
        }
    }

    /// Before everything that runs in the app's directory: where a manager is that the image lacks.
    pub(super) fn prelude(&self) -> String {
        match self.manager {
            Manager::NpmCi | Manager::NpmInstall | Manager::Custom(_) => String::new(),
            _ => script::first_in_path(script::KEPT_TOOLS),
        }
    }

    /// The stage `dependencies`. With a build, development dependencies are there until it is over.
    pub(super) fn install(&self, built: bool) -> Option<String> {
        let without =
            self.development == Development::Ignore || self.development == Development::Prune && !built;
        let command = match (&self.manager, without) {
            (Manager::NpmCi, true) => "npm ci --omit=dev",
            (Manager::NpmCi, false) => "npm ci --include=dev",
            (Manager::NpmInstall, true) => "npm install --no-save --omit=dev",
            (Manager::NpmInstall, false) => "npm install --no-save --include=dev",
            (Manager::Yarn, true) => "yarn install --frozen-lockfile --non-interactive --production=true",
            (Manager::Yarn, false) => "yarn install --frozen-lockfile --non-interactive --production=false",
            (Manager::YarnBerry, _) => "yarn install --immutable",
            (Manager::Pnpm, true) => {
                "CI=true pnpm install --store-dir \"$TEAL_CACHE/pnpm\" --frozen-lockfile --prod"
            }
            (Manager::Pnpm, false) => {
                "CI=true pnpm install --store-dir \"$TEAL_CACHE/pnpm\" --frozen-lockfile --prod=false"
            }
            (Manager::Bun, true) => "bun install --frozen-lockfile --production",
            (Manager::Bun, false) => "bun install --frozen-lockfile",
            (Manager::Custom(command), _) => command,
        };
        Some(self.lines(&[&self.fetch(), command]))
    }

    /// The stage `finish`: development dependencies do not belong in the release.
    pub(super) fn prune(&self, built: bool) -> Option<String> {
        if self.development != Development::Prune || !built || !self.has_dev {
            return None;
        }
        let command = match self.manager {
            Manager::NpmCi | Manager::NpmInstall => "npm prune --omit=dev --no-save",
            Manager::Yarn => {
                "yarn install --frozen-lockfile --non-interactive --production=true --ignore-scripts --prefer-offline"
            }
            Manager::Pnpm => "CI=true pnpm prune --prod --ignore-scripts",
            Manager::YarnBerry | Manager::Bun | Manager::Custom(_) => return None,
        };
        Some(self.lines(&[command]))
    }

    /// Runs a script of package.json during the build.
    pub(super) fn run(&self, name: &str) -> String {
        let command = match self.manager {
            Manager::YarnBerry => format!("yarn run {name}"),
            Manager::Bun => format!("bun run {name}"),
            _ => format!("npm run {name}"),
        };
        self.lines(&[&command])
    }

    /// What starts the app: needs nothing from a registry. `npm start` reads what any manager installed, save berry's plug'n'play.
    pub(super) fn start(&self) -> &'static str {
        match self.manager {
            Manager::YarnBerry if self.berry.plug => "yarn run start",
            Manager::Bun => "bun run start",
            _ => "npm start --no-update-notifier",
        }
    }

    /// What runs a file of the app.
    pub(super) fn node(&self) -> &'static str {
        match self.manager {
            Manager::YarnBerry if self.berry.plug => "yarn node",
            Manager::Bun => "bun",
            _ => "node",
        }
    }

    fn lines(&self, lines: &[&str]) -> String {
        let berry = if self.manager == Manager::YarnBerry { self.berry.setup() } else { String::new() };
        let all = [QUIET, &berry].into_iter().chain(lines.iter().copied());
        script::lines(all.filter(|line| !line.is_empty()))
    }

    /// Fetches the manager where the image lacks it, in the version that `packageManager` names, or one that reads this lock file.
    fn fetch(&self) -> String {
        let (name, package) = match self.manager {
            Manager::Yarn => ("yarn", "yarn@1"),
            Manager::Pnpm => ("pnpm", self.pnpm),
            Manager::YarnBerry => ("yarn", "@yarnpkg/cli-dist@4"),
            Manager::Bun => ("bun", "bun@1"),
            _ => return String::new(),
        };
        let version = self.version.as_deref().filter(|version| version.starts_with(&format!("{name}@")));
        let package = match (&self.manager, version) {
            (Manager::YarnBerry, Some(version)) => version.replacen("yarn", "@yarnpkg/cli-dist", 1),
            (_, Some(version)) => version.to_owned(),
            (_, None) => package.to_owned(),
        };
        script::keep_tool(name, &package)
    }
}

/// How yarn berry lays out an app.
struct Berry {
    /// Packages stay in archives that only yarn can read: they belong in the release.
    plug: bool,
    /// The app names a registry of its own.
    registry: bool,
}

impl Berry {
    fn of(source: &Source<'_>) -> Self {
        let rc = source.files.read(".yarnrc.yml").unwrap_or_default();
        let linker = rc.lines().find_map(|line| line.strip_prefix("nodeLinker:")).unwrap_or("pnp");
        Self {
            plug: linker.trim().trim_matches(['"', '\'']) == "pnp",
            registry: rc.contains("npmRegistryServer"),
        }
    }

    fn setup(&self) -> String {
        let mut text = "export YARN_ENABLE_TELEMETRY=0".to_owned();
        if self.plug {
            text += " YARN_ENABLE_GLOBAL_CACHE=false YARN_CACHE_FOLDER=\"$PWD/.yarn/cache\"";
        }
        if !self.registry {
            // It does not read npm's configuration, in which the operator may name a mirror.
            text += "\nexport YARN_NPM_REGISTRY_SERVER=\"${YARN_NPM_REGISTRY_SERVER:-$(npm config get registry)}\"";
        }
        text
    }
}

/// The newest pnpm that reads this lock file and runs on the image's node.
fn pnpm(source: &Source<'_>) -> &'static str {
    let lock = source.files.read("pnpm-lock.yaml").unwrap_or_default();
    let version = lock.lines().find_map(|line| line.strip_prefix("lockfileVersion:")).unwrap_or_default();
    match version.trim().trim_matches(['"', '\'']).split('.').next() {
        Some("5") => "pnpm@7",
        Some("6") => "pnpm@8",
        _ => "pnpm@9",
    }
}

impl Manager {
    fn word(&self) -> &'static str {
        match self {
            Self::NpmCi => "npm ci",
            Self::NpmInstall => "npm install",
            Self::Yarn => "yarn",
            Self::YarnBerry => "yarn berry",
            Self::Pnpm => "pnpm",
            Self::Bun => "bun",
            Self::Custom(_) => "CC_CUSTOM_BUILD_TOOL",
        }
    }
}

fn named(source: &Source<'_>, tool: &str) -> Result<Manager, Error> {
    Ok(match tool {
        "npm" if locked(source) => Manager::NpmCi,
        "npm" | "npm-install" => Manager::NpmInstall,
        "npm-ci" => Manager::NpmCi,
        "yarn" => Manager::Yarn,
        "yarn-berry" | "yarn2" => Manager::YarnBerry,
        "pnpm" => Manager::Pnpm,
        "bun" => Manager::Bun,
        "custom" => match source.variable("CC_CUSTOM_BUILD_TOOL") {
            Some(command) => Manager::Custom(command.to_owned()),
            None => {
                return Err(Error::Lacking {
                    what: "CC_NODE_BUILD_TOOL=custom, but CC_CUSTOM_BUILD_TOOL is not set".into(),
                    remedy: "set it to the command that installs the dependencies".into(),
                });
            }
        },
        _ => {
            return Err(Error::Variable {
                name: "CC_NODE_BUILD_TOOL",
                value: tool.to_owned(),
                remedy: "use npm, npm-ci, npm-install, pnpm, yarn, yarn-berry, bun or custom".into(),
            });
        }
    })
}

fn by_lock(source: &Source<'_>) -> (Manager, String) {
    let there = |path: &'static str| source.files.has(path).then_some(path);
    if let Some(lock) = there("yarn.lock") {
        let berry = source.files.has(".yarnrc.yml")
            || source.files.read(lock).is_some_and(|text| text.lines().any(|line| line == "__metadata:"));
        return (if berry { Manager::YarnBerry } else { Manager::Yarn }, format!("{lock} is there"));
    }
    if let Some(lock) = there("pnpm-lock.yaml") {
        return (Manager::Pnpm, format!("{lock} is there"));
    }
    if let Some(lock) = there("bun.lock").or_else(|| there("bun.lockb")) {
        return (Manager::Bun, format!("{lock} is there"));
    }
    if locked(source) {
        return (Manager::NpmCi, "package-lock.json is there".into());
    }
    (Manager::NpmInstall, "no lock file is there".into())
}

fn locked(source: &Source<'_>) -> bool {
    source.files.has("package-lock.json") || source.files.has("npm-shrinkwrap.json")
}

fn development(source: &Source<'_>) -> Result<Development, Error> {
    match source.variable("CC_NODE_DEV_DEPENDENCIES") {
        None => Ok(Development::Prune),
        Some("install") => Ok(Development::Keep),
        Some("ignore") => Ok(Development::Ignore),
        Some(other) => Err(Error::Variable {
            name: "CC_NODE_DEV_DEPENDENCIES",
            value: other.to_owned(),
            remedy: "use install (kept in the release) or ignore (never installed)".into(),
        }),
    }
}

/// `pnpm@9.1.0+sha512.…` → `pnpm@9.1.0`; anything that is not a name and a version is ignored.
fn version(text: &str) -> Option<String> {
    let (name, version) = text.split_once('@')?;
    let version = version.split('+').next()?;
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
    (plain(name) && plain(version) && !version.is_empty()).then(|| format!("{name}@{version}"))
}
