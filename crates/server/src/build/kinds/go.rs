//! Go: `go.mod`, `go install`, and the program that it makes. A `vendor` directory is used as Go uses it; nothing is fetched then.

use super::{
    Type,
    program::{self, Choice},
};
use crate::build::{
    detect::{Draft, Error, Source, Tool},
    script,
};

const GO: Tool = Tool {
    command: "go",
    remedy: "install the Debian package `golang-go`, or put a newer Go into /usr/local and a link to it into /usr/local/bin",
};
const MAKE: Tool = Tool { command: "make", remedy: "install the Debian package `make`" };

/// Programs go where the plan looks for them; what is fetched can be removed again.
const SETUP: &str = "export GOBIN=\"$PWD/.teal/bin\" GOFLAGS=\"-modcacherw ${GOFLAGS:-}\"";

/// Programs are found in `bin`, too, as a Procfile may name them there.
const LINK: &str = r#"mkdir -p .teal/bin
if [ ! -e bin ]; then mkdir bin; fi
if [ -d bin ]; then for file in .teal/bin/*; do if [ -f "$file" ] && [ ! -e "bin/${file##*/}" ]; then ln -s "../$file" "bin/${file##*/}"; fi; done; fi"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builder {
    Install,
    Build,
    Makefile,
}

pub(super) struct Go;

impl Type for Go {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        source.files.has("go.mod").then(|| "go.mod is there".into())
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let builder = builder(source)?;
        let Some(module) = source.files.read("go.mod") else {
            return Err(Error::Lacking {
                what: "type go needs a go.mod at the top of the commit".into(),
                remedy: "run `go mod init`, set APP_FOLDER to the folder that has it, or change the app's setting `type`".into(),
            });
        };
        let vendored = source.files.has("vendor/modules.txt");
        let own = own(&module);
        // A Makefile puts its program anywhere: as long as nobody says where, it is looked for in `bin` by the module's name.
        let wanted = source
            .variable("CC_GO_BINARY")
            .or((builder == Builder::Makefile).then_some(own.as_deref()).flatten());
        let choice = Choice {
            variable: "CC_GO_BINARY",
            wanted,
            own: own.clone(),
            none: "The build made no program: no package of the module is `package main`; set CC_GO_PKG to the one that is",
        };
        let tools = if builder == Builder::Makefile { vec![GO, MAKE] } else { vec![GO] };
        let build = build(source, builder)?;
        Ok(Draft {
            tools,
            prelude: script::first_in_path(program::DIRECTORY),
            dependencies: (!vendored).then(|| script::lines([SETUP, "go mod download"])),
            build: Some(script::lines([SETUP, "mkdir -p .teal/bin", &build])),
            finish: Some(script::lines([LINK, &choice.script(source)])),
            start: Some(program::start(source)),
            notes: vec![
                if vendored {
                    "Dependencies: vendor/modules.txt is there, nothing is fetched"
                } else {
                    "Dependencies: go mod download (go.mod)"
                }
                .into(),
            ],
            ..Draft::default()
        })
    }
}

fn builder(source: &Source<'_>) -> Result<Builder, Error> {
    match source.variable("CC_GO_BUILD_TOOL") {
        None | Some("gomod" | "goget") => Ok(Builder::Install),
        Some("gobuild") => Ok(Builder::Build),
        Some("makefile" | "make") => Ok(Builder::Makefile),
        Some(other) => Err(Error::Variable {
            name: "CC_GO_BUILD_TOOL",
            value: other.to_owned(),
            remedy: "use gomod (go install), gobuild (go build) or makefile".into(),
        }),
    }
}

fn build(source: &Source<'_>, builder: Builder) -> Result<String, Error> {
    let package = script::quote(&package(source));
    Ok(match builder {
        Builder::Install => format!("go install {package}"),
        Builder::Build => format!("go build -o .teal/bin/ {package}"),
        Builder::Makefile => match source.folder("CC_MAKEFILE")? {
            Some(path) => format!("make -f {}", script::quote(&path)),
            None => "make".into(),
        },
    })
}

/// `CC_GO_PKG`, else the top if it is a program, else every program of the module.
fn package(source: &Source<'_>) -> String {
    if let Some(named) = source.variable("CC_GO_PKG") {
        let local =
            source.files.top().iter().any(|name| named.split('/').next() == Some(name.trim_end_matches('/')));
        return if local { format!("./{}", named.trim_end_matches('/')) } else { named.to_owned() };
    }
    let main =
        |text: String| text.lines().any(|line| line.split_whitespace().take(2).eq(["package", "main"]));
    let top = source.files.top();
    let program = top.iter().filter(|name| name.ends_with(".go") && !name.ends_with("_test.go"));
    let whole = program.take(50).any(|name| source.files.read(name).is_some_and(main));
    if whole { "." } else { "./..." }.into()
}

/// The last part of the module's path, without a version: what `go install` would call the program at its top.
fn own(module: &str) -> Option<String> {
    let path = module.lines().find_map(|line| line.trim().strip_prefix("module "))?;
    let path = path.split("//").next()?.trim().trim_matches('"');
    let version = |part: &str| {
        part.strip_prefix('v')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    path.rsplit('/').find(|part| !version(part)).map(str::to_owned)
}
