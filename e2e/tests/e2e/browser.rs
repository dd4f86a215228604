//! The console as people use it: in a real browser, with mouse and keyboard, on a wide screen and on a telephone, light and dark.

use crate::{app, at_rest, push, push_well, quick, served, until_status};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{path::Path, process::Command, time::Instant};
use teal_e2e::{Behaviour, Browser, Host, Options, until};

/// The checks of accessibility that every page must pass, and their version.
const AXE: &str = "axe-core@4.10.3";

/// As WebDriver writes these keys.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

fn log_in(host: &Host, browser: &Browser, next: &str) -> Result<()> {
    browser.open(&format!("{}{next}", host.api().url()))?;
    let token = browser.find("#token")?;
    browser.type_into(&token, host.api().token())?;
    browser.press(ENTER)?;
    until("the page after the login", || browser.url().ok().filter(|url| url.ends_with(next)).map(drop))
}

/// What the page says is live, and in which place.
fn live(browser: &Browser) -> Option<(String, String)> {
    let place = browser.text(".place.live h2")?;
    Some((place, browser.text(".place.live .message")?))
}

fn shows(browser: &Browser, version: &str) -> Result<()> {
    until("the page shows what is live", || live(browser).filter(|(_, message)| message == version).map(drop))
        .with_context(|| {
            format!("it shows {:?}\n{}", live(browser), browser.text("main").unwrap_or_default())
        })
}

#[test]
fn a_deployment_goes_live_and_back_before_ones_eyes() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "v1")?;
    until_status(&host, "shop", "at rest", at_rest)?;
    let browser = Browser::start()?;
    log_in(&host, &browser, "/apps/shop")?;
    shows(&browser, "v1")?;
    let (first, _) = live(&browser).context("a place")?;

    // Never loaded again from here on: what the page shows comes by itself.
    browser.run("window.sameage = true")?;
    push_well(&repository, "v2")?;
    shows(&browser, "v2")?;
    let (second, _) = live(&browser).context("a place")?;
    ensure!(first != second, "Blue turned to Green: {first}, {second}");
    ensure!(browser.run("return window.sameage === true")? == json!(true), "the page was loaded again");

    until_status(&host, "shop", "at rest", at_rest)?;
    browser.click(&browser.find("#start")?)?;
    browser.find("#dialogue form button.primary")?;
    let said = browser.text("#dialogue").unwrap_or_default();
    ensure!(said.contains("v1"), "the dialogue names what it would start: {said}");
    let clicked = Instant::now();
    browser.click(&browser.find("#dialogue form button.primary")?)?;
    until("production is reversed", || (served(&host, "shop").ok()? == "v1").then_some(()))?;
    let reversed = clicked.elapsed();
    shows(&browser, "v1")?;
    println!(
        "click to production reversed: {reversed:?}; shown {:?} later",
        clicked.elapsed().saturating_sub(reversed)
    );

    until_status(&host, "shop", "at rest", at_rest)?;
    ensure!(!push(&repository, "v3", &Behaviour::Exits(1, 0.0))?.ok, "v3 cannot start");
    until("the page says that it failed, and why", || {
        let rows = browser.text("table.activity")?;
        (rows.contains("v3") && rows.contains("exited with code")).then_some(())
    })?;
    shows(&browser, "v1")?;
    nothing_was_asked_of_others(&host, &browser)
}

/// Everything that the page loaded came from its own server.
fn nothing_was_asked_of_others(host: &Host, browser: &Browser) -> Result<()> {
    let loaded = browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")?;
    let loaded: Vec<&str> = loaded.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(loaded.len() >= 3, "style and scripts: {loaded:?}");
    let own = host.api().url();
    let others: Vec<_> = loaded.iter().filter(|url| !url.starts_with(own)).collect();
    ensure!(others.is_empty(), "asked of others: {others:?}");
    Ok(())
}

#[test]
fn the_button_is_pressed_by_keyboard_alone() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "v1")?;
    push_well(&repository, "v2")?;
    until_status(&host, "shop", "at rest", at_rest)?;
    let browser = Browser::start()?;
    log_in(&host, &browser, "/apps/shop")?;
    shows(&browser, "v2")?;
    tab_to(&browser, "document.activeElement.id === 'start'")?;
    browser.press(ENTER)?;
    browser.find("#dialogue form button.primary")?;
    tab_to(&browser, "document.activeElement.matches('#dialogue button.primary')")?;
    browser.press(ENTER)?;
    until("production is reversed", || (served(&host, "shop").ok()? == "v1").then_some(()))?;
    shows(&browser, "v1")
}

/// Presses the tabulator key until that holds.
fn tab_to(browser: &Browser, condition: &str) -> Result<()> {
    for _ in 0..60 {
        if browser.run(&format!("return {condition}"))? == json!(true) {
            return Ok(());
        }
        browser.press(TAB)?;
    }
    let at = browser.run("return document.activeElement.outerHTML")?;
    anyhow::bail!("sixty tabulators do not lead to {condition}; the focus is at {at}")
}

#[test]
fn every_page_is_for_everybody() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "v1")?;
    push(&repository, "v2", &Behaviour::Exits(1, 0.0))?;
    until_status(&host, "shop", "at rest", at_rest)?;
    let deployment = host.api().activity("shop")?.first().context("a deployment")?.deployment.clone();
    let axe = axe(host.path())?;
    let browser = Browser::start()?;
    check(&browser, &axe, &format!("{}/login", host.api().url()))?;
    log_in(&host, &browser, "/")?;
    let pages = [
        "/".into(),
        "/apps/shop".into(),
        "/apps/shop/start".into(),
        "/apps/shop/metrics".into(),
        "/webhooks".into(),
        "/maintenance".into(),
        format!("/apps/shop/deployments/{deployment}"),
    ];
    for page in pages {
        check(&browser, &axe, &format!("{}{page}", host.api().url()))?;
    }
    Ok(())
}

/// A page on a wide screen and on a telephone, light and dark.
fn check(browser: &Browser, axe: &str, url: &str) -> Result<()> {
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        let metrics = json!({"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500});
        browser.chromium("Emulation.setDeviceMetricsOverride", &metrics)?;
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.chromium("Emulation.setEmulatedMedia", &json!({"features": features}))?;
        browser.open(url)?;
        let wider = browser
            .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")?;
        ensure!(wider.as_i64() <= Some(0), "{url} at {width}, {scheme}: {wider} pixels too wide");
        let dark = browser.run(
            "const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number); return r + g + b < 384",
        )?;
        ensure!(dark == json!(scheme == "dark"), "{url} at {width} is not {scheme}");
        browser.run(axe)?;
        let found = browser.run_async(
            "axe.run().then(found => arguments[0](found.violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' ')}`)))",
        )?;
        ensure!(found == json!([]), "{url} at {width}, {scheme}: {found:#}");
    }
    Ok(())
}

/// The checks themselves, from npm: nothing of them is in this repository.
fn axe(directory: &Path) -> Result<String> {
    let arguments = ["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", AXE];
    let npm = Command::new("npm").current_dir(directory).args(arguments).output()?;
    ensure!(npm.status.success(), "npm: {}", String::from_utf8_lossy(&npm.stderr));
    Ok(std::fs::read_to_string(directory.join("node_modules/axe-core/axe.min.js"))?)
}
