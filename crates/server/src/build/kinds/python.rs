//! Python: a virtual environment in `.venv` of the app's directory, pip or uv, and a server for `CC_PYTHON_MODULE`.
//!
//! Nothing that is run may name the directory of the build: where an app lives differs between runtimes.

use super::{Type, procfile, python_static as files};
use crate::build::{
    detect::{Draft, Error, Source, Start, Tool, Variables},
    script,
};

const PYTHON: Tool =
    Tool { command: "python3", remedy: "install the Debian packages `python3` and `python3-venv`" };

const PIP: &str = ".venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off";

/// Console scripts name their interpreter by an absolute path: rewritten to the one beside them, so that `.venv` can be moved.
const RELOCATE: &str = r#".venv/bin/python - <<'RELOCATE'
import os
for entry in os.scandir('.venv/bin'):
    if entry.is_symlink() or not entry.is_file():
        continue
    with open(entry.path, 'rb') as script:
        first, rest = script.readline(), script.read()
    if first.startswith(b'#!') and b'.venv/bin/python' in first:
        with open(entry.path, 'wb') as script:
            script.write(b'#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")"/python "$0" "$@"\n\' \'\'\'\n' + rest)
RELOCATE"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Gunicorn,
    Uvicorn,
    Daphne,
    Uwsgi,
}

pub(super) struct Python;

impl Type for Python {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        let named = source.folder("CC_PIP_REQUIREMENTS_FILE").ok().flatten();
        let mut files =
            named.as_deref().into_iter().chain(["requirements.txt", "uv.lock", "pyproject.toml", "setup.py"]);
        if let Some(file) = files.find(|file| source.files.has(file)) {
            return Some(format!("{file} is there"));
        }
        source.variable("CC_PYTHON_MODULE").map(|_| "CC_PYTHON_MODULE is set".into())
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let module = module(source)?;
        let uv = source.files.has("uv.lock");
        let server = module.as_ref().map(|_| backend(source)).transpose()?;
        let (install, because) = if uv { with_uv() } else { with_pip(source)? };
        let files = files::Files::of(source)?;
        let mut lines = install;
        lines.extend(server.map(|server| add(server.word(), uv)));
        let mut notes = vec![format!("Dependencies: {because}")];
        let mut prelude = script::first_in_path(".venv/bin");
        let mut served = module.clone();
        if let (Some(files), Some(module), Some(server)) = (&files, &module, server) {
            lines.extend(files::packages(server.asgi()).iter().map(|package| add(package, uv)));
            lines.push(files.make(module, server.asgi()));
            prelude += &files::Files::prelude();
            notes.push(files.note());
            served = Some(files::MODULE.to_owned());
        } else if files.is_some() {
            notes.push("STATIC_FILES_PATH has no effect without CC_PYTHON_MODULE: the app's own command serves what it likes".into());
        }
        lines.push(RELOCATE.into());
        lines.extend(tasks(source)?);
        let variables = [("PYTHONUNBUFFERED", "1")].map(|(name, value)| (name.into(), value.into()));
        Ok(Draft {
            tools: vec![PYTHON],
            prelude,
            dependencies: Some(script::lines(lines.iter().map(String::as_str))),
            start: Some(start(source, served.as_deref(), server)),
            variables: Variables::from(variables),
            notes,
            ..Draft::default()
        })
    }
}

fn with_pip(source: &Source<'_>) -> Result<(Vec<String>, String), Error> {
    let mut lines = vec!["python3 -m venv --clear .venv".to_owned()];
    let named = source.folder("CC_PIP_REQUIREMENTS_FILE")?;
    if let Some(file) = &named
        && !source.files.has(file)
    {
        return Err(Error::Lacking {
            what: format!("CC_PIP_REQUIREMENTS_FILE names {file}, which the commit does not have"),
            remedy: "add the file or correct the variable".into(),
        });
    }
    let usual = || source.files.has("requirements.txt").then(|| "requirements.txt".to_owned());
    let because = if let Some(file) = named.or_else(usual) {
        lines.push(format!("{PIP} -r {}", script::quote(&file)));
        format!("pip ({file})")
    } else if let Some(file) = ["pyproject.toml", "setup.py"].into_iter().find(|file| source.files.has(file))
    {
        lines.push(format!("{PIP} ."));
        format!("pip ({file})")
    } else {
        "none (no requirements.txt, no pyproject.toml, no setup.py)".into()
    };
    Ok((lines, because))
}

fn with_uv() -> (Vec<String>, String) {
    let find = "uv() { if type -P uv >/dev/null; then command uv \"$@\"; else \"$TEAL_CACHE/uv/bin/uv\" \"$@\"; fi; }";
    let get = "type -P uv >/dev/null || { python3 -m venv \"$TEAL_CACHE/uv\"; \"$TEAL_CACHE/uv/bin/python\" -m pip install --disable-pip-version-check --no-input --progress-bar off uv; }";
    let sync =
        "UV_PROJECT_ENVIRONMENT=.venv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never uv sync --locked --no-dev";
    (vec![find.into(), get.into(), sync.into()], "uv (uv.lock)".into())
}

/// `CC_PYTHON_MANAGE_TASKS`: "migrate, collectstatic --noinput".
fn tasks(source: &Source<'_>) -> Result<Vec<String>, Error> {
    let Some(tasks) = source.variable("CC_PYTHON_MANAGE_TASKS") else { return Ok(Vec::new()) };
    if !source.files.has("manage.py") {
        return Err(Error::Lacking {
            what: "CC_PYTHON_MANAGE_TASKS is set, but there is no manage.py at the top of the commit".into(),
            remedy: "add it, set APP_FOLDER to the folder that has it, or remove the variable".into(),
        });
    }
    let tasks = tasks.split(',').map(str::trim).filter(|task| !task.is_empty());
    Ok(tasks.map(|task| format!(".venv/bin/python manage.py {task}")).collect())
}

fn module(source: &Source<'_>) -> Result<Option<String>, Error> {
    let Some(module) = source.variable("CC_PYTHON_MODULE") else { return Ok(None) };
    let plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._()".contains(c))
    };
    match module.split_once(':') {
        Some((path, app)) if plain(path) && plain(app) => Ok(Some(module.to_owned())),
        _ => Err(Error::Variable {
            name: "CC_PYTHON_MODULE",
            value: module.to_owned(),
            remedy: "write module:app, as in `shop.wsgi:application`".into(),
        }),
    }
}

fn backend(source: &Source<'_>) -> Result<Backend, Error> {
    match source.variable("CC_PYTHON_BACKEND") {
        None | Some("gunicorn") => Ok(Backend::Gunicorn),
        Some("uvicorn") => Ok(Backend::Uvicorn),
        Some("daphne") => Ok(Backend::Daphne),
        Some("uwsgi") => Ok(Backend::Uwsgi),
        Some(other) => Err(Error::Variable {
            name: "CC_PYTHON_BACKEND",
            value: other.to_owned(),
            remedy: "use gunicorn, uvicorn, uwsgi or daphne".into(),
        }),
    }
}

impl Backend {
    fn word(self) -> &'static str {
        match self {
            Self::Gunicorn => "gunicorn",
            Self::Uvicorn => "uvicorn",
            Self::Daphne => "daphne",
            Self::Uwsgi => "uwsgi",
        }
    }

    /// Does it speak ASGI to the app? The others speak WSGI.
    fn asgi(self) -> bool {
        matches!(self, Self::Uvicorn | Self::Daphne)
    }

    fn start(self, module: &str) -> String {
        let module = script::quote(module);
        match self {
            Self::Gunicorn => format!("exec .venv/bin/python -m gunicorn --bind \"0.0.0.0:$PORT\" {module}"),
            Self::Uvicorn => {
                format!("exec .venv/bin/python -m uvicorn --host 0.0.0.0 --port \"$PORT\" {module}")
            }
            Self::Daphne => format!("exec .venv/bin/python -m daphne -b 0.0.0.0 -p \"$PORT\" {module}"),
            Self::Uwsgi => format!(
                "exec .venv/bin/uwsgi --http \"0.0.0.0:$PORT\" --master --die-on-term --need-app --virtualenv \"$PWD/.venv\" --module {module}"
            ),
        }
    }
}

/// Installs a package, unless the app's own requirements brought it, in the version that they chose.
fn add(package: &str, uv: bool) -> String {
    let there =
        format!(".venv/bin/python -c 'import importlib.metadata as m; m.version(\"{package}\")' 2>/dev/null");
    match uv {
        true => format!("{there} || uv pip install --python .venv/bin/python {package}"),
        false => format!("{there} || {PIP} {package}"),
    }
}

fn start(source: &Source<'_>, module: Option<&str>, server: Option<Backend>) -> Start {
    if let Some(command) = source.variable("CC_PYTHON_UV_RUN_COMMAND") {
        return Start::Script(command.to_owned());
    }
    if let (Some(module), Some(server)) = (module, server) {
        return Start::Script(server.start(module));
    }
    if let Some(web) = procfile::web(source) {
        return Start::Script(web);
    }
    Start::Lacking(Error::Lacking {
        what: "nothing says how to start this Python app".into(),
        remedy: "set CC_PYTHON_MODULE=module:app (served by gunicorn), or CC_RUN_COMMAND, or add a Procfile with a line `web: command`".into(),
    })
}
