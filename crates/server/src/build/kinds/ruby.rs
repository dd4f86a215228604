//! Ruby: Bundler's gems in `vendor/bundle` of the app's directory, tasks of rake, and the server of `config.ru`.

use super::{Type, procfile, static_site::StaticSite};
use crate::build::{
    detect::{Draft, Error, Source, Start, Tool, Variables},
    script,
};

const RUBY: Tool = Tool { command: "ruby", remedy: "install the Debian packages `ruby` and `ruby-dev`" };
const BUNDLE: Tool = Tool { command: "bundle", remedy: "install the Debian package `bundler`" };

pub(super) struct Ruby;

impl Type for Ruby {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        if !source.files.has("Gemfile") {
            return None;
        }
        // Gems of a site generator: the site is served, not they.
        let site = !source.files.has("config.ru") && StaticSite.claims(source).is_some();
        (!site).then(|| "Gemfile is there".into())
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        if !source.files.has("Gemfile") {
            return Err(Error::Lacking {
                what: "type ruby needs a Gemfile at the top of the commit".into(),
                remedy:
                    "add one, set APP_FOLDER to the folder that has it, or change the app's setting `type`"
                        .into(),
            });
        }
        let locked = source.files.has("Gemfile.lock");
        let note = "Without a lock file two builds of this commit may differ: commit Gemfile.lock";
        let given = [
            ("RACK_ENV", "production"),
            ("RAILS_ENV", "production"),
            ("RAILS_LOG_TO_STDOUT", "enabled"),
            ("RAILS_SERVE_STATIC_FILES", "enabled"),
            ("BUNDLE_WITHOUT", "development:test"),
        ];
        Ok(Draft {
            tools: vec![RUBY, BUNDLE],
            dependencies: Some(install(locked)),
            build: tasks(source),
            start: Some(start(source)),
            variables: given
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect::<Variables>(),
            notes: if locked { Vec::new() } else { vec![note.into()] },
            ..Draft::default()
        })
    }
}

fn install(locked: bool) -> String {
    let frozen = if locked { "bundle config set --local deployment true" } else { "" };
    let lines = ["bundle config set --local path vendor/bundle", frozen, "bundle install --jobs 4 --retry 2"];
    script::lines(lines.into_iter().filter(|line| !line.is_empty()))
}

/// `CC_RAKEGOALS`: "assets:precompile,db:migrate".
fn tasks(source: &Source<'_>) -> Option<String> {
    let goals = source.variable("CC_RAKEGOALS")?;
    let goals = goals.split(',').map(str::trim).filter(|goal| !goal.is_empty());
    let lines: Vec<_> = goals.map(|goal| format!("bundle exec rake {goal}")).collect();
    (!lines.is_empty()).then(|| script::lines(lines.iter().map(String::as_str)))
}

fn start(source: &Source<'_>) -> Start {
    if let Some(web) = procfile::web(source) {
        return Start::Script(web);
    }
    if !source.files.has("config.ru") {
        return Start::Lacking(Error::Lacking {
            what: "nothing says how to start this Ruby app".into(),
            remedy: "add a config.ru, or a Procfile with a line `web: command`, or set CC_RUN_COMMAND".into(),
        });
    }
    let lock = source.files.read("Gemfile.lock").or_else(|| source.files.read("Gemfile")).unwrap_or_default();
    let puma = lock.lines().any(|line| {
        line.trim_start().starts_with("puma ") || line.contains("\"puma\"") || line.contains("'puma'")
    });
    Start::Script(
        match puma {
            true => "exec bundle exec puma --bind \"tcp://0.0.0.0:$PORT\"",
            false => "exec bundle exec rackup --host 0.0.0.0 --port \"$PORT\"",
        }
        .into(),
    )
}
