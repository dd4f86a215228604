//! The agent's one loop: commands one after another, workers, orphans, signals, requests.

use crate::pid1::{
    Surroundings,
    channel::{Channel, Machine},
    listening,
    output::Outputs,
    process,
    workers::{Workers, signal_all},
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    convert::Infallible,
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};
use teal_core::agent::{Phase, Program, Reply, Request};

/// For a SIGTERM that the agent itself gets (the host shuts down), and the longest that anyone may ask for.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
const MAX_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// While something that was killed has not gone yet: look again.
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
enum Current {
    /// The command of this number runs.
    Command { number: usize, pid: Pid },
    /// None runs any more.
    Ended { stage: String, code: i32 },
}

#[derive(Debug)]
struct Stop {
    deadline: Instant,
    killed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Stopped,
    WorkersStopped,
}

/// The agent's state.
pub(crate) struct Supervisor {
    program: Program,
    current: Current,
    workers: Workers,
    workers_wanted: bool,
    stop: Option<Stop>,
    childless: bool,
    outputs: Outputs,
    channel: Box<dyn Channel>,
    machine: Option<Box<dyn Machine>>,
    waiting: Vec<(u64, Awaits)>,
    signals: SignalFd,
}

/// What `poll` found.
struct Ready {
    signals: bool,
    channel: Vec<bool>,
    outputs: Vec<bool>,
}

impl Supervisor {
    /// Everything is prepared; nothing runs yet.
    pub(crate) fn new(program: Program, surroundings: Surroundings) -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        set.add(Signal::SIGTERM);
        // Everything else is not for PID 1 either; without a handler the kernel does not deliver it.
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            workers: Workers::new(&program.workers),
            program,
            current: Current::Ended { stage: String::new(), code: 0 },
            workers_wanted: false,
            stop: None,
            childless: true,
            outputs: Outputs::new(surroundings.log, Instant::now()),
            channel: surroundings.channel,
            machine: surroundings.machine,
            waiting: Vec::new(),
            signals,
        })
    }

    /// Who asks.
    pub(crate) fn channel(&mut self) -> &mut dyn Channel {
        self.channel.as_mut()
    }

    /// Runs the commands and serves for ever.
    pub(crate) fn run(mut self) -> io::Result<Infallible> {
        self.start_command(0);
        loop {
            let ready = self.wait()?;
            self.outputs.read(&ready.outputs);
            if ready.signals {
                self.take_signals();
            }
            self.reap();
            self.tick(Instant::now());
            for (client, request) in self.channel.requests(&ready.channel) {
                self.serve(client, &request);
            }
            self.answer_waiting();
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        polled.extend(self.channel.descriptors().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let channel = polled.len();
        polled.extend(self.outputs.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut polled, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Errors and hang-ups count: reading tells which.
        let ready: Vec<bool> = polled.iter().map(|fd| fd.revents().is_some_and(|r| !r.is_empty())).collect();
        Ok(Ready {
            signals: ready[0],
            channel: ready[1..channel].to_vec(),
            outputs: ready[channel..].to_vec(),
        })
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let stop = self.stop.as_ref().filter(|_| !self.childless);
        let stop = stop.map(|s| if s.killed { now + AGAIN } else { s.deadline });
        let ended = matches!(self.current, Current::Ended { .. }) && self.stop.is_none() && !self.childless;
        let again = ended.then(|| now + AGAIN);
        let Some(next) = [stop, again, self.workers.next()].into_iter().flatten().min() else {
            return PollTimeout::NONE;
        };
        // Rounded up: waking a little early would spin.
        let wait = next.saturating_duration_since(now).as_millis().saturating_add(1);
        PollTimeout::try_from(i32::try_from(wait).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX)
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo == Signal::SIGTERM as u32 {
                self.begin_stop(DEFAULT_DEADLINE);
            }
        }
    }

    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.ended(pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) => {
                    self.childless = false;
                    return;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => {
                    self.childless = true;
                    return;
                }
            }
        }
    }

    fn ended(&mut self, pid: Pid, code: i32) {
        match self.current {
            Current::Command { number, pid: current } if current == pid => self.command_ended(number, code),
            _ => {
                let again = self.workers_wanted && self.alive();
                self.workers.ended(pid, code, again, &mut self.outputs, Instant::now());
            }
        }
    }

    fn command_ended(&mut self, number: usize, code: i32) {
        self.outputs.drain();
        let last = number + 1 >= self.program.commands.len();
        if code == 0 && !last && self.stop.is_none() {
            self.start_command(number + 1);
        } else {
            self.end(number, code);
        }
    }

    fn start_command(&mut self, number: usize) {
        let Some(step) = self.program.commands.get(number) else {
            self.current = Current::Ended { stage: "start".to_owned(), code: 0 };
            return;
        };
        let (stage, variables) = (&step.stage, &self.program.variables);
        let started = self.outputs.pair(stage).and_then(|pair| process::start(&step.script, variables, pair));
        match started {
            Ok(pid) => {
                self.childless = false;
                self.current = Current::Command { number, pid: Pid::from_raw(pid) };
                if self.workers_wanted && self.is_last(number) {
                    self.workers.start(Instant::now());
                }
            }
            Err(error) => {
                self.outputs.say(stage, &format!("The command cannot be started: {error}"));
                self.end(number, 126);
            }
        }
    }

    fn is_last(&self, number: usize) -> bool {
        number + 1 == self.program.commands.len()
    }

    /// The instance is over: what the app left behind goes too, at once unless it is being stopped gently.
    fn end(&mut self, number: usize, code: i32) {
        let stage = self.program.commands.get(number).map_or_else(String::new, |step| step.stage.clone());
        self.current = Current::Ended { stage, code };
        self.workers.give_up();
        if self.stop.is_none() {
            signal_all(Signal::SIGKILL);
        }
    }

    fn alive(&self) -> bool {
        self.stop.is_none() && matches!(self.current, Current::Command { .. })
    }

    fn tick(&mut self, now: Instant) {
        if self.alive() {
            self.workers.tick(&self.program.variables, &mut self.outputs, now);
        }
        match &mut self.stop {
            Some(stop) if !self.childless && stop.deadline <= now => {
                stop.killed = true;
                signal_all(Signal::SIGKILL);
            }
            None if !self.childless && matches!(self.current, Current::Ended { .. }) => {
                signal_all(Signal::SIGKILL)
            }
            _ => {}
        }
    }

    fn serve(&mut self, client: u64, request: &Request) {
        match request {
            Request::Status => {
                let reply = Reply::Status { phase: self.phase(), workers: self.workers.running() };
                self.channel.answer(client, &reply);
            }
            Request::Stop { deadline_ms } => {
                self.begin_stop(Duration::from_millis(*deadline_ms).min(MAX_DEADLINE));
                self.waiting.push((client, Awaits::Stopped));
            }
            Request::End { reason } => {
                let stage = self.stage().to_owned();
                self.outputs.say(&stage, reason);
                self.begin_stop(Duration::ZERO);
                self.tick(Instant::now());
                self.waiting.push((client, Awaits::Stopped));
            }
            Request::Workers { run: true } => self.run_workers(client),
            Request::Workers { run: false } => {
                self.workers_wanted = false;
                self.workers.stop(Instant::now());
                self.waiting.push((client, Awaits::WorkersStopped));
            }
            Request::Rest => {
                let rested = self.machine.as_mut().map(|machine| machine.rest());
                self.answer_machine(client, rested, Reply::Resting);
            }
            Request::Wake { now_ns, seed } => {
                let woken = self.machine.as_mut().map(|machine| machine.wake(*now_ns, &seed.0));
                self.answer_machine(client, woken, Reply::Awake);
            }
        }
    }

    fn answer_machine(&mut self, client: u64, done: Option<io::Result<()>>, good: Reply) {
        let reply = match done {
            Some(Ok(())) => good,
            Some(Err(error)) => Reply::Refused { reason: format!("the machine cannot: {error}") },
            None => Reply::Refused { reason: "this is no virtual machine".to_owned() },
        };
        self.channel.answer(client, &reply);
    }

    fn run_workers(&mut self, client: u64) {
        if !self.alive() {
            let reason = "the instance has ended or is ending: no worker starts in it any more".to_owned();
            return self.channel.answer(client, &Reply::Refused { reason });
        }
        self.workers_wanted = true;
        let now = Instant::now();
        if matches!(self.current, Current::Command { number, .. } if self.is_last(number)) {
            self.workers.start(now);
            self.tick(now);
        }
        self.channel.answer(client, &Reply::Workers { running: self.workers.running() });
    }

    /// Asks everything to end. A second request may shorten the deadline, never lengthen it.
    fn begin_stop(&mut self, deadline: Duration) {
        let deadline = Instant::now() + deadline;
        match &mut self.stop {
            Some(stop) => stop.deadline = stop.deadline.min(deadline),
            None => {
                self.stop = Some(Stop { deadline, killed: false });
                self.workers.give_up();
                signal_all(Signal::SIGTERM);
            }
        }
    }

    fn stage(&self) -> &str {
        match &self.current {
            Current::Command { number, .. } => &self.program.commands[*number].stage,
            Current::Ended { stage, .. } => stage,
        }
    }

    fn phase(&self) -> Phase {
        match &self.current {
            Current::Command { number, .. } if self.is_last(*number) => {
                Phase::Running { listening: listening::sockets() }
            }
            Current::Command { .. } => Phase::Preparing { stage: self.stage().to_owned() },
            Current::Ended { stage, code } => Phase::Exited {
                stage: stage.clone(),
                code: *code,
                // Of a clean end memory was not the cause, whatever happened before.
                out_of_memory: *code != 0 && self.machine.as_ref().is_some_and(|m| m.out_of_memory()),
            },
        }
    }

    fn answer_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.reap();
        let (childless, running) = (self.childless, self.workers.running());
        let killed = self.stop.as_ref().is_some_and(|stop| stop.killed);
        let due = |awaits: Awaits| match awaits {
            Awaits::Stopped => childless,
            Awaits::WorkersStopped => running == 0,
        };
        let (now, later): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|(_, awaits)| due(*awaits));
        self.waiting = later;
        for (client, awaits) in now {
            let reply = match awaits {
                Awaits::Stopped => Reply::Stopped { killed },
                Awaits::WorkersStopped => Reply::Workers { running: 0 },
            };
            self.channel.answer(client, &reply);
        }
    }
}
