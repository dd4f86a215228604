//! The channel between processes of one router: whole messages, each with the descriptors that belong to it.
//!
//! A supervisor and its worker talk over one, and a supervisor leaves what it holds to its successor in one. Nobody else ever has an end of it.

use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
        socketpair, sockopt,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};
use tokio::{io::Interest, net::UnixStream};

/// Descriptors in one message; the kernel takes 253.
pub(crate) const MAX_FDS: usize = 250;

/// A message is no longer than this.
const MAX_BYTES: usize = 16 * 1024;

/// What a supervisor tells a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(crate) enum Command {
    /// Serve on the sockets that come along, plain ones first. An heir gets ready, says so, and waits for [`Self::Take`].
    Serve {
        /// How many of the sockets are for plain HTTP.
        plain: usize,
        /// Another worker serves at present.
        heir: bool,
        /// How many of the others are for TLS; what is left is for TCP ports. Without it all others are.
        #[serde(default)]
        tls: Option<usize>,
        /// The supervisor keeps TCP ports that it is told of.
        #[serde(default)]
        keeps: bool,
    },
    /// Give table and control socket away, and obey the one at the other end of the stream that comes along.
    Yield,
    /// Take them. The last descriptor that comes along is a stream to the one that had them, those before it are the sockets of TCP ports.
    Take {
        /// The supervisor keeps TCP ports that it is told of.
        #[serde(default)]
        keeps: bool,
    },
    /// Nobody took them: have them again.
    Keep,
    /// Another one serves: accept nobody any more, end when the last client is gone.
    Retire,
    /// Nobody needs this worker any more.
    End,
    /// How the upgrade went that this worker was asked for.
    Upgraded {
        /// Why nothing was changed.
        error: Option<String>,
    },
}

/// What a worker tells its supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub(crate) enum Report {
    /// Somebody asks for an upgrade.
    Upgrade,
    /// An heir could take over.
    Ready,
    /// Table and control socket are given away.
    Yielded,
    /// An heir serves.
    Serving,
    /// It has them again.
    Kept,
    /// A retired worker has no client left.
    Finished,
    /// A TCP port was opened: its sockets come along, to be handed to every later worker. Only told to a supervisor that keeps them.
    Opened,
    /// Nobody needs a TCP port any more.
    Closed {
        /// The port.
        port: u16,
    },
    /// What was ordered last cannot be done.
    Failed {
        /// Why.
        why: String,
    },
}

/// What a supervisor leaves to its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "estate", rename_all = "snake_case")]
pub(crate) enum Estate {
    /// The listening sockets, plain ones first.
    Sockets {
        /// How many of them are for plain HTTP; the others are for TLS.
        plain: usize,
    },
    /// A worker; its channel comes along.
    Worker {
        /// Its process.
        pid: i32,
        /// For how many seconds it has been retired; the one that serves is not.
        retired: Option<u64>,
        /// It has no client left.
        #[serde(default)]
        finished: bool,
    },
    /// That was all; the sockets of TCP ports come along, where an older program does not look for them.
    End,
}

/// One end. The stream is there for its readiness only: what goes through it are messages.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

/// Two ends that belong together, for [`Channel::new`].
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// This process's standard input, if it is an end of a channel.
pub(crate) fn inherited() -> io::Result<Option<OwnedFd>> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    match sockopt::socket_type(&input) {
        Ok(SocketType::SEQPACKET) => {
            rustix::io::ioctl_fionbio(&input, true)?;
            Ok(Some(input))
        }
        _ => Ok(None),
    }
}

impl Channel {
    /// An end; must be called inside a runtime.
    pub(crate) fn new(end: OwnedFd) -> io::Result<Self> {
        Ok(Self(UnixStream::from_std(end.into())?))
    }

    /// Puts one message in, with descriptors.
    pub(crate) async fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MAX_BYTES || fds.len() > MAX_FDS {
            return Err(io::Error::other("the message is too large for the channel"));
        }
        self.0.async_io(Interest::WRITABLE, || send(&self.0, &bytes, fds)).await
    }

    /// The next message; nothing if the other end is closed. May be abandoned: a message is taken whole or not at all.
    pub(crate) async fn hear<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some((bytes, fds)) = self.0.async_io(Interest::READABLE, || receive(&self.0)).await? else {
            return Ok(None);
        };
        Ok(Some((serde_json::from_slice(&bytes)?, fds)))
    }

    /// The end itself.
    pub(crate) fn end(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn send(fd: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    sendmsg(fd, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(fd: &UnixStream) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_BYTES];
    let received =
        match recvmsg(fd, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            // The other end went with messages of ours unread.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(come) = message {
            fds.extend(come);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a message on the channel is too large"));
    }
    bytes.truncate(received.bytes);
    Ok((received.bytes > 0).then_some((bytes, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_whole_with_what_belongs_to_them_and_then_the_end() {
        let (ours, theirs) = pair().expect("a pair");
        let (ours, theirs) = (Channel::new(ours).expect("an end"), Channel::new(theirs).expect("an end"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        ours.send(&Report::Ready, &[]).await.expect("sends");
        ours.send(&Report::Serving, &[listener.as_fd()]).await.expect("sends");
        drop((ours, listener));
        assert_eq!(theirs.hear::<Report>().await.expect("hears").expect("one").0, Report::Ready);
        let (report, mut fds) = theirs.hear::<Report>().await.expect("hears").expect("one");
        assert_eq!(report, Report::Serving);
        let listener = std::net::TcpListener::from(fds.pop().expect("a socket"));
        assert_eq!(listener.local_addr().expect("an address"), address);
        assert!(theirs.hear::<Report>().await.expect("hears").is_none());
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error_not_a_panic() {
        let (ours, theirs) = pair().expect("a pair");
        let (ours, theirs) = (Channel::new(ours).expect("an end"), Channel::new(theirs).expect("an end"));
        ours.send(&"not a report", &[]).await.expect("sends");
        assert!(theirs.hear::<Report>().await.is_err());
    }
}
