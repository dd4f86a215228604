//! Deliberate bugs.
pub(crate) fn run() -> anyhow::Result<()> { Ok(()) }
