//! Builds `teal-agent` as one static file, for the sandbox runtime to embed.
//!
//! A build of its own, because the flag that makes a program static breaks procedural macros when it is set for a whole workspace: own target
//! directory (cargo locks the outer one), explicit `--target` (so that the flags do not reach macros), none of the outer build's flags or wrappers.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

/// What the outer build sets and the inner one must not see: `cargo clippy` and coverage work through wrappers, tests through flags.
const FOREIGN: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let crates = manifest.parent().ok_or("the crate has no parent directory")?;
    for path in
        ["agent/src", "agent/Cargo.toml", "core/src", "core/Cargo.toml", "../Cargo.lock", "../Cargo.toml"]
    {
        println!("cargo::rerun-if-changed={}", crates.join(path).display());
    }
    let agent = build(crates)?;
    println!("cargo::rustc-env=TEAL_AGENT={}", agent.display());
    Ok(())
}

/// Answers where the program is.
fn build(crates: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let target = variable("TARGET")?;
    let directory = target_directory()?;
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.current_dir(crates).args([
        "build",
        "--package",
        "teal-agent",
        "--profile",
        "agent",
        "--target",
        &target,
    ]);
    cargo.arg("--target-dir").arg(&directory);
    for name in FOREIGN {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static");
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("the agent does not build ({status}); see cargo's messages above").into());
    }
    let built = directory.join(target).join("agent/teal-agent");
    // A copy of this build's own: another profile's build may replace the shared file while this one is compiled.
    let copy = PathBuf::from(variable("OUT_DIR")?).join("teal-agent");
    copy_changed(&built, &copy)?;
    Ok(copy)
}

/// Shared by all profiles, as the agent is always built the same: `target/agent` beside `target/debug`.
fn target_directory() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let build = out.ancestors().find(|path| path.ends_with("build")).ok_or("OUT_DIR is not below `build`")?;
    let profile = build.parent().and_then(Path::parent).ok_or("OUT_DIR is not below a target directory")?;
    Ok(profile.join("agent"))
}

fn copy_changed(from: &Path, to: &Path) -> io::Result<()> {
    let new = std::fs::read(from)?;
    if std::fs::read(to).is_ok_and(|old| old == new) { Ok(()) } else { std::fs::write(to, new) }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("cargo did not set {name}"))
}
