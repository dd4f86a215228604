//! Which app has which domain: host name → a few paths → app. Found without a lock; a change costs what it changes, however many domains there are.
//!
//! Host names are spread over parts, each swapped whole, so that a reader sees a host as it was before a change or after it, and never in between. It must
//! never find an app by a path that could be read in two ways.

use crate::codec::{Refusal, path};
use arc_swap::ArcSwap;
use foldhash::quality::RandomState;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    hash::BuildHasher as _,
    sync::Arc,
};
use teal_core::{domain, id::AppId};

/// Parts: with 100,000 domains a change copies some 400 pointers for each of its domains.
const PARTS: usize = 256;

type Part<T> = HashMap<Arc<str>, Arc<Host<T>>, RandomState>;

/// All hosts. `T` is what stands for an app.
#[derive(Debug)]
pub(crate) struct Hosts<T> {
    parts: Box<[ArcSwap<Part<T>>]>,
    spread: RandomState,
}

/// Who has something of one host name.
#[derive(Debug)]
struct Host<T> {
    /// The host itself.
    own: Vec<Claim<T>>,
    /// Every name with one label more.
    below: Vec<Claim<T>>,
}

/// One app's path on a host. The longest stand first; of two apps with the same, which the server must not allow, the first by its id has it.
#[derive(Debug)]
struct Claim<T> {
    path: Box<str>,
    app: AppId,
    to: Arc<T>,
}

/// A domain that an app gets, or loses.
#[derive(Debug)]
pub(crate) struct Edit<T> {
    pub(crate) domain: String,
    pub(crate) app: AppId,
    pub(crate) to: Option<Arc<T>>,
}

/// Who was found, and whether the path had a say in it.
struct Found<T> {
    to: Option<Arc<T>>,
    by_path: bool,
}

impl<T> Hosts<T> {
    /// No host at all.
    pub(crate) fn new() -> Self {
        Self { parts: (0..PARTS).map(|_| ArcSwap::default()).collect(), spread: RandomState::default() }
    }

    /// The app that answers for this host (lower case, without port) and this target.
    ///
    /// # Errors
    /// If the path decides, and can be read so that another app would.
    pub(crate) fn find(&self, host: &str, target: &[u8]) -> Result<Option<Arc<T>>, Refusal> {
        let found = self.look(host, path::path(target));
        if !found.by_path || path::is_certain(target) {
            return Ok(found.to);
        }
        let plain = self.look(host, &path::plain(target)).to;
        let other = self.look(host, &path::obliging(target)).to;
        if plain.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr) {
            Ok(plain)
        } else {
            Err(Refusal::Path)
        }
    }

    /// The host itself comes before a wildcard; within each the longest path.
    fn look(&self, host: &str, path: &[u8]) -> Found<T> {
        let own = self.at(host, path, |host| &host.own);
        if own.to.is_some() {
            return own;
        }
        let Some((_, parent)) = host.split_once('.') else { return own };
        let below = self.at(parent, path, |host| &host.below);
        Found { to: below.to, by_path: own.by_path || below.by_path }
    }

    fn at(&self, name: &str, path: &[u8], claims: impl Fn(&Host<T>) -> &Vec<Claim<T>>) -> Found<T> {
        let part = self.parts[self.part(name)].load();
        let Some(claims) = part.get(name).map(|host| claims(host)) else {
            return Found { to: None, by_path: false };
        };
        let fits = |claim: &&Claim<T>| path::is_below(path, claim.path.as_bytes());
        let by_path = claims.first().is_some_and(|longest| !longest.path.is_empty());
        Found { to: claims.iter().find(fits).map(|claim| Arc::clone(&claim.to)), by_path }
    }

    fn part(&self, name: &str) -> usize {
        // Less than PARTS, so it fits.
        usize::try_from(self.spread.hash_one(name) % PARTS as u64).unwrap_or(0)
    }

    /// Makes all these changes; each host changes in one step. One caller at a time.
    pub(crate) fn change(&self, edits: Vec<Edit<T>>) {
        let mut by_part: BTreeMap<usize, Vec<Edit<T>>> = BTreeMap::new();
        for edit in edits {
            by_part.entry(self.part(name(&edit.domain))).or_default().push(edit);
        }
        for (number, edits) in by_part {
            let mut part = Part::clone(&self.parts[number].load());
            for edit in edits {
                let name = name(&edit.domain);
                let host = part.get(name).map_or_else(Host::default, |host| host.as_ref().clone());
                let host = host.with(&edit);
                match (host.is_empty(), part.get_mut(name)) {
                    (true, _) => drop(part.remove(name)),
                    (false, Some(there)) => *there = Arc::new(host),
                    (false, None) => drop(part.insert(name.into(), Arc::new(host))),
                }
            }
            self.parts[number].store(Arc::new(part));
        }
    }
}

/// The name under which a domain is kept: without the wildcard's star.
fn name(domain: &str) -> &str {
    let host = domain::host(domain);
    host.strip_prefix("*.").unwrap_or(host)
}

impl<T> Host<T> {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.below.is_empty()
    }

    fn with(mut self, edit: &Edit<T>) -> Self {
        let claims = if edit.domain.starts_with("*.") { &mut self.below } else { &mut self.own };
        let path = domain::path(&edit.domain);
        claims.retain(|claim| *claim.path != *path || claim.app != edit.app);
        let Some(to) = &edit.to else { return self };
        if let Some(other) = claims.iter().find(|claim| *claim.path == *path) {
            tracing::error!(domain = edit.domain, app = %edit.app, other = %other.app,
                "two apps claim one domain: one of them has it, the server must not allow this");
        }
        claims.push(Claim { path: path.into(), app: edit.app.clone(), to: Arc::clone(to) });
        claims.sort_by(|one, other| {
            (Reverse(one.path.len()), &one.path, &one.app).cmp(&(
                Reverse(other.path.len()),
                &other.path,
                &other.app,
            ))
        });
        self
    }
}

impl<T> Default for Host<T> {
    fn default() -> Self {
        Self { own: Vec::new(), below: Vec::new() }
    }
}

impl<T> Clone for Host<T> {
    fn clone(&self) -> Self {
        Self { own: self.own.clone(), below: self.below.clone() }
    }
}

impl<T> Clone for Claim<T> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), app: self.app.clone(), to: Arc::clone(&self.to) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hosts in which each of these apps, which are named by their domains, has its domain.
    fn hosts(domains: &[&str]) -> Hosts<String> {
        let hosts = Hosts::new();
        hosts.change(domains.iter().enumerate().map(|(number, domain)| edit(number, domain, true)).collect());
        hosts
    }

    fn edit(number: usize, domain: &str, add: bool) -> Edit<String> {
        let app = format!("a-{number}").parse().expect("legal");
        Edit { domain: domain.into(), app, to: add.then(|| Arc::new(domain.to_owned())) }
    }

    fn ask(hosts: &Hosts<String>, host: &str, target: &str) -> Result<String, Refusal> {
        let found = hosts.find(host, target.as_bytes())?;
        Ok(found.map_or_else(|| "nobody".to_owned(), |to| to.as_ref().clone()))
    }

    #[test]
    fn the_longest_path_wins_and_the_host_itself_before_a_wildcard() {
        let hosts = hosts(&[
            "a.test",
            "a.test/api",
            "a.test/api/v2",
            "*.a.test",
            "*.a.test/api",
            "x.a.test/own",
            "b.test/only",
        ]);
        for (host, target, whose) in [
            ("a.test", "/", "a.test"),
            ("a.test", "*", "a.test"),
            ("a.test", "?q=/api", "a.test"),
            ("a.test", "/apis", "a.test"),
            ("a.test", "/api?x", "a.test/api"),
            ("a.test", "/api/v1", "a.test/api"),
            ("a.test", "/api/v2/", "a.test/api/v2"),
            ("a.test", "/API", "a.test"),
            ("y.a.test", "/", "*.a.test"),
            ("y.a.test", "/api/x", "*.a.test/api"),
            ("x.a.test", "/own/x", "x.a.test/own"),
            ("x.a.test", "/other", "*.a.test"),
            ("x.a.test", "/api", "*.a.test/api"),
            ("y.x.a.test", "/", "nobody"),
            ("b.test", "/only", "b.test/only"),
            ("b.test", "/", "nobody"),
            ("test", "/", "nobody"),
        ] {
            assert_eq!(ask(&hosts, host, target).as_deref(), Ok(whose), "{host}{target}");
        }
    }

    #[test]
    fn a_path_that_leads_two_ways_is_refused_and_only_that() {
        let hosts = hosts(&["a.test", "a.test/api", "a.test/admin", "plain.test"]);
        for (target, whose) in [
            ("/api/./x", "a.test/api"),
            ("/api//x", "a.test/api"),
            ("/api/x/../y", "a.test/api"),
            ("/%61pi/x", "a.test/api"),
            ("/api/a%2fb", "a.test/api"),
            ("/shop/a%20b;c=d//e", "a.test"),
            ("/?../admin", "a.test"),
        ] {
            assert_eq!(ask(&hosts, "a.test", target).as_deref(), Ok(whose), "{target}");
        }
        for target in [
            "/api/../admin",
            "/api/..",
            "/api/%2e%2e/admin",
            "/api/..;/admin",
            "/api/..%2fadmin",
            "/api%2fx",
            "/x/..\\admin",
            "//api",
            "/./api",
            "/api;x/y",
            "/shop/..%2fapi",
        ] {
            assert_eq!(ask(&hosts, "a.test", target), Err(Refusal::Path), "{target}");
            assert_eq!(ask(&hosts, "plain.test", target).as_deref(), Ok("plain.test"), "{target}");
        }
    }

    /// What the index has to say, said by looking at all domains.
    fn plainly(all: &[(usize, &'static str)], host: &str, path: &str) -> String {
        let parent = host.split_once('.').map(|(_, parent)| format!("*.{parent}")).unwrap_or_default();
        let of = |name: &str| {
            let fits = all.iter().filter(|(_, domain)| {
                domain::host(domain) == name
                    && path::is_below(path.as_bytes(), domain::path(domain).as_bytes())
            });
            fits.min_by_key(|(app, domain)| (Reverse(domain.len()), *app)).map(|(app, _)| app.to_string())
        };
        of(host).or_else(|| of(&parent)).unwrap_or_else(|| "nobody".into())
    }

    #[test]
    fn after_any_changes_the_index_says_what_the_domains_say() {
        const DOMAINS: [&str; 7] =
            ["a.test", "a.test/x", "a.test/x/y", "*.a.test", "*.a.test/x", "b.a.test", "b.a.test/x/y"];
        let (hosts, mut all, mut seed) = (Hosts::new(), Vec::new(), 11_usize);
        for round in 0..3_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (app, domain) = ((seed >> 33) % 4, DOMAINS[(seed >> 40) % DOMAINS.len()]);
            let add = !all.contains(&(app, domain));
            if add {
                all.push((app, domain));
            } else {
                all.retain(|known| *known != (app, domain));
            }
            let to = add.then(|| Arc::new(app.to_string()));
            hosts.change(vec![Edit {
                domain: domain.into(),
                app: format!("a-{app}").parse().expect("legal"),
                to,
            }]);
            for host in ["a.test", "b.a.test", "c.a.test", "a.b.a.test"] {
                for path in ["/", "/x", "/x/y/z", "/xy", "/x/yz"] {
                    let said = ask(&hosts, host, path).expect("certain");
                    assert_eq!(said, plainly(&all, host, path), "round {round}: {host}{path} of {all:?}");
                }
            }
        }
    }

    /// `cargo test --release -p teal-router look_up -- --ignored --nocapture`
    #[test]
    #[ignore = "prints figures"]
    #[expect(clippy::print_stdout, reason = "figures are what this is for")]
    fn measure_what_a_look_up_and_a_change_cost() {
        for count in [10, 1_000, 100_000] {
            let domains: Vec<String> = (0..count).map(|number| format!("d{number}.app.test/shop")).collect();
            let hosts = hosts(&domains.iter().map(String::as_str).collect::<Vec<_>>());
            let start = std::time::Instant::now();
            for number in 0..100_000 {
                let host = format!("d{}.app.test", number * 7919 % count);
                assert!(hosts.find(&host, b"/shop/x").is_ok_and(|found| found.is_some()));
            }
            let look_up = start.elapsed().as_nanos() / 100_000;
            let start = std::time::Instant::now();
            for number in 0..1_000 {
                hosts.change(vec![edit(number, "new.test", number % 2 == 0)]);
            }
            println!(
                "{count} domains: a look-up {look_up} ns, a change {} ns",
                start.elapsed().as_nanos() / 1_000
            );
        }
    }

    #[test]
    fn of_two_apps_with_one_domain_one_has_it_and_the_other_is_its_heir() {
        let hosts = Hosts::new();
        let claim = |number: usize, add: bool| {
            let app: AppId = format!("a-{number}").parse().expect("legal");
            let to = add.then(|| Arc::new(app.to_string()));
            hosts.change(vec![Edit { domain: "a.test".into(), app, to }]);
            ask(&hosts, "a.test", "/").expect("certain")
        };
        assert_eq!(claim(2, true), "a-2");
        assert_eq!(claim(1, true), "a-1");
        assert_eq!(claim(1, false), "a-2");
        assert_eq!(claim(2, false), "nobody");
        assert!(hosts.parts.iter().all(|part| part.load().is_empty()), "nothing is left behind");
    }
}
