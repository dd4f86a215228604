//! PHP: Composer's packages, and PHP's own server for the folder with `index.php`.
//!
//! That server answers with several processes and falls back on `index.php`, as frameworks expect; whoever wants another one names it in
//! `CC_RUN_COMMAND`.

use super::{Type, procfile};
use crate::build::{
    detect::{Draft, Error, Source, Start, Tool, Variables},
    script,
};

const PHP: Tool = Tool { command: "php", remedy: "install the Debian package `php-cli`" };
const COMPOSER: Tool = Tool { command: "composer", remedy: "install the Debian package `composer`" };

const INSTALL: &str =
    "composer install --no-dev --no-interaction --no-progress --prefer-dist --optimize-autoloader";

pub(super) struct Php;

impl Type for Php {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        if source.files.has("composer.json") {
            return Some("composer.json is there".into());
        }
        let root = source.folder("CC_WEBROOT").ok().flatten();
        let index = index(root.as_deref().unwrap_or("."));
        source.files.has(&index).then(|| format!("{index} is there"))
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let composer = source.files.has("composer.json");
        let mut notes = Vec::new();
        if composer && !source.files.has("composer.lock") {
            notes.push(
                "Without a lock file two builds of this commit may differ: commit composer.lock".into(),
            );
        }
        Ok(Draft {
            tools: if composer { vec![PHP, COMPOSER] } else { vec![PHP] },
            prelude: script::first_in_path("vendor/bin"),
            dependencies: composer.then(|| script::lines([INSTALL])),
            start: Some(start(source)?),
            variables: Variables::from([("PHP_CLI_SERVER_WORKERS".into(), "4".into())]),
            notes,
            ..Draft::default()
        })
    }
}

fn start(source: &Source<'_>) -> Result<Start, Error> {
    // Heroku's own servers are not packages of the app.
    if let Some(web) = procfile::web(source).filter(|web| !web.contains("heroku-php-")) {
        return Ok(Start::Script(web));
    }
    let root = match source.folder("CC_WEBROOT")? {
        Some(root) => root,
        None if !source.files.has("index.php") && source.files.has("public/index.php") => "public".into(),
        None => ".".into(),
    };
    if !source.files.has(&index(&root)) && source.variable("CC_BUILD_COMMAND").is_none() {
        return Ok(Start::Lacking(Error::Lacking {
            what: format!("there is no {} to serve", index(&root)),
            remedy: "set CC_WEBROOT to the folder with index.php, or CC_RUN_COMMAND to what starts the app"
                .into(),
        }));
    }
    Ok(Start::Script(format!(
        "exec php -d display_errors=stderr -d log_errors=1 -d expose_php=0 -S \"0.0.0.0:$PORT\" -t {}",
        script::quote(&root)
    )))
}

fn index(root: &str) -> String {
    if root == "." { "index.php".into() } else { format!("{root}/index.php") }
}
