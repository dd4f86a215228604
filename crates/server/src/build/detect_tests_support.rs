//! Trees in memory, for tests of detection.

use super::detect::{Error, Files, Plan, Variables, plan};
use std::collections::BTreeMap;

struct Tree(BTreeMap<&'static str, &'static str>);

impl Files for Tree {
    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
    fn read(&self, path: &str) -> Option<String> {
        self.0.get(path).map(|text| (*text).to_owned())
    }
    fn top(&self) -> Vec<String> {
        let names = self.0.keys().map(|path| match path.split_once('/') {
            Some((directory, _)) => format!("{directory}/"),
            None => (*path).to_owned(),
        });
        let mut names: Vec<_> = names.collect();
        names.dedup();
        names
    }
}

pub(super) fn planned(
    files: &[(&'static str, &'static str)],
    variables: &[(&str, &str)],
    kind: Option<&str>,
) -> Result<Plan, Error> {
    plan(&Tree(files.iter().copied().collect()), &set(variables), kind)
}

pub(super) fn set(variables: &[(&str, &str)]) -> Variables {
    variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}
