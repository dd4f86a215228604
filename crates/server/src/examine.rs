//! What this host can do, without a server: the runtime's own trials, and a boot under KVM as the server makes it. It must leave nothing.

use crate::runtime;
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};
use teal_core::api::FindingView;
use teal_runtime::{
    Image, doctor,
    vm::{self, Proof},
};

const KVM: &str = "kvm";

/// Examines this host. `image` is a version's directory whose kernel tries the processor; without it the newest below the data directory does. Blocks for
/// up to ten seconds.
#[must_use]
pub fn examine(data: &Path, image: Option<&Path>) -> Vec<FindingView> {
    let view =
        |f: doctor::Finding| FindingView { name: f.name, ok: f.ok, detail: f.detail, remedy: f.remedy };
    let mut findings: Vec<FindingView> = doctor::examine().into_iter().map(view).collect();
    let image = image.map_or_else(|| runtime::newest_image(data), |directory| Some(named(directory)));
    if let Some(kvm) = findings.iter_mut().find(|finding| finding.name == KVM) {
        tried(kvm, image.as_ref());
    }
    findings
}

fn named(directory: &Path) -> Image {
    let version = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Image { version, directory: directory.to_owned() }
}

/// Replaces what a device file says by what a boot says. A device that does not open is not tried.
fn tried(kvm: &mut FindingView, image: Option<&Image>) {
    if kvm.remedy.is_some() {
        return;
    }
    let Some(image) = image else {
        kvm.detail += ": no image is here whose kernel could try it";
        kvm.remedy = Some("`teal image build debian-12`, or name a version with `--image`".into());
        return;
    };
    *kvm = match prove(image) {
        Ok(proof) => told(&image.version, &proof),
        Err(error) => FindingView {
            name: KVM.into(),
            ok: true,
            detail: format!("opens, but could not be tried with {}: {error}", image.version),
            remedy: Some("as root, and with `apt-get install qemu-system-x86 zstd e2fsprogs`".into()),
        },
    };
}

/// In a directory of its own: what a server found out before must not answer.
fn prove(image: &Image) -> io::Result<Proof> {
    let place = Place::make()?;
    vm::prove(&place.0, image)
}

/// A directory that goes with its value.
struct Place(PathBuf);

impl Place {
    fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("teal-doctor-{}", std::process::id()));
        DirBuilder::new().mode(0o711).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It is in the directory for what may go at any time.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a proof means to whoever chooses a runtime.
fn told(version: &str, proof: &Proof) -> FindingView {
    let seconds = proof.took_ms as f64 / 1000.0;
    let tried = format!("the kernel of {version} was booted under it, {seconds:.1} s");
    let (detail, remedy) = if proof.works {
        (format!("works: {tried}: {}; `runtime = \"auto\"` takes virtual machines", proof.detail), None)
    } else {
        let detail = format!(
            "does not work: {tried}: {}; `runtime = \"auto\"` takes sandboxes, and virtual machines would be emulated",
            proof.detail
        );
        (detail, Some("use sandboxes, or a host whose processor executes machines".to_owned()))
    };
    FindingView { name: KVM.into(), ok: true, detail, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(works: bool) -> Proof {
        let text = format!(r#"{{"works":{works},"detail":"it hung","took_ms":10240,"key":""}}"#);
        serde_json::from_str(&text).expect("a proof")
    }

    #[test]
    fn a_proof_says_what_was_tried_how_long_and_what_follows() {
        let bad = told("debian-12-a", &proof(false));
        for words in ["does not work", "debian-12-a", "10.2 s", "it hung", "takes sandboxes"] {
            assert!(bad.detail.contains(words), "{words}: {}", bad.detail);
        }
        assert!(bad.ok && bad.remedy.is_some());
        let good = told("debian-12-a", &proof(true));
        assert!(good.detail.starts_with("works") && good.detail.contains("takes virtual machines"));
        assert_eq!(good.remedy, None);
    }

    #[test]
    fn what_cannot_be_tried_is_not_called_proven() {
        let opens = |remedy: Option<&str>| FindingView {
            name: KVM.into(),
            ok: true,
            detail: "opens; not proven".into(),
            remedy: remedy.map(Into::into),
        };
        let mut bare = opens(None);
        tried(&mut bare, None);
        assert!(bare.detail.contains("not proven: no image") && bare.remedy.is_some(), "{bare:?}");
        let mut closed = opens(Some("switch it on"));
        tried(&mut closed, None);
        assert_eq!(closed, opens(Some("switch it on")), "a device that does not open is not tried");
        let nowhere = tempfile::tempdir().expect("a directory");
        let mut broken = opens(None);
        tried(&mut broken, Some(&named(nowhere.path())));
        assert!(!broken.detail.starts_with("works"), "{broken:?}");
    }
}
