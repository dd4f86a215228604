//! A site of files: built by a command or not at all, served by Teal's own static file server (`build::site`).

use super::{Type, procfile};
use crate::build::{
    detect::{Draft, Error, Source, Start},
    script,
};

pub(super) struct StaticSite;

impl Type for StaticSite {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        if source.variable("CC_RUN_COMMAND").is_some() || procfile::web(source).is_some() {
            return None;
        }
        let root = source.folder("CC_WEBROOT").ok().flatten();
        let index = index(root.as_deref().unwrap_or("."));
        if source.files.has(&index) {
            return Some(format!("{index} is there"));
        }
        let builds = source.variable("CC_BUILD_COMMAND").is_some();
        (root.is_some() && builds).then(|| "CC_WEBROOT and CC_BUILD_COMMAND are set".into())
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let root = source.folder("CC_WEBROOT")?.unwrap_or_else(|| ".".into());
        let index = index(&root);
        let hooks = ["CC_BUILD_COMMAND", "CC_PRE_BUILD_HOOK", "CC_POST_BUILD_HOOK"];
        let builds = hooks.into_iter().any(|name| source.variable(name).is_some());
        if !builds && !source.files.has(&index) && source.variable("CC_RUN_COMMAND").is_none() {
            return Err(Error::Lacking {
                what: format!("there is no {index} to serve"),
                remedy: "add it, set CC_WEBROOT to the folder that has it, or set CC_BUILD_COMMAND to the command that makes it"
                    .into(),
            });
        }
        let page = source.files.read("package.json").is_some_and(|text| text.contains("\"build\""));
        let unbuilt = page && source.variable("CC_BUILD_COMMAND").is_none();
        let note = "package.json has a script `build`, which is not run: if the site has to be built, set CC_BUILD_COMMAND='npm ci && npm run build' and CC_WEBROOT to the folder that it writes to (often dist)";
        Ok(Draft {
            notes: if unbuilt { vec![note.into()] } else { Vec::new() },
            finish: builds.then(|| check(&index)),
            start: Some(Start::Script(format!("exec \"$TEAL_BINARY\" __static {}", script::quote(&root)))),
            needs_teal: true,
            ..Draft::default()
        })
    }
}

fn index(root: &str) -> String {
    if root == "." { "index.html".into() } else { format!("{root}/index.html") }
}

/// A build that leaves no page to serve has failed, whatever its exit code said.
fn check(index: &str) -> String {
    let message =
        format!("The build left no {index} to serve: set CC_WEBROOT to the folder that the build writes to.");
    format!("[ -f {} ] || {{ echo {} >&2; exit 1; }}", script::quote(index), script::quote(&message))
}
