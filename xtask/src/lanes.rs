//! Several commands at once, each told from the others in the output. Never hides a line, and never calls a run well while one of them failed.

use anyhow::{Context as _, Result, bail};
use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

/// Commands that run one after another, whatever becomes of those before, beside other lanes.
pub(crate) struct Lane {
    /// What its lines begin with.
    pub(crate) name: &'static str,
    /// Each is run to its end.
    pub(crate) commands: Vec<Command>,
}

/// Runs all lanes to their end, and fails if any command of any lane did.
pub(crate) fn run(lanes: Vec<Lane>) -> Result<()> {
    let begin = Instant::now();
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> =
            lanes.into_iter().map(|lane| (lane.name, scope.spawn(move || drive(lane, begin)))).collect();
        let join = |(name, lane): (&str, thread::ScopedJoinHandle<'_, Result<()>>)| {
            let result = lane.join().unwrap_or_else(|_| bail!("its thread panicked"));
            result.err().map(|error| format!("{name}: {error:#}"))
        };
        running.into_iter().filter_map(join).collect()
    });
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
}

/// One lane. A command that fails does not keep the next ones from telling what they find.
fn drive(lane: Lane, begin: Instant) -> Result<()> {
    let results: Vec<Result<()>> =
        lane.commands.into_iter().map(|command| follow(lane.name, command, begin)).collect();
    results.into_iter().collect()
}

fn follow(name: &str, mut command: Command, begin: Instant) -> Result<()> {
    let said = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{said} could not be started"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| copy(name, out, begin));
        copy(name, err, begin);
    });
    let status = child.wait().with_context(|| format!("{said} was lost"))?;
    if status.success() { Ok(()) } else { bail!("{said} failed: {status}") }
}

/// Line by line, so that lanes do not tear each other's; bytes that are no text do not end it.
fn copy(name: &str, stream: Option<impl Read>, begin: Instant) {
    let mut lines = stream.map(BufReader::new).into_iter().flat_map(|reader| reader.split(b'\n'));
    while let Some(Ok(line)) = lines.next() {
        println!("{name} {:>4} s | {}", begin.elapsed().as_secs(), String::from_utf8_lossy(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &'static str, commands: &[&str]) -> Lane {
        let shell = |script: &&str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        Lane { name, commands: commands.iter().map(shell).collect() }
    }

    #[test]
    fn lanes_run_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        // Each end of a named pipe waits for the other one.
        let (read, write) = (format!("cat {}", pipe.display()), format!("echo x > {}", pipe.display()));
        run(vec![lane("a", &[&read]), lane("b", &[&write])]).expect("both meet");
    }

    #[test]
    fn one_failure_is_everybodys_and_the_rest_still_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = directory.path().join("made");
        let touch = format!("touch {}", made.display());
        let error = run(vec![lane("a", &["exit 3", &touch]), lane("b", &["true"])]).expect_err("red");
        assert!(error.to_string().contains("a: ") && error.to_string().contains("exit status: 3"), "{error}");
        assert!(made.exists());
    }
}
