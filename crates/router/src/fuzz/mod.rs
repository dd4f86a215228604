//! What a fuzzer calls, and what the committed corpus is replayed with: everything that strangers' bytes go through, each beside a second reader
//! where there is one. A check panics if something is wrong, and only then. Compiled for tests and for `cargo xtask fuzz`, never into Teal.

pub(crate) mod chunked;
pub(crate) mod control;
pub(crate) mod frames;
pub(crate) mod host;
pub(crate) mod hpack;
mod other;
pub(crate) mod proxy;
pub(crate) mod request;
pub(crate) mod response;

use crate::{asked::Asker, node::Node};
use std::{
    net::{IpAddr, Ipv4Addr},
    ops::AddAssign,
    sync::LazyLock,
};

/// How much of an input was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Messages that both readers took.
    pub compared: u64,
    /// Messages of ours that the second reader read back.
    pub written: u64,
}

impl AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.compared += other.compared;
        self.written += other.written;
    }
}

/// Who asks.
static NODE: LazyLock<Node> = LazyLock::new(|| Node::new(ADDRESS));
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A client that no proxy speaks for.
fn asker() -> Asker<'static> {
    Asker { node: &NODE, trusted: false, address: ADDRESS, proxies: &[], scheme: "http" }
}

/// A check of some bytes.
pub type Check = fn(&[u8]) -> Found;

/// All checks by name; each has a corpus of that name.
pub const TARGETS: &[(&str, Check)] = &[
    ("request", request::check),
    ("response", response::check),
    ("chunked", chunked::check),
    ("host", host::check),
    ("control", control::check),
    ("proxy", proxy::check),
    ("frames", frames::check),
    ("hpack", hpack::check),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    #[expect(clippy::print_stdout, reason = "how large the corpus is is asked for")]
    fn the_corpus_holds() {
        for (name, check) in TARGETS {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
            let files = fs::read_dir(&directory).expect("a corpus of this name");
            let (mut count, mut found) = (0, Found::default());
            for file in files {
                let bytes = fs::read(file.expect("reads").path()).expect("reads");
                found += check(&bytes);
                count += 1;
            }
            println!("{name}: {count} inputs, {found:?}");
            assert!(count >= 10, "{name}: {count} inputs are no corpus");
            assert!(found.compared > 0, "{name}: nothing in it is compared");
        }
    }

    /// Mutates an input of a corpus; the same seed always makes the same.
    fn mutated(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = move |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 8).expect("64 bits") % bound.max(1)
        };
        let mut bytes = corpus[below(corpus.len())].clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(5) {
                0 => bytes[at] = u8::try_from(below(256)).expect("a byte"),
                1 => bytes[at] ^= 1 << below(8),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, u8::try_from(below(256)).expect("a byte")),
                _ => bytes.extend_from_slice(&corpus[below(corpus.len())]),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        bytes
    }

    #[test]
    fn mutated_frames_and_blocks_break_nothing() {
        for (name, check) in TARGETS.iter().filter(|(name, _)| matches!(*name, "frames" | "hpack")) {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
            let mut files: Vec<_> = fs::read_dir(directory).expect("a corpus").flatten().collect();
            files.sort_by_key(std::fs::DirEntry::file_name);
            let corpus: Vec<_> = files.iter().map(|file| fs::read(file.path()).expect("reads")).collect();
            let mut found = Found::default();
            for seed in 0..10_000 {
                let bytes = mutated(&corpus, seed);
                let checked = std::panic::catch_unwind(|| check(&bytes));
                found += checked.unwrap_or_else(|_| panic!("{name}: seed {seed}: {bytes:02x?}"));
            }
            assert!(found.compared > 2_000, "{name}: {found:?}");
        }
    }
}
