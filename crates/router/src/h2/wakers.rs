//! Which of a connection's streams have something to do. One task answers them all; each has a waker that sets its own bit and wakes the task, so that
//! only those are asked that can go on.

use futures_util::task::AtomicWaker;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// The bits, and the task.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    bits: [AtomicU64; 2],
    task: AtomicWaker,
}

impl Ready {
    /// The task that is woken from now on.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// The places that were woken since this was asked last.
    pub(crate) fn take(&self) -> u128 {
        let take = |bits: &AtomicU64| match bits.load(Ordering::Relaxed) {
            0 => 0,
            _ => u128::from(bits.swap(0, Ordering::AcqRel)),
        };
        take(&self.bits[0]) | take(&self.bits[1]) << 64
    }

    /// The waker of one place.
    pub(crate) fn waker(self: &Arc<Self>, place: usize) -> Waker {
        Waker::from(Arc::new(Place { ready: Arc::clone(self), place }))
    }
}

/// One stream's place.
struct Place {
    ready: Arc<Ready>,
    place: usize,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(bits) = self.ready.bits.get(self.place / 64) {
            bits.fetch_or(1 << (self.place % 64), Ordering::AcqRel);
            self.ready.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_is_woken_is_known_and_the_task_is_woken() {
        let (ready, counted) = (Arc::new(Ready::default()), Arc::new(Counted::default()));
        let task = Waker::from(Arc::clone(&counted));
        ready.register(&Context::from_waker(&task));
        for place in [0, 63, 64, 127] {
            ready.waker(place).wake();
        }
        assert_eq!(ready.take(), 1 | 1 << 63 | 1 << 64 | 1 << 127);
        assert_eq!(
            (ready.take(), counted.0.load(Ordering::SeqCst)),
            (0, 1),
            "once is enough until it asks again"
        );
    }
}
