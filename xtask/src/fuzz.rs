//! `cargo xtask fuzz TARGET`: lets LLVM's fuzzer look for bytes that break a check of `teal_router::fuzz`, with the compiler that builds Teal.
//!
//! Coverage comes from the compiler's own pass, so that no nightly toolchain and no sanitizer is needed: there is no unsafe code to watch. The
//! committed corpus is where it starts; what it finds goes into the target directory and never by itself into the repository.

use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the committed inputs are.
const CORPUS: &str = "crates/router/tests/corpus";

/// A longer input finds nothing that a shorter one does not, and takes longer.
const MOST_BYTES: usize = 1024;

/// How many inputs of one target are worth committing.
const MOST_INPUTS: usize = 60;

/// Edges, and what is compared with what.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

const USAGE: &str = "usage: cargo xtask fuzz TARGET [--minutes N] [--minimise]
  --minutes N   how long (default: 5)
  --minimise    replaces the committed corpus by the smallest inputs that reach what all known ones reach";

struct Arguments {
    target: String,
    minutes: u64,
    minimise: bool,
}

/// Builds the fuzzer and runs it on one target.
pub(crate) fn run() -> Result<()> {
    let arguments = arguments(env::args().skip(2))?;
    let committed = Path::new(CORPUS).join(&arguments.target);
    if !committed.is_dir() {
        let names: Vec<String> =
            fs::read_dir(CORPUS)?.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
        bail!("there is no target `{}`; there are: {}", arguments.target, names.join(", "));
    }
    let place = place();
    let program = build(&place)?;
    let found = place.join("corpus").join(&arguments.target);
    fs::create_dir_all(&found)?;
    if arguments.minimise {
        minimise(&program, &arguments, &found, &committed)
    } else {
        search(&program, &arguments, &found, &committed)
    }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments> {
    let target = given.next().filter(|target| !target.starts_with('-')).context(USAGE)?;
    let mut arguments = Arguments { target, minutes: 5, minimise: false };
    while let Some(argument) = given.next() {
        match argument.as_str() {
            // The fuzzer takes 0 for ever.
            "--minutes" => {
                let minutes: std::num::NonZero<u64> = given.next().context(USAGE)?.parse().context(USAGE)?;
                arguments.minutes = minutes.get();
            }
            "--minimise" => arguments.minimise = true,
            _ => bail!("{USAGE}"),
        }
    }
    Ok(arguments)
}

/// Apart from everybody else's target directory, because everything in it is compiled with other flags.
fn place() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from).join("fuzz")
}

/// The fuzzer, compiled for a named target: so the flags do not concern build scripts and macros.
fn build(place: &Path) -> Result<PathBuf> {
    let host = host()?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--target", &host]);
    command.arg("--target-dir").arg(place).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    if !command.status()?.success() {
        bail!("the fuzzer does not build; it needs a C++ compiler (Debian: g++)");
    }
    Ok(place.join(host).join("release/teal-fuzz"))
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc does not run")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned).context("rustc does not say its host")
}

fn search(program: &Path, arguments: &Arguments, found: &Path, committed: &Path) -> Result<()> {
    let mut command = fuzzer(program, arguments);
    let crashes = place().join("crash-");
    command.arg(format!("-artifact_prefix={}", crashes.display()));
    command.arg(format!("-max_total_time={}", arguments.minutes * 60));
    // A crawl is a fault, too: no input of this length may take seconds.
    command.args(["-timeout=5", "-print_final_stats=1"]).arg(found).arg(committed);
    if !command.status()?.success() {
        bail!(
            "an input breaks `{}`: it is named above; make it a test, then mend what it breaks",
            arguments.target
        );
    }
    Ok(())
}

/// The smallest inputs of all known ones, as few as are worth keeping, by numbers for names.
fn minimise(program: &Path, arguments: &Arguments, found: &Path, committed: &Path) -> Result<()> {
    let merged = place().join("merged").join(&arguments.target);
    if merged.exists() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir_all(&merged)?;
    let mut command = fuzzer(program, arguments);
    if !command.arg("-merge=1").arg(&merged).arg(committed).arg(found).status()?.success() {
        bail!("the corpus of `{}` could not be merged", arguments.target);
    }
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&merged)? {
        inputs.push(fs::read(entry?.path())?);
    }
    inputs.sort_by_key(Vec::len);
    // Evenly from short to long, so that neither kind is lost.
    let step = inputs.len().div_ceil(MOST_INPUTS).max(1);
    for (number, input) in inputs.iter().step_by(step).enumerate() {
        fs::write(committed.join(format!("found-{number:02}")), input)?;
    }
    println!("{} of {} inputs are in {}", inputs.len().div_ceil(step), inputs.len(), committed.display());
    Ok(())
}

fn fuzzer(program: &Path, arguments: &Arguments) -> Command {
    let mut command = Command::new(program);
    command.env("TEAL_FUZZ", &arguments.target).arg(format!("-max_len={MOST_BYTES}"));
    command
}
