//! Instances and builds on an image that the platform built: `TEAL_IMAGE` names a version's directory. Skipped loudly without it.

use crate::{at_rest, push_files, quick, until_status};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use teal_core::api::image::{ImageDetails, ImageView};
use teal_e2e::{Host, Options, Repository, until};

/// Says on what its `/usr` lies, now and when it was built.
const APP: &str = r#"
import http.server, json, os
def usr():
    return [line.split(" - ")[1].split()[0] for line in open("/proc/self/mountinfo") if line.split()[4] == "/usr"]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"run": usr(), "build": open("built").read().split()}).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn an_app_is_built_and_runs_on_the_newest_version() -> Result<()> {
    let Some(image) = std::env::var_os("TEAL_IMAGE").map(PathBuf::from) else {
        println!("SKIPPED: TEAL_IMAGE names no image; `cargo xtask image` builds one");
        return Ok(());
    };
    let version =
        image.file_name().and_then(|name| name.to_str()).context("a version's directory")?.to_owned();
    let options = Options {
        config: "image = \"debian-12\"\nmaintenance = { check = \"off\" }\n".into(),
        image: Some(image),
        ..Options::default()
    };
    let host = Host::start(&options)?;
    host.api().create(
        "shop",
        quick(),
        json!({"CC_BUILD_COMMAND": "stat --file-system --format %T /usr > built"}),
    )?;
    let repository = Repository::new(&host, "shop")?;
    let files =
        [("app.py", APP), ("Procfile", "web: python3 app.py\n")].map(|(n, t)| (n.to_owned(), t.to_owned()));
    let pushed = push_files(&repository, "one", &files)?;
    assert!(pushed.ok, "{}", pushed.output);
    let (status, body) = host.visit("shop", "/")?;
    let said: Value = serde_json::from_str(&body).with_context(|| format!("{status}: {body}"))?;
    assert_eq!(said, json!({"run": ["squashfs"], "build": ["squashfs"]}));
    until_status(&host, "shop", "at rest", at_rest)?;

    let images: Vec<ImageView> = host.api().get("/images")?;
    let shown: Vec<_> =
        images.iter().map(|image| (image.version.as_str(), image.current, image.apps.as_slice())).collect();
    assert_eq!(shown, [(version.as_str(), true, &["shop".to_owned()][..])]);
    let details: ImageDetails = host.api().get(&format!("/images/{version}"))?;
    assert!(details.packages.contains_key("nodejs"));
    let refused = host.api().send::<Value>("DELETE", &format!("/images/{version}"), &json!({}));
    assert!(refused.is_err_and(|why| format!("{why:#}").contains("shop")), "something runs on it");
    host.api().send::<Value>("DELETE", "/apps/shop", &json!({}))?;
    until("nothing runs on it", || {
        host.api()
            .get::<Vec<ImageView>>("/images")
            .ok()
            .filter(|images| images.iter().all(|i| i.apps.is_empty()))
    })?;
    Ok(())
}
