//! Who may depend on whom, read from `cargo metadata`: an arrow that turns is an error, and so is a licence that does not fit.

use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Command;

/// Each crate of ours and those of ours that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("teal-core", &[]),
    ("teal-agent", &["teal-core"]),
    ("teal-runtime", &["teal-core"]),
    ("teal-router", &["teal-core"]),
    ("teal-server", &["teal-core", "teal-runtime"]),
    ("teal-cli", &["teal-core", "teal-runtime", "teal-router", "teal-server"]),
    ("teal-e2e", &["teal-core"]),
    ("teal-bench", &["teal-core", "teal-runtime"]),
    ("xtask", &[]),
];

/// Licences that fit into a product under Apache-2.0. A crate passes if one of its alternatives consists of these.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What is wrong, one line each.
pub(crate) fn complaints() -> Result<Vec<String>> {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut complaints = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if package["source"].is_null() {
            complaints.extend(turned(name, package));
        } else if !fits(package["license"].as_str().unwrap_or_default()) {
            complaints.push(format!("{name}: licence {} is not on the list", package["license"]));
        }
    }
    Ok(complaints)
}

/// Arrows of one crate that point where they must not. Test and build dependencies count too: they compile together.
fn turned(name: &str, package: &Value) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![format!(
            "{name}: a new crate needs a row in xtask/src/arrows.rs, with a reason in ARCHITECTURE.md"
        )];
    };
    let ours = package["dependencies"].as_array().into_iter().flatten().filter_map(|d| d["name"].as_str());
    let ours = ours.filter(|d| ARROWS.iter().any(|(crate_name, _)| crate_name == d) && !allowed.contains(d));
    ours.map(|d| format!("{name} must not depend on {d}")).collect()
}

/// One of the alternatives consists of listed licences.
fn fits(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    flat.split(" OR ").any(|alternative| alternative.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
}
