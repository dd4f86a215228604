//! What a fuzzer calls, and what the committed corpus is replayed with: everything that strangers' bytes go through, each beside a second reader
//! where there is one. A check panics if something is wrong, and only then. Compiled for tests and for `cargo xtask fuzz`, never into Teal.

pub(crate) mod chunked;
pub(crate) mod control;
pub(crate) mod host;
mod other;
pub(crate) mod proxy;
pub(crate) mod request;
pub(crate) mod response;

use crate::asked::Asker;
use std::{net::IpAddr, ops::AddAssign};

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

/// A client that no proxy speaks for.
fn asker() -> Asker<'static> {
    let address = IpAddr::from([192, 0, 2, 1]);
    Asker { node: "192.0.2.1", trusted: false, address, proxies: &[], scheme: "http" }
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
}
