//! The load client of the `teal` binary, as a process of its own: it counts every request and never retries.

use crate::{
    Host,
    host::binary,
    wait::{slowness, within},
    witness::Witness,
};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// A run under way.
pub struct Rig {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    witness: Witness,
}

/// What the run found; see the rig itself for the meaning of each field.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// Valid, and nothing was lost.
    pub ok: bool,
    /// Why the run says nothing.
    pub why_not_valid: Vec<String>,
    /// Requests that were answered or lost.
    pub requests: u64,
    /// Everything that went wrong.
    pub failed: u64,
    /// Of these: an old version after a new one.
    pub violations: u64,
    /// Answers by version.
    pub versions: BTreeMap<String, u64>,
    /// Changes of the version.
    pub switches: Vec<Value>,
    /// POSTs and what the app recorded.
    pub posts: Value,
    /// WebSockets.
    pub websockets: Value,
    /// Streams of server-sent events.
    pub streams: Value,
    /// Latency away from switches.
    pub steady: Value,
    /// The first failures.
    pub failures: Vec<Value>,
}

impl Rig {
    /// Begins to load an app through the router.
    ///
    /// # Errors
    /// If the rig does not start.
    pub fn start(host: &Host, app: &str, arguments: &[&str]) -> Result<Self> {
        let witness = Witness::start(host.path());
        let mut command = Command::new(binary()?);
        command
            .arg("__rig")
            .arg(format!("http://{}", host.http()))
            .args(["--app-host", &format!("{app}.localhost")])
            .args(arguments);
        if let Some((address, authority)) = host.https() {
            command.arg("--tls").arg(address.to_string()).arg("--authority").arg(authority);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("the rig has no output")?);
        Ok(Self { child, input, output, witness })
    }

    /// Says that production is about to go back to an earlier version.
    ///
    /// # Errors
    /// If the rig ended.
    pub fn expect_back(&mut self) -> Result<()> {
        self.say("back").map(drop)
    }

    /// Says that this version is current after all, whatever was announced.
    ///
    /// # Errors
    /// If the rig ended.
    pub fn stays(&mut self, version: &str) -> Result<()> {
        self.say(&format!("stays {version}")).map(drop)
    }

    /// Milliseconds since the run began, as its report counts them.
    ///
    /// # Errors
    /// If the rig ended.
    pub fn elapsed_ms(&mut self) -> Result<f64> {
        self.say("standing")?["elapsed_ms"].as_f64().context("the rig does not know the time")
    }

    /// Requests that were answered or failed so far, and those that failed.
    ///
    /// # Errors
    /// If the rig ended.
    pub fn standing(&mut self) -> Result<(u64, u64)> {
        let standing = self.say("standing")?;
        Ok((standing["requests"].as_u64().unwrap_or(0), standing["failed"].as_u64().unwrap_or(0)))
    }

    /// Ends the run.
    ///
    /// # Errors
    /// If the rig gives no report.
    pub fn stop(self) -> Result<Report> {
        self.stop_within(Duration::from_secs(120) * slowness())
    }

    /// The same where instances were killed: what they had said and nobody had read is lost, and is waited for no longer than this.
    ///
    /// # Errors
    /// If the rig gives no report.
    pub fn stop_within(mut self, patience: Duration) -> Result<Report> {
        self.say("halt")?;
        // What is still untold then was really never recorded; the report says so.
        let _ = within(patience, "the app tells of every POST", || self.audit().ok()?.then_some(()));
        drop(self.input.take());
        let mut line = String::new();
        while self.output.read_line(&mut line)? > 0 {}
        self.child.wait()?;
        let report = line.lines().last().context("the rig gave no report")?;
        serde_json::from_str(report).with_context(|| report.to_owned())
    }

    /// Passes on what the instances' logs say; whether that is all.
    fn audit(&mut self) -> Result<bool> {
        let input = self.input.as_mut().context("the rig was stopped")?;
        for record in self.witness.news() {
            writeln!(input, "recorded {record}")?;
        }
        Ok(self.say("standing")?["untold"] == 0)
    }

    fn say(&mut self, word: &str) -> Result<Value> {
        let input = self.input.as_mut().context("the rig was stopped")?;
        writeln!(input, "{word}")?;
        input.flush()?;
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the rig ended by itself");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Report {
    /// Panics with everything that is known unless nothing was lost.
    ///
    /// # Panics
    /// If a request was lost, or the run saw too little.
    pub fn expect_nothing_lost(&self) {
        assert!(
            self.ok,
            "{} of {} failed, {} violations; not valid because {:?}; first failures {:#?}; posts {}",
            self.failed, self.requests, self.violations, self.why_not_valid, self.failures, self.posts
        );
    }
}
