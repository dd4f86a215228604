//! Starting a command: its environment, its directory, and its output on the way to the log.

use crate::{
    Tree,
    process::{
        home::{Home, Record},
        log::{Lines, Log},
    },
};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    rc::Rc,
};
use teal_core::worker::Worker;
use tokio::{io::AsyncReadExt, net::unix::pipe, task::JoinSet};

/// Where a sandbox has the app's directory: paths of variables that point there are turned to where it is here.
const SANDBOX_APP: &str = "/app";

/// What all commands of an instance share.
#[derive(Debug)]
pub(crate) struct Children {
    home: Home,
    record: Record,
    log: Rc<RefCell<Log>>,
    /// The tasks that copy output to the log.
    outputs: JoinSet<()>,
}

impl Children {
    pub(crate) fn new(home: Home, record: Record, log: Log) -> Self {
        Self { home, record, log: Rc::new(RefCell::new(log)), outputs: JoinSet::new() }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Starts a script in a process group of its own and answers its pid. It is reaped by whoever waits for all children.
    pub(crate) fn start(&mut self, stage: &str, script: &str) -> io::Result<i32> {
        let mut command = Command::new("/bin/bash");
        command.arg("-c").arg(script).env_clear();
        self.spawn(command, stage)
    }

    /// Starts a worker below a keeper and answers the keeper's pid.
    pub(crate) fn start_worker(&mut self, worker: &Worker) -> io::Result<i32> {
        let mut command = super::again("keep");
        command.env_clear().env(super::ROLE, "keep").env(super::keeper::SCRIPT, &worker.script);
        self.spawn(command, &worker.stage)
    }

    /// A line of our own.
    pub(crate) fn note(&self, stage: &str, text: &str) {
        self.log.borrow_mut().write(stage, true, text);
    }

    /// Waits until everything that was said is in the log: all writers must have ended.
    pub(crate) async fn drain(&mut self) {
        while self.outputs.join_next().await.is_some() {}
    }

    // Private

    fn spawn(&mut self, mut command: Command, stage: &str) -> io::Result<i32> {
        command.envs(self.variables()).current_dir(self.directory()).process_group(0);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        while self.outputs.try_join_next().is_some() {}
        self.follow(&mut child, stage)?;
        i32::try_from(child.id()).map_err(io::Error::other)
    }

    fn follow(&mut self, child: &mut Child, stage: &str) -> io::Result<()> {
        let streams =
            [(child.stdout.take().map(OwnedFd::from), false), (child.stderr.take().map(OwnedFd::from), true)];
        for (stream, error) in streams {
            let Some(stream) = stream else { continue };
            let stream = pipe::Receiver::from_owned_fd(stream)?;
            self.outputs.spawn_local(copy(stream, Rc::clone(&self.log), stage.to_owned(), error));
        }
        Ok(())
    }

    fn directory(&self) -> PathBuf {
        match &self.record.spec.tree {
            Tree::Sealed(_) => self.home.tree(),
            Tree::Working(path) => path.clone(),
        }
    }

    /// The app's variables, and ours. Paths of a sandbox (`/app`, targets of mounts) are turned to where they are on the host.
    fn variables(&self) -> BTreeMap<String, String> {
        let directory = self.directory().display().to_string();
        let mut moved: Vec<(String, String)> = vec![(SANDBOX_APP.to_owned(), directory.clone())];
        let mounts = self.record.spec.mounts.iter();
        moved.extend(
            mounts.map(|mount| (mount.target.display().to_string(), mount.source.display().to_string())),
        );
        let mut all = BTreeMap::from([
            ("HOME".to_owned(), self.home.user_home().display().to_string()),
            ("PATH".to_owned(), self.record.path.clone()),
            ("APP_HOME".to_owned(), directory),
        ]);
        let given = self.record.spec.variables.iter();
        all.extend(given.map(|(name, value)| (name.clone(), turned(value, &moved))));
        let ports = [("PORT", self.record.port), ("TCP_PORT", self.record.tcp_port)];
        all.extend(ports.into_iter().filter_map(|(name, port)| Some((name.to_owned(), port?.to_string()))));
        all.insert(super::MARK.to_owned(), self.record.mark.clone());
        all
    }
}

/// A value that is a path at or below one of the moved ones; the longest one counts.
fn turned(value: &str, moved: &[(String, String)]) -> String {
    let below = |(from, to): &(String, String)| {
        let rest = value.strip_prefix(from.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (from.len(), format!("{to}{rest}")))
    };
    moved.iter().filter_map(below).max().map_or_else(|| value.to_owned(), |(_, path)| path)
}

async fn copy(mut stream: pipe::Receiver, log: Rc<RefCell<Log>>, stage: String, error: bool) {
    let (mut lines, mut buffer) = (Lines::default(), vec![0; 16 << 10]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        for line in lines.push(buffer.get(..length).unwrap_or_default()) {
            log.borrow_mut().write(&stage, error, &line);
        }
    }
    if let Some(line) = lines.finish() {
        log.borrow_mut().write(&stage, error, &line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_sandbox_are_turned() {
        let moved = [("/app", "/d/tree"), ("/app/cache", "/c"), ("/pip", "/p")]
            .map(|(from, to)| (from.to_owned(), to.to_owned()));
        let cases = [
            ("/app", "/d/tree"),
            ("/app/x", "/d/tree/x"),
            ("/app/cache/y", "/c/y"),
            ("/apple", "/apple"),
            ("x /app", "x /app"),
            ("/pip/", "/p/"),
        ];
        for (value, expected) in cases {
            assert_eq!(turned(value, &moved), expected);
        }
    }
}
