//! How virtual machines are made on this host.

use crate::{Image, sandbox};
use std::path::PathBuf;

/// How virtual machines are made on this host.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where builds run; machines take data directory, addresses, rules and control groups from it, too.
    pub sandbox: sandbox::Config,
    /// What instances run on that name no image.
    pub image: Option<Image>,
    /// Who executes machines.
    pub acceleration: Acceleration,
}

impl Config {
    /// The defaults for one server per host: the processor if it is proven, else the emulator.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self { sandbox: sandbox::Config::new(data), image: None, acceleration: Acceleration::Auto }
    }
}

/// Who executes a machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// The processor, where a real boot proves that it does; else the emulator.
    Auto,
    /// The processor, or nobody.
    Kvm,
    /// The emulator: everywhere, and many times slower.
    Tcg,
}
