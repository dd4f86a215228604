//! The router's table as it is kept: the whole of it, and the changes since. A change costs its own length and one fsync; now and then a thread of its
//! own folds the changes into the whole.
//!
//! The whole names the first file of changes that goes on top of it, so that a crash at any point leaves one reading. Nothing may be acknowledged before
//! [`Kept::save`] or [`Kept::change`] returned.

use crate::{
    changes::{self, Changes, Record},
    control,
    durable::Durable,
    error::Error,
};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread::{Builder, JoinHandle},
};
use teal_core::{
    id::AppId,
    route::{AppRoute, Table},
};

/// Fewer bytes of changes are not worth a fold, however small the table is.
const FOLD: u64 = 1024 * 1024;

/// The file of the whole table.
pub(crate) const WHOLE: &str = "table";

/// The whole.
#[derive(Debug, Serialize, Deserialize)]
struct Whole<'a> {
    generation: u64,
    apps: Cow<'a, BTreeMap<AppId, AppRoute>>,
    /// The first file of changes that goes on top; 0 is none.
    #[serde(default)]
    changes: u64,
}

/// The kept table.
#[derive(Debug)]
pub(crate) struct Kept {
    directory: PathBuf,
    whole: Durable,
    /// Takes changes; none if the next one has to be saved with the whole.
    changes: Option<Changes>,
    /// The number of the newest file of changes.
    number: u64,
    /// What is durable.
    generation: u64,
    fold: u64,
    /// Whether it could be done.
    folding: Option<JoinHandle<bool>>,
}

impl Kept {
    /// What is kept in this directory, there or not.
    pub(crate) fn new(directory: &Path) -> Self {
        let (directory, whole) = (directory.to_owned(), Durable::new(directory, WHOLE));
        Self { directory, whole, changes: None, number: 0, generation: 0, fold: FOLD, folding: None }
    }

    /// The table with all changes; the empty one if there is none. What is changed from now on goes on top.
    pub(crate) fn load(&mut self) -> Result<Table, Error> {
        self.number = changes::numbers(&self.directory).into_iter().max().unwrap_or_default();
        let (mut table, first) = whole(&self.whole)?.unwrap_or_default();
        let next = add_changes(&self.directory, &mut table, first)?;
        self.generation = table.generation;
        if let Some(next) = next {
            self.number = next;
            self.changes = Changes::create(&self.directory, next).map_err(unbegun).ok();
        }
        Ok(table)
    }

    /// Makes the whole table durable, and begins a new file of changes.
    pub(crate) fn save(&mut self, table: &Table) -> Result<(), Error> {
        self.wait();
        self.changes = None;
        // Another router may have had the directory in between.
        let number = 1 + changes::numbers(&self.directory).into_iter().fold(self.number, u64::max);
        save(&self.whole, table, number)?;
        (self.number, self.generation) = (number, table.generation);
        remove_before(&self.directory, number);
        // Saved it is. If changes cannot be kept apart, the next one is saved with the whole.
        self.changes = Changes::create(&self.directory, number).map_err(unbegun).ok();
        Ok(())
    }

    /// Makes a change durable; `table` is what it made of generation `base`.
    pub(crate) fn change(&mut self, table: &Table, base: u64, ids: &[AppId]) -> Result<(), Error> {
        if self.folding.as_ref().is_some_and(JoinHandle::is_finished) && !self.wait() {
            // What the fold has found in the files is not what is in use.
            self.changes = None;
        }
        // What would not go on top of what is there is saved with the whole.
        let fits = base == self.generation;
        let Some(mut changes) = self.changes.take().filter(|_| fits) else { return self.save(table) };
        let apps = ids.iter().map(|id| (id, table.apps.get(id))).collect();
        changes.append(&Record { base, generation: table.generation, apps })?;
        self.generation = table.generation;
        if changes.length() >= self.fold {
            changes = self.fold(changes);
        }
        self.changes = Some(changes);
        Ok(())
    }

    /// Begins another file of changes, and folds the earlier ones into the whole beside it. If that cannot be, the present one goes on.
    fn fold(&mut self, changes: Changes) -> Changes {
        if self.folding.is_some() {
            return changes;
        }
        let number = self.number + 1;
        let next = match Changes::create(&self.directory, number) {
            Ok(next) => next,
            Err(error) => {
                unbegun(error);
                self.fold = changes.length() * 2;
                return changes;
            }
        };
        self.number = number;
        let (directory, whole) = (self.directory.clone(), self.directory.join(WHOLE));
        let generation = self.generation;
        let body = move || {
            control::give_up_precedence();
            let folded = fold(&directory, number, generation);
            if let Err(error) = &folded {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "changes cannot be folded into the table: the next one saves the whole"
                );
            }
            folded.is_ok()
        };
        self.folding = Builder::new().name("fold".into()).spawn(body).ok();
        // A large table is written whole as seldom as its size asks for.
        self.fold = fs::metadata(whole).map_or(FOLD, |whole| whole.len().max(FOLD));
        next
    }

    /// Until nobody else writes here; whether what was to be folded is.
    fn wait(&mut self) -> bool {
        self.folding.take().is_none_or(|folding| folding.join().unwrap_or(false))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Whoever opens the directory next must find nobody at work in it, and everything in one place: an earlier router knows the whole only.
        self.wait();
        match self.changes.take() {
            Some(changes) if changes.is_empty() => return changes::remove(&self.directory, self.number),
            Some(_) => (),
            None => return,
        }
        if let Err(error) = fold(&self.directory, self.number + 1, self.generation) {
            tracing::warn!(error = &error as &dyn std::error::Error, "changes stay beside the table");
        }
    }
}

/// Saved it is, but the next change has to be saved with the whole again.
fn unbegun(error: Error) {
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "changes to the table cannot be kept apart from it: each is slower"
    );
}

/// The saved whole, and the first file of changes on top of it.
fn whole(file: &Durable) -> Result<Option<(Table, u64)>, Error> {
    let whole: Option<Whole<'static>> = file.load()?;
    Ok(whole
        .map(|whole| (Table { generation: whole.generation, apps: whole.apps.into_owned() }, whole.changes)))
}

fn save(file: &Durable, table: &Table, changes: u64) -> Result<(), Error> {
    file.save(&Whole { generation: table.generation, apps: Cow::Borrowed(&table.apps), changes })
}

/// Adds the changes of the files from `first` on to the table; the number of the file that may follow, if one may.
fn add_changes(directory: &Path, table: &mut Table, first: u64) -> Result<Option<u64>, Error> {
    if first == 0 {
        return Ok(None);
    }
    let mut number = first;
    while let Some(changes) = changes::read(directory, number)? {
        if !changes::apply(table, changes) {
            tracing::error!(
                number,
                generation = table.generation,
                "a change does not go on top of the table: it is left out, the server will send what belongs there"
            );
            return Ok(None);
        }
        number += 1;
    }
    Ok(Some(number))
}

/// Makes the whole of what is there before the file of this number.
fn fold(directory: &Path, number: u64, generation: u64) -> Result<(), Error> {
    let file = Durable::new(directory, WHOLE);
    let (mut table, first) = whole(&file)?.unwrap_or_default();
    for number in first..number {
        let changes = changes::read(directory, number)?.unwrap_or_default();
        changes::apply(&mut table, changes);
    }
    if table.generation != generation {
        let made = table.generation;
        return Err(Error::Table(format!("the files make generation {made}, where {generation} is in use")));
    }
    save(&file, &table, number)?;
    remove_before(directory, number);
    Ok(())
}

fn remove_before(directory: &Path, number: u64) {
    changes::numbers(directory)
        .into_iter()
        .filter(|old| *old < number)
        .for_each(|old| changes::remove(directory, old));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> AppId {
        format!("a-{number}").parse().expect("legal")
    }

    fn route(name: &str) -> AppRoute {
        AppRoute { name: name.into(), domains: vec![format!("{name}.test")], ..AppRoute::default() }
    }

    /// A table, and the way that a keeper changes it.
    struct Lab {
        directory: tempfile::TempDir,
        kept: Kept,
        table: Table,
        /// What the table was after each change.
        past: Vec<Table>,
    }

    impl Lab {
        fn new(fold: u64) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let mut kept = Kept::new(directory.path());
            kept.fold = fold;
            let table = kept.load().expect("loads");
            Self { directory, kept, past: vec![table.clone()], table }
        }

        fn change(&mut self, app: u64, route: Option<AppRoute>) {
            let base = self.table.generation;
            self.table.generation += 3;
            match route {
                Some(route) => drop(self.table.apps.insert(id(app), route)),
                None => drop(self.table.apps.remove(&id(app))),
            }
            self.kept.change(&self.table, base, &[id(app)]).expect("saves");
            self.past.push(self.table.clone());
        }

        fn loaded(&self) -> Table {
            Kept::new(self.directory.path()).load().expect("loads")
        }

        fn file(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }
    }

    #[test]
    fn every_change_is_there_again() {
        let mut lab = Lab::new(FOLD);
        for (app, name) in [(1, Some("one")), (2, Some("two")), (1, None), (2, Some("other")), (9, None)] {
            lab.change(app, name.map(route));
            assert_eq!(lab.loaded(), lab.table);
        }
        let whole = fs::metadata(lab.file("table")).expect("there").len();
        lab.change(3, Some(route("three")));
        assert_eq!(fs::metadata(lab.file("table")).expect("there").len(), whole, "it is not written again");
        lab.kept.save(&Table::default()).expect("saves");
        assert_eq!(lab.loaded(), Table::default(), "no earlier change goes on top of a new table");
        lab.kept = Kept::new(lab.directory.path());
        assert_eq!(lab.kept.load().expect("loads"), Table::default());
        lab.change(4, Some(route("four")));
        assert_eq!(lab.loaded(), lab.table, "what does not follow is saved whole");
    }

    #[test]
    fn a_file_that_is_cut_anywhere_gives_the_changes_that_are_whole() {
        let mut lab = Lab::new(FOLD);
        lab.change(1, Some(route("one")));
        let mut ends = Vec::new();
        for (app, name) in [(2, "two"), (1, "other"), (3, "three")] {
            lab.change(app, Some(route(name)));
            ends.push(lab.kept.changes.as_ref().expect("begun").length());
        }
        let bytes = fs::read(lab.file("changes-1")).expect("reads");
        let end = usize::try_from(ends[2]).expect("short");
        for cut in 0..end {
            let whole = ends.iter().filter(|end| **end <= cut as u64).count();
            fs::write(lab.file("changes-1"), &bytes[..cut]).expect("writes");
            assert_eq!(lab.loaded(), lab.past[1 + whole], "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            fs::write(lab.file("changes-1"), flipped).expect("writes");
            assert_eq!(lab.loaded(), lab.past[1 + whole], "flipped at {cut}");
        }
        // Whoever goes on after such a crash loses nothing of what is acknowledged from then on.
        fs::write(lab.file("changes-1"), &bytes[..end - 1]).expect("writes");
        lab.kept = Kept::new(lab.directory.path());
        lab.table = lab.kept.load().expect("loads");
        lab.change(7, Some(route("seven")));
        lab.change(8, Some(route("eight")));
        assert_eq!(lab.loaded(), lab.table);
    }

    #[test]
    fn there_is_room_for_more_than_was_made_ahead() {
        let mut lab = Lab::new(FOLD);
        for number in 0..300 {
            lab.change(number % 3, Some(route(&format!("app{number}{}", "x".repeat(500)))));
        }
        assert!(lab.kept.changes.as_ref().expect("begun").length() > 2 * 64 * 1024 && lab.kept.number == 1);
        assert_eq!(lab.loaded(), lab.table);
    }

    #[test]
    fn folding_changes_nothing_wherever_it_is_broken_off() {
        let mut lab = Lab::new(1);
        lab.change(1, Some(route("one")));
        lab.kept.fold = u64::MAX;
        lab.change(2, Some(route("two")));
        let before =
            [fs::read(lab.file("table")), fs::read(lab.file("changes-1"))].map(|read| read.expect("reads"));
        lab.kept.fold = 1;
        lab.change(1, None);
        lab.kept.wait();
        lab.kept.fold = u64::MAX;
        lab.change(3, Some(route("three")));
        assert!(!lab.file("changes-1").exists(), "it is folded");
        assert_eq!(lab.loaded(), lab.table);
        let folded = fs::read(lab.file("table")).expect("reads");
        // Broken off before the whole was renamed: the change that began the fold is in the first file.
        let gone = id(1);
        let third = Record { base: 6, generation: 9, apps: [(&gone, None)].into() };
        let end = before[1].iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
        let first = [&before[1][..end], &changes::render(&third).expect("renders")].concat();
        fs::write(lab.file("changes-1"), first).expect("writes");
        fs::write(lab.file("table"), &before[0]).expect("writes");
        for half in [0, folded.len() / 2] {
            fs::write(lab.file("table.new"), &folded[..half]).expect("writes");
            assert_eq!(lab.loaded(), lab.table);
        }
        // And behind it, before the first file was removed.
        fs::write(lab.file("table"), &folded).expect("writes");
        assert_eq!(lab.loaded(), lab.table);
    }

    #[test]
    fn many_changes_are_folded_again_and_again_and_leave_no_files() {
        let mut lab = Lab::new(1);
        for number in 0..200 {
            lab.change(number % 7, (number % 3 > 0).then(|| route(&format!("app{number}"))));
            lab.kept.fold = 700;
        }
        lab.kept.wait();
        assert_eq!(lab.loaded(), lab.table);
        assert!(lab.kept.number > 3 && changes::numbers(lab.directory.path()).len() <= 2);
    }

    #[test]
    fn one_router_after_another_goes_on_where_the_last_one_ended() {
        let mut lab = Lab::new(FOLD);
        let whole = |lab: &Lab| Durable::new(lab.directory.path(), WHOLE).load::<Table>().expect("reads");
        for round in 0..5 {
            lab.change(round, Some(route("one")));
            lab.change(round + 1, (round % 2 == 0).then(|| route("two")));
            lab.kept = Kept::new(lab.directory.path());
            assert_eq!(
                whole(&lab),
                Some(lab.table.clone()),
                "it has folded its changes: any router can read them"
            );
            assert_eq!(lab.kept.load().expect("loads"), lab.table);
        }
        let before = fs::read(lab.file("table")).expect("reads");
        lab.change(9, Some(route("nine")));
        assert_eq!(fs::read(lab.file("table")).expect("reads"), before, "the first change is cheap, too");
        // A crash: nothing is folded, and the next one goes on top.
        for round in 10..15 {
            std::mem::forget(std::mem::replace(&mut lab.kept, Kept::new(lab.directory.path())));
            assert_eq!(lab.kept.load().expect("loads"), lab.table);
            if round % 2 == 0 {
                lab.change(round, Some(route("more")));
            }
        }
        assert_eq!(lab.loaded(), lab.table);
        assert_eq!(fs::read(lab.file("table")).expect("reads"), before);
    }

    #[test]
    fn a_fold_that_finds_something_else_is_not_believed() {
        let mut lab = Lab::new(FOLD);
        lab.change(1, Some(route("one")));
        lab.change(2, Some(route("two")));
        fs::write(lab.file("table"), "rotten").expect("writes");
        lab.kept.fold = 1;
        lab.change(3, Some(route("three")));
        lab.kept.fold = u64::MAX;
        while lab.kept.folding.as_ref().is_some_and(|folding| !folding.is_finished()) {
            std::thread::yield_now();
        }
        assert!(lab.file("table.corrupt").exists(), "the fold has seen it");
        lab.change(4, Some(route("four")));
        assert_eq!(lab.loaded(), lab.table, "the whole is there again");
    }

    #[test]
    fn what_cannot_be_written_is_not_kept_and_the_next_one_is() {
        let mut lab = Lab::new(FOLD);
        lab.change(1, Some(route("one")));
        lab.change(2, Some(route("two")));
        fs::remove_file(lab.file("changes-1")).expect("removes");
        let (base, before) = (lab.table.generation, lab.table.clone());
        lab.table.generation += 1;
        assert!(lab.kept.change(&lab.table, base, &[]).is_err());
        lab.table = before;
        lab.change(3, Some(route("three")));
        lab.change(4, Some(route("four")));
        assert_eq!(lab.loaded(), lab.table);
    }

    #[test]
    fn a_table_of_an_earlier_router_is_read() {
        let mut lab = Lab::new(FOLD);
        lab.table = Table { generation: 7, apps: [(id(1), route("one"))].into() };
        Durable::new(lab.directory.path(), "table").save(&lab.table).expect("saves");
        assert_eq!(lab.loaded(), lab.table);
        lab.kept = Kept::new(lab.directory.path());
        lab.kept.load().expect("loads");
        lab.change(2, Some(route("two")));
        lab.change(3, Some(route("three")));
        assert_eq!(lab.loaded(), lab.table);
    }
}
