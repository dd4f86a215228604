//! The kernel's modules, from the initrd: loaded in the order that the image names.

use crate::error::{Doing, Error};
use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
};
use std::{
    fs::{self, File},
    path::Path,
};
use teal_core::image::MODULES;

/// Loads all of them. One that is there already is as good.
pub(crate) fn load() -> Result<(), Error> {
    let order = fs::read_to_string(MODULES).doing(format!("read {MODULES}"))?;
    order.lines().map(str::trim).filter(|line| !line.is_empty()).try_for_each(one)
}

fn one(path: &str) -> Result<(), Error> {
    let path = Path::new("/").join(path);
    let file = File::open(&path).doing(format!("open the module {}", path.display()))?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        Err(Errno::EEXIST) => Ok(()),
        loaded => loaded.doing(format!("load the module {}", path.display())),
    }
}
