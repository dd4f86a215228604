//! A table of whole trees: what each is taken for, what builds it, what starts it, what it gets. One row per way in which real
//! repositories look; what a single type does with odd values is in `detect_tests`.

use super::detect_tests_support::{planned, set};
use crate::build::detect::Plan;

/// One tree. Texts must be contained, in the stage that is named.
struct Row {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    variables: &'static [(&'static str, &'static str)],
    /// The type; or `refused`.
    kind: &'static str,
    /// `stage: text`; for a refusal, what it says.
    build: &'static [&'static str],
    /// The last line of what is started.
    start: &'static str,
}

const fn row(
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    variables: &'static [(&'static str, &'static str)],
    kind: &'static str,
    build: &'static [&'static str],
    start: &'static str,
) -> Row {
    Row { name, files, variables, kind, build, start }
}

const START: (&str, &str) = ("package.json", r#"{"scripts":{"start":"node server.js"}}"#);
const TOOLS: (&str, &str) =
    ("package.json", r#"{"name":"x","main":"index.js","devDependencies":{"vite":"5"}}"#);
const BUILT: (&str, &str) =
    ("package.json", r#"{"scripts":{"start":"x","build":"tsc"},"devDependencies":{"typescript":"5"}}"#);
const CARGO: (&str, &str) = ("Cargo.toml", "[package]\nname = \"shop\"\n");
const CLOCK: (&str, &str) = ("Cargo.lock", "");
const GOMOD: (&str, &str) = ("go.mod", "module example.org/team/shop/v2\n\ngo 1.19\n");
const MAIN_GO: (&str, &str) = ("main.go", "package main\n\nfunc main() {}\n");
const NPM: &str = "exec npm start --no-update-notifier";
const PROGRAM: &str = "exec \"$(realpath .teal/program)\"";

#[rustfmt::skip]
static NODE: &[Row] = &[
    row("npm with a lock", &[START, ("package-lock.json", "{}")], &[], "node", &["dependencies: npm ci --omit=dev"], NPM),
    row("npm without a lock", &[START], &[], "node", &["dependencies: npm install --no-save --omit=dev"], NPM),
    row("shrinkwrap", &[START, ("npm-shrinkwrap.json", "{}")], &[], "node", &["dependencies: npm ci --omit=dev"], NPM),
    row("typescript", &[BUILT, ("package-lock.json", "{}")], &[], "node", &["dependencies: npm ci --include=dev", "build: npm run build", "finish: npm prune --omit=dev"], NPM),
    row("yarn 1", &[START, ("yarn.lock", "# yarn lockfile v1\n")], &[], "node", &[ "dependencies: .teal/tools --no-save --no-package-lock --no-audit --no-fund --loglevel=error 'yarn@1'", "dependencies: yarn install --frozen-lockfile", ], NPM),
    row("berry with plug'n'play", &[START, ("yarn.lock", "x\n__metadata:\n")], &[], "node", &[ "dependencies: '@yarnpkg/cli-dist@4'", "dependencies: YARN_CACHE_FOLDER=\"$PWD/.yarn/cache\"", "dependencies: yarn install --immutable", ], "exec yarn run start"),
    row("berry with node_modules", &[START, ("yarn.lock", "x"), (".yarnrc.yml", "nodeLinker: node-modules\n")], &[], "node", &["dependencies: yarn install --immutable"], NPM),
    row("berry in a version", &[ ("package.json", r#"{"main":"a.js","packageManager":"yarn@3.6.4"}"#), ("yarn.lock", "x\n__metadata:\n"), ], &[], "node", &["dependencies: '@yarnpkg/cli-dist@3.6.4'"], "exec yarn node './a.js'"),
    row("pnpm 9", &[START, ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")], &[], "node", &["dependencies: 'pnpm@9'", "dependencies: --frozen-lockfile --prod"], NPM),
    row("pnpm 8", &[START, ("pnpm-lock.yaml", "lockfileVersion: '6.0'\n")], &[], "node", &["dependencies: 'pnpm@8'"], NPM),
    row("pnpm 7", &[START, ("pnpm-lock.yaml", "lockfileVersion: 5.4\n")], &[], "node", &["dependencies: 'pnpm@7'"], NPM),
    row("bun", &[START, ("bun.lock", "{}")], &[], "node", &["dependencies: 'bun@1'", "dependencies: bun install --frozen-lockfile --production"], "exec bun run start"),
    row("bun, older lock, a main", &[("package.json", r#"{"main":"a.ts","packageManager":"bun@1.1.0"}"#), ("bun.lockb", "")], &[], "node", &["dependencies: 'bun@1.1.0'"], "exec bun './a.ts'"),
    row("custom tool", &[START], &[("CC_NODE_BUILD_TOOL", "custom"), ("CC_CUSTOM_BUILD_TOOL", "./get.sh")], "node", &["dependencies: ./get.sh"], NPM),
    row("tool by variable", &[START, ("yarn.lock", "")], &[("CC_NODE_BUILD_TOOL", "npm-install")], "node", &["dependencies: npm install"], NPM),
    row("main", &[("package.json", r#"{"main":"server.js"}"#)], &[], "node", &[], "exec node './server.js'"),
    row("procfile", &[("package.json", "{}"), ("Procfile", "web: node app.js")], &[], "node", &[], "node app.js"),
    row("run command", &[("package.json", "{}")], &[("CC_RUN_COMMAND", "node x.js")], "node", &[], "node x.js"),
    row("beside a Dockerfile", &[START, ("Dockerfile", "FROM x")], &[], "node", &[], NPM),
    row("nothing starts it", &[("package.json", "{}")], &[], "refused", &["no scripts.start and no main", "CC_RUN_COMMAND"], ""),
    row("no JSON", &[("package.json", "{")], &[], "refused", &["package.json cannot be used"], ""),
];

#[rustfmt::skip]
static PYTHON: &[Row] = &[
    row("flask", &[("requirements.txt", "flask")], &[("CC_PYTHON_MODULE", "app:app")], "python", &["dependencies: -r 'requirements.txt'", "dependencies: m.version(\"gunicorn\")"], "exec .venv/bin/python -m gunicorn --bind \"0.0.0.0:$PORT\" 'app:app'"),
    row("django with tasks", &[("requirements.txt", ""), ("manage.py", "")], &[ ("CC_PYTHON_MODULE", "a.wsgi:application"), ("CC_PYTHON_MANAGE_TASKS", "migrate, collectstatic --noinput"), ], "python", &["dependencies: manage.py migrate", "dependencies: manage.py collectstatic --noinput"], "exec .venv/bin/python -m gunicorn --bind \"0.0.0.0:$PORT\" 'a.wsgi:application'"),
    row("fastapi", &[("pyproject.toml", "")], &[("CC_PYTHON_MODULE", "m:app"), ("CC_PYTHON_BACKEND", "uvicorn")], "python", &["dependencies: --progress-bar off ."], "exec .venv/bin/python -m uvicorn --host 0.0.0.0 --port \"$PORT\" 'm:app'"),
    row("channels", &[("requirements.txt", "")], &[("CC_PYTHON_MODULE", "m:app"), ("CC_PYTHON_BACKEND", "daphne")], "python", &["dependencies: --progress-bar off daphne"], "exec .venv/bin/python -m daphne -b 0.0.0.0 -p \"$PORT\" 'm:app'"),
    row("uwsgi", &[("requirements.txt", "")], &[("CC_PYTHON_MODULE", "m:app"), ("CC_PYTHON_BACKEND", "uwsgi")], "python", &["dependencies: --progress-bar off uwsgi"], "exec .venv/bin/uwsgi --http \"0.0.0.0:$PORT\" --master --die-on-term --need-app --virtualenv \"$PWD/.venv\" --module 'm:app'"),
    row("static files", &[("requirements.txt", "")], &[ ("CC_PYTHON_MODULE", "m:app"), ("STATIC_FILES_PATH", "public/assets"), ("STATIC_URL_PREFIX", "/assets"), ], "python", &[ "dependencies: --progress-bar off whitenoise", "dependencies: root=\"public/assets\"", "dependencies: PREFIX = \"/assets/\"", ], "exec .venv/bin/python -m gunicorn --bind \"0.0.0.0:$PORT\" 'teal_static:app'"),
    row("static files of ASGI", &[("requirements.txt", "")], &[("CC_PYTHON_MODULE", "m:app"), ("CC_PYTHON_BACKEND", "uvicorn"), ("STATIC_FILES_PATH", "s")], "python", &["dependencies: --progress-bar off asgiref", "dependencies: PREFIX = \"/static/\""], "exec .venv/bin/python -m uvicorn --host 0.0.0.0 --port \"$PORT\" 'teal_static:app'"),
    row("uv", &[("uv.lock", ""), ("pyproject.toml", "")], &[("CC_PYTHON_UV_RUN_COMMAND", "uv run x")], "python", &["dependencies: uv sync --locked --no-dev"], "uv run x"),
    row("uv with a module", &[("uv.lock", ""), ("pyproject.toml", "")], &[("CC_PYTHON_MODULE", "m:app")], "python", &["dependencies: uv pip install --python .venv/bin/python gunicorn"], "exec .venv/bin/python -m gunicorn --bind \"0.0.0.0:$PORT\" 'm:app'"),
    row("other requirements", &[("deps/prod.txt", "")], &[("CC_PIP_REQUIREMENTS_FILE", "deps/prod.txt"), ("CC_RUN_COMMAND", "python x.py")], "python", &["dependencies: -r 'deps/prod.txt'"], "python x.py"),
    row("heroku", &[("requirements.txt", ""), ("Procfile", "web: gunicorn a:b")], &[], "python", &[], "gunicorn a:b"),
    row("with tools of node", &[("requirements.txt", ""), TOOLS], &[("CC_RUN_COMMAND", "python x.py")], "python", &[], "python x.py"),
    row("nothing starts it", &[("requirements.txt", "")], &[], "refused", &["CC_PYTHON_MODULE=module:app"], ""),
    row("prefix of nothing", &[("requirements.txt", "")], &[("CC_PYTHON_MODULE", "m:a"), ("STATIC_FILES_PATH", "s"), ("STATIC_URL_PREFIX", "/")], "refused", &["STATIC_URL_PREFIX=/"], ""),
];

#[rustfmt::skip]
static COMPILED: &[Row] = &[
    row("cargo", &[CARGO, CLOCK], &[], "rust", &[ "dependencies: cargo fetch --locked", "build: cargo build --release --locked", "finish: own='shop'", ], PROGRAM),
    row("one of many", &[CARGO, CLOCK], &[("CC_RUST_BIN", "web"), ("CC_RUST_FEATURES", "tls,pg")], "rust", &["build: cargo build --release --locked --bin 'web' --features 'tls,pg'", "finish: wanted='web'"], PROGRAM),
    row("default-run", &[("Cargo.toml", "[package]\nname = \"a\"\ndefault-run = \"b\"\n"), CLOCK], &[], "rust", &["finish: own='b'"], PROGRAM),
    row("cargo workspace", &[("Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"), CLOCK], &[], "rust", &["finish: own=''"], PROGRAM),
    row("cargo for heroku", &[CARGO, CLOCK, ("Procfile", "web: ./target/release/shop")], &[], "rust", &["finish: ln -sfn"], "./target/release/shop"),
    row("cargo with an own build", &[CARGO, CLOCK], &[("CC_BUILD_COMMAND", "cargo build --release -p x")], "rust", &["build: cargo build --release -p x"], PROGRAM),
    row("cargo with tools of node", &[CARGO, CLOCK, TOOLS], &[], "rust", &[], PROGRAM),
    row("cargo without a lock", &[CARGO], &[], "refused", &["no Cargo.lock", "cargo generate-lockfile"], ""),
    row("cargo that is no TOML", &[("Cargo.toml", "[package"), CLOCK], &[], "refused", &["Cargo.toml cannot be used"], ""),
    row("go at the top", &[GOMOD, MAIN_GO], &[], "go", &["dependencies: go mod download", "build: go install '.'", "finish: own='shop'"], PROGRAM),
    row("go in cmd", &[GOMOD, ("cmd/shop/main.go", "package main")], &[], "go", &["build: go install './...'"], PROGRAM),
    row("go, vendored", &[GOMOD, MAIN_GO, ("vendor/modules.txt", "")], &[], "go", &["build: go install '.'"], PROGRAM),
    row("go by package", &[GOMOD, ("cmd/a/main.go", "package main")], &[("CC_GO_PKG", "cmd/a")], "go", &["build: go install './cmd/a'"], PROGRAM),
    row("go by module path", &[GOMOD], &[("CC_GO_PKG", "example.org/team/shop/cmd/a")], "go", &["build: go install 'example.org/team/shop/cmd/a'"], PROGRAM),
    row("go build", &[GOMOD, MAIN_GO], &[("CC_GO_BUILD_TOOL", "gobuild"), ("CC_GO_BINARY", "shop")], "go", &["build: go build -o .teal/bin/ '.'", "finish: wanted='shop'"], PROGRAM),
    row("go by make", &[GOMOD, ("Makefile", "all:\n")], &[("CC_GO_BUILD_TOOL", "makefile")], "go", &["tools: type -P make", "build: make", "finish: wanted='shop'"], PROGRAM),
    row("go by another makefile", &[GOMOD, ("build/go.mk", "all:\n")], &[("CC_GO_BUILD_TOOL", "makefile"), ("CC_MAKEFILE", "build/go.mk"), ("CC_GO_BINARY", "out/x")], "go", &["build: make -f 'build/go.mk'", "finish: wanted='out/x'"], PROGRAM),
    row("go for heroku", &[GOMOD, MAIN_GO, ("Procfile", "web: bin/shop")], &[], "go", &[], "bin/shop"),
    row("go by an unknown tool", &[GOMOD], &[("CC_GO_BUILD_TOOL", "bazel")], "refused", &["CC_GO_BUILD_TOOL=bazel", "gomod"], ""),
    row("maven", &[("pom.xml", "")], &[], "java", &["tools: type -P mvn", "build: -DskipTests package", "finish: quarkus-run.jar"], "exec java ${CC_EXTRA_JAVA_ARGS:-} -jar \"$(realpath .teal/program.jar)\" ${CC_JAR_ARGS:-}"),
    row("maven with a jar", &[("pom.xml", "")], &[("CC_JAR_PATH", "target/a.jar")], "java", &["finish: ln -sfn '../target/a.jar'"], "exec java ${CC_EXTRA_JAVA_ARGS:-} -jar \"$(realpath .teal/program.jar)\" ${CC_JAR_ARGS:-}"),
    row("gradle", &[("build.gradle.kts", ""), ("gradlew", "")], &[], "java", &["build: gradlew --no-daemon"], "exec java ${CC_EXTRA_JAVA_ARGS:-} -jar \"$(realpath .teal/program.jar)\" ${CC_JAR_ARGS:-}"),
    row("gradle without a wrapper", &[("build.gradle", "")], &[], "refused", &["no gradlew", "gradle wrapper"], ""),
    row("java for heroku", &[("pom.xml", ""), ("Procfile", "web: java -jar target/a.jar")], &[], "java", &[], "java -jar target/a.jar"),
];

#[rustfmt::skip]
static SCRIPTS: &[Row] = &[
    row("a page of php", &[("index.php", "")], &[], "php", &[], "exec php -d display_errors=stderr -d log_errors=1 -d expose_php=0 -S \"0.0.0.0:$PORT\" -t '.'"),
    row("laravel", &[("composer.json", "{}"), ("composer.lock", "{}"), ("public/index.php", ""), TOOLS], &[], "php", &["dependencies: composer install --no-dev"], "exec php -d display_errors=stderr -d log_errors=1 -d expose_php=0 -S \"0.0.0.0:$PORT\" -t 'public'"),
    row("php elsewhere", &[("web/index.php", "")], &[("CC_WEBROOT", "/web")], "php", &[], "exec php -d display_errors=stderr -d log_errors=1 -d expose_php=0 -S \"0.0.0.0:$PORT\" -t 'web'"),
    row("php for heroku", &[("composer.json", "{}"), ("index.php", ""), ("Procfile", "web: vendor/bin/heroku-php-apache2")], &[], "php", &[], "exec php -d display_errors=stderr -d log_errors=1 -d expose_php=0 -S \"0.0.0.0:$PORT\" -t '.'"),
    row("a library of php", &[("composer.json", "{}")], &[], "refused", &["no index.php to serve", "CC_WEBROOT"], ""),
    row("rack with puma", &[("Gemfile", ""), ("Gemfile.lock", "    puma (6.4.0)\n"), ("config.ru", "")], &[], "ruby", &["dependencies: deployment true", "dependencies: bundle install"], "exec bundle exec puma --bind \"tcp://0.0.0.0:$PORT\""),
    row("rack without puma", &[("Gemfile", ""), ("config.ru", "")], &[], "ruby", &["dependencies: path vendor/bundle"], "exec bundle exec rackup --host 0.0.0.0 --port \"$PORT\""),
    row("rails with goals", &[("Gemfile", ""), ("Gemfile.lock", ""), ("config.ru", ""), TOOLS], &[("CC_RAKEGOALS", "assets:precompile,db:migrate")], "ruby", &["build: bundle exec rake assets:precompile", "build: bundle exec rake db:migrate"], "exec bundle exec rackup --host 0.0.0.0 --port \"$PORT\""),
    row("ruby for heroku", &[("Gemfile", ""), ("Procfile", "web: bundle exec x")], &[], "ruby", &[], "bundle exec x"),
    row("gems that start nothing", &[("Gemfile", "")], &[], "refused", &["config.ru"], ""),
    row("a site made by gems", &[("Gemfile", ""), ("index.html", "")], &[], "static", &[], "exec \"$TEAL_BINARY\" __static '.'"),
];

#[rustfmt::skip]
static OTHERS: &[Row] = &[
    row("a page", &[("index.html", "")], &[], "static", &[], "exec \"$TEAL_BINARY\" __static '.'"),
    row("a page elsewhere", &[("dist/index.html", "")], &[("CC_WEBROOT", "dist")], "static", &[], "exec \"$TEAL_BINARY\" __static 'dist'"),
    row("a page with tools", &[("index.html", ""), TOOLS], &[], "static", &[], "exec \"$TEAL_BINARY\" __static '.'"),
    row("a generated site", &[("a.md", "")], &[("CC_WEBROOT", "out"), ("CC_BUILD_COMMAND", "make")], "static", &["build: make", "finish: out/index.html"], "exec \"$TEAL_BINARY\" __static 'out'"),
    row("a command", &[("x", "")], &[("CC_RUN_COMMAND", "./x")], "linux", &[], "./x"),
    row("a procfile", &[("x", ""), ("Procfile", "web: ./x")], &[], "linux", &[], "./x"),
    row("a makefile", &[("Makefile", "build run: x\n")], &[], "linux", &["tools: type -P make", "build: exec make build"], "exec make run"),
    row("another makefile", &[("a.mk", "run:\n")], &[("CC_MAKEFILE", "a.mk")], "linux", &[], "exec make -f 'a.mk' run"),
    row("tasks of mise", &[("mise.toml", "[tasks.build]\nrun = \"x\"\n[tasks.run]\nrun = \"y\"\n")], &[], "linux", &["dependencies: '@jdxcode/mise'", "build: exec mise run build"], "exec mise run run"),
    row("mise with tools", &[(".mise.toml", "[tools]\nnode = \"22\"\n[tasks]\nrun = \"y\"\n")], &[], "linux", &["dependencies: mise install"], "exec mise run run"),
    row("files of mise", &[("mise-tasks/run", "#!/bin/sh")], &[], "linux", &[], "exec mise run run"),
    row("mise before make", &[("mise.toml", "[tasks]\nrun = \"y\"\n"), ("Makefile", "build:\nrun:\n")], &[], "linux", &["build: exec make build"], "exec mise run run"),
    row("procfile before mise", &[("mise.toml", "[tasks]\nbuild = \"y\"\nrun = \"z\"\n"), ("Procfile", "web: ./x")], &[], "linux", &["build: exec mise run build"], "./x"),
    row("mise that is no TOML", &[("mise.toml", "[tasks")], &[], "refused", &["mise.toml cannot be used"], ""),
    row("only a Dockerfile", &[("Dockerfile", "FROM scratch")], &[], "refused", &["Dockerfile is there", "user namespaces", "CC_BUILD_COMMAND"], ""),
    row("another Dockerfile", &[("ops/app.docker", "FROM scratch")], &[("CC_DOCKERFILE", "ops/app.docker")], "refused", &["ops/app.docker is there"], ""),
    row("nothing known", &[("main.c", "")], &[], "refused", &["cannot tell", "there is main.c", "APP_FOLDER"], ""),
    row("nothing at all", &[], &[], "refused", &["the commit is empty"], ""),
];

fn all() -> impl Iterator<Item = &'static Row> {
    [NODE, PYTHON, COMPILED, SCRIPTS, OTHERS].into_iter().flatten()
}

#[test]
fn every_tree_is_taken_for_what_it_is() {
    let mut wrong = Vec::new();
    for row in all() {
        wrong.extend(complaint(row).map(|complaint| format!("{}: {complaint}", row.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(all().count() >= 80);
}

fn complaint(row: &Row) -> Option<String> {
    let plan = match planned(row.files, row.variables, None) {
        Ok(plan) => plan,
        Err(error) if row.kind == "refused" => {
            let error = error.to_string();
            return row
                .build
                .iter()
                .find(|text| !error.contains(**text))
                .map(|text| format!("`{error}` does not say `{text}`"));
        }
        Err(error) => return Some(error.to_string()),
    };
    if plan.kind.word() != row.kind {
        return Some(format!("taken for {}, because {}", plan.kind, plan.because));
    }
    let missing = row.build.iter().find(|expected| !builds(&plan, expected));
    if let Some(missing) = missing {
        return Some(format!("`{missing}` is not in {:#?}", plan.build));
    }
    let start =
        plan.run.commands(&set(row.variables)).pop().map(|command| command.script).unwrap_or_default();
    let last = start.lines().last().unwrap_or_default();
    (last != row.start).then(|| format!("starts `{last}`, not `{}`", row.start))
}

/// `stage: text`.
fn builds(plan: &Plan, expected: &str) -> bool {
    let Some((stage, text)) = expected.split_once(": ") else { return false };
    plan.build.iter().any(|command| command.stage == stage && command.script.contains(text))
}

#[test]
fn the_log_says_from_what_and_how_to_override_it() {
    for row in all().filter(|row| row.kind != "refused") {
        let plan = planned(row.files, row.variables, None).expect("a plan");
        assert!(
            plan.because.contains("set the app's setting `type` to override"),
            "{}: {}",
            row.name,
            plan.because
        );
        let start = plan.notes.iter().find(|note| note.starts_with("Start: ")).expect("said");
        assert!(start.contains("CC_RUN_COMMAND"), "{}: {start}", row.name);
    }
}

#[test]
fn every_script_of_a_plan_is_valid_bash() {
    for row in all().filter(|row| row.kind != "refused") {
        let plan = planned(row.files, row.variables, None).expect("a plan");
        let run = plan.run.commands(&set(row.variables));
        for command in plan.build.iter().chain(&run) {
            let output = std::process::Command::new("bash")
                .args(["-n", "-c", &command.script])
                .output()
                .expect("bash");
            assert!(
                output.status.success(),
                "{}: {}\n{}",
                row.name,
                command.script,
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn types_give_variables_that_users_may_change() {
    for (files, name, value) in [
        (&[("requirements.txt", ""), ("Procfile", "web: x")][..], "PYTHONUNBUFFERED", "1"),
        (&[("Gemfile", ""), ("config.ru", "")], "RACK_ENV", "production"),
        (&[("Gemfile", ""), ("config.ru", "")], "BUNDLE_WITHOUT", "development:test"),
        (&[("index.php", "")], "PHP_CLI_SERVER_WORKERS", "4"),
    ] {
        let plan = planned(files, &[], None).expect("a plan");
        assert_eq!(plan.run.variables.get(name).map(String::as_str), Some(value));
    }
}
