//! `STATIC_FILES_PATH` and `STATIC_URL_PREFIX`: files that are served beside a Python app, by a module around the app's own.
//!
//! WhiteNoise serves them, inside the same server: no second process, and whatever else is asked for reaches the app unchanged.

use crate::build::{
    detect::{Error, Source},
    script,
};

/// Where the module around the app is, relative to the app's directory, and what a server is told to load.
const DIRECTORY: &str = ".teal/python";
pub(super) const MODULE: &str = "teal_static:app";

/// Files beside an app.
pub(super) struct Files {
    folder: String,
    prefix: String,
}

impl Files {
    /// Both variables, or neither; a prefix is `/static` unless it is set.
    pub(super) fn of(source: &Source<'_>) -> Result<Option<Self>, Error> {
        let given = source.variable("STATIC_URL_PREFIX").unwrap_or("/static");
        let prefix = super::super::tree::inside(given).filter(|prefix| prefix != ".");
        let Some(folder) = source.folder("STATIC_FILES_PATH")? else { return Ok(None) };
        let prefix = prefix.ok_or_else(|| Error::Variable {
            name: "STATIC_URL_PREFIX",
            value: given.to_owned(),
            remedy: "give the beginning of a path, as in /static".into(),
        })?;
        Ok(Some(Self { folder, prefix: format!("/{prefix}/") }))
    }

    /// For the log.
    pub(super) fn note(&self) -> String {
        format!(
            "Static files: {} is served below {} (STATIC_FILES_PATH, STATIC_URL_PREFIX)",
            self.folder, self.prefix
        )
    }

    /// Makes the module around `module`. `asgi`: what the app's server speaks to it.
    pub(super) fn make(&self, module: &str, asgi: bool) -> String {
        let text = [FILES, if asgi { ASGI } else { WSGI }].concat();
        let text = text
            .replace("@MODULE@", &literal(module))
            .replace("@FOLDER@", &literal(&self.folder))
            .replace("@PREFIX@", &literal(&self.prefix));
        format!("mkdir -p {DIRECTORY}\nprintf %s {} > {DIRECTORY}/teal_static.py", script::quote(&text))
    }

    /// Before the start: where Python finds that module.
    pub(super) fn prelude() -> String {
        format!("export PYTHONPATH=\"$PWD/{DIRECTORY}:$PWD${{PYTHONPATH:+:$PYTHONPATH}}\"\n")
    }
}

/// What has to be installed for it.
pub(super) fn packages(asgi: bool) -> &'static [&'static str] {
    if asgi { &["whitenoise", "asgiref"] } else { &["whitenoise"] }
}

/// As a string of Python: JSON's strings are also Python's.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const FILES: &str = r#"# Written by Teal's build: serves static files, and passes everything else on to the app.
import importlib
from whitenoise import WhiteNoise

def load(name):
    path, _, attribute = name.partition(":")
    found = importlib.import_module(path)
    for part in attribute.split("."):
        found = getattr(found, part[:-2])() if part.endswith("()") else getattr(found, part)
    return found

PREFIX = @PREFIX@
inner = load(@MODULE@)

def missing(environ, start_response):
    start_response("404 Not Found", [("content-type", "text/plain")])
    return [b"Not found\n"]

"#;

const WSGI: &str = r"app = WhiteNoise(inner, root=@FOLDER@, prefix=PREFIX)
";

const ASGI: &str = r#"from asgiref.wsgi import WsgiToAsgi
files = WsgiToAsgi(WhiteNoise(missing, root=@FOLDER@, prefix=PREFIX))

async def app(scope, receive, send):
    ours = scope["type"] == "http" and scope["path"].startswith(PREFIX)
    await (files if ours else inner)(scope, receive, send)
"#;
