//! The console's own files, inside the binary: no request of a page ever leaves this server.
//!
//! Their address holds a hash of their content, so a browser may keep them for ever and never shows an old one.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const ASSETS: [Asset; 4] = [
    Asset {
        name: "console.css",
        kind: "text/css; charset=utf-8",
        content: include_bytes!("../../assets/console.css"),
    },
    Asset {
        name: "console.js",
        kind: "text/javascript; charset=utf-8",
        content: include_bytes!("../../assets/console.js"),
    },
    Asset {
        name: "htmx.min.js",
        kind: "text/javascript; charset=utf-8",
        content: include_bytes!("../../assets/htmx.min.js"),
    },
    Asset { name: "icon.svg", kind: "image/svg+xml", content: include_bytes!("../../assets/icon.svg") },
];

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut all = Sha256::new();
    for asset in &ASSETS {
        all.update(asset.content);
    }
    all.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

/// Where a page finds its files: `/assets/<hash>`.
pub(crate) fn base() -> String {
    format!("/assets/{}", *VERSION)
}

/// One of the files. A page that is older than the server may ask by an old hash: it gets the new file, and no leave to keep it.
pub(crate) async fn serve(Path((version, file)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-store" };
    ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, keep)], asset.content).into_response()
}

/// What browsers ask for without being told.
pub(crate) async fn icon() -> Response {
    serve(Path((VERSION.clone(), "icon.svg".into()))).await
}
