//! A real browser with a user's eyes and hands: Debian's Chromium, driven over the WebDriver protocol.
//!
//! The few commands that tests need are written here: the libraries for it bring an asynchronous HTTP stack or a licence that this repository
//! does not take. It must never talk to anything but the driver that it started, on loopback.

use crate::{kill, within};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// A driver and a browser that are slow to start are on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The name under which WebDriver hands out elements: the standard's own.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Those that keep it from asking anybody else for anything, and let it run as root in a test.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
];

/// One browser window.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    session: String,
    agent: ureq::Agent,
    /// Removed with it.
    _profile: TempDir,
}

/// Something on the page.
#[derive(Debug, Clone)]
pub struct Element(String);

impl Browser {
    /// Starts one with an empty profile.
    pub fn start() -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("chromedriver is not there: cargo xtask packages installs it")?;
        let port = port(&mut driver)?;
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent = config.build().new_agent();
        let mut browser =
            Self { driver, session: format!("http://127.0.0.1:{port}/session"), agent, _profile: profile };
        browser.open_session()?;
        Ok(browser)
    }

    fn open_session(&mut self) -> Result<()> {
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", self._profile.path().join("profile").display()));
        let options = json!({"args": arguments, "binary": "/usr/bin/chromium"});
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": options});
        let made = self.post("", &json!({"capabilities": {"alwaysMatch": wanted}}))?;
        let id = made["sessionId"].as_str().with_context(|| format!("no session: {made}"))?;
        self.session = format!("{}/{id}", self.session);
        Ok(())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.agent.post(format!("{}{path}", self.session)).send_json(body)?;
        read(answer, path)
    }

    fn get(&self, path: &str) -> Result<Value> {
        read(self.agent.get(format!("{}{path}", self.session)).call()?, path)
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        self.post("/url", &json!({"url": url})).map(drop)
    }

    /// Where it is.
    pub fn url(&self) -> Result<String> {
        Ok(self.get("/url")?.as_str().unwrap_or_default().to_owned())
    }

    /// The first thing that a CSS selector matches, as soon as there is one.
    pub fn find(&self, selector: &str) -> Result<Element> {
        within(PATIENCE, &format!("`{selector}` is on the page"), || self.look(selector))
            .with_context(|| format!("the page is\n{}", self.text("body").unwrap_or_default()))
    }

    fn look(&self, selector: &str) -> Option<Element> {
        let found = self.post("/element", &json!({"using": "css selector", "value": selector})).ok()?;
        Some(Element(found[ELEMENT].as_str()?.to_owned()))
    }

    /// What a person reads of what a CSS selector matches, or nothing if nothing does.
    pub fn text(&self, selector: &str) -> Option<String> {
        let Element(id) = self.look(selector)?;
        Some(self.get(&format!("/element/{id}/text")).ok()?.as_str()?.to_owned())
    }

    /// Clicks on it.
    pub fn click(&self, element: &Element) -> Result<()> {
        self.post(&format!("/element/{}/click", element.0), &json!({})).map(drop)
    }

    /// Types into it.
    pub fn type_into(&self, element: &Element, text: &str) -> Result<()> {
        self.post(&format!("/element/{}/value", element.0), &json!({"text": text})).map(drop)
    }

    /// Presses keys where the focus is; each is a character, special ones as WebDriver writes them.
    pub fn press(&self, keys: &str) -> Result<()> {
        let presses = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})));
        let actions: Vec<Value> = presses.collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.post("/actions", &json!({"actions": [keyboard]})).map(drop)
    }

    /// What a script's function body answers in the page.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// What a script hands to `arguments[0]`, later.
    pub fn run_async(&self, script: &str) -> Result<Value> {
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// A command of Chromium's own protocol.
    pub fn chromium(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Keeps what is seen as a PNG.
    pub fn screenshot(&self, to: &Path) -> Result<()> {
        use std::io::Write as _;
        let picture = self.get("/screenshot")?;
        let encoded = picture.as_str().context("no picture")?.to_owned();
        let mut decode = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(to)?)
            .spawn()?;
        decode.stdin.take().context("a pipe")?.write_all(encoded.as_bytes())?;
        ensure!(decode.wait()?.success(), "the picture is not base64");
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; the driver only then, or its browser would stay.
        let _gone = self.agent.delete(&self.session).call();
        let _ended = i32::try_from(self.driver.id()).map(kill);
        let _reaped = self.driver.wait();
    }
}

/// The port that the driver chose, from what it says.
fn port(driver: &mut Child) -> Result<u16> {
    let said = driver.stdout.take().context("its output")?;
    for line in BufReader::new(said).lines() {
        let line = line?;
        let port =
            line.split_once("started successfully on port ").map(|(_, port)| port.trim_end_matches('.'));
        if let Some(port) = port {
            return Ok(port.parse()?);
        }
    }
    anyhow::bail!("chromedriver ended without naming a port")
}

fn read(mut answer: ureq::http::Response<ureq::Body>, path: &str) -> Result<Value> {
    let status = answer.status();
    let body: Value = answer.body_mut().with_config().limit(64 << 20).read_json()?;
    ensure!(status.is_success(), "the driver refused {path}: {}", body["value"]["message"]);
    Ok(body["value"].clone())
}
