//! Rust: `Cargo.toml` and `Cargo.lock`, `cargo build --release --locked`, and of all that is built the programs only.
//!
//! What cargo compiled is kept beside the app's other caches, for the next build. A commit's files are as old as the commit, so every file is
//! made new first: else cargo would take a program of a later commit for up to date after a revert.

use super::{
    Type,
    program::{self, Choice},
};
use crate::build::{
    detect::{Draft, Error, Source, Tool},
    script,
};

const CARGO: Tool = Tool {
    command: "cargo",
    remedy: "install the Debian packages `cargo-web` and `rustc-web` (newer than `cargo` in Debian 12), or put a toolchain into /usr/local",
};

/// Before each call of cargo: where it compiles to.
const TARGET: &str = "export CARGO_TARGET_DIR=\"${CARGO_TARGET_DIR:-$TEAL_CACHE/target}\"";

/// New files, and no program of an earlier build.
const FRESH: &str = "find . -type f -exec touch {} +\nfind \"$CARGO_TARGET_DIR/release\" -maxdepth 1 -type f -delete 2>/dev/null || true";

/// From cargo's directory to the app's.
const TAKE: &str = "mkdir -p .teal/bin\nfind \"$CARGO_TARGET_DIR/release\" -maxdepth 1 -type f -perm -u+x ! -name '*.so' -exec cp {} .teal/bin/ \\;";

/// A build command of the user's own left its programs in `target`, of which nothing else belongs in a release. They stay where a Procfile may
/// look for them.
const TIDY: &str = r#"mkdir -p .teal/bin
if [ -d target/release ]; then find target/release -maxdepth 1 -type f -perm -u+x ! -name '*.so' -exec mv -f {} .teal/bin/ \;; fi
rm -rf target
mkdir -p target/release
for file in .teal/bin/*; do if [ -f "$file" ]; then ln -sfn "../../$file" "target/release/${file##*/}"; fi; done"#;

pub(super) struct Rust;

impl Type for Rust {
    fn claims(&self, source: &Source<'_>) -> Option<String> {
        source.files.has("Cargo.toml").then(|| "Cargo.toml is there".into())
    }

    fn draft(&self, source: &Source<'_>) -> Result<Draft, Error> {
        let manifest = manifest(source)?;
        if !source.files.has("Cargo.lock") {
            return Err(Error::Lacking {
                what: "there is no Cargo.lock, so two builds of this commit would differ".into(),
                remedy: "run `cargo generate-lockfile` and commit Cargo.lock (take it out of .gitignore if it is there)".into(),
            });
        }
        let wanted = source.variable("CC_RUST_BIN");
        let choice = Choice {
            variable: "CC_RUST_BIN",
            wanted,
            own: own(&manifest),
            none: "The build made no program, only libraries: add src/main.rs or a [[bin]] to Cargo.toml, or set CC_RUN_COMMAND",
        };
        let toolchain =
            ["rust-toolchain.toml", "rust-toolchain"].into_iter().find(|file| source.files.has(file));
        Ok(Draft {
            tools: vec![CARGO],
            prelude: script::first_in_path(program::DIRECTORY),
            dependencies: Some(script::lines([TARGET, "cargo fetch --locked"])),
            build: Some(script::lines([TARGET, FRESH, &build(source, wanted), TAKE])),
            finish: Some(script::lines([TIDY, &choice.script(source)])),
            start: Some(program::start(source)),
            notes: toolchain
                .map(|file| {
                    format!(
                        "{file} is not followed where cargo is Debian's: the toolchain of the image builds"
                    )
                })
                .into_iter()
                .collect(),
            ..Draft::default()
        })
    }
}

fn build(source: &Source<'_>, wanted: Option<&str>) -> String {
    let mut command = "cargo build --release --locked".to_owned();
    for (option, value) in [("--bin", wanted), ("--features", source.variable("CC_RUST_FEATURES"))] {
        if let Some(value) = value {
            command += &format!(" {option} {}", script::quote(value));
        }
    }
    command
}

fn manifest(source: &Source<'_>) -> Result<toml::Table, Error> {
    let Some(text) = source.files.read("Cargo.toml") else {
        return Err(Error::Lacking {
            what: "type rust needs a Cargo.toml at the top of the commit".into(),
            remedy: "add one, set APP_FOLDER to the folder that has it, or change the app's setting `type`"
                .into(),
        });
    };
    text.parse().map_err(|error: toml::de::Error| Error::Unreadable {
        file: "Cargo.toml".into(),
        reason: format!("it is not TOML ({}); correct it and push again", error.message()),
    })
}

/// The program that `cargo run` would start, as far as the manifest says it.
fn own(manifest: &toml::Table) -> Option<String> {
    let package = manifest.get("package")?.as_table()?;
    let name = package.get("default-run").or_else(|| package.get("name"))?;
    name.as_str().map(str::to_owned)
}
