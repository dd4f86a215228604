//! The instance as its supervisor sees it: one command after another, requests in between, and an end that is durable before it is told.

use super::{Asked, children::Children, workers::Workers};
use crate::{
    Exit, State,
    process::{
        home::{Home, Record},
        log::Log,
        proc,
        wire::{Reply, Request},
    },
};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpid},
};
use std::{collections::BTreeMap, io, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

/// Between two looks while something is being ended.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long stopping everything may take; processes in the midst of disk I/O are slow to stop.
const SLEEP_WAIT: Duration = Duration::from_secs(5);
/// How long killed processes may take to be gone, and output to be written.
const END_WAIT: Duration = Duration::from_secs(10);
/// What the instance gets when the supervisor itself is asked to end.
const OWN_TERM: Duration = Duration::from_secs(10);

/// A running instance.
#[derive(Debug)]
pub(crate) struct Instance {
    home: Home,
    children: Children,
    workers: Workers,
    /// Which command is (or was last) running.
    step: usize,
    current: Option<i32>,
    frozen: bool,
    /// How it ended, once that is known.
    exit: Option<Exit>,
    /// It is being stopped: what is left is ended then.
    deadline: Option<Instant>,
    /// Who waits for the end.
    enders: Vec<oneshot::Sender<Reply>>,
    /// Who waits until no worker runs.
    quieters: Vec<oneshot::Sender<Reply>>,
}

impl Instance {
    /// Starts the first command.
    pub(crate) fn begin(home: Home, record: Record, log: Log) -> io::Result<Self> {
        let workers = Workers::new(&record.spec.workers);
        let mut instance = Self {
            children: Children::new(home.clone(), record, log),
            home,
            workers,
            step: 0,
            current: None,
            frozen: false,
            exit: None,
            deadline: None,
            enders: Vec::new(),
            quieters: Vec::new(),
        };
        instance.start_step();
        Ok(instance)
    }

    /// Runs it to its end.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Asked>) -> io::Result<()> {
        let mut ended = signal(SignalKind::child())?;
        let mut terminated = signal(SignalKind::terminate())?;
        while !self.over() {
            let wake_up = self.next_look();
            tokio::select! {
                _ = ended.recv() => {}
                _ = terminated.recv() => self.stop(OWN_TERM),
                Some((request, reply)) = requests.recv() => self.handle(request, reply).await,
                () = time::sleep_until(wake_up) => {}
            }
            self.reap();
            self.look_after_workers();
        }
        self.finish().await
    }

    // Private

    fn is_last(&self) -> bool {
        self.step + 1 >= self.children.record().spec.commands.len()
    }

    fn stage(&self) -> String {
        self.children
            .record()
            .spec
            .commands
            .get(self.step)
            .map(|command| command.stage.clone())
            .unwrap_or_default()
    }

    fn start_step(&mut self) {
        let command = self.children.record().spec.commands.get(self.step).cloned();
        let Some(command) = command else { return self.ended_with(0) };
        match self.children.start(&command.stage, &command.script) {
            Ok(pid) => self.current = Some(pid),
            Err(error) => {
                self.children.note(
                    &command.stage,
                    &format!("/bin/bash could not be started in the app's directory: {error}"),
                );
                self.ended_with(127);
            }
        }
    }

    fn ended_with(&mut self, code: i32) {
        self.exit = Some(Exit { stage: self.stage(), code, out_of_memory: false });
    }

    /// Is there nothing more to wait for?
    fn over(&self) -> bool {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => true,
            Some(_) => self.current.is_none() && proc::living_below(getpid().as_raw()).is_empty(),
            None => self.exit.is_some(),
        }
    }

    fn next_look(&self) -> Instant {
        let now = Instant::now();
        if self.deadline.is_some() || self.workers.ending() {
            return now + LOOK_AGAIN;
        }
        let due = self.workers.next_due().filter(|_| self.workers_may_run());
        due.unwrap_or(now + Duration::from_secs(3600))
    }

    /// Takes note of every child that ended; adopted ones are only buried.
    fn reap(&mut self) {
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(_) => continue,
            };
            if self.current == Some(pid) {
                self.current = None;
                self.step_ended(code);
            } else {
                self.workers.ended(pid, code, &self.children);
            }
        }
    }

    fn step_ended(&mut self, code: i32) {
        if code != 0 || self.is_last() || self.deadline.is_some() {
            return self.ended_with(code);
        }
        self.step += 1;
        self.start_step();
    }

    fn workers_may_run(&self) -> bool {
        self.current.is_some() && self.is_last() && self.deadline.is_none() && !self.frozen
    }

    fn look_after_workers(&mut self) {
        if self.workers.next_due().is_some() && self.workers_may_run() {
            self.workers.start(&mut self.children);
        }
        self.workers.enforce();
        if self.workers.none() && !self.quieters.is_empty() {
            let reply = self.done();
            self.quieters.drain(..).for_each(|waiting| drop(waiting.send(reply.clone())));
        }
    }

    async fn handle(&mut self, request: Request, reply: oneshot::Sender<Reply>) {
        let answer = match request {
            Request::Inspect => self.done(),
            Request::Sleep => self.sleep().await,
            Request::Wake => self.wake(),
            Request::Workers { run: true } => {
                self.workers.want();
                self.done()
            }
            Request::Workers { run: false } => {
                self.workers.unwant();
                return self.quieters.push(reply);
            }
            Request::Stop { deadline_ms } => {
                self.stop(Duration::from_millis(deadline_ms));
                return self.enders.push(reply);
            }
            Request::Kill => {
                self.deadline = Some(Instant::now());
                return self.enders.push(reply);
            }
        };
        // Who asked has gone: nobody needs the answer.
        let _gone = reply.send(answer);
    }

    fn done(&self) -> Reply {
        let living = proc::living_below(getpid().as_raw());
        let memory_bytes = living.iter().map(|pid| proc::resident_bytes(*pid)).sum();
        let state = match &self.exit {
            Some(exit) => State::Exited(exit.clone()),
            None if self.frozen => State::Frozen,
            None if self.is_last() => State::Running { listening: proc::listening(&living) },
            None => State::Preparing { stage: self.stage() },
        };
        Reply::Done { state, memory_bytes }
    }

    /// Stops everything, again and again until nothing new has been born meanwhile.
    async fn sleep(&mut self) -> Reply {
        let until = Instant::now() + SLEEP_WAIT;
        self.frozen = true;
        loop {
            let all = proc::all();
            let below = proc::below(getpid().as_raw(), &all);
            let moving: BTreeMap<_, _> =
                all.into_iter().filter(|(pid, stat)| below.contains(pid) && !stat.stands_still()).collect();
            if moving.is_empty() {
                return self.done();
            }
            if Instant::now() > until {
                self.wake();
                return Reply::Not(format!("{} processes could not be stopped in time", moving.len()));
            }
            moving.keys().for_each(|pid| proc::signal_pid(*pid, Signal::SIGSTOP));
            time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn wake(&mut self) -> Reply {
        self.frozen = false;
        proc::living_below(getpid().as_raw())
            .into_iter()
            .for_each(|pid| proc::signal_pid(pid, Signal::SIGCONT));
        self.done()
    }

    /// SIGTERM to the app and the workers; a second call can only bring the deadline nearer.
    fn stop(&mut self, patience: Duration) {
        self.wake();
        let deadline = Instant::now() + patience;
        self.deadline = Some(self.deadline.map_or(deadline, |known| known.min(deadline)));
        self.workers.unwant();
        if let Some(pid) = self.current {
            let _gone = killpg(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// Ends what is left, writes what was said and how it ended, and only then tells.
    async fn finish(mut self) -> io::Result<()> {
        let until = Instant::now() + END_WAIT;
        loop {
            self.reap();
            let left = proc::living_below(getpid().as_raw());
            if left.is_empty() || Instant::now() > until {
                break;
            }
            left.into_iter().for_each(|pid| proc::signal_pid(pid, Signal::SIGKILL));
            time::sleep(LOOK_AGAIN).await;
        }
        self.reap();
        let _in_time = time::timeout(END_WAIT, self.children.drain()).await;
        let killed = Exit { stage: self.stage(), code: 137, out_of_memory: false };
        let exit = self.exit.take().unwrap_or(killed);
        self.home.write_ending(exit.clone())?;
        let reply = Reply::Done { state: State::Exited(exit), memory_bytes: 0 };
        let waiting = self.enders.drain(..).chain(self.quieters.drain(..));
        waiting.for_each(|waiting| drop(waiting.send(reply.clone())));
        Ok(())
    }
}
