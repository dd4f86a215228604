//! Runs `git receive-pack` and `git upload-pack` for a visitor, whatever the transport. A process ends when its visitor has gone, and
//! takes its children along; what a push was accepted for goes on without it.

use super::{Error, Gate, Git, request::Service, session::Session, session::Visit, wire};
use crate::platform;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{process::Stdio, time::Duration};
use teal_core::role::Role;
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    sync::OwnedSemaphorePermit,
};

/// How long a process whose streams are closed may take to end by itself, and then after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// How the process talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// Both ways until the end (SSH).
    Stateful,
    /// HTTP: says what it has.
    Advertise,
    /// HTTP: answers one request.
    Stateless,
}

/// A process that serves a visitor.
pub(super) struct Running {
    child: Child,
    session: Option<Session>,
    _permit: OwnedSemaphorePermit,
}

/// Its streams.
pub(super) struct Streams {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl<G: Gate> Git<G> {
    /// Who comes to which app; the error is for the visitor to read. Whoever may not know of an app reads that there is none.
    pub(super) async fn visit(
        &self,
        who: platform::Principal,
        name: String,
        service: Service,
    ) -> platform::Result<Visit> {
        let unknown = || {
            let text = format!("There is no app named {name} here. Make it first: teal apps create {name}");
            platform::Error::NotFound(text)
        };
        let app = match self.gate().find_app(&name).await {
            Ok(app) => app,
            Err(platform::Error::NotFound(_)) => return Err(unknown()),
            Err(error) => return Err(error),
        };
        let needed = match service {
            Service::UploadPack => Role::Viewer,
            Service::ReceivePack => Role::Developer,
        };
        match who.rights.on(&app) {
            Role::None => Err(unknown()),
            held if held < needed => Err(platform::Error::Forbidden(format!(
                "You may look at {name}, and not push to it: an administrator of it gives you the role `{needed}`."
            ))),
            _ => Ok(Visit { who, app, name }),
        }
    }

    /// Starts the process of a visit.
    pub(super) async fn start(
        &self,
        visit: Visit,
        service: Service,
        talk: Talk,
        protocol: Option<String>,
    ) -> Result<(Running, Streams), Error> {
        let permit = self.permit()?;
        let app = visit.app.clone();
        let branches = self.gate().branches(&app).await.unwrap_or_default();
        self.prepare(&app, &branches).await?;
        let path = self.gate().repository(&app);
        let mut command = self.home().command(&path);
        command.arg(service.subcommand());
        match talk {
            Talk::Stateful => {}
            Talk::Advertise => drop(command.args(["--stateless-rpc", "--advertise-refs"])),
            Talk::Stateless => drop(command.arg("--stateless-rpc")),
        }
        if let (Some(protocol), Service::UploadPack) = (protocol, service) {
            command.env("GIT_PROTOCOL", protocol);
        }
        let session = match (service, talk) {
            (Service::ReceivePack, Talk::Stateful | Talk::Stateless) => Some(Session::open(self, visit)?),
            _ => None,
        };
        if let Some(session) = &session {
            command.env(wire::SOCKET, session.socket());
        }
        command.arg(".").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed =
            || Error::Git { doing: service.subcommand().into(), said: "it could not be started".into() };
        let mut child = command.spawn().map_err(|_| failed())?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = streams else { return Err(failed()) };
        Ok((Running { child, session, _permit: permit }, Streams { stdin, stdout, stderr }))
    }
}

impl Running {
    /// Waits for the end of a process that was served to its end; the exit code, if it had one.
    pub(super) async fn end(mut self) -> Option<i32> {
        self.child.wait().await.ok().and_then(|status| status.code())
    }

    /// Ends a process whose visitor has gone. Its streams must be closed already; it and its hooks mostly end by that.
    pub(super) async fn abandon(mut self) {
        drop(self.session.take());
        for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
            if let (Some(signal), Some(id)) = (signal, self.child.id()) {
                // The leader has not been waited for, so its number still names this group. Gone already is fine.
                let _ = killpg(Pid::from_raw(id.cast_signed()), signal);
            }
            if tokio::time::timeout(GRACE, self.child.wait()).await.is_ok() {
                return;
            }
        }
    }
}
