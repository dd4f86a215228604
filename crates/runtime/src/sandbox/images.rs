//! Images on this host: the root file system of a version is mounted once, read-only, for all instances on it, and found again by every later
//! server. Instances hold it by themselves: taking the mount away takes nothing from one that runs.

use super::{Inner, Trouble};
use crate::{Failure, Image};
use nix::mount::{MntFlags, umount2};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::PoisonError,
};
use teal_core::image::ROOT;

impl Inner {
    /// The directory whose `/usr` and public `/etc` an instance gets: the image's, mounted if it was not, or the host's own.
    pub(super) fn root_of(&self, image: Option<&Image>) -> Result<PathBuf, Trouble> {
        let Some(image) = image else { return Ok(self.image.clone()) };
        let file = image.directory.join(ROOT);
        if !is_name(&image.version) || !file.is_file() {
            let message = format!(
                "the image {} is not there any more: deploy the commit again, on the image that is current",
                image.version.escape_debug()
            );
            return Err(Trouble::Broke(Failure { message }));
        }
        let place = self.places.images().join(&image.version);
        let _held = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let mounted = is_mounted(&place).and_then(|there| if there { Ok(()) } else { mount(&file, &place) });
        mounted.map_err(|error| {
            Trouble::io(&format!("the image {} could not be mounted", image.version), error)
        })?;
        Ok(place)
    }

    /// Takes the mount of a version away. Fine if there is none.
    pub(super) fn release_image(&self, version: &str) -> io::Result<()> {
        if !is_name(version) {
            return Ok(());
        }
        let place = self.places.images().join(version);
        let _held = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if is_mounted(&place)? {
            umount2(&place, MntFlags::UMOUNT_NOFOLLOW)?;
        }
        match fs::remove_dir(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes the mounts of all versions away.
    pub(super) fn release_images(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.places.images())? {
            self.release_image(&entry?.file_name().to_string_lossy())?;
        }
        Ok(())
    }
}

/// It becomes the name of a directory.
fn is_name(version: &str) -> bool {
    !version.is_empty() && !version.starts_with('.') && !version.contains('/') && version.len() <= 100
}

/// What is mounted is on another device than the directory that it lies in.
fn is_mounted(place: &Path) -> io::Result<bool> {
    let above = place.parent().map(fs::metadata).transpose()?;
    match fs::metadata(place) {
        Ok(found) => Ok(above.is_some_and(|above| above.dev() != found.dev())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// By the host's own program: it takes a loop device that frees itself with its last mount.
fn mount(file: &Path, place: &Path) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let output = Command::new("mount")
        .args(["-t", "squashfs", "-o", "loop,ro,nosuid,nodev"])
        .arg(file)
        .arg(place)
        .env("LC_ALL", "C")
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
