//! Archives as the kernel unpacks them into its first file system: cpio, format "newc". Pure: entries in, bytes out, the same for the same.

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A directory.
    Directory,
    /// A file with these bytes.
    File(&'a [u8]),
    /// A character device.
    Device(u32, u32),
}

/// An entry. What is above it comes before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Without a leading slash.
    pub(super) path: &'a str,
    /// Permissions.
    pub(super) mode: u32,
    /// What it is.
    pub(super) kind: Kind<'a>,
}

/// The archive. Owners and times are all zero: nothing of the host that makes it gets in.
pub(super) fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        append(&mut bytes, number, entry);
    }
    append(&mut bytes, 0, &Entry { path: "TRAILER!!!", mode: 0, kind: Kind::File(&[]) });
    bytes
}

fn append(bytes: &mut Vec<u8>, inode: u32, entry: &Entry<'_>) {
    let (kind, data, (major, minor)): (u32, &[u8], (u32, u32)) = match entry.kind {
        Kind::Directory => (0o040_000, &[], (0, 0)),
        Kind::File(data) => (if inode == 0 { 0 } else { 0o100_000 }, data, (0, 0)),
        Kind::Device(major, minor) => (0o020_000, &[], (major, minor)),
    };
    // Larger files are refused by whoever reads them in: the field has 32 bits.
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let name = u32::try_from(entry.path.len() + 1).unwrap_or(u32::MAX);
    let links = if entry.kind == Kind::Directory { 2 } else { 1 };
    let fields = [inode, kind | entry.mode, 0, 0, links, 0, size, 0, 0, major, minor, name, 0];
    bytes.extend_from_slice(b"070701");
    for field in fields {
        bytes.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    bytes.extend_from_slice(entry.path.as_bytes());
    bytes.push(0);
    pad(bytes);
    bytes.extend_from_slice(data);
    pad(bytes);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    #[test]
    fn the_tool_that_knows_the_format_finds_what_was_put_in() {
        let entries = [
            Entry { path: "dev", mode: 0o755, kind: Kind::Directory },
            Entry { path: "dev/console", mode: 0o600, kind: Kind::Device(5, 1) },
            Entry { path: "init", mode: 0o755, kind: Kind::File(b"hello") },
        ];
        let mut list = Command::new("/usr/bin/cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid", "--quiet"])
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cpio runs: apt-get install cpio");
        list.stdin.take().expect("piped").write_all(&archive(&entries)).expect("taken");
        let output = list.wait_with_output().expect("ends");
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).expect("text");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let told: Vec<_> = lines.iter().map(|words| (words[0], words[words.len() - 1])).collect();
        assert_eq!(
            told,
            [("drwxr-xr-x", "dev"), ("crw-------", "dev/console"), ("-rwxr-xr-x", "init")],
            "{text}"
        );
        assert!(
            text.contains("5,   1") && text.lines().nth(2).is_some_and(|line| line.contains(" 5 ")),
            "{text}"
        );
    }
}
