//! What well-known tools say when they fail, and what a person does about it: a pure table from lines of a log to one sentence.
//!
//! It only ever adds a sentence to a verdict; it never is the verdict, and it never repeats a value that could be secret.

/// Lines of a log that are looked at, from its end.
pub const LINES: usize = 400;

/// Words that a tool says, and what they mean. `{}` is what follows the words, up to the end of the word or the quotation.
struct Rule {
    says: &'static str,
    means: &'static str,
}

const fn rule(says: &'static str, means: &'static str) -> Rule {
    Rule { says, means }
}

/// The most telling first: a program that could not be compiled may also complain of its network.
const BUILD: &[Rule] = &[
    rule(
        "npm ci` can only install packages when your package.json and",
        "package-lock.json does not fit package.json: run `npm install`, commit package-lock.json, push again",
    ),
    rule(
        "ERR_PNPM_OUTDATED_LOCKFILE",
        "pnpm-lock.yaml does not fit package.json: run `pnpm install`, commit pnpm-lock.yaml, push again",
    ),
    rule("YN0028", "yarn.lock does not fit package.json: run `yarn install`, commit yarn.lock, push again"),
    rule(
        "Your lockfile needs to be updated",
        "yarn.lock does not fit package.json: run `yarn install`, commit yarn.lock, push again",
    ),
    rule(
        "lockfile had changes, but lockfile is frozen",
        "bun.lock does not fit package.json: run `bun install`, commit bun.lock, push again",
    ),
    rule(
        "The lockfile at `uv.lock` needs to be updated",
        "uv.lock does not fit pyproject.toml: run `uv lock`, commit uv.lock, push again",
    ),
    rule(
        "--locked was passed to prevent this",
        "Cargo.lock does not fit Cargo.toml: run `cargo update --workspace`, commit Cargo.lock, push again",
    ),
    rule(
        "the lock file is not up to date with the latest changes in composer.json",
        "composer.lock does not fit composer.json: run `composer update --lock`, commit composer.lock, push again",
    ),
    rule(
        "gemfile is changed to add",
        "Gemfile.lock does not fit Gemfile: run `bundle install`, commit Gemfile.lock, push again",
    ),
    rule(
        "the gemspecs for path gems changed",
        "Gemfile.lock does not fit Gemfile: run `bundle install`, commit Gemfile.lock, push again",
    ),
    rule(
        "lockfile can't be updated because frozen mode is set",
        "Gemfile.lock does not fit Gemfile: run `bundle install`, commit Gemfile.lock, push again",
    ),
    rule(
        "updates to go.mod needed",
        "go.mod does not fit the source: run `go mod tidy`, commit go.mod and go.sum, push again",
    ),
    rule(
        "missing go.sum entry",
        "go.sum does not fit go.mod: run `go mod tidy`, commit go.mod and go.sum, push again",
    ),
    rule(
        "inconsistent vendoring",
        "vendor does not fit go.mod: run `go mod vendor`, commit vendor, push again",
    ),
    rule(
        "error: could not compile `",
        "`{}` does not compile: the compiler's first error is the one to correct",
    ),
    rule(": error: ", "the first line with `error:` says what is wrong, and where"),
    rule(
        "COMPILATION ERROR",
        "the source does not compile: the compiler's first error is the one to correct",
    ),
    rule("SyntaxError:", "a file is not valid source: the line above the error names it"),
    rule("error TS", "TypeScript found errors: correct them, or make the build script accept them"),
    rule(
        "No space left on device",
        "the build filled its disk: raise the app's setting `disk_mib`, or make it write less",
    ),
    rule("ENOSPC", "the build filled its disk: raise the app's setting `disk_mib`, or make it write less"),
    rule(
        "note: module requires Go ",
        "the module needs Go {}, and the image has an older one: lower the line `go` in go.mod, or ask the operator for a newer Go",
    ),
    rule(
        "invalid go version '",
        "go.mod asks for Go {}, and the image has an older one: lower the line `go` in go.mod (as in `go 1.19`), or ask the operator for a newer Go",
    ),
    rule(
        "requires rustc ",
        "a package needs a newer compiler (rustc {}) than the image has: take an older version of it, or ask the operator for a newer one",
    ),
    rule("ENOTFOUND", UNREACHABLE),
    rule("EAI_AGAIN", UNREACHABLE),
    rule("ECONNREFUSED", UNREACHABLE),
    rule("Failed to establish a new connection", UNREACHABLE),
    rule("Temporary failure in name resolution", UNREACHABLE),
    rule("Could not resolve host", UNREACHABLE),
    rule("could not be resolved", UNREACHABLE),
    rule("Could not reach host", UNREACHABLE),
    rule("Could not fetch specs from", UNREACHABLE),
    rule("Could not transfer artifact", UNREACHABLE),
    rule("Network is unreachable", UNREACHABLE),
    rule("Connection timed out", UNREACHABLE),
    rule("dial tcp", UNREACHABLE),
    rule("curl error", UNREACHABLE),
    rule("error sending request for url", UNREACHABLE),
    rule(
        "No matching distribution found for ",
        "no registry that is asked has `{}` for this version of Python: check its name and version, and which Python it needs",
    ),
    rule(
        "ERESOLVE",
        "packages contradict each other: correct their versions, or set CC_NODE_BUILD_TOOL=custom and CC_CUSTOM_BUILD_TOOL='npm install --legacy-peer-deps'",
    ),
    rule(
        "No matching version found for ",
        "the registry has no version `{}`: check it in package.json or packageManager",
    ),
    rule(
        "ERR! 404",
        "a package is not in the registry: check its name and version, or whether the registry needs credentials",
    ),
];

const UNREACHABLE: &str = "a registry cannot be reached from the sandbox of the build: the lines name its host; ask the operator whether it is allowed, or for a mirror (the server's `build_environment` names variables that builds get)";

const START: &[Rule] = &[
    rule("KeyError: '", "the variable `{}` may not be set: set it with `teal env set {}=…`"),
    rule(
        "environment variable not found",
        "a variable that the app needs is not set: set it with `teal env set NAME=…`",
    ),
    rule(
        "Missing required environment variable",
        "a variable that the app needs is not set: set it with `teal env set NAME=…`",
    ),
    rule("ECONNREFUSED", DATABASE),
    rule("Connection refused", DATABASE),
    rule("connection refused", DATABASE),
    rule("could not translate host name", DATABASE),
    rule("getaddrinfo", DATABASE),
    rule("could not connect to server", DATABASE),
    rule("Can't connect to MySQL server", DATABASE),
    rule(
        "No space left on device",
        "the app filled its disk: raise its setting `disk_mib`, or make it write less",
    ),
    rule("ENOSPC", "the app filled its disk: raise its setting `disk_mib`, or make it write less"),
    rule("Read-only file system", READ_ONLY),
    rule("EROFS", READ_ONLY),
    rule(
        "Address already in use",
        "two programs want the same port: only one may listen on the port that PORT names",
    ),
    rule("EADDRINUSE", "two programs want the same port: only one may listen on the port that PORT names"),
    rule(
        "Cannot find module '",
        "`{}` is not in the release: a dependency is missing in package.json, or only among devDependencies, or the build did not make it",
    ),
    rule(
        "ModuleNotFoundError: No module named '",
        "`{}` is not installed: add it to the app's requirements, commit, push again",
    ),
    rule(
        "Worker failed to boot",
        "the module that CC_PYTHON_MODULE or the command names could not be loaded: the lines before it say why",
    ),
    rule(
        ": command not found",
        "a program that the command names is not in the release nor in the image: check the command, or install it in the build",
    ),
];

const DATABASE: &str = "the app cannot reach a server that it needs, such as its database: check the variables that name it (127.0.0.1 is the instance itself, where only the app runs)";

const READ_ONLY: &str = "the app writes where it may not: it may write below its own directory ($APP_HOME) and /tmp; tell it to keep its files there";

/// What may help, after these lines of a failed build.
#[must_use]
pub fn of_build(lines: &[&str]) -> Option<String> {
    first(BUILD, lines)
}

/// What may help, after these lines of an app that did not start.
#[must_use]
pub fn of_start(lines: &[&str]) -> Option<String> {
    first(START, lines)
}

/// The first rule of the table that any line meets; of several lines the last one counts.
fn first(rules: &[Rule], lines: &[&str]) -> Option<String> {
    rules.iter().find_map(|rule| {
        let rest = lines.iter().rev().find_map(|line| line.split_once(rule.says))?.1;
        Some(rule.means.replace("{}", &word(rest)))
    })
}

/// A name as tools write it: nothing that could be a password or another sentence.
fn word(rest: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || "_-./@=<>~^".contains(*c);
    let word: String = rest.chars().take_while(plain).take(100).collect();
    if word.is_empty() { "it".into() } else { word.trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_out_of_date_is_told_in_every_language() {
        for (line, says) in [
            (
                "npm ERR! `npm ci` can only install packages when your package.json and package-lock.json are in sync.",
                "package-lock.json",
            ),
            ("ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with \"frozen-lockfile\"", "pnpm-lock.yaml"),
            ("➤ YN0028: │ The lockfile would have been modified by this install", "yarn.lock"),
            (
                "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.",
                "yarn.lock",
            ),
            ("error: lockfile had changes, but lockfile is frozen", "bun.lock"),
            ("error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided.", "uv.lock"),
            (
                "error: the lock file /app/Cargo.lock needs to be updated but --locked was passed to prevent this",
                "Cargo.lock",
            ),
            ("go: updates to go.mod needed", "go.mod"),
            ("main.go:3:8: missing go.sum entry for module providing package x", "go.sum"),
        ] {
            let hint = of_build(&["before", line, "after"]).unwrap_or_default();
            assert!(hint.contains(says) && hint.contains("push again"), "{line}: {hint}");
        }
    }

    #[test]
    fn the_cause_counts_more_than_what_follows_from_it() {
        let lines = [
            "getaddrinfo ENOTFOUND registry",
            "error: could not compile `shop` (bin \"shop\") due to 1 previous error",
        ];
        assert!(of_build(&lines).is_some_and(|hint| hint.starts_with("`shop` does not compile")));
        assert!(of_build(&lines[..1]).is_some_and(|hint| hint.contains("registry cannot be reached")));
        let pip = [
            "Failed to establish a new connection: [Errno 113]",
            "ERROR: No matching distribution found for flask==9",
        ];
        assert!(of_build(&pip).is_some_and(|hint| hint.contains("registry cannot be reached")));
        assert!(of_build(&pip[1..]).is_some_and(|hint| hint.contains("`flask==9`")));
        assert_eq!(of_build(&["all is well"]), None);
    }

    #[test]
    fn a_start_names_what_is_missing_and_no_value() {
        let hint = of_start(&["KeyError: 'DATABASE_URL'"]).unwrap_or_default();
        assert!(hint.contains("teal env set DATABASE_URL=…"), "{hint}");
        let hint = of_start(&[
            "psycopg2.OperationalError: connection to 127.0.0.1 password=s3cret failed: Connection refused",
        ]);
        assert!(hint.is_some_and(|hint| hint.contains("database") && !hint.contains("s3cret")));
        let hint = of_start(&["Error: Cannot find module 'express'"]).unwrap_or_default();
        assert!(hint.starts_with("`express` is not in the release"), "{hint}");
    }
}
