//! One client's connection over HTTP/2: reads what came, has its requests answered, and writes what they have all said at once. One task, one clock, one buffer
//! for what comes and one for what goes, however many requests are under way.

use super::{
    code::Code,
    frame::{Kind, LONGEST},
    pipe::Pipe,
    request::Wrong,
    runs::{Desk, Runs},
    session::{Event, Session},
    turns::Turns,
    wakers::Ready,
};
use crate::{
    buffer::{self, Buffer},
    codec::Refusal,
    metrics::Own,
    serve::{self, Client, LAST_BYTES, Origin, Streamed},
    timer::Timer,
    wire::Wire,
    worker::Worker,
};
use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// A client that sends nothing for this long is asked whether it is there, and has as long to answer.
const ALIVE: Duration = Duration::from_secs(60);

/// A client that was told that we go may take this long to answer that it has read it. Whoever is cut off earlier loses what it has just asked.
const FAREWELL: Duration = Duration::from_secs(10);

/// Rounds of reading, answering and writing before other connections have their turn.
const ROUNDS: u32 = 32;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client is gone.
    Gone,
    /// Everything was said; or this is wrong, and the client is told.
    Said(Code),
}

/// What the client still owes, and since when.
#[derive(Debug)]
struct Clock {
    timer: Timer,
    /// When the present head began, or the connection.
    begun: Option<Instant>,
    /// When something came last, and whether the client was asked since then.
    heard: Instant,
    asked: bool,
    /// When the client was told that we go.
    left: Option<Instant>,
}

/// A connection.
struct Connection {
    worker: Rc<Worker>,
    origin: Origin,
    wire: Wire,
    session: Rc<RefCell<Session>>,
    ready: Arc<Ready>,
    buffer: Option<Buffer>,
    /// Much came at once the last time.
    large: bool,
    turns: Turns,
    clock: Clock,
}

/// Serves one client until it goes or the router stops.
pub(crate) async fn connection(worker: Rc<Worker>, wire: Wire, origin: Origin) {
    let now = Instant::now();
    let session = Rc::new(RefCell::new(Session::new(worker.limits.head_bytes, now)));
    let ready = Arc::new(Ready::default());
    let mut runs = Runs::new(Arc::clone(&ready));
    let timer = Timer::new(worker.limits.head);
    let clock = Clock { timer, begun: Some(now), heard: now, asked: false, left: None };
    let mut connection = Connection {
        worker: Rc::clone(&worker),
        origin,
        wire,
        session,
        ready,
        buffer: None,
        large: false,
        turns: Turns::default(),
        clock,
    };
    let make = |client, desk| serve::streams(Rc::clone(&worker), client, desk);
    let mut leaving = pin!(worker.leaving.cancelled());
    let end = poll_fn(|cx| connection.poll(cx, &mut runs, &make, leaving.as_mut())).await;
    connection.forget(&mut runs);
    drop(runs);
    connection.part(end).await;
}

impl Connection {
    fn poll<F: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        runs: &mut Runs<F, Streamed>,
        make: &impl Fn(Client, Rc<Desk<Streamed>>) -> F,
        leaving: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<End> {
        self.ready.register(cx);
        self.session.borrow_mut().stir();
        if self.clock.left.is_none() && leaving.poll(cx).is_ready() {
            self.clock.left = Some(Instant::now());
            self.session.borrow_mut().leave();
        }
        for _ in 0..ROUNDS {
            let read = match self.poll_receive(cx, runs, make) {
                Ok(read) => read,
                Err(end) => return Poll::Ready(end),
            };
            let ran = self.run(runs);
            let was_stuffed = self.session.borrow().is_stuffed();
            if self.poll_flush(cx).is_err() {
                return Poll::Ready(End::Gone);
            }
            if self.session.borrow().is_over() {
                return Poll::Ready(End::Said(Code::None));
            }
            // Where there is room again, it has to be read again, or nobody would hear of what comes.
            let has_room = was_stuffed && !self.session.borrow().is_stuffed();
            if !read && !ran && !has_room {
                return self.poll_clock(cx, runs);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and does what the frames say; `true` if anything came.
    fn poll_receive<F: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        runs: &mut Runs<F, Streamed>,
        make: &impl Fn(Client, Rc<Desk<Streamed>>) -> F,
    ) -> Result<bool, End> {
        // Whoever does not read what it causes is not read any further.
        if self.session.borrow().is_stuffed() {
            return Ok(false);
        }
        let count = match self.wire.poll_fill(cx, &mut self.buffer, self.large) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0) | Err(_)) => return Err(End::Gone),
            Poll::Ready(Ok(count)) => count,
        };
        let now = Instant::now();
        (self.clock.heard, self.clock.asked) = (now, false);
        self.large = count >= LONGEST;
        let Some(mut buffer) = self.buffer.take() else { return Ok(true) };
        let mut at = 0;
        let ended = loop {
            let next = self.session.borrow_mut().next(&buffer.raw()[at..], now);
            match next {
                Ok(None) => break Ok(true),
                Ok(Some((event, length))) => {
                    at += length;
                    self.heed(event, runs, make);
                }
                Err(code) => break Err(End::Said(code)),
            }
        };
        buffer.skip(at);
        // A head that comes in small pieces has its time, too; a body has that of its exchange.
        let is_begun = !buffer.is_empty() && buffer.raw().get(3) != Some(&(Kind::Data as u8));
        if !buffer.is_empty() {
            self.buffer = Some(buffer);
        }
        let is_at_rest = self.session.borrow().is_at_rest() && !is_begun;
        self.clock.begun = if is_at_rest { None } else { self.clock.begun.or(Some(now)) };
        ended
    }

    fn heed<F: Future<Output = ()>>(
        &mut self,
        event: Event,
        runs: &mut Runs<F, Streamed>,
        make: &impl Fn(Client, Rc<Desk<Streamed>>) -> F,
    ) {
        match event {
            Event::None => (),
            Event::Malformed => self.worker.observer.edge.unrouted(Own::Refused),
            Event::Gone(slot) => {
                runs.stop(slot);
                self.session.borrow_mut().finish(slot);
            }
            Event::Asks(slot, head) => {
                let streamed = match head {
                    Ok(head) => {
                        let asked = serve::understood(&self.worker, &self.origin, &head.text);
                        let length = head.text.len();
                        buffer::done_with(head.text);
                        (length, asked)
                    }
                    Err(Wrong::Long | Wrong::Malformed) => (0, Err(Refusal::LongHead)),
                };
                runs.start(slot, streamed, |desk| make(self.client(slot), desk));
            }
        }
    }

    fn client(&self, slot: usize) -> Client {
        let pipe = Pipe::new(Rc::clone(&self.session), slot);
        Client::new(&self.worker, Wire::stream(pipe), self.origin.clone())
    }

    /// Has everybody go on who can; `true` if that was anybody.
    fn run<F: Future<Output = ()>>(&mut self, runs: &mut Runs<F, Streamed>) -> bool {
        let bits = self.ready.take() | self.session.borrow_mut().take_ready();
        for slot in self.turns.order(bits) {
            if runs.poll(slot) {
                self.session.borrow_mut().finish(slot);
            }
        }
        bits != 0
    }

    /// Writes what waits, as far as the client takes it.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let mut session = self.session.borrow_mut();
            if session.waiting().is_empty() {
                return Ok(());
            }
            match self.wire.poll_write(cx, &[session.waiting()]) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(End::Gone),
                Poll::Ready(Ok(count)) => session.sent(count),
            }
        }
    }

    /// What has to happen though nothing comes.
    fn poll_clock<F: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        runs: &mut Runs<F, Streamed>,
    ) -> Poll<End> {
        loop {
            let due = self.clock.due(self.worker.limits.head);
            if self.clock.timer.poll_at(cx, due).is_pending() {
                self.session.borrow_mut().settle();
                return Poll::Pending;
            }
            match self.clock.rings(due, self.worker.limits.head) {
                Ring::Slow => return Poll::Ready(End::Said(Code::Calm)),
                Ring::Silent => return Poll::Ready(End::Gone),
                Ring::Ask => {
                    let mut session = self.session.borrow_mut();
                    if session.is_idle() {
                        session.rest();
                        runs.rest();
                    }
                    session.ask();
                }
                Ring::LastWord => self.session.borrow_mut().last_word(),
            }
            if self.poll_flush(cx).is_err() {
                return Poll::Ready(End::Gone);
            }
            if self.session.borrow().is_over() {
                return Poll::Ready(End::Said(Code::None));
            }
        }
    }

    /// Whatever is under way has lost its client.
    fn forget<F: Future<Output = ()>>(&mut self, runs: &mut Runs<F, Streamed>) {
        let all = self.session.borrow_mut().give_all_up();
        for slot in all {
            runs.stop(slot);
            self.session.borrow_mut().finish(slot);
        }
    }

    /// Says the last word, and hears the client out: a close before that would be a reset, and take the word with it.
    async fn part(mut self, end: End) {
        let End::Said(code) = end else { return };
        tracing::debug!(client = self.origin.node(), ?code, "a connection over HTTP/2 ends");
        self.session.borrow_mut().say_goodbye(code);
        let said = poll_fn(|cx| match self.poll_flush(cx) {
            Ok(()) if !self.session.borrow().waiting().is_empty() => Poll::Pending,
            other => Poll::Ready(other),
        });
        if let Ok(Ok(())) = timeout(LAST_BYTES, said).await {
            let _ = timeout(LAST_BYTES, self.wire.exhaust()).await;
        }
    }
}

/// What a clock rings for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ring {
    /// A head, or the client's first words, took too long.
    Slow,
    /// Nothing came for long: is anybody there?
    Ask,
    /// Nobody is.
    Silent,
    /// The client had its time to read that we go.
    LastWord,
}

impl Clock {
    /// When something has to happen.
    fn due(&self, head: Duration) -> Instant {
        let silence = self.heard + if self.asked { 2 * ALIVE } else { ALIVE };
        let (slow, word) = (self.begun.map(|begun| begun + head), self.left.map(|left| left + FAREWELL));
        [slow, word].into_iter().flatten().fold(silence, Instant::min)
    }

    /// It is so late: what has to happen.
    fn rings(&mut self, now: Instant, head: Duration) -> Ring {
        if self.left.is_some_and(|left| now >= left + FAREWELL) {
            // Once; the silence goes on being counted.
            self.left = self.left.map(|left| left + Duration::from_secs(1 << 32));
            return Ring::LastWord;
        }
        if self.begun.is_some_and(|begun| now >= begun + head) {
            return Ring::Slow;
        }
        if self.asked {
            return Ring::Silent;
        }
        self.asked = true;
        Ring::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_rings_for_what_is_due_first() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let clock = |begun, left| Clock { timer: Timer::new(second), begun, heard: now, asked: false, left };
        let mut silent = clock(None, None);
        assert_eq!(silent.due(second), now + ALIVE);
        assert_eq!(silent.rings(now + ALIVE, second), Ring::Ask);
        assert_eq!(silent.due(second), now + 2 * ALIVE);
        assert_eq!(silent.rings(now + 2 * ALIVE, second), Ring::Silent);
        let mut slow = clock(Some(now), None);
        assert_eq!(slow.due(second), now + second);
        assert_eq!(slow.rings(now + second, second), Ring::Slow);
        let mut leaving = clock(None, Some(now));
        assert_eq!(leaving.rings(leaving.due(second), second), Ring::LastWord);
        assert_eq!(leaving.due(second), now + ALIVE, "it is said once");
    }
}
