//! The requests that one connection has under way: each a future in a place of its own, which is made once and used again.
//!
//! It knows nothing of frames, and a future here never runs but when somebody asks.

use super::wakers::Ready;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::task::unconstrained;

/// The places.
pub(crate) struct Runs<F: Future> {
    ready: Arc<Ready>,
    places: Vec<Run<F>>,
}

/// One place.
struct Run<F: Future> {
    /// Boxed once: moving what it is made of costs more than anything else here.
    future: Pin<Box<Option<F>>>,
    waker: Waker,
    /// It was asked before.
    begun: bool,
    /// What the last one left for the next one.
    spare: Option<F::Output>,
}

impl<T, F: Future<Output = Option<T>>> Runs<F> {
    /// Without a place.
    pub(crate) fn new(ready: Arc<Ready>) -> Self {
        Self { ready, places: Vec::new() }
    }

    /// What the last request in this place has left.
    pub(crate) fn spare(&mut self, place: usize) -> Option<T> {
        self.places.get_mut(place)?.spare.take().flatten()
    }

    /// Puts a future there, where none is; it runs when it is asked.
    pub(crate) fn start(&mut self, place: usize, future: F) {
        while self.places.len() <= place {
            let waker = self.ready.waker(self.places.len());
            self.places.push(Run { future: Box::pin(None), waker, begun: false, spare: None });
        }
        let run = &mut self.places[place];
        run.future.set(Some(future));
        run.begun = false;
    }

    /// Asks a future; `true` if it has ended.
    pub(crate) fn poll(&mut self, place: usize) -> bool {
        let Some(run) = self.places.get_mut(place) else { return false };
        let Some(future) = run.future.as_mut().as_pin_mut() else { return false };
        run.begun = true;
        // Not counted against the task's turn: what one of them may move at once is bounded by the session.
        let mut future = unconstrained(future);
        match Pin::new(&mut future).poll(&mut Context::from_waker(&run.waker)) {
            Poll::Pending => false,
            Poll::Ready(left) => {
                run.spare = Some(left);
                run.future.set(None);
                true
            }
        }
    }

    /// Ends a future. One that has begun is asked once more, so that it can note what became of it.
    pub(crate) fn stop(&mut self, place: usize) {
        if self.places.get(place).is_some_and(|run| run.begun) {
            self.poll(place);
        }
        if let Some(run) = self.places.get_mut(place) {
            run.future.set(None);
            run.spare = None;
        }
    }

    /// Gives all places back; only while no future is in one.
    pub(crate) fn rest(&mut self) {
        if self.places.iter().all(|run| run.future.is_none()) {
            self.places = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, future::poll_fn, rc::Rc};

    #[test]
    fn a_place_is_used_again_and_what_is_stopped_has_a_last_word() {
        let asked = Rc::new(Cell::new(0));
        let mut runs = Runs::new(Arc::default());
        let future = |until: u32| {
            let asked = Rc::clone(&asked);
            poll_fn(move |_| {
                asked.set(asked.get() + 1);
                if asked.get() >= until { Poll::Ready(Some(asked.get())) } else { Poll::Pending }
            })
        };
        runs.start(3, future(2));
        assert!(!runs.poll(3) && runs.poll(3) && !runs.poll(3), "two times, and then never");
        assert_eq!((runs.spare(3), runs.spare(3), asked.get()), (Some(2), None, 2));
        runs.start(3, future(9));
        runs.stop(3);
        assert_eq!(asked.get(), 2, "what never began is not asked");
        runs.start(3, future(9));
        runs.poll(3);
        runs.stop(3);
        assert_eq!((asked.get(), Rc::strong_count(&asked)), (4, 1));
        runs.rest();
        assert!(runs.places.is_empty());
    }
}
