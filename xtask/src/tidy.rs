//! House laws as tests, each with its reason, so that reviews can be about ideas.

use crate::arrows;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use syn::{spanned::Spanned, visit::Visit};

/// A function that does not fit on a screen hides a second one.
const MAX_FUNCTION: usize = 70;
/// A file holds one noun; past this it holds two.
const MAX_FILE: usize = 600;
/// Every dependency is somebody else's bug in our product.
const MAX_LOCKED: usize = 500;
/// A function that must be longer says why in a comment that begins like this, right above it or its attributes.
const EXCUSE: &str = "// long:";

/// Checks everything and prints all complaints at once.
pub(crate) fn run() -> Result<()> {
    let mut complaints = arrows::complaints()?;
    for path in tracked(".rs")? {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        complaints.extend(of_file(&path, &text)?);
    }
    let lock = fs::read_to_string("Cargo.lock")?;
    let locked = lock.lines().filter(|line| *line == "[[package]]").count();
    if locked > MAX_LOCKED {
        complaints.push(format!("Cargo.lock: {locked} packages, at most {MAX_LOCKED}"));
    }
    complaints.extend(dead_names()?);
    if complaints.is_empty() {
        println!("tidy: nothing to complain about ({locked} locked packages)");
        return Ok(());
    }
    bail!("tidy:\n{}", complaints.join("\n"))
}

fn of_file(path: &Path, text: &str) -> Result<Vec<String>> {
    let name = path.display();
    let mut complaints = Vec::new();
    if !text.starts_with("//!") && !text.starts_with("#!") {
        complaints.push(format!("{name}: must begin with `//!`: what it is for and what it must never do"));
    }
    let lines = text.lines().count();
    if lines > MAX_FILE {
        complaints.push(format!("{name}: {lines} lines, at most {MAX_FILE}"));
    }
    let file = syn::parse_file(text).with_context(|| format!("{name} does not parse"))?;
    let mut functions = Functions { lines: text.lines().collect(), long: Vec::new() };
    functions.visit_file(&file);
    complaints.extend(functions.long.into_iter().map(|long| format!("{name}:{long}")));
    Ok(complaints)
}

/// Collects functions that are too long.
struct Functions<'a> {
    lines: Vec<&'a str>,
    long: Vec<String>,
}

impl Functions<'_> {
    fn look(&mut self, name: &syn::Ident, whole: proc_macro2::Span) {
        let (begin, end) = (whole.start().line, whole.end().line);
        let above = self.lines[..begin.saturating_sub(1)].iter().rev().take(3);
        let excused = above
            .chain(self.lines[begin - 1..end.min(begin + 6)].iter())
            .any(|line| line.trim().starts_with(EXCUSE));
        if end - begin + 1 > MAX_FUNCTION && !excused {
            self.long
                .push(format!("{begin}: `{name}` has {} lines, at most {MAX_FUNCTION}", end - begin + 1));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.look(&item.sig.ident, item.block.span());
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.look(&item.sig.ident, item.block.span());
        syn::visit::visit_impl_item_fn(self, item);
    }
}

/// Files that git tracks (or would), by their ending.
fn tracked(ending: &str) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()?;
    let names = String::from_utf8(output.stdout)?;
    let files = names.split('\0').filter(|name| name.ends_with(ending)).map(PathBuf::from);
    Ok(files.filter(|path| path.exists()).collect())
}

/// Files that README and ARCHITECTURE name but that are not there.
fn dead_names() -> Result<Vec<String>> {
    let all = tracked("")?;
    let mut dead = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(document).with_context(|| document.to_owned())?;
        for name in text.split('`').skip(1).step_by(2) {
            let is_file =
                [".rs", ".md", ".sql", ".html", ".toml"].iter().any(|ending| name.ends_with(ending));
            let plain = is_file && !name.contains([' ', '*', '<', '…']) && !name.starts_with('/');
            if plain && !all.iter().any(|path| path.ends_with(name)) {
                dead.push(format!("{document}: names `{name}`, which is not there"));
            }
        }
    }
    Ok(dead)
}
