//! A table of trees: what each is taken for, what is run, and what is said when nothing fits.

use super::super::detect_tests_support::{planned, set};
use super::*;

/// The plan in short: `kind | stage: last line | … -> start`.
fn short(plan: &Plan, variables: &Variables) -> String {
    let last = |command: &Command| {
        let line = command.script.lines().last().unwrap_or_default();
        format!("{}: {line}", command.stage)
    };
    let build: Vec<_> = plan.build.iter().filter(|command| command.stage != "tools").map(last).collect();
    let run: Vec<_> = plan.run.commands(variables).iter().map(last).collect();
    format!("{} | {} -> {}", plan.kind, build.join(" | "), run.join(" | "))
}

#[track_caller]
fn check(files: &[(&'static str, &'static str)], variables: &[(&str, &str)], expect: &str) {
    let found = match planned(files, variables, None) {
        Ok(plan) => short(&plan, &set(variables)),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(found, expect);
}

#[track_caller]
fn refused(
    files: &[(&'static str, &'static str)],
    variables: &[(&str, &str)],
    kind: Option<&str>,
    says: &[&str],
) {
    let error = planned(files, variables, kind).expect_err("refused").to_string();
    for says in says {
        assert!(error.contains(says), "`{error}` does not say `{says}`");
    }
}

const START: &str = r#"{"scripts":{"start":"node server.js"}}"#;
const BUILD: &str = r#"{"scripts":{"start":"x","build":"tsc"},"devDependencies":{"typescript":"5"}}"#;
const LOCK: (&str, &str) = ("package-lock.json", "{}");

#[test]
fn node_is_told_by_its_package_and_installed_by_its_lock() {
    check(
        &[("package.json", START), LOCK],
        &[],
        "node | dependencies: npm ci --omit=dev -> start: exec npm start --no-update-notifier",
    );
    check(
        &[("package.json", START)],
        &[],
        "node | dependencies: npm install --no-save --omit=dev -> start: exec npm start --no-update-notifier",
    );
    check(
        &[("package.json", r#"{"main":"server.js"}"#), ("npm-shrinkwrap.json", "{}")],
        &[],
        "node | dependencies: npm ci --omit=dev -> start: exec node './server.js'",
    );
    check(
        &[("package.json", BUILD), LOCK],
        &[],
        "node | dependencies: npm ci --include=dev | build: npm run build | finish: npm prune --omit=dev --no-save -> start: exec npm start --no-update-notifier",
    );
    check(
        &[("package.json", START), ("yarn.lock", "# yarn lockfile v1\n"), LOCK],
        &[],
        "node | dependencies: yarn install --frozen-lockfile --non-interactive --production=true -> start: exec npm start --no-update-notifier",
    );
    check(
        &[("package.json", BUILD), ("pnpm-lock.yaml", "")],
        &[],
        "node | dependencies: CI=true pnpm install --store-dir \"$TEAL_CACHE/pnpm\" --frozen-lockfile --prod=false | build: npm run build | finish: CI=true pnpm prune --prod --ignore-scripts -> start: exec npm start --no-update-notifier",
    );
    check(
        &[("package.json", START), ("bun.lock", "")],
        &[],
        "node | dependencies: bun install --frozen-lockfile --production -> start: exec bun run start",
    );
    check(
        &[("package.json", START), ("yarn.lock", "x\n__metadata:\n")],
        &[],
        "node | dependencies: yarn install --immutable -> start: exec yarn run start",
    );
}

#[test]
fn variables_of_node_decide_over_files() {
    check(
        &[("package.json", BUILD), LOCK],
        &[("CC_NODE_DEV_DEPENDENCIES", "install")],
        "node | dependencies: npm ci --include=dev | build: npm run build -> start: exec npm start --no-update-notifier",
    );
    check(
        &[("package.json", BUILD), LOCK],
        &[("CC_NODE_DEV_DEPENDENCIES", "ignore"), ("CC_BUILD_COMMAND", "make it")],
        "node | dependencies: npm ci --omit=dev | build: make it -> start: exec npm start --no-update-notifier",
    );
    check(
        &[("package.json", START), LOCK],
        &[("CC_NODE_BUILD_TOOL", "custom"), ("CC_CUSTOM_BUILD_TOOL", "./install.sh")],
        "node | dependencies: ./install.sh -> start: exec npm start --no-update-notifier",
    );
    check(
        &[("package.json", START), LOCK],
        &[("CC_NODE_BUILD_TOOL", "npm-install"), ("CC_RUN_COMMAND", "node other.js")],
        "node | dependencies: npm install --no-save --omit=dev -> start: node other.js",
    );
    check(
        &[("package.json", "{}"), ("Procfile", "web: node app.js\n")],
        &[],
        "node | dependencies: npm install --no-save --omit=dev -> start: node app.js",
    );
}

#[test]
fn what_node_lacks_is_said() {
    refused(
        &[("package.json", "{}")],
        &[],
        None,
        &["no scripts.start and no main in package.json", "CC_RUN_COMMAND"],
    );
    refused(&[("package.json", "{")], &[], None, &["package.json cannot be used", "JSON"]);
    refused(&[("package.json", r#"{"scripts":[]}"#)], &[], None, &["package.json cannot be used"]);
    refused(&[("app.js", "")], &[], Some("node"), &["needs a package.json"]);
    refused(
        &[("package.json", START)],
        &[("CC_NODE_BUILD_TOOL", "grunt")],
        None,
        &["CC_NODE_BUILD_TOOL=grunt", "pnpm"],
    );
    refused(&[("package.json", START)], &[("CC_NODE_BUILD_TOOL", "custom")], None, &["CC_CUSTOM_BUILD_TOOL"]);
    refused(&[("package.json", START)], &[("CC_NODE_DEV_DEPENDENCIES", "yes")], None, &["install", "ignore"]);
}

#[test]
fn python_runs_a_module_a_command_or_a_procfile() {
    let plan = planned(&[("requirements.txt", "flask\n")], &[("CC_RUN_COMMAND", "python x.py")], None);
    let plan = plan.expect("a plan");
    assert_eq!(plan.run.variables["PYTHONUNBUFFERED"], "1");
    let script = &plan.build.last().expect("a command").script;
    assert!(script.contains(
        ".venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off -r 'requirements.txt'"
    ));
    check_start(
        &[("requirements.txt", "")],
        &[("CC_PYTHON_MODULE", "shop.wsgi:application")],
        "exec .venv/bin/python -m gunicorn --bind \"0.0.0.0:$PORT\" 'shop.wsgi:application'",
    );
    check_start(
        &[("requirements.txt", "")],
        &[("CC_PYTHON_MODULE", "main:app"), ("CC_PYTHON_BACKEND", "uvicorn")],
        "exec .venv/bin/python -m uvicorn --host 0.0.0.0 --port \"$PORT\" 'main:app'",
    );
    check_start(&[("pyproject.toml", "")], &[("CC_RUN_COMMAND", "python -m shop")], "python -m shop");
    check_start(&[("requirements.txt", ""), ("Procfile", "web: gunicorn a:b\n")], &[], "gunicorn a:b");
    check_start(
        &[("uv.lock", ""), ("pyproject.toml", "")],
        &[("CC_PYTHON_UV_RUN_COMMAND", "uv run shop")],
        "uv run shop",
    );
}

#[track_caller]
fn check_start(files: &[(&'static str, &'static str)], variables: &[(&str, &str)], expect: &str) {
    let plan = planned(files, variables, None).expect("a plan");
    assert_eq!(plan.kind, Kind::Python);
    let start = &plan.run.commands(&set(variables)).pop().expect("a start").script;
    assert_eq!(start.lines().last(), Some(expect));
    assert!(start.starts_with("export PATH=\"$PWD/.venv/bin:$PATH\"\n"), "its own tools first: {start}");
}

#[test]
fn python_looks_for_what_its_variables_name() {
    let plan = planned(
        &[("deps/prod.txt", ""), ("manage.py", "")],
        &[
            ("CC_PIP_REQUIREMENTS_FILE", "/deps/prod.txt"),
            ("CC_PYTHON_MANAGE_TASKS", "migrate, collectstatic --noinput"),
            ("CC_PYTHON_MODULE", "a:b"),
        ],
        None,
    );
    let plan = plan.expect("a plan");
    let script = &plan.build.last().expect("a command").script;
    assert!(script.contains("-r 'deps/prod.txt'"), "{script}");
    assert!(
        script.ends_with("manage.py migrate\n.venv/bin/python manage.py collectstatic --noinput"),
        "{script}"
    );
    refused(&[("a.py", "")], &[], Some("python"), &["CC_PYTHON_MODULE=module:app"]);
    refused(&[("requirements.txt", "")], &[("CC_PYTHON_MODULE", "wsgi.py")], None, &["module:app"]);
    refused(
        &[("requirements.txt", "")],
        &[("CC_PYTHON_MANAGE_TASKS", "migrate"), ("CC_PYTHON_MODULE", "a:b")],
        None,
        &["manage.py"],
    );
    refused(
        &[("requirements.txt", "")],
        &[("CC_PYTHON_MODULE", "a:b"), ("CC_PYTHON_BACKEND", "waitress")],
        None,
        &["gunicorn"],
    );
    refused(
        &[("requirements.txt", "")],
        &[("CC_PIP_REQUIREMENTS_FILE", "no.txt"), ("CC_PYTHON_MODULE", "a:b")],
        None,
        &["no.txt"],
    );
    refused(
        &[("requirements.txt", "")],
        &[("CC_PIP_REQUIREMENTS_FILE", "../x"), ("CC_PYTHON_MODULE", "a:b")],
        None,
        &["without `..`"],
    );
}

#[test]
fn static_sites_are_served_and_checked() {
    check(&[("index.html", "")], &[], "static |  -> start: exec \"$TEAL_BINARY\" __static '.'");
    check(
        &[("public/index.html", "")],
        &[("CC_WEBROOT", "/public")],
        "static |  -> start: exec \"$TEAL_BINARY\" __static 'public'",
    );
    let plan =
        planned(&[("src/page.md", "")], &[("CC_WEBROOT", "dist"), ("CC_BUILD_COMMAND", "make site")], None);
    let plan = plan.expect("a plan");
    let stages: Vec<_> = plan.build.iter().map(|command| command.stage.as_str()).collect();
    assert_eq!(stages, ["build", "finish"]);
    assert!(plan.build[1].script.contains("[ -f 'dist/index.html' ]"));
    assert!(plan.run.needs_teal);
    refused(&[("page.html", "")], &[], Some("static"), &["no index.html to serve", "CC_WEBROOT"]);
    refused(&[("index.html", "")], &[("CC_WEBROOT", "../etc")], Some("static"), &["without `..`"]);
}

#[test]
fn a_package_that_starts_nothing_only_brings_tools() {
    let tools = r#"{"devDependencies":{"tailwindcss":"3"}}"#;
    check(
        &[("package.json", tools), ("index.html", "")],
        &[],
        "static |  -> start: exec \"$TEAL_BINARY\" __static '.'",
    );
    let plan =
        planned(&[("package.json", tools), ("requirements.txt", ""), ("Procfile", "web: x")], &[], None);
    assert_eq!(plan.expect("a plan").kind, Kind::Python);
}

#[test]
fn linux_takes_whatever_says_how() {
    check(
        &[("server.py", "")],
        &[("CC_RUN_COMMAND", "python3 server.py")],
        "linux |  -> start: python3 server.py",
    );
    check(
        &[("server.py", ""), ("Procfile", "# c\nweb: python3 server.py\nworker: x\n")],
        &[],
        "linux |  -> start: python3 server.py",
    );
    check(
        &[("Makefile", "CC := gcc\nbuild run: deps\n\techo\n")],
        &[],
        "linux | build: exec make build -> start: exec make run",
    );
    check(
        &[("ops/Makefile", "run:\n")],
        &[("CC_MAKEFILE", "ops/Makefile"), ("CC_BUILD_COMMAND", "./compile")],
        "linux | build: ./compile -> start: exec make -f 'ops/Makefile' run",
    );
    check(&[("index.html", ""), ("Procfile", "web: ./serve\n")], &[], "linux |  -> start: ./serve");
    refused(&[("Makefile", "run := x\n")], &[], None, &["cannot tell", "Makefile"]);
    refused(&[("a.py", "")], &[], Some("linux"), &["CC_RUN_COMMAND", "Procfile"]);
    refused(&[("a", "")], &[("CC_MAKEFILE", "none.mk")], Some("linux"), &["none.mk"]);
}

#[test]
fn what_nothing_claims_is_named() {
    refused(&[], &[], None, &["the commit is empty"]);
    refused(
        &[("main.py", ""), ("lib/a.py", "")],
        &[],
        None,
        &["lib/, main.py", "CC_RUN_COMMAND", "APP_FOLDER"],
    );
    refused(&[("index.html", "")], &[], Some("cobol"), &["`cobol`", "node, python, ruby", "static or linux"]);
    refused(&[("index.html", "")], &[], Some("docker"), &["container images", "CC_BUILD_COMMAND"]);
}

#[test]
fn the_setting_decides_over_every_file() {
    let plan = planned(&[("package.json", START), ("index.html", "")], &[], Some("static")).expect("a plan");
    assert_eq!(plan.kind, Kind::Static);
    assert!(plan.because.contains("setting"), "{}", plan.because);
    let plan = planned(&[("package.json", START)], &[], Some(" ")).expect("a plan");
    assert!(
        plan.because.contains("package.json is there") && plan.because.contains("override"),
        "{}",
        plan.because
    );
}

#[test]
fn hooks_come_in_their_order_and_use_the_apps_own_tools() {
    let hooks = [("CC_PRE_BUILD_HOOK", "one"), ("CC_POST_BUILD_HOOK", "two"), ("CC_PRE_RUN_HOOK", "three")];
    let plan = planned(&[("package.json", BUILD), LOCK], &hooks, None).expect("a plan");
    let stages: Vec<_> = plan.build.iter().map(|command| command.stage.as_str()).collect();
    assert_eq!(
        stages,
        ["tools", "CC_PRE_BUILD_HOOK", "dependencies", "build", "CC_POST_BUILD_HOOK", "finish"]
    );
    assert_eq!(plan.build[4].script, "export PATH=\"$PWD/node_modules/.bin:$PATH\"\ntwo");
    let run = plan.run.commands(&set(&hooks));
    let stages: Vec<_> = run.iter().map(|command| command.stage.as_str()).collect();
    assert_eq!(stages, ["CC_PRE_RUN_HOOK", "start"]);
    assert_eq!(run[0].script, "export PATH=\"$PWD/node_modules/.bin:$PATH\"\nthree");
}

#[test]
fn an_empty_variable_is_no_variable() {
    check(
        &[("index.html", "")],
        &[("CC_RUN_COMMAND", " "), ("CC_WEBROOT", "")],
        "static |  -> start: exec \"$TEAL_BINARY\" __static '.'",
    );
}

#[test]
fn a_manager_that_the_host_lacks_comes_in_the_version_that_the_package_names() {
    let package = r#"{"main":"a.js","packageManager":"pnpm@9.1.0+sha512.abc"}"#;
    let plan = planned(&[("package.json", package), ("pnpm-lock.yaml", "")], &[], None).expect("a plan");
    let script = &plan.build.iter().find(|command| command.stage == "dependencies").expect("there").script;
    assert!(script.contains("--loglevel=error 'pnpm@9.1.0'; }"), "{script}");
    let odd = r#"{"main":"a.js","packageManager":"pnpm@1;rm -rf /"}"#;
    let plan = planned(&[("package.json", odd), ("pnpm-lock.yaml", "")], &[], None).expect("a plan");
    assert!(plan.build.iter().all(|command| !command.script.contains("rm -rf")));
}

#[test]
fn no_plan_names_a_place_of_the_host() {
    for plan in [
        planned(&[("package.json", BUILD), LOCK], &[], None),
        planned(
            &[("requirements.txt", "")],
            &[("CC_PYTHON_MODULE", "a:b"), ("CC_PYTHON_BACKEND", "uwsgi")],
            None,
        ),
        planned(&[("index.html", "")], &[], None),
    ] {
        let run = plan.expect("a plan").run;
        assert!(!format!("{run:?}").contains("/app"), "{run:?}");
    }
}
