//! What is measured.

use crate::load::Load;

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
}

/// All rows of requests.
pub(crate) fn all() -> Vec<Row> {
    let row = |name, path, connections, close| Row { name, load: Load { path, connections, close } };
    vec![
        row("1 KiB keep-alive, 64 connections", "/", 64, false),
        row("1 KiB keep-alive, 1 connection", "/", 1, false),
        row("1 KiB, a new connection each, 64 at once", "/", 64, true),
        row("100 KiB keep-alive, 64 connections", "/100k", 64, false),
    ]
}
