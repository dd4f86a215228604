//! Flow control (RFC 9113, 5.2 and 6.9), pure: how much may be sent, how much may come, and when it is worth saying that more may.

use super::{code::Code, frame::BITS};

/// The first window of everything, before anybody says something else.
pub(crate) const FIRST: u32 = 65_535;

/// What we may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outflow(i64);

impl Outflow {
    pub(crate) fn new(window: u32) -> Self {
        Self(i64::from(window))
    }

    /// So much may be sent now; nothing while the client's settings have made the window smaller than what is on its way.
    pub(crate) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// So much was sent.
    pub(crate) fn take(&mut self, count: usize) {
        self.0 -= i64::try_from(count).unwrap_or(i64::MAX);
    }

    /// The client gives more, or, by its settings, takes some back.
    pub(crate) fn change(&mut self, by: i64) -> Result<(), Code> {
        self.0 += by;
        if self.0 > i64::from(BITS) { Err(Code::FlowControl) } else { Ok(()) }
    }
}

/// What may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inflow {
    /// So much may still come.
    left: u32,
    /// What came and was taken, and the client was not told yet.
    owed: u32,
    /// It is told when it is worth a frame: this much.
    worth: u32,
}

impl Inflow {
    pub(crate) fn new(window: u32) -> Self {
        Self { left: window, owed: 0, worth: window / 2 }
    }

    /// So much came.
    pub(crate) fn came(&mut self, count: usize) -> Result<(), Code> {
        let left = u32::try_from(count).ok().and_then(|count| self.left.checked_sub(count));
        self.left = left.ok_or(Code::FlowControl)?;
        Ok(())
    }

    /// So much of it was taken: how much more the client is to be told that may come, if it is worth telling.
    pub(crate) fn taken(&mut self, count: usize) -> Option<u32> {
        self.owed = self.owed.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.owed < self.worth || self.owed == 0 {
            return None;
        }
        self.left = self.left.saturating_add(self.owed);
        Some(std::mem::take(&mut self.owed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_may_fall_below_nothing_and_not_rise_above_all_bounds() {
        let mut window = Outflow::new(10);
        window.take(10);
        assert_eq!(window.change(-5), Ok(()));
        assert_eq!(window.room(), 0);
        assert_eq!(window.change(6), Ok(()));
        assert_eq!(window.room(), 1);
        assert_eq!(window.change(i64::from(BITS) - 1), Ok(()));
        assert_eq!(window.change(1), Err(Code::FlowControl));
    }

    #[test]
    fn what_was_taken_is_given_back_in_parts_that_are_worth_it() {
        let mut window = Inflow::new(100);
        assert_eq!(window.came(101), Err(Code::FlowControl));
        assert_eq!(window.came(100), Ok(()));
        assert_eq!(window.came(1), Err(Code::FlowControl));
        assert_eq!(window.taken(49), None);
        assert_eq!(window.taken(11), Some(60));
        assert_eq!(window.came(60), Ok(()));
        assert_eq!(window.came(1), Err(Code::FlowControl), "what is not taken is not given back");
    }
}
