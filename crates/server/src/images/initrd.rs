//! A virtual machine's first file system: the agent as `/init`, the modules that it loads, and their order. It must hold nothing of the host.

use super::{
    Error,
    cpio::{self, Entry, Kind},
    modules::{self, Missing},
    recipe::Recipe,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use teal_core::image::MODULES;

/// Directories that the agent mounts over.
const DIRECTORIES: [&str; 4] = ["dev", "modules", "proc", "sys"];

impl From<Missing> for Error {
    fn from(Missing(name): Missing) -> Self {
        Self::Kernel(format!("its package has no module `{name}`"))
    }
}

/// The archive. `tree` is a kernel's own directory of modules (`lib/modules/<release>`).
pub(super) fn make(tree: &Path, recipe: &Recipe, agent: &[u8]) -> Result<Vec<u8>, Error> {
    let files = find(tree);
    let built_in = built_in(tree)?;
    let mut contents: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut needs = |name: &str| {
        let Some(path) = files.get(name) else { return Ok::<_, Error>(None) };
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let needs = modules::depends(&bytes);
        contents.insert(name.to_owned(), bytes);
        Ok(Some(needs))
    };
    let order = modules::order::<Error>(recipe.modules, &mut needs, &built_in)?;
    let paths: Vec<String> = order.iter().map(|name| format!("modules/{name}.ko")).collect();
    let text: String = paths.iter().map(|path| format!("/{path}\n")).collect();
    let mut entries: Vec<Entry<'_>> =
        DIRECTORIES.iter().map(|path| Entry { path, mode: 0o755, kind: Kind::Directory }).collect();
    // The kernel opens it for the first process before that can mount anything.
    entries.push(Entry { path: "dev/console", mode: 0o600, kind: Kind::Device(5, 1) });
    entries.push(Entry { path: "init", mode: 0o755, kind: Kind::File(agent) });
    entries.push(Entry {
        path: MODULES.trim_start_matches('/'),
        mode: 0o644,
        kind: Kind::File(text.as_bytes()),
    });
    for (path, name) in paths.iter().zip(&order) {
        let bytes = contents.get(name).map(Vec::as_slice).unwrap_or_default();
        entries.push(Entry { path, mode: 0o644, kind: Kind::File(bytes) });
    }
    Ok(cpio::archive(&entries))
}

/// Every module's file by the module's name.
fn find(tree: &Path) -> BTreeMap<String, PathBuf> {
    let files = walkdir::WalkDir::new(tree).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let named = files.filter_map(|entry| {
        let name = modules::name_of(entry.file_name().to_str()?)?;
        Some((name, entry.into_path()))
    });
    named.collect()
}

fn built_in(tree: &Path) -> Result<Vec<String>, Error> {
    let path = tree.join("modules.builtin");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let name = |line: &str| modules::name_of(line.rsplit('/').next()?);
    Ok(text.lines().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_kernel_and_agent_give_the_same_archive_in_the_order_of_needs() {
        let recipe = super::super::recipe::named("debian-12").expect("a recipe");
        let tree = tempfile::tempdir().expect("a directory");
        let drivers = tree.path().join("kernel/drivers");
        fs::create_dir_all(&drivers).expect("made");
        for name in recipe.modules {
            let needs = if *name == "virtio" { "virtio_ring" } else { "" };
            fs::write(drivers.join(format!("{name}.ko")), format!("\0depends={needs}\0")).expect("written");
        }
        fs::remove_file(drivers.join("virtio_ring.ko")).expect("there");
        fs::write(drivers.join("virtio-ring.ko"), "\0depends=\0").expect("written");
        fs::remove_file(drivers.join("ext4.ko")).expect("there");
        fs::write(tree.path().join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").expect("written");
        let one = make(tree.path(), recipe, b"agent").expect("made");
        let text = String::from_utf8_lossy(&one);
        assert!(text.contains("/modules/virtio_ring.ko\n/modules/virtio.ko\n"), "{text}");
        assert!(!text.contains("ext4"), "built in");
        assert_eq!(one, make(tree.path(), recipe, b"agent").expect("made"));
        assert_ne!(one, make(tree.path(), recipe, b"other").expect("made"));
        fs::remove_file(drivers.join("overlay.ko")).expect("there");
        let missing = make(tree.path(), recipe, b"agent").expect_err("incomplete").to_string();
        assert!(missing.contains("`overlay`"), "{missing}");
    }
}
