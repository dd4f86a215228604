//! What must hold before a change lands, in the order in which it fails fastest. One stage after another: two cores have nothing to spare.

use crate::{
    image,
    lanes::{self, Lane},
    mutants, packages, scan, tidy,
};
use anyhow::{Context, Result, bail};
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// Everything, with the time that each stage took.
pub(crate) fn ci() -> Result<()> {
    let stages: &[(&str, &dyn Fn() -> Result<()>)] = &[
        ("packages", &packages::install),
        ("format", &|| cargo(&["fmt", "--all", "--check"])),
        ("tidy", &tidy::run),
        ("clippy", &|| {
            cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
        }),
        ("build", &|| cargo(&["build", "--workspace", "--all-targets", "--locked"])),
        ("image for the tests", &image::run),
        ("unit and simulation tests", &|| {
            cargo(&["test", "--workspace", "--exclude", "teal-e2e", "--locked", "--no-fail-fast"])
        }),
        ("TLS scanners", &scan::run),
        ("mutants", &mutants::run),
        ("end-to-end tests", &end_to_end),
        ("documentation", &|| cargo(&["doc", "--workspace", "--no-deps", "--locked"])),
        ("cargo-deny", &|| plugin("deny", &["check", "licenses", "bans"])),
    ];
    let mut times = Vec::new();
    for (name, stage) in stages {
        println!("\n=== {name}");
        let begin = Instant::now();
        stage().with_context(|| format!("the stage `{name}` failed"))?;
        times.push((name, begin.elapsed()));
    }
    print_times(&times);
    Ok(())
}

/// The longest of the end-to-end tests: with those in machines, about half of what all of them take.
const LONG: [&str; 5] = ["bad_green::", "broken::", "crash::", "kills::", "maintenance::"];

/// What runs once more with every instance in an emulated machine of its own: the main path, the way back, a rollback, a real application.
/// `TEAL_E2E_RUNTIME=vm` runs any other test so, too (deaths of everything: `kills::`): they take too long for every change.
const MACHINES: [&str; 7] =
    ["first::", "wake::", "pointer::", "switch::traffic", "bad_green::a_version", "real::a_flask", "kills::"];

/// In two lanes: they wait more than they compute. Each has half of the usual addresses for its instances, since two servers that share
/// addresses would remove each other's.
pub(crate) fn end_to_end() -> Result<()> {
    // Once, instead of in each lane.
    cargo(&["test", "-p", "teal-e2e", "--locked", "--no-run"])?;
    cargo(&["test", "-p", "teal-e2e", "--locked", "--lib"])?;
    let image = image::built()?;
    let mut skipped = vec!["--skip"; 2 * LONG.len()];
    skipped.iter_mut().skip(1).step_by(2).zip(LONG).for_each(|(place, name)| *place = name);
    let mut long = vec![tests(&LONG, "10.177.0.0/17", image.as_deref())];
    if image.is_some() {
        let mut machines = tests(&MACHINES, "10.177.0.0/17", image.as_deref());
        machines.env("TEAL_E2E_RUNTIME", "vm");
        long.push(machines);
    } else {
        println!("SKIPPED: there is no image for machines; it is built as root");
    }
    let others = tests(&skipped, "10.177.128.0/17", image.as_deref());
    lanes::run(vec![Lane { name: "long", commands: long }, Lane { name: "others", commands: vec![others] }])
}

/// These of the end-to-end tests, one after another, with instances in these addresses.
fn tests(filters: &[&str], pool: &str, image: Option<&Path>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "-p", "teal-e2e", "--test", "e2e", "--locked", "--no-fail-fast", "--"]);
    command.args(["--test-threads=1", "--nocapture"]).args(filters).env("TEAL_E2E_POOL", pool);
    command.envs(image.map(|image| ("TEAL_IMAGE", image)));
    command
}

/// The same tests with many more seeds and rounds, for a long night.
pub(crate) fn soak() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "test",
            "--release",
            "-p",
            "teal-core",
            "-p",
            "teal-e2e",
            "--",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("TEAL_SIM_SEEDS", "1000000")
        .env("TEAL_SOAK", "1")
        .status()?;
    if status.success() { Ok(()) } else { bail!("the soak failed") }
}

/// The figures of behaviour 20, with released programs.
pub(crate) fn figures() -> Result<()> {
    packages::install()?;
    cargo(&["build", "--release", "--locked", "-p", "teal-cli"])?;
    cargo(&["test", "--release", "--locked", "-p", "teal-e2e", "--", "--nocapture", "figures::"])
}

/// What instances cost, with a released program, as root. Without an image there are no machines. Further arguments are the bench's.
pub(crate) fn instances() -> Result<()> {
    packages::install()?;
    let mut arguments: Vec<String> =
        ["run", "--release", "--locked", "-q", "-p", "teal-bench", "--", "instances"].map(Into::into).into();
    arguments.extend(std::env::args().skip(2));
    cargo(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The router beside its peers, interleaved, with released programs. Further arguments are the bench's.
pub(crate) fn bench() -> Result<()> {
    packages::install_peers()?;
    cargo(&["build", "--release", "--locked", "-p", "teal-cli", "-p", "teal-bench"])?;
    let mut arguments: Vec<String> =
        ["run", "--release", "--locked", "-q", "-p", "teal-bench", "--", "run"].map(Into::into).into();
    arguments.extend(std::env::args().skip(2));
    cargo(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The main job from end to end, from a clone, with nothing installed but Rust and git.
pub(crate) fn demo() -> Result<()> {
    packages::install()?;
    let mut arguments: Vec<String> =
        ["run", "--locked", "-p", "teal-cli", "--", "demo"].map(Into::into).into();
    arguments.extend(std::env::args().skip(2));
    cargo(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn print_times(times: &[(&&str, Duration)]) {
    println!("\n=== times");
    for (name, time) in times {
        println!("{name:<28} {:>6.1} s", time.as_secs_f64());
    }
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    if arguments[0] == "doc" {
        command.env("RUSTDOCFLAGS", "-D warnings");
    }
    let instances = arguments.contains(&"instances") && std::env::var_os("TEAL_IMAGE").is_none();
    if arguments[0] == "test" || instances {
        command.envs(image::built()?.map(|image| ("TEAL_IMAGE", image)));
    }
    let status = command.args(arguments).status()?;
    if status.success() { Ok(()) } else { bail!("cargo {} failed", arguments.join(" ")) }
}

/// Runs a cargo plug-in where it is installed; its absence is said, not hidden.
fn plugin(name: &str, arguments: &[&str]) -> Result<()> {
    let there =
        Command::new("cargo").args([name, "--version"]).output().is_ok_and(|output| output.status.success());
    if !there {
        println!("SKIPPED: cargo-{name} is not installed; licences and arrows were checked by tidy");
        return Ok(());
    }
    let mut all = vec![name];
    all.extend(arguments);
    cargo(&all)
}
