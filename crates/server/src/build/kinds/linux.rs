//! Anything: a build command and a run command, from variables, a `Procfile` or a `Makefile`.

use super::{Type, procfile};
use crate::build::{
    detect::{Draft, Error, Source, Start, Tool},
    script,
};

const MAKE: Tool = Tool { command: "make", remedy: "install the Debian package `make`" };

pub(super) struct Linux;

impl Type for Linux {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        if source.variable("CC_RUN_COMMAND").is_some() {
            return Some("CC_RUN_COMMAND is set and no other type fits".into());
        }
        if procfile::web(source).is_some() {
            return Some("a Procfile with `web:` is there and no other type fits".into());
        }
        let makefile = Makefile::find(source).ok().flatten()?;
        makefile.has("run").then(|| format!("{} has a target `run` and no other type fits", makefile.path))
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let makefile = Makefile::find(source)?;
        let target = |name| makefile.as_ref().filter(|makefile| makefile.has(name));
        let build = target("build").map(|makefile| makefile.command("build"));
        let run = procfile::web(source).or_else(|| Some(target("run")?.command("run")));
        let builds = source.variable("CC_BUILD_COMMAND").is_some() || build.is_some();
        let makes = source.variable("CC_BUILD_COMMAND").is_none() && build.is_some()
            || source.variable("CC_RUN_COMMAND").is_none()
                && procfile::web(source).is_none()
                && run.is_some();
        let lacking = Error::Lacking {
            what: "nothing says how to start this app".into(),
            remedy: "set CC_RUN_COMMAND, or add a Procfile with a line `web: command`, or a Makefile with a target `run`".into(),
        };
        Ok(Draft {
            tools: if makes { vec![MAKE] } else { Vec::new() },
            build,
            start: Some(run.map_or(Start::Lacking(lacking), Start::Script)),
            notes: if builds { Vec::new() } else { unbuilt(source) },
            ..Draft::default()
        })
    }
}

/// A language that would be built elsewhere: nobody should wonder why its program is not there.
fn unbuilt(source: &Source<'_>) -> Vec<String> {
    let languages = [
        ("go.mod", "Go"),
        ("Cargo.toml", "Rust"),
        ("composer.json", "PHP"),
        ("Gemfile", "Ruby"),
        ("pom.xml", "Java"),
    ];
    let there = languages.into_iter().filter(|(file, _)| source.files.has(file));
    let note = |(file, language)| {
        format!(
            "{file} is there, but Teal does not build {language} by itself yet: set CC_BUILD_COMMAND if it has to be built"
        )
    };
    there.map(note).collect()
}

struct Makefile {
    path: String,
    text: String,
    named: bool,
}

impl Makefile {
    fn find(source: &Source<'_>) -> Result<Option<Self>, Error> {
        if let Some(path) = source.folder("CC_MAKEFILE")? {
            let text = source.files.read(&path).ok_or_else(|| Error::Unreadable {
                file: path.clone(),
                reason: "CC_MAKEFILE names it, but the commit has no such text file".into(),
            })?;
            return Ok(Some(Self { path, text, named: true }));
        }
        let usual = ["GNUmakefile", "makefile", "Makefile"].into_iter();
        let mut found = usual.filter_map(|path| Some((path, source.files.read(path)?)));
        Ok(found.next().map(|(path, text)| Self { path: path.into(), text, named: false }))
    }

    /// Has it a rule for this target? `name := value` is a variable, not a rule.
    fn has(&self, target: &str) -> bool {
        self.text.lines().any(|line| {
            let Some((targets, rest)) = line.split_once(':') else { return false };
            let rule = !line.starts_with(['\t', '#']) && !rest.starts_with('=') && !rest.starts_with(":=");
            rule && targets.split_whitespace().any(|name| name == target)
        })
    }

    fn command(&self, target: &str) -> String {
        match self.named {
            true => format!("exec make -f {} {target}", script::quote(&self.path)),
            false => format!("exec make {target}"),
        }
    }
}
