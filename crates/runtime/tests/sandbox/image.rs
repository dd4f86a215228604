//! Sandboxes on an image that was built from the distribution's packages: `TEAL_IMAGE` names a version's directory (`cargo xtask image` makes
//! one, `cargo xtask ci` passes it on). Skipped loudly without it.

use crate::rig::{Rig, done, removed};
use std::{fs, path::PathBuf};
use teal_core::image::{MANIFEST, Manifest};
use teal_runtime::{Image, Outcome, Runtime};

fn image() -> Option<(Image, Manifest)> {
    let Some(directory) = std::env::var_os("TEAL_IMAGE").map(PathBuf::from) else {
        eprintln!("SKIPPED: TEAL_IMAGE names no image; `cargo xtask image` builds one");
        return None;
    };
    let manifest = fs::read(directory.join(MANIFEST)).expect("an image has a manifest");
    let manifest: Manifest = serde_json::from_slice(&manifest).expect("readable");
    Some((Image { version: manifest.version.clone(), directory }, manifest))
}

/// How often the version is mounted on the host.
fn mounts(rig: &Rig, image: &Image) -> usize {
    let place = rig.config.data.canonicalize().expect("there").join("run/images").join(&image.version);
    let table = fs::read_to_string("/proc/self/mountinfo").expect("readable");
    table.lines().filter(|line| line.split(' ').nth(4) == place.to_str()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_those_of_the_image() {
    let Some((image, manifest)) = image() else { return };
    let Some(rig) = Rig::new() else { return };
    let script = "stat --file-system --format %T /usr; node --version; npm --version > /dev/null && python3 -c 'import ssl, venv, sys; print(sys.version.split()[0])'; \
                  for tool in git make gcc curl ps; do command -v $tool > /dev/null || echo no $tool; done; touch /usr/x 2> /dev/null || echo sealed";
    let mut spec = rig.script("e-1-0", script);
    spec.limits.memory_mib = 512;
    spec.image = Some(image.clone());
    let (code, text) = rig.run(&spec).await;
    let version = |package: &str| {
        manifest.packages[package].split(['+', '~', '-']).next().map(str::to_owned).expect("a version")
    };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(code, 0, "{text}");
    assert_eq!(lines[..2], ["squashfs", &format!("v{}", version("nodejs"))], "{text}");
    assert!(lines[2].starts_with(&version("python3")), "{text}");
    assert_eq!(lines[3..], ["sealed"], "{text}");
    removed(&rig.sandbox, &spec.id).await;
    rig.sandbox.release_image(&image.version).await.expect("released");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_mounted_once_found_again_and_let_go_without_harm_to_who_runs() {
    let Some((image, _)) = image() else { return };
    let Some(rig) = Rig::new() else { return };
    let mut first = rig.python("e-1-0");
    first.image = Some(image.clone());
    let address = done(rig.sandbox.ensure(&first).await).address.expect("an address");
    let again = rig.again();
    let mut second = rig.python("e-2-0");
    second.image = Some(image.clone());
    done(again.ensure(&second).await);
    assert_eq!(mounts(&rig, &image), 1);
    rig.until_listening(&first.id).await;
    again.release_image(&image.version).await.expect("released");
    again.release_image(&image.version).await.expect("released already");
    assert_eq!(mounts(&rig, &image), 0);
    assert_eq!(rig.get(address, "/").await.expect("answers"), "hello from e-1-0/");
    removed(&rig.sandbox, &first.id).await;
    removed(&rig.sandbox, &second.id).await;
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_any_more_is_said() {
    let Some(rig) = Rig::new() else { return };
    for version in ["debian-12-gone", "../up", ""] {
        let mut spec = rig.script("e-1-0", "true");
        spec.image = Some(Image { version: version.into(), directory: rig.config.data.join("nowhere") });
        let Outcome::Broke(failure) = rig.sandbox.ensure(&spec).await else { panic!("started on {version}") };
        assert!(failure.message.contains("not there any more"), "{failure}");
    }
    rig.close().await;
}
