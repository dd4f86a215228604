//! A `Dockerfile`: seen, and refused with the reason. Building one needs what the sandbox of a build never gives (decision 16).

use crate::build::detect::{Error, Source};

/// The `Dockerfile` of the commit, if it has one.
pub(in crate::build) fn there(source: &Source<'_>) -> Option<String> {
    let named = source.folder("CC_DOCKERFILE").ok().flatten();
    named.into_iter().chain(["Dockerfile".to_owned()]).find(|path| source.files.has(path))
}

/// Why it is not built, and what to do instead.
pub(in crate::build) fn refusal(source: &Source<'_>) -> Error {
    let what = match there(source) {
        Some(path) => format!("{path} is there, but Teal does not build container images yet"),
        None => "Teal does not build container images yet".into(),
    };
    Error::Lacking {
        what,
        remedy: format!(
            "a builder such as buildah has to make user namespaces, mounts and roots of its own, which the sandbox of a build refuses to all programs; set the app's setting `type` to the language that the image holds ({}), or to linux with CC_BUILD_COMMAND and CC_RUN_COMMAND for what its RUN and CMD say",
            crate::release::Kind::names()
        ),
    }
}
