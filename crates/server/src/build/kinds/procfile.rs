//! `Procfile`: `web: command`, one process type per line.

use crate::build::detect::Source;

/// The command of `web:`.
pub(super) fn web(source: &Source<'_>) -> Option<String> {
    let text = source.files.read("Procfile")?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("web:"))?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
