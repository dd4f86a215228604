//! Node: `package.json`, dependencies by lock file, `scripts.build` if it is there, `scripts.start` or `main`.

use super::{Type, node_tools::Packages, procfile};
use crate::build::{
    detect::{Draft, Error, Source, Start},
    script,
};
use crate::release::Kind;
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) struct Node;

/// Types whose apps often have a `package.json` for their tools.
const OTHERS: [Kind; 7] =
    [Kind::Python, Kind::Ruby, Kind::Php, Kind::Go, Kind::Rust, Kind::Java, Kind::Static];

/// What of a `package.json` matters here. Odd types in fields that npm would refuse are refused, too.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Package {
    pub(super) main: Option<String>,
    pub(super) scripts: BTreeMap<String, String>,
    pub(super) package_manager: Option<String>,
    pub(super) dependencies: BTreeMap<String, serde_json::Value>,
    pub(super) dev_dependencies: BTreeMap<String, serde_json::Value>,
}

impl Package {
    fn read(source: &Source<'_>) -> Result<Self, Error> {
        let Some(text) = source.files.read("package.json") else {
            return Err(Error::Lacking {
                what: "type node needs a package.json at the top of the commit".into(),
                remedy:
                    "add one, set APP_FOLDER to the folder that has it, or change the app's setting `type`"
                        .into(),
            });
        };
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| Error::Unreadable {
            file: "package.json".into(),
            reason: format!("it is not the JSON that npm expects ({error}); correct it and push again"),
        })
    }

    fn script(&self, name: &str) -> Option<&str> {
        self.scripts.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// Does it say by itself how it is started? `npm init` writes a `main` that often is not there.
    fn starts(&self, source: &Source<'_>) -> bool {
        let main =
            |main: &str| source.files.has(main.trim_start_matches("./")) || self.script("build").is_some();
        self.script("start").is_some() || self.main().is_some_and(main)
    }

    fn main(&self) -> Option<&str> {
        self.main.as_deref().map(str::trim).filter(|main| !main.is_empty())
    }
}

impl Type for Node {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        if !source.files.has("package.json") {
            return None;
        }
        // A package.json that starts nothing often only brings the tools of an app of another type.
        let other = OTHERS.into_iter().any(|kind| super::of(kind).claims(source).is_some());
        if other && !Package::read(source).map_or(true, |package| package.starts(source)) {
            return None;
        }
        Some("package.json is there".into())
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let package = Package::read(source)?;
        let packages = Packages::choose(source, &package)?;
        let built = package.script("build").is_some();
        let mut notes = vec![packages.because.clone()];
        notes.extend(packages.note.map(str::to_owned));
        Ok(Draft {
            tools: packages.tools(),
            prelude: script::first_in_path("node_modules/.bin") + &packages.prelude(),
            dependencies: packages.install(built),
            build: built.then(|| packages.run("build")),
            finish: packages.prune(built),
            start: Some(start(source, &package, &packages)),
            notes,
            ..Draft::default()
        })
    }
}

fn start(source: &Source<'_>, package: &Package, packages: &Packages) -> Start {
    if package.script("start").is_some() {
        return Start::Script(format!("exec {}", packages.start()));
    }
    if let Some(main) = package.main() {
        let path = if main.starts_with('/') { main.to_owned() } else { format!("./{main}") };
        return Start::Script(format!("exec {} {}", packages.node(), script::quote(&path)));
    }
    if let Some(web) = procfile::web(source) {
        return Start::Script(web);
    }
    Start::Lacking(Error::Lacking {
        what: "no scripts.start and no main in package.json".into(),
        remedy: "add one of them, or set CC_RUN_COMMAND; for a site that is only built, set the app's setting `type` to static, CC_BUILD_COMMAND and CC_WEBROOT".into(),
    })
}
