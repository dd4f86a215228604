//! Whether this host's processor executes machines: proven by the platform's own kernel reaching its agent, not by what a device file says.
//!
//! A device that opens, and even one that executes an instruction, proves nothing: there are hosts where both work and every kernel hangs. The
//! answer is kept for one boot of the host, one emulator and one kernel.

use super::{
    Error, Host, Places,
    argv::Shape,
    config::{Acceleration, Config},
    host,
    keeper::Keeper,
    start, users,
};
use crate::{
    Image, Limits,
    sandbox::{self, launcher::Program},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::chown,
    path::Path,
    time::{Duration, Instant},
};
use teal_core::{
    image::{INITRD, KERNEL},
    machine::Machine,
};

/// A processor that executes machines has booted one in a tenth of this.
const BOOT: Duration = Duration::from_secs(5);

/// A busy host gets a second chance.
const ATTEMPTS: u32 = 2;

const NAME: &str = "proof.json";

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Do machines run on the processor?
    pub works: bool,
    /// How it was found out, or why it does not.
    pub detail: String,
    /// What that took, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// Of which boot, emulator and kernel that is true.
    key: String,
}

/// Finds out, or says what was found out before under the same boot, emulator and kernel. Blocks for some seconds the first time.
///
/// # Errors
/// If the host lacks what is needed to try.
pub fn prove(data: &Path, image: &Image) -> io::Result<Proof> {
    fs::create_dir_all(data)?;
    let program = Program::load()?;
    prove_with(&Places::make(data)?, &Host::find(&program)?, &program, image)
}

/// What the configuration and the processor lead to, and why.
pub(super) fn choose(
    config: &Config,
    places: &Places,
    host: &Host,
    program: &Program,
) -> Result<(Acceleration, String), Error> {
    if config.acceleration == Acceleration::Tcg {
        return Ok((Acceleration::Tcg, "the configuration says so".to_owned()));
    }
    let why = match &config.image {
        None => "there is no image whose kernel could try it".to_owned(),
        Some(image) => {
            let proof = prove_with(places, host, program, image).map_err(Error::Host)?;
            if proof.works {
                return Ok((Acceleration::Kvm, proof.detail));
            }
            proof.detail
        }
    };
    if config.acceleration == Acceleration::Kvm {
        Err(Error::NoKvm(why))
    } else {
        Ok((Acceleration::Tcg, why))
    }
}

fn prove_with(places: &Places, host: &Host, program: &Program, image: &Image) -> io::Result<Proof> {
    let directory = places.proofs();
    let key = [
        sandbox::record::boot_id()?,
        host.version.clone(),
        host.digest(&image.directory.join(KERNEL))?,
        host.digest(&image.directory.join(INITRD))?,
    ]
    .join("\n");
    let known =
        fs::read(directory.join(NAME)).ok().and_then(|text| serde_json::from_slice::<Proof>(&text).ok());
    if let Some(known) = known.filter(|known| known.key == key) {
        return Ok(known);
    }
    let began = Instant::now();
    let (works, detail) = attempts(&directory, host, program, image);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let proof = Proof { works, detail, took_ms, key };
    let new = directory.join("proof.new");
    fs::write(&new, serde_json::to_vec(&proof)?)?;
    fs::rename(new, directory.join(NAME))?;
    Ok(proof)
}

fn attempts(directory: &Path, host: &Host, program: &Program, image: &Image) -> (bool, String) {
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return (false, format!("/dev/kvm cannot be opened: {error}"));
    }
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        match boot(directory, host, program, image) {
            Ok(()) => return (true, "the platform's own kernel reached its agent".to_owned()),
            Err(error) => why = format!("/dev/kvm opens, but a kernel does not boot with it: {error}"),
        }
    }
    (false, why)
}

/// Boots a machine without disks and network up to its agent, and ends it.
fn boot(directory: &Path, host: &Host, program: &Program, image: &Image) -> io::Result<()> {
    let limits = Limits { memory_mib: 128, cpu_milli: 1000, pids: 1, disk_mib: 0 };
    let shape = Shape::new(&limits, Acceleration::Kvm, 0, Ipv4Addr::UNSPECIFIED);
    let mut arguments = shape.bare();
    arguments.extend(["-name", "proof"].map(str::to_owned));
    let log = directory.join("log");
    sandbox::private(&log)?;
    chown(&log, Some(users::PROOF + 1), Some(users::PROOF + 1))?;
    let machine = Machine {
        name: "proof".to_owned(),
        cgroups: Vec::new(),
        emulator: host.emulator.clone(),
        arguments,
        files: [KERNEL, INITRD]
            .map(|name| start::shared(image.directory.join(name)))
            .into_iter()
            .collect::<io::Result<_>>()?,
        user: users::PROOF,
        group: host::kvm_group(),
        interface: None,
        run: directory.to_owned(),
        log,
        begin: None,
    };
    let mut keeper = Keeper::start(program, &machine)?;
    let up = keeper.await_up(BOOT);
    end(keeper.pid)?;
    up
}

/// The emulator goes with its keeper.
fn end(keeper: u32) -> io::Result<()> {
    use nix::{
        errno::Errno,
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    match kill(Pid::from_raw(keeper.cast_signed()), Signal::SIGKILL) {
        // It ended by itself, as its emulator did.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
