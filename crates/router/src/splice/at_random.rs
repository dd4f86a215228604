//! Bodies of random sizes between sockets that are slow, full, or closed in the middle: what arrives is what was sent, the counts say how
//! much, and no pipe with something in it is used again.
//!
//! A number fails always or never, but for what the kernel chooses; it is printed.

use super::{MOST, SHELF, Splice};
use crate::{
    chance::Chance,
    codec::Framing,
    lane::{Broke, Lane},
    wire::Wire,
};
use rustix::net::sockopt;
use std::{
    future::poll_fn,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread::{JoinHandle, spawn},
};

const ROUNDS: u64 = 120;

const HEAD: &[u8] = b"a head\r\n\r\n";

/// What the sender sends behind the body.
const NEXT: &[u8] = b"the next request";

/// Says its number when it is dropped, which it is when a check fails.
struct Seed(u64);

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "the number is what a failure is repeated with")]
    fn drop(&mut self) {
        eprintln!("seed {}", self.0);
    }
}

/// One body and what happens to it.
#[derive(Debug, Clone, Copy)]
struct Story {
    seed: u64,
    size: usize,
    /// The sender ends here.
    sent: usize,
    /// The receiver goes here.
    taken: usize,
    /// Bytes in one call of the sender, and of the receiver.
    pieces: (usize, usize),
    /// The receiver's socket is as small as it gets.
    narrow: bool,
}

impl Story {
    fn of(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let size = [0, 1, 16 * 1024 - 1, 16 * 1024, 70_000, 400_000, 3_000_000][chance.below(7)]
            + chance.below(5000);
        let broken = |chance: &mut Chance| if chance.below(4) == 0 { chance.below(size) } else { usize::MAX };
        let piece =
            |chance: &mut Chance| [1_448, 8_192, 100_000, 1_000_000][chance.below(4)] + chance.below(100);
        let pieces = (piece(&mut chance), piece(&mut chance));
        let (sent, taken) = (broken(&mut chance), broken(&mut chance));
        Self { seed, size, sent, taken, pieces, narrow: chance.below(2) == 0 }
    }

    fn is_whole(&self) -> bool {
        self.sent >= self.size && self.taken >= self.size
    }

    /// No two bodies are alike.
    fn body(&self) -> Vec<u8> {
        let first = self.seed.wrapping_mul(31);
        let byte = |at: u64| (first.wrapping_add(at.wrapping_mul(7)) >> (at % 5)) as u8;
        // Repeated with a prime number as its length: unoptimised, each byte takes its time.
        let mut body = (0..7919).map(byte).collect::<Vec<u8>>().repeat(self.size / 7919 + 1);
        body.truncate(self.size);
        body
    }
}

/// Our end and the other one.
fn pair() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let theirs = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
    let (ours, _) = listener.accept().expect("accepts");
    ours.set_nonblocking(true).expect("sets");
    (Wire::new(tokio::net::TcpStream::from_std(ours).expect("a runtime")), theirs)
}

/// Sends the body in pieces, and what follows it, if it comes to that.
fn send(story: Story, mut stream: TcpStream) -> JoinHandle<TcpStream> {
    spawn(move || {
        let body = story.body();
        let end = story.sent.min(body.len());
        let mut whole = true;
        for piece in body[..end].chunks(story.pieces.0) {
            // The receiver may be gone, and the router with it.
            whole &= stream.write_all(piece).is_ok();
        }
        if whole && end == body.len() {
            let _ = stream.write_all(NEXT);
        } else {
            let _ = stream.shutdown(Shutdown::Write);
        }
        stream
    })
}

/// What arrives, up to where the receiver goes.
fn receive(story: Story, mut stream: TcpStream) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let (mut all, mut piece) = (Vec::new(), vec![0; story.pieces.1]);
        let most = story.taken.saturating_add(HEAD.len());
        while all.len() < most {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(count) => all.extend_from_slice(&piece[..count]),
            }
        }
        all
    })
}

/// Whether the story ended as it had to; what was carried in pipes is for the caller to know.
async fn tell(story: Story) {
    let ((mut from, sender), (mut to, receiver)) = (pair(), pair());
    if story.narrow {
        sockopt::set_socket_recv_buffer_size(&receiver, 32 * 1024).expect("sets");
    }
    let (sender, receiver) = (send(story, sender), receive(story, receiver));
    let mut lane = Lane::new();
    lane.start(HEAD.to_vec(), Framing::Length(story.size as u64), false, false);
    let ended = poll_fn(|cx| lane.poll(cx, &mut from, &mut to)).await;
    let body = story.body();
    if story.is_whole() {
        assert!(ended.is_ok(), "{story:?}: {ended:?}");
        assert_eq!(to.written(), (HEAD.len() + story.size) as u64, "{story:?}");
        assert_eq!(from.read() - lane.raw().len() as u64, story.size as u64, "{story:?}");
        while lane.raw().len() < NEXT.len() {
            let count = poll_fn(|cx| lane.poll_fill(cx, &mut from)).await.expect("reads");
            assert!(count > 0, "{story:?}");
        }
        assert_eq!(lane.raw(), NEXT, "{story:?}: the next request stays where it is");
    } else if ended.is_err() {
        // Who went first is said of the right side: only one of them went.
        match ended {
            Err(Broke::From) => assert!(story.sent < story.size, "{story:?}"),
            Err(Broke::To) => assert!(story.taken < story.size, "{story:?}"),
            other => panic!("{story:?}: {other:?}"),
        }
    } else {
        assert!(story.sent >= story.size, "{story:?}: a body that was broken off is not whole");
    }
    drop((lane, from, to));
    drop(sender.join().expect("no panic"));
    let arrived = receiver.join().expect("no panic");
    let (head, rest) = arrived.split_at(HEAD.len().min(arrived.len()));
    assert!(HEAD.starts_with(head), "{story:?}");
    assert!(body.starts_with(rest), "{story:?}: {} bytes arrived, not those that were sent", rest.len());
    assert!(!story.is_whole() || rest.len() == body.len(), "{story:?}");
}

/// Pipes that there are, and those of them on the shelf.
fn pipes() -> (usize, usize) {
    SHELF.with_borrow(|shelf| (shelf.made, shelf.kept.len()))
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future);
}

#[test]
fn what_arrives_is_what_was_sent() {
    run(async {
        let (mut whole, mut broken) = (0, 0);
        for seed in 0..ROUNDS {
            let named = Seed(seed);
            let story = Story::of(seed);
            tell(story).await;
            let (made, kept) = pipes();
            assert_eq!(made, kept, "{story:?}: what is not on the shelf is closed");
            (whole, broken) = if story.is_whole() { (whole + 1, broken) } else { (whole, broken + 1) };
            std::mem::forget(named);
        }
        assert!(whole > ROUNDS / 4 && broken > ROUNDS / 8, "{whole} whole, {broken} broken");
        assert!(pipes().0 > 0, "nothing went through a pipe");
    });
}

#[test]
fn a_pipe_with_something_in_it_is_never_used_again() {
    run(async {
        let ((mut from, mut sender), (mut to, receiver)) = (pair(), pair());
        let mut splice = Splice::take().expect("a pipe");
        sender.write_all(&[b'x'; 1000]).expect("sends");
        let count = poll_fn(|cx| from.poll_pipe(cx, &mut splice, 600)).await.expect("fetches");
        assert_eq!((count, splice.is_empty(), from.read()), (600, false, 600));
        drop(splice);
        assert_eq!(pipes(), (0, 0), "closed");
        let mut splice = Splice::take().expect("a pipe");
        let count = poll_fn(|cx| from.poll_pipe(cx, &mut splice, 600)).await.expect("fetches");
        while !splice.is_empty() {
            poll_fn(|cx| to.poll_drain(cx, &mut splice)).await.expect("gives on");
        }
        assert_eq!((count, to.written()), (400, 400));
        drop(splice);
        assert_eq!(pipes(), (1, 1), "kept");
        drop(receiver);
    });
}

#[test]
fn without_a_pipe_bodies_are_copied() {
    run(async {
        let story = Story { sent: usize::MAX, taken: usize::MAX, size: 400_000, ..Story::of(1) };
        let all: Vec<Splice> = std::iter::from_fn(Splice::take).collect();
        assert_eq!((all.len(), pipes()), (MOST, (MOST, 0)));
        tell(story).await;
        drop(all);
        assert_eq!(pipes(), (MOST, MOST));
        // What the system says that has no such call, or does not let us.
        SHELF.with_borrow_mut(|shelf| *shelf = super::Shelf::default());
        super::refuse();
        tell(story).await;
        assert_eq!(pipes(), (0, 0));
    });
}
