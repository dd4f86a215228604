//! After a 101: bytes both ways until one side ends or the environment is cut. Holds no buffer while nothing flows.
//!
//! What flows is the app's business: nothing is parsed but the lengths of a WebSocket's frames, to close it at the right place.

use crate::{
    body::Answer,
    serve::Client,
    table::Busy,
    traffic::{Ticket, cut_ordered},
    websocket::{CLOSE_TO_APP, CLOSE_TO_CLIENT, Frames},
    worker::Worker,
};
use http::{HeaderValue, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

/// Both sides have to give their connection away within this time after the 101.
const HAND_OVER: Duration = Duration::from_secs(10);

/// One side has ended: how long the other may go on. A WebSocket whose one side has ended has nothing more to say, and gets [`LAST_FRAME`].
const LINGER: Duration = Duration::from_secs(60);

/// A cut WebSocket: how long its present frame may take, and then the client's own close.
const LAST_FRAME: Duration = Duration::from_secs(2);

/// What is read at once.
const CHUNK: usize = 16 * 1024;

type Stream = TokioIo<Upgraded>;

/// Answers 101 and carries the stream from then on, counted as upgraded.
pub(crate) fn begin(
    worker: &Worker,
    mut response: Response<Incoming>,
    protocol: &HeaderValue,
    client: (OnUpgrade, Rc<Client>),
    counted: (Ticket, Busy),
) -> Response<Answer> {
    let (mut ticket, busy) = counted;
    ticket.upgrade();
    let (on_client, client) = client;
    client.rest();
    let order = cut_ordered(ticket.counters().cuts());
    let app = hyper::upgrade::on(&mut response);
    let websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
    worker.tasks.spawn_local(async move {
        let streams = async { tokio::try_join!(on_client, app) };
        if let Ok(Ok((down, up))) = timeout(HAND_OVER, streams).await {
            carry(TokioIo::new(down), TokioIo::new(up), websocket, order).await;
        }
        drop((ticket, busy, client));
    });
    response.map(|_| Answer::Page(Full::default()))
}

/// Carries bytes both ways until both sides are done, one fails, or the order comes.
async fn carry(mut client: Stream, mut app: Stream, websocket: bool, order: impl Future<Output = ()>) {
    let (mut up, mut down) = (Flow::new(websocket), Flow::new(websocket));
    let mut order = pin!(order);
    let (mut linger, patience) = (None, if websocket { LAST_FRAME } else { LINGER });
    let cut = poll_fn(|cx| {
        let upward = up.poll(cx, &mut client, &mut app, u64::MAX);
        let downward = down.poll(cx, &mut app, &mut client, u64::MAX);
        match (upward, downward) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(false),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(false),
            (Poll::Pending, Poll::Pending) => (),
            _ => {
                let linger = linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                if linger.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
            }
        }
        order.as_mut().poll(cx).map(|()| true)
    });
    if cut.await && websocket {
        let _ = close(&mut client, &mut app, up, down).await;
    }
}

/// Lets the app's present frame end, says 1012 to both sides, and waits for the client to close, each for a bounded time.
async fn close(client: &mut Stream, app: &mut Stream, up: Flow, mut down: Flow) -> io::Result<()> {
    let finish = poll_fn(|cx| {
        while !down.is_between() {
            let most = down.frames.as_ref().map_or(0, Frames::until_boundary);
            if ready!(down.poll_once(cx, app, client, most))? {
                break;
            }
        }
        Poll::Ready(Ok::<_, io::Error>(()))
    });
    timeout(LAST_FRAME, finish).await??;
    if up.is_between() && !up.has_closed() {
        let _ = timeout(LAST_FRAME, app.write_all(&CLOSE_TO_APP)).await;
    }
    if down.is_between() && !down.has_closed() {
        timeout(LAST_FRAME, client.write_all(&CLOSE_TO_CLIENT)).await??;
    }
    timeout(LAST_FRAME, async {
        let mut rest = [0; 1024];
        // A reset instead of an end would take our close frame with it: what the client still sends is read.
        while client.read(&mut rest).await? > 0 {}
        client.shutdown().await
    })
    .await?
}

/// One direction.
struct Flow {
    /// What the receiver did not take at once.
    waiting: Vec<u8>,
    sent: usize,
    ended: bool,
    shut: bool,
    frames: Option<Frames>,
}

impl Flow {
    fn new(websocket: bool) -> Self {
        Self {
            waiting: Vec::new(),
            sent: 0,
            ended: false,
            shut: false,
            frames: websocket.then(Frames::default),
        }
    }

    /// Everything that was read was passed on, and it ends with a whole frame.
    fn is_between(&self) -> bool {
        self.waiting.is_empty() && self.frames.as_ref().is_some_and(Frames::at_boundary)
    }

    fn has_closed(&self) -> bool {
        self.ended || self.frames.as_ref().is_some_and(Frames::is_closed)
    }

    /// Ready when the sender has ended and the receiver was told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        most: u64,
    ) -> Poll<io::Result<()>> {
        while !ready!(self.poll_once(cx, from, to, most))? {}
        Poll::Ready(Ok(()))
    }

    /// One step: passes on what waits, or what can be read; `true` when the flow has ended.
    fn poll_once(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        most: u64,
    ) -> Poll<io::Result<bool>> {
        while self.sent < self.waiting.len() {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting[self.sent..]))?;
            self.pass(self.sent, count)?;
        }
        (self.waiting, self.sent) = (Vec::new(), 0);
        if self.ended {
            if !self.shut {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.shut = true;
            }
            return Poll::Ready(Ok(true));
        }
        let mut chunk = [0; CHUNK];
        let most = usize::try_from(most).unwrap_or(CHUNK).min(CHUNK);
        let mut buffer = ReadBuf::new(&mut chunk[..most]);
        ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
        self.ended = buffer.filled().is_empty();
        self.offer(cx, to, buffer.filled())?;
        Poll::Ready(Ok(false))
    }

    /// Writes what the receiver takes at once; keeps the rest.
    fn offer(&mut self, cx: &mut Context<'_>, to: &mut Stream, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let count = match Pin::new(to).poll_write(cx, bytes) {
            Poll::Ready(count) => count?,
            Poll::Pending => 0,
        };
        if let Some(frames) = &mut self.frames {
            frames.pass(&bytes[..count]);
        }
        self.waiting = bytes[count..].to_vec();
        Ok(())
    }

    fn pass(&mut self, start: usize, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if let Some(frames) = &mut self.frames {
            frames.pass(&self.waiting[start..start + count]);
        }
        self.sent += count;
        Ok(())
    }
}
