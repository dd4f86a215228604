//! Which runtime this server has: what the configuration asks for, what works here, and what users ought to know about it.

use crate::{config::Config, secrets, start::Error};
use std::{
    fs,
    path::{Path, PathBuf},
};
use teal_core::{
    error::in_full,
    image::{MANIFEST, Manifest},
};
use teal_runtime::{
    Image,
    any::Any,
    process::{self, Process},
    sandbox::{self, Sandbox},
    vm::{self, Acceleration, Vm},
};

const RUNTIMES: [&str; 4] = ["auto", "vm", "sandbox", "process"];

/// Refuses words that mean nothing.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    if !RUNTIMES.contains(&config.runtime.as_str()) {
        return Err(format!("`runtime = \"{}\"` is not one of {}", config.runtime, RUNTIMES.join(", ")));
    }
    acceleration(config).map(drop)
}

fn acceleration(config: &Config) -> Result<Acceleration, String> {
    match config.acceleration.as_str() {
        "auto" => Ok(Acceleration::Auto),
        "kvm" => Ok(Acceleration::Kvm),
        "tcg" => Ok(Acceleration::Tcg),
        other => Err(format!("`acceleration = \"{other}\"` is not one of auto, kvm, tcg")),
    }
}

/// The runtime that the configuration asks for, and what users ought to know about it. What `auto` once chose stays where another could not find
/// its instances, so that a host that is in trouble for a moment does not cost production. Machines find sandboxes, too: there `auto` may still go up.
pub(crate) async fn open(config: &Config) -> Result<(Any, Vec<String>), Error> {
    let path = config.data.join("runtime");
    let chosen = fs::read_to_string(&path).ok().filter(|_| config.runtime == "auto");
    let wanted = chosen.as_deref().map_or(config.runtime.as_str(), str::trim);
    let (runtime, warnings) = match wanted {
        "vm" => {
            let vm = open_vm(config, acceleration(config).map_err(Error::Config)?).await;
            let vm = vm.map_err(|why| Error::Runtime { name: "vm".into(), why })?;
            let warnings = slow(&vm).into_iter().collect();
            (Any::Vm(vm), warnings)
        }
        _ => lesser(config, wanted, chosen.is_some()).await?,
    };
    let unusable = |source| Error::Data { path: path.clone(), source };
    secrets::write_private(&path, runtime.name().as_bytes()).map_err(unusable)?;
    Ok((runtime, warnings))
}

/// Machines if the processor executes them, else sandboxes, else processes.
async fn lesser(config: &Config, wanted: &str, chosen: bool) -> Result<(Any, Vec<String>), Error> {
    if config.runtime == "auto"
        && wanted != "process"
        && config.acceleration != "tcg"
        && newest_image(&config.data).is_some()
        && proven(&config.data).await
        && let Ok(vm) = open_vm(config, Acceleration::Kvm).await
    {
        return Ok((Any::Vm(vm), Vec::new()));
    }
    let sandbox = match wanted {
        "process" if chosen => Err("it was chosen at the first start".into()),
        "process" => Err("the configuration says `process`".into()),
        _ => open_sandbox(config).await,
    };
    match sandbox {
        Ok(sandbox) => Ok((Any::Sandbox(sandbox), Vec::new())),
        Err(why) if wanted == "sandbox" => Err(Error::Runtime { name: "sandbox".into(), why }),
        Err(why) => Ok((Any::Process(open_processes(config)?), vec![unprotected(&why)])),
    }
}

fn open_processes(config: &Config) -> Result<Process, Error> {
    let process = Process::open(process::Config::new(config.data.clone()));
    process.map_err(|error| Error::Runtime { name: "process".into(), why: error.to_string() })
}

fn unprotected(why: &str) -> String {
    format!(
        "instances run without isolation (runtime `process`): {why}; do not serve strangers' code. Set `runtime = \"sandbox\"` to have it isolated or refused"
    )
}

fn slow(vm: &Vm) -> Option<String> {
    let slow = vm.acceleration() == Acceleration::Tcg;
    slow.then(|| {
        "virtual machines are emulated here (no proven KVM): they start and run several times slower"
            .to_owned()
    })
}

/// Opening it installs rules and looks at the host: work for a blocking thread.
async fn open_sandbox(config: &Config) -> Result<Sandbox, String> {
    let options = sandbox_options(config);
    let opened = tokio::task::spawn_blocking(move || Sandbox::open(options)).await;
    opened.map_err(|error| error.to_string())?.map_err(|error| in_full(&error))
}

fn sandbox_options(config: &Config) -> sandbox::Config {
    let mut options = sandbox::Config::new(config.data.clone());
    options.pool.clone_from(&config.pool);
    options.egress_allow.clone_from(&config.egress_allow);
    options
}

async fn open_vm(config: &Config, acceleration: Acceleration) -> Result<Vm, String> {
    let options =
        vm::Config { sandbox: sandbox_options(config), image: newest_image(&config.data), acceleration };
    let opened = tokio::task::spawn_blocking(move || Vm::open(options)).await;
    opened.map_err(|error| error.to_string())?.map_err(|error| in_full(&error))
}

/// Is this host's processor proven to execute machines? A host that cannot even try has no machines.
async fn proven(data: &Path) -> bool {
    let Some(image) = newest_image(data) else { return false };
    let data = data.to_owned();
    let proof = tokio::task::spawn_blocking(move || vm::prove(&data, &image)).await;
    match proof {
        Ok(Ok(proof)) => {
            tracing::info!(works = proof.works, detail = %proof.detail, "KVM was tried");
            proof.works
        }
        Ok(Err(error)) => {
            tracing::info!(%error, "KVM cannot be tried");
            false
        }
        Err(_) => false,
    }
}

/// The image that was built last: what machines run on that were released before there was one.
pub(crate) fn newest_image(data: &Path) -> Option<Image> {
    let versions = fs::read_dir(data.join("images")).ok()?.flatten();
    let known = versions.filter_map(|entry| {
        let directory: PathBuf = entry.path();
        let manifest: Manifest = serde_json::from_slice(&fs::read(directory.join(MANIFEST)).ok()?).ok()?;
        Some((manifest.built, Image { version: manifest.version, directory }))
    });
    known.max_by_key(|(built, _)| *built).map(|(_, image)| image)
}

/// Takes this server's rules and groups off the host, if no instance needs them any more.
pub(crate) async fn leave(runtime: &Any) {
    let left = match runtime {
        Any::Vm(vm) => vm.leave().await,
        Any::Sandbox(sandbox) => sandbox.leave().await,
        Any::Process(_) | Any::Fake(_) => return,
    };
    if let Err(error) = left {
        tracing::warn!(%error, "the host's network rules stay; the next start takes them over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_image_is_found() {
        let data = tempfile::tempdir().expect("directory");
        assert_eq!(newest_image(data.path()), None);
        for (version, built) in [("debian-12-a", Some(7)), ("debian-12-b", Some(9)), ("debian-12-c", None)] {
            let directory = data.path().join("images").join(version);
            fs::create_dir_all(&directory).expect("made");
            let Some(built) = built else { continue };
            let manifest = serde_json::json!({"name": "debian-12", "version": version, "hash": "", "built": built, "kernel": "", "agent": "",
                "packages": {}});
            let file = directory.join(MANIFEST);
            std::io::Write::write_all(
                &mut fs::File::create(file).expect("made"),
                manifest.to_string().as_bytes(),
            )
            .expect("written");
        }
        assert_eq!(
            newest_image(data.path()).expect("one").version,
            "debian-12-b",
            "an unfinished one is none"
        );
    }

    #[test]
    fn words_that_mean_nothing_are_refused_by_name() {
        let mut config = Config::default();
        assert_eq!(check(&config), Ok(()));
        config.acceleration = "fast".into();
        assert!(check(&config).expect_err("no such").contains("fast"));
        config = Config { runtime: "docker".into(), ..Config::default() };
        assert!(check(&config).expect_err("no such").contains("auto, vm, sandbox, process"));
    }
}
