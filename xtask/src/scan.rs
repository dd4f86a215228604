//! `cargo xtask scan`: the router's TLS as testssl.sh and sslyze see it. Both are brought here and used on the loopback only; what is right is
//! said by the tests that they run in.

use crate::packages;
use anyhow::{Result, bail};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Its rules are Mozilla's of its day: a newer one is a decision, not an accident.
const SSLYZE: &str = "sslyze==6.3.1";

/// Brings the scanners and runs them.
pub(crate) fn run() -> Result<()> {
    packages::install()?;
    packages::install_scanners()?;
    let python = sslyze()?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--locked", "-p", "teal-router", "--test", "it", "--"]);
    command.args(["--ignored", "--nocapture", "scanners::"]).env("TEAL_SSLYZE", python);
    if command.status()?.success() {
        Ok(())
    } else {
        bail!("a scanner has found something: it is named above")
    }
}

/// A Python that has sslyze, made if there is none.
fn sslyze() -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let place = env::current_dir()?.join(target).join("scanners");
    let python = place.join("bin/python");
    if !has_sslyze(&python) {
        succeed(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&place))?;
        succeed(Command::new(&python).args(["-m", "pip", "install", "-q", SSLYZE]))?;
    }
    Ok(python)
}

fn has_sslyze(python: &Path) -> bool {
    let wanted =
        "import importlib.metadata as m, sys; sys.exit('sslyze==' + m.version('sslyze') != sys.argv[1])";
    Command::new(python).args(["-c", wanted, SSLYZE]).output().is_ok_and(|output| output.status.success())
}

fn succeed(command: &mut Command) -> Result<()> {
    if command.status()?.success() { Ok(()) } else { bail!("{command:?} failed") }
}
