//! The fuzzer's entry: one check of `teal_router::fuzz`, named by `TEAL_FUZZ`. It decides nothing about what is right.
#![no_main]

use std::sync::OnceLock;
use teal_router::fuzz::{Check, TARGETS};

static CHECK: OnceLock<Check> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("TEAL_FUZZ").unwrap_or_default();
        let target = TARGETS.iter().find(|(known, _)| *known == name);
        let (_, check) = target.expect("TEAL_FUZZ must name a target: start it by `cargo xtask fuzz TARGET`");
        CHECK.get_or_init(|| *check);
    },
    |bytes: &[u8]| {
        if let Some(check) = CHECK.get() {
            check(bytes);
        }
    }
);
