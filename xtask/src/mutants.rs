//! `cargo xtask mutants`: deliberate bugs, kept as patches, that the simulation must catch.
//!
//! Each patch of `mutants/` is applied to a copy of `crates/core`; its tests must turn red, and the table at the end names the story or the
//! promise that caught it. The working tree is never touched. A patch that does not apply, or does not compile, is a failure too.

use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

/// Enough random runs for every mutant, few enough to keep the whole under some minutes.
const SEEDS: &str = "3000";

/// Faulty runs of each story.
const CRASHES: &str = "15";

/// Runs all mutants.
///
/// # Errors
/// If the unchanged machine is red, a patch does not apply or compile, or a mutant survives.
pub(crate) fn run() -> Result<()> {
    let root = workspace()?;
    let copy = tempfile::tempdir().context("no temporary directory")?;
    copy_core(&root, copy.path())?;
    let target = target_of(&root);
    let clean = test(copy.path(), &target)?;
    ensure!(clean.status.success(), "the unchanged machine is red:\n{}", tail(&clean));
    let patches = patches(&root.join("mutants"))?;
    ensure!(patches.len() >= 12, "only {} patches in mutants/: at least a dozen are kept", patches.len());
    let mut rows = Vec::new();
    for patch in &patches {
        let began = Instant::now();
        let fate = one(copy.path(), &root, patch, &target)?;
        rows.push((name_of(patch), fate, began.elapsed().as_secs()));
    }
    report(&rows)
}

/// What became of a mutant.
enum Fate {
    /// By what.
    Caught(String),
    Survived,
    Unbuildable(String),
}

fn one(copy: &Path, root: &Path, patch: &Path, target: &Path) -> Result<Fate> {
    copy_core(root, copy)?;
    let applied = Command::new("git")
        .args(["apply", "--whitespace=nowarn"])
        .arg(patch)
        .current_dir(copy)
        // Without this, a copy inside some repository would be taken for a part of it, and nothing would be applied.
        .env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(copy))
        .output()
        .context("`git` could not be run")?;
    if !applied.status.success() {
        return Ok(Fate::Unbuildable(format!(
            "does not apply: {}",
            String::from_utf8_lossy(&applied.stderr)
        )));
    }
    let output = test(copy, target)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        Ok(Fate::Survived)
    } else if text.contains("test result: FAILED") {
        Ok(Fate::Caught(culprit(&text)))
    } else {
        Ok(Fate::Unbuildable(tail(&output)))
    }
}

/// The first promise that was broken, and the first story that ended otherwise than it must.
fn culprit(text: &str) -> String {
    let promise = text.lines().find(|l| l.starts_with("TEAL_SEED=")).and_then(|l| l.split("[\"").nth(1));
    let promise =
        promise.map(|p| p.split("\", \"").next().unwrap_or(p).trim_end_matches("\"]").replace('\\', ""));
    let mut lines = text.lines().skip_while(|l| !l.contains("stories went wrong"));
    let story = lines.nth(1).map(|s| s.trim().to_owned());
    let crash =
        text.lines().skip_while(|l| !l.contains("runs went wrong")).nth(1).map(|s| s.trim().to_owned());
    let failed = text.lines().find_map(|l| l.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let found = [
        promise.map(|p| format!("promise: {p}")),
        story.map(|s| format!("story: {s}")),
        crash.map(|s| format!("crash: {s}")),
    ];
    let found: Vec<String> = found.into_iter().flatten().collect();
    if found.is_empty() { format!("test: {}", failed.unwrap_or("?")) } else { found.join("; ") }
}

fn test(copy: &Path, target: &Path) -> Result<Output> {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "-p", "teal-core", "--test", "simulation"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_INCREMENTAL", "1")
        .env("TEAL_SEEDS", SEEDS)
        .env("TEAL_CRASHES", CRASHES)
        .env("RUST_BACKTRACE", "0")
        .env_remove("TEAL_SEED")
        .env_remove("TEAL_STORY")
        .output()
        .context("`cargo test` could not be run")
}

fn report(rows: &[(String, Fate, u64)]) -> Result<()> {
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let mut bad = 0;
    let mut table = String::new();
    for (name, fate, seconds) in rows {
        let text = match fate {
            Fate::Caught(by) => by.chars().take(150).collect(),
            Fate::Survived => "SURVIVED: no test noticed".to_owned(),
            Fate::Unbuildable(why) => format!("BROKEN PATCH: {why}"),
        };
        bad += usize::from(!matches!(fate, Fate::Caught(_)));
        table += &format!("{name:width$}  {seconds:>4} s  {text}\n");
    }
    table += &format!("{} of {} deliberate bugs were caught\n", rows.len() - bad, rows.len());
    print(&table)?;
    if bad > 0 {
        bail!("{bad} deliberate bugs were not caught")
    }
    Ok(())
}

fn print(text: &str) -> Result<()> {
    use std::io::Write;
    std::io::stdout().lock().write_all(text.as_bytes()).context("standard output is closed")
}

/// The core crate as a workspace of its own.
fn copy_core(root: &Path, to: &Path) -> Result<()> {
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("no workspace manifest")?;
    let alone = manifest
        .lines()
        .map(|line| if line.starts_with("members") { "members = [\"crates/core\"]" } else { line });
    write(&to.join("Cargo.toml"), alone.collect::<Vec<_>>().join("\n").as_bytes())?;
    for file in ["Cargo.lock", "rust-toolchain.toml"] {
        write(&to.join(file), &fs::read(root.join(file)).with_context(|| format!("no {file}"))?)?;
    }
    for entry in walkdir::WalkDir::new(root.join("crates/core")) {
        let entry = entry.context("crates/core could not be read")?;
        let inside = entry.path().strip_prefix(root).context("outside of the workspace")?;
        if entry.file_type().is_file() {
            write(&to.join(inside), &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// Writes only what differs, so that cargo does not build again what stayed the same.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes).with_context(|| format!("{} could not be written", path.display()))
}

fn patches(from: &Path) -> Result<Vec<PathBuf>> {
    let mut patches: Vec<PathBuf> = fs::read_dir(from)
        .with_context(|| format!("{} could not be read", from.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "patch"))
        .collect();
    patches.sort();
    Ok(patches)
}

fn name_of(patch: &Path) -> String {
    patch.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

fn workspace() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(Path::to_path_buf).context("xtask has no workspace around it")
}

fn target_of(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("mutants")
}

fn tail(output: &Output) -> String {
    let all =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = all.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
