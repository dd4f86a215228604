//! After a 101, or on a connection that is an app's from its first byte on: bytes both ways until one side ends or the environment is cut. Holds no buffer while nothing flows.
//!
//! What flows is the app's business: nothing is parsed but the lengths of a WebSocket's frames, to close it at the right place.

use crate::{
    buffer::{Buffer, MUCH},
    busy::Busy,
    cut::Listener,
    options::Limits,
    pace::Pace,
    serve::Client,
    splice::Splice,
    traffic::Ticket,
    websocket::{CLOSE_TO_APP, CLOSE_TO_CLIENT, Frames},
    wire::Wire,
};
use std::{
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::{Sleep, timeout};

/// One side has ended: how long the other may be silent. A WebSocket whose one side has ended has nothing more to say, and gets [`LAST_FRAME`] in all.
const LINGER: Duration = Duration::from_secs(60);

/// A cut WebSocket: how long its present frame may take, and then the client's own close.
const LAST_FRAME: Duration = Duration::from_secs(2);

/// What an upgraded connection goes on with, besides its client.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) app: Wire,
    /// What the instance sent behind its head.
    pub(crate) early: Option<Buffer>,
    pub(crate) websocket: bool,
    /// Where the order to cut comes from.
    pub(crate) cuts: Listener,
    pub(crate) counted: (Ticket, Busy),
}

/// One side: what came behind its head, and then its socket.
struct Stream<'a> {
    early: Option<Buffer>,
    wire: &'a mut Wire,
}

impl<'a> Stream<'a> {
    fn new(early: Option<Buffer>, wire: &'a mut Wire) -> Self {
        Self { early, wire }
    }

    /// Ready when there may be something to read, or the end: whoever waits holds no buffer.
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.early.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.wire.poll_read_ready(cx)
    }

    /// Nothing came since this task asked to be woken. Each message wakes it for one of two directions.
    fn is_quiet(&self, cx: &Context<'_>) -> bool {
        self.early.is_none() && self.wire.is_quiet(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(early) = self.early.as_mut().filter(|early| !early.raw().is_empty()) else {
            self.early = None;
            return self.wire.poll_read(cx, room);
        };
        let count = early.raw().len().min(room.len());
        room[..count].copy_from_slice(&early.raw()[..count]);
        early.skip(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.poll_write(cx, &[bytes])
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        crate::wire::write_all(self.wire, bytes).await
    }
}

/// Carries bytes both ways until both sides are done, one fails, the order comes, or a WebSocket's client takes too little of what waits for it.
pub(crate) async fn carry(limits: &Limits, mut client: Client, tunnel: Tunnel) {
    let Tunnel { app: mut instance, early, websocket, cuts, counted } = tunnel;
    let mut app = Stream::new(early, &mut instance);
    let Client { up: lane, wire, visit, .. } = &mut client;
    let open = websocket.then(|| visit.websocket());
    let mut client = Stream::new(lane.buffer.take(), wire);
    let (mut up, mut down) = (Flow::new(websocket), Flow::new(websocket));
    let mut order = pin!(cuts.ordered());
    let (mut linger, patience) = (None, if websocket { LAST_FRAME } else { LINGER });
    let mut awaited = None;
    let cut = poll_fn(|cx| {
        // First, so that nothing that came after the order goes through.
        if order.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let upward = up.poll(cx, &mut client, &mut app, u64::MAX);
        let downward = down.poll(cx, &mut app, &mut client, u64::MAX);
        visit.moves(client.wire.read(), client.wire.written());
        let waits = websocket && down.is_waiting();
        if Awaited::look(&mut awaited, cx, waits, limits, client.wire.written()).is_ready() {
            return Poll::Ready(false);
        }
        match (upward, downward) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(false),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(false),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => {
                let moved = up.moved.wrapping_add(down.moved);
                linger
                    .get_or_insert_with(|| Linger::new(patience, moved))
                    .poll(cx, moved, websocket)
                    .map(|()| false)
            }
        }
    });
    match cut.await {
        true if websocket => drop(close(&mut client, &mut app, up, down).await),
        true => part(&mut client, &mut app, up, down).await,
        false => (),
    }
    visit.end(client.wire.read(), client.wire.written());
    // Counted, and in its place, to the end.
    drop((counted, open));
}

/// How long the side that has not ended may go on.
struct Linger {
    sleep: Pin<Box<Sleep>>,
    patience: Duration,
    moved: u64,
}

impl Linger {
    fn new(patience: Duration, moved: u64) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(patience)), patience, moved }
    }

    /// Ready when it may not go on; `in_all`: whether anything moves or not.
    fn poll(&mut self, cx: &mut Context<'_>, moved: u64, in_all: bool) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if in_all || moved == self.moved {
                return Poll::Ready(());
            }
            (self.sleep, self.moved) = (Box::pin(tokio::time::sleep(self.patience)), moved);
        }
    }
}

/// Something waits for the client.
struct Awaited {
    pace: Pace,
    sleep: Pin<Box<Sleep>>,
}

impl Awaited {
    /// Ready when the client has taken too little for too long; what it has `taken` in all. There is no clock while nothing waits.
    fn look(
        awaited: &mut Option<Self>,
        cx: &mut Context<'_>,
        waits: bool,
        limits: &Limits,
        taken: u64,
    ) -> Poll<()> {
        if !waits {
            *awaited = None;
            return Poll::Pending;
        }
        let sleep = || Box::pin(tokio::time::sleep(limits.stalled));
        let this =
            awaited.get_or_insert_with(|| Self { pace: Pace::new(Instant::now(), taken), sleep: sleep() });
        while this.sleep.as_mut().poll(cx).is_ready() {
            if this.pace.is_too_slow(limits, Instant::now(), taken) {
                return Poll::Ready(());
            }
            this.sleep = sleep();
        }
        Poll::Pending
    }
}

/// Where there is no word for it: what was read goes out, both sides are told that nothing more comes, and may end, too; all for a bounded time.
async fn part(client: &mut Stream<'_>, app: &mut Stream<'_>, mut up: Flow, mut down: Flow) {
    let flush = poll_fn(|cx| match (up.poll_flush(cx, app), down.poll_flush(cx, client)) {
        (Poll::Ready(_), Poll::Ready(_)) => Poll::Ready(()),
        _ => Poll::Pending,
    });
    let _ = timeout(LAST_FRAME, flush).await;
    // What they still send is read: closing before that would be a reset, and take our last bytes with it.
    let rest = async { tokio::join!(client.wire.exhaust(), app.wire.exhaust()) };
    let _ = timeout(LAST_FRAME, rest).await;
}

/// Lets the app's present frame end, says 1012 to both sides, and waits for the client to close, each for a bounded time.
async fn close(client: &mut Stream<'_>, app: &mut Stream<'_>, up: Flow, mut down: Flow) -> io::Result<()> {
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
        while poll_fn(|cx| client.poll_read(cx, &mut rest)).await? > 0 {}
        client.wire.shut()
    })
    .await?
}

/// One direction.
struct Flow {
    /// What the receiver did not take at once.
    waiting: Vec<u8>,
    sent: usize,
    /// Bytes that were passed on in all.
    moved: u64,
    ended: bool,
    shut: bool,
    frames: Option<Frames>,
    /// What was read last filled its room: there may be much.
    much: bool,
    /// What is much goes past us, where nothing has to be looked at.
    splice: Option<Splice>,
}

impl Flow {
    fn new(websocket: bool) -> Self {
        Self {
            waiting: Vec::new(),
            sent: 0,
            moved: 0,
            ended: false,
            shut: false,
            frames: websocket.then(Frames::default),
            much: false,
            splice: None,
        }
    }

    /// The receiver has something to take.
    fn is_waiting(&self) -> bool {
        self.sent < self.waiting.len()
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
        from: &mut Stream<'_>,
        to: &mut Stream<'_>,
        most: u64,
    ) -> Poll<io::Result<()>> {
        if self.is_idle() && from.is_quiet(cx) {
            return Poll::Pending;
        }
        while !ready!(self.poll_once(cx, from, to, most))? {}
        Poll::Ready(Ok(()))
    }

    /// Nothing is on its way, and more may come.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.splice.is_none() && !self.ended && !self.much
    }

    /// One step: passes on what waits, or what can be read; `true` when the flow has ended.
    fn poll_once(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream<'_>,
        to: &mut Stream<'_>,
        most: u64,
    ) -> Poll<io::Result<bool>> {
        ready!(self.poll_flush(cx, to))?;
        if self.ended {
            if !self.shut {
                to.wire.shut()?;
                self.shut = true;
            }
            return Poll::Ready(Ok(true));
        }
        if self.much {
            match self.poll_pipe(cx, from, to) {
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Unsupported => self.much = false,
                done => return done.map_ok(|()| false),
            }
        }
        ready!(from.poll_read_ready(cx))?;
        // From the shelf: clean room on the stack would have to be cleaned at each look.
        let mut chunk = Buffer::take(false);
        let room = chunk.room(false);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(room.len());
        let count = ready!(from.poll_read(cx, &mut room[..most]))?;
        self.ended = count == 0;
        self.much = count == room.len() && self.frames.is_none();
        self.offer(cx, to, &room[..count])?;
        Poll::Ready(Ok(false))
    }

    /// Reads into a pipe; `Unsupported` if it has to be copied.
    fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream<'_>,
        to: &Stream<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut splice) = Splice::take().filter(|_| from.early.is_none() && from.wire.joins(to.wire))
        else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        // Whoever waits for the sender has no pipe in hand.
        let count = ready!(from.wire.poll_pipe(cx, &mut splice, u64::MAX))?;
        (self.ended, self.much) = (count == 0, count as u64 > MUCH);
        self.splice = Some(splice);
        Poll::Ready(Ok(()))
    }

    /// Passes on what waits, which is seldom anything.
    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut Stream<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_empty() && self.splice.is_none() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.waiting.len() {
            let count = ready!(to.poll_write(cx, &self.waiting[self.sent..]))?;
            self.pass(self.sent, count)?;
        }
        (self.waiting, self.sent) = (Vec::new(), 0);
        while let Some(splice) = &mut self.splice {
            if splice.is_empty() {
                self.splice = None;
                break;
            }
            self.moved += ready!(to.wire.poll_drain(cx, splice))? as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what the receiver takes at once; keeps the rest.
    fn offer(&mut self, cx: &mut Context<'_>, to: &mut Stream<'_>, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let count = match to.poll_write(cx, bytes) {
            Poll::Ready(count) => count?,
            Poll::Pending => 0,
        };
        self.moved += count as u64;
        if let Some(frames) = &mut self.frames {
            frames.pass(&bytes[..count]);
        }
        if count < bytes.len() {
            self.waiting = bytes[count..].to_vec();
        }
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
        self.moved += count as u64;
        Ok(())
    }
}
