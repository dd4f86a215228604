//! Those who answer one connection's requests: one future for each place, made once, that answers one request after the other. Moving what it is made of
//! would cost more than anything else here, so it stays where it is.
//!
//! It knows nothing of frames, and a future here never runs but when somebody asks.

use super::wakers::Ready;
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::task::unconstrained;

/// Where the next request is laid down for whoever answers it.
#[derive(Debug)]
pub(crate) struct Desk<T> {
    next: RefCell<Option<T>>,
    /// The last one is not answered yet.
    is_busy: Cell<bool>,
}

impl<T> Desk<T> {
    fn new() -> Rc<Self> {
        Rc::new(Self { next: RefCell::new(None), is_busy: Cell::new(false) })
    }

    fn put(&self, next: T) {
        self.next.replace(Some(next));
        self.is_busy.set(true);
    }

    /// The next one, once it is there.
    pub(crate) async fn next(&self) -> T {
        poll_fn(|_| self.next.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// It is answered.
    pub(crate) fn done(&self) {
        self.is_busy.set(false);
    }
}

/// The places.
pub(crate) struct Runs<F, T> {
    ready: Arc<Ready>,
    places: Vec<Run<F, T>>,
}

/// One place.
struct Run<F, T> {
    /// None before the first request, and after one behind which nobody can go on.
    future: Pin<Box<Option<F>>>,
    waker: Waker,
    desk: Rc<Desk<T>>,
    /// It was asked about the present request before.
    begun: bool,
}

impl<T, F: Future<Output = ()>> Runs<F, T> {
    /// Without a place.
    pub(crate) fn new(ready: Arc<Ready>) -> Self {
        Self { ready, places: Vec::new() }
    }

    /// Lays a request down in a place where none is; `make` makes somebody who answers it, if there is nobody. It runs when it is asked.
    pub(crate) fn start(&mut self, place: usize, request: T, make: impl FnOnce(Rc<Desk<T>>) -> F) {
        while self.places.len() <= place {
            let waker = self.ready.waker(self.places.len());
            self.places.push(Run { future: Box::pin(None), waker, desk: Desk::new(), begun: false });
        }
        let run = &mut self.places[place];
        if run.future.is_none() {
            run.future.set(Some(make(Rc::clone(&run.desk))));
        }
        run.desk.put(request);
        run.begun = false;
    }

    /// Has a request go on; `true` if it is answered.
    pub(crate) fn poll(&mut self, place: usize) -> bool {
        let Some(run) = self.places.get_mut(place).filter(|run| run.desk.is_busy.get()) else { return false };
        let Some(future) = run.future.as_mut().as_pin_mut() else { return false };
        run.begun = true;
        // Not counted against the task's turn: what one of them may move at once is bounded by the session.
        let mut future = unconstrained(future);
        if Pin::new(&mut future).poll(&mut Context::from_waker(&run.waker)).is_ready() {
            run.end();
        }
        !run.desk.is_busy.get()
    }

    /// Ends a request. One that has begun is asked once more, so that it can note what became of it.
    pub(crate) fn stop(&mut self, place: usize) {
        let is_over = !self.places.get(place).is_some_and(|run| run.begun) || self.poll(place);
        if let Some(run) = self.places.get_mut(place).filter(|run| !is_over || run.desk.is_busy.get()) {
            run.end();
        }
    }

    /// Gives all places back; only while no request is under way.
    pub(crate) fn rest(&mut self) {
        if self.places.iter().all(|run| !run.desk.is_busy.get()) {
            self.places = Vec::new();
        }
    }
}

impl<F, T> Run<F, T> {
    fn end(&mut self) {
        self.future.set(None);
        self.desk.next.replace(None);
        self.desk.done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each request when it is asked as often as the request says, and goes after one that says 9.
    async fn answer(desk: Rc<Desk<u32>>, asked: Rc<Cell<u32>>) {
        loop {
            let (often, from) = (desk.next().await, asked.get());
            poll_fn(|_| {
                asked.set(asked.get() + 1);
                if asked.get() - from < often { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            if often == 9 {
                return;
            }
            desk.done();
        }
    }

    #[test]
    fn a_place_is_used_again_and_what_is_stopped_has_a_last_word() {
        let (asked, made) = (Rc::new(Cell::new(0)), Cell::new(0));
        let mut runs = Runs::new(Arc::default());
        let make = |desk| {
            made.set(made.get() + 1);
            answer(desk, Rc::clone(&asked))
        };
        runs.start(3, 2, make);
        assert!(!runs.poll(3) && runs.poll(3) && !runs.poll(3), "two times, and then never");
        runs.start(3, 1, make);
        assert!(runs.poll(3));
        assert_eq!((asked.get(), made.get()), (3, 1), "by the same one");
        runs.start(3, 5, make);
        runs.stop(3);
        assert_eq!(asked.get(), 3, "what never began is not asked");
        runs.start(3, 5, make);
        assert!(!runs.poll(3));
        runs.stop(3);
        assert_eq!((asked.get(), made.get(), runs.poll(3)), (5, 2, false));
        runs.start(3, 9, make);
        assert_eq!((0..9).map(|_| runs.poll(3)).collect::<Vec<_>>(), [&[false; 8][..], &[true]].concat());
        runs.start(3, 1, make);
        assert!(runs.poll(3));
        assert_eq!(made.get(), 4, "those who cannot go on are replaced");
        runs.rest();
        assert!(runs.places.is_empty());
    }
}
