//! What an image is made of: a table, from its name to suites, packages and what is left out. Nothing here looks at a host.

/// How one image is made.
#[derive(Debug, PartialEq, Eq)]
pub struct Recipe {
    /// As users call it.
    pub name: &'static str,
    /// The distribution's release.
    pub suite: &'static str,
    /// What its packages may come from: the release, its updates, its security updates. A host's sources of anything else are not used.
    pub suites: &'static [&'static str],
    /// What is installed beside what the distribution calls essential. Recommendations are not followed.
    pub packages: &'static [&'static str],
    /// The package that depends on the newest kernel. Only the kernel and a few modules are taken from it.
    pub kernel: &'static str,
    /// What a virtual machine needs before it has a root: drivers of QEMU's `microvm`, and the file systems of its disks.
    pub modules: &'static [&'static str],
    /// Never unpacked: what nobody reads in an instance.
    pub unwanted: &'static [&'static str],
    /// Removed at the end, by their paths below the root: what is this host's, what differs between two builds, and what the runtime makes
    /// itself. A directory that ends in `/` stays, emptied.
    pub removed: &'static [&'static str],
}

/// Every recipe.
static ALL: [Recipe; 1] = [Recipe {
    name: "debian-12",
    suite: "bookworm",
    suites: &["bookworm", "bookworm-updates", "bookworm-security"],
    packages: &[
        "bash",
        "build-essential",
        "bundler",
        "bzip2",
        "ca-certificates",
        "cargo-web",
        "composer",
        "curl",
        "file",
        "git",
        "golang-go",
        "gzip",
        "iproute2",
        "less",
        "libffi-dev",
        "libpq-dev",
        "libsqlite3-dev",
        "libssl-dev",
        "make",
        "netbase",
        "nodejs",
        "npm",
        "openssh-client",
        "openssl",
        "patch",
        "php-cli",
        "php-curl",
        "php-intl",
        "php-mbstring",
        "php-mysql",
        "php-pgsql",
        "php-sqlite3",
        "php-xml",
        "php-zip",
        "pkg-config",
        "procps",
        "python-is-python3",
        "python3",
        "python3-dev",
        "python3-pip",
        "python3-venv",
        "rsync",
        "ruby",
        "ruby-dev",
        "tzdata",
        "unzip",
        "wget",
        "xz-utils",
        "zip",
        "zlib1g-dev",
        "zstd",
    ],
    kernel: "linux-image-cloud-amd64",
    modules: &[
        "virtio_ring",
        "virtio",
        "virtio_mmio",
        "virtio_console",
        "virtio_blk",
        "virtio_net",
        "virtio_rng",
        "virtio_balloon",
        "overlay",
        "squashfs",
        "crc32c_generic",
        "ext4",
    ],
    unwanted: &[
        "/usr/bin/*-lto-dump-*",
        "/usr/lib/go-*/pkg/linux_amd64/cmd/*",
        "/usr/share/go-*/test/*",
        "/usr/share/ri/*",
        "/usr/share/doc/*",
        "/usr/share/doc-base/*",
        "/usr/share/info/*",
        "/usr/share/lintian/*",
        "/usr/share/locale/*",
        "/usr/share/man/*",
    ],
    removed: &[
        "boot/",
        "dev/",
        "etc/apt",
        "etc/hostname",
        "etc/machine-id",
        "etc/resolv.conf",
        "home/",
        "proc/",
        "root/",
        "run/",
        "sys/",
        "tmp/",
        "var/backups/",
        "var/cache/",
        "var/lib/apt",
        "var/lib/dbus/machine-id",
        "var/lib/dpkg/available-old",
        "var/lib/dpkg/diversions-old",
        "var/lib/dpkg/lock",
        "var/lib/dpkg/lock-frontend",
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/triggers/Lock",
        "var/lib/systemd/random-seed",
        "var/log/",
        "var/tmp/",
    ],
}];

/// The recipe of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Recipe> {
    ALL.iter().find(|recipe| recipe.name == name)
}

/// All names, for errors and help.
#[must_use]
pub fn names() -> String {
    ALL.iter().map(|recipe| recipe.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_is_found_by_its_name_and_removes_nothing_above_the_root() {
        for recipe in &ALL {
            assert_eq!(named(recipe.name), Some(recipe));
            assert!(recipe.suites.contains(&recipe.suite), "{}", recipe.name);
            for path in recipe.removed {
                let bad = path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".");
                assert!(!bad && !path.is_empty(), "{path}");
            }
        }
        assert_eq!(named("debian-1"), None);
    }
}
