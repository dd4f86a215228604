//! The header lines that a client has had us remember (RFC 7541, 2.3.2): the newest first, the oldest forgotten when there is no room. One piece of
//! memory holds them all, so that remembering one costs a copy and no more.

use std::collections::VecDeque;

/// What a line counts beyond its bytes.
const OVERHEAD: usize = 32;

/// The lines.
#[derive(Debug)]
pub(super) struct Table {
    /// Of all lines one behind the other, the oldest first; what comes before the oldest one is garbage.
    bytes: Vec<u8>,
    /// Where each line begins, and how long its name and value are; the newest first.
    lines: VecDeque<Line>,
    /// What they count together, and what they may.
    size: usize,
    most: usize,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    name: usize,
    value: usize,
}

impl Line {
    fn size(self) -> usize {
        self.name + self.value + OVERHEAD
    }
}

impl Table {
    /// An empty one; no memory is taken before a line is remembered.
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), lines: VecDeque::new(), size: 0, most }
    }

    /// The line of this number, the newest being 0.
    pub(super) fn line(&self, number: usize) -> Option<(&[u8], &[u8])> {
        let line = self.lines.get(number)?;
        let (name, value) = (line.start + line.name, line.start + line.name + line.value);
        Some((&self.bytes[line.start..name], &self.bytes[name..value]))
    }

    /// It may hold so much from now on.
    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.shrink(most);
    }

    /// Remembers a line; one that is larger than the table empties it.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        let line = Line { start: 0, name: name.len(), value: value.len() };
        if line.size() > self.most {
            return self.shrink(0);
        }
        self.shrink(self.most - line.size());
        self.tidy(name.len() + value.len());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.lines.push_front(Line { start, ..line });
        self.size += line.size();
    }

    fn shrink(&mut self, most: usize) {
        while self.size > most
            && let Some(oldest) = self.lines.pop_back()
        {
            self.size -= oldest.size();
        }
    }

    /// Moves what is remembered to the beginning if `more` would make the memory larger than twice what it has to hold.
    fn tidy(&mut self, more: usize) {
        if self.bytes.len() + more <= 2 * self.most {
            return;
        }
        let garbage = self.lines.back().map_or(self.bytes.len(), |oldest| oldest.start);
        self.bytes.drain(..garbage);
        for line in &mut self.lines {
            line.start -= garbage;
        }
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(table: &Table, number: usize) -> Option<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        table.line(number).map(|(name, value)| (text(name), text(value)))
    }

    #[test]
    fn the_newest_is_first_and_the_oldest_goes() {
        let mut table = Table::new(2 * (OVERHEAD + 4));
        for (name, value) in [("aa", "11"), ("bb", "22"), ("cc", "33")] {
            table.add(name.as_bytes(), value.as_bytes());
        }
        assert_eq!(text(&table, 0), Some(("cc".into(), "33".into())));
        assert_eq!(text(&table, 1), Some(("bb".into(), "22".into())));
        assert_eq!(text(&table, 2), None);
        table.resize(OVERHEAD + 4);
        assert_eq!((text(&table, 0).is_some(), text(&table, 1)), (true, None));
        table.add(b"too long", b"for what is left");
        assert_eq!(text(&table, 0), None, "it is emptied, and that is no error");
    }

    #[test]
    fn memory_stays_as_small_as_was_said() {
        let mut table = Table::new(4096);
        for number in 0..100_000_u32 {
            let name = format!("name-{}", number % 977);
            table.add(name.as_bytes(), &vec![b'x'; usize::try_from(number % 700).expect("small")]);
            let (found, value) = table.line(0).expect("the newest");
            assert_eq!(
                (found, value.len()),
                (name.as_bytes(), usize::try_from(number % 700).expect("small"))
            );
        }
        assert!(table.held() <= 4 * 4096, "{}", table.held());
    }
}
