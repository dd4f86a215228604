//! Anything: a build command and a run command, from variables, a `Procfile`, tasks of mise or a `Makefile`.

use super::{Type, mise::Mise, procfile};
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
        match Mise::find(source) {
            Ok(Some(mise)) if mise.has("run") => {
                return Some(format!("{} has a task `run` and no other type fits", mise.file()));
            }
            // A configuration that cannot be read is better told than passed over.
            Err(_) => return Some("a configuration of mise is there and no other type fits".into()),
            Ok(_) => {}
        }
        let makefile = Makefile::find(source).ok().flatten()?;
        makefile.has("run").then(|| format!("{} has a target `run` and no other type fits", makefile.path))
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let (makefile, mise) = (Makefile::find(source)?, Mise::find(source)?);
        let build = Way::find("build", makefile.as_ref(), mise.as_ref());
        let run = match procfile::web(source) {
            Some(web) => Some(Way::Said(web)),
            None => Way::find("run", makefile.as_ref(), mise.as_ref()),
        };
        let used = |variable, way: &Option<Way>| {
            way.as_ref().filter(|_| source.variable(variable).is_none()).map(Way::program)
        };
        let programs = [used("CC_BUILD_COMMAND", &build), used("CC_RUN_COMMAND", &run)];
        let mise = mise.filter(|_| programs.contains(&Some("mise")));
        let lacking = Error::Lacking {
            what: "nothing says how to start this app".into(),
            remedy: "set CC_RUN_COMMAND, or add a Procfile with a line `web: command`, a mise.toml with a task `run`, or a Makefile with a target `run`".into(),
        };
        Ok(Draft {
            tools: if programs.contains(&Some("make")) { vec![MAKE] } else { Vec::new() },
            prelude: if mise.is_some() { Mise::prelude() } else { String::new() },
            dependencies: mise.as_ref().map(Mise::install),
            build: build.map(Way::script),
            start: Some(run.map_or(Start::Lacking(lacking), |way| Start::Script(way.script()))),
            ..Draft::default()
        })
    }
}

/// What builds or starts it, where no variable does.
enum Way {
    Said(String),
    Mise(String),
    Make(String),
}

impl Way {
    fn find(name: &str, makefile: Option<&Makefile>, mise: Option<&Mise>) -> Option<Self> {
        if mise.is_some_and(|mise| mise.has(name)) {
            return Some(Self::Mise(Mise::command(name)));
        }
        Some(Self::Make(makefile.filter(|makefile| makefile.has(name))?.command(name)))
    }

    fn program(&self) -> &'static str {
        match self {
            Self::Said(_) => "bash",
            Self::Mise(_) => "mise",
            Self::Make(_) => "make",
        }
    }

    fn script(self) -> String {
        match self {
            Self::Said(script) | Self::Mise(script) | Self::Make(script) => script,
        }
    }
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
