//! What is due, decided from the rows and the time alone. It must never act: the keeper does.

use crate::store::{CertificateRow, Held};
use std::collections::{BTreeMap, BTreeSet};
use teal_core::time::Time;

/// Orders that are under way at once.
pub(super) const AT_ONCE: usize = 4;
/// A certificate that ends this soon is renewed before anything else, in milliseconds.
const URGENT_MS: u64 = 3 * 24 * 3_600_000;

/// What is due now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// No app has these names any more.
    pub(super) forget: Vec<String>,
    /// These need a certificate of our own making, so that there is one at all.
    pub(super) sign: Vec<String>,
    /// These are ordered from the authority.
    pub(super) order: Vec<String>,
    /// About these the authority is asked whether it wants an earlier renewal.
    pub(super) look: Vec<String>,
    /// When something more is due, if ever.
    pub(super) next: Option<Time>,
}

/// Decides. `wanted`: the names of all apps, each with the directory of the authority that is asked for it, if one is; `busy`: names whose order or
/// question is under way.
#[must_use]
pub(super) fn plan(
    wanted: &BTreeMap<String, Option<String>>,
    rows: &[CertificateRow],
    busy: &BTreeSet<String>,
    now: Time,
) -> Due {
    let by_name: BTreeMap<&str, &CertificateRow> = rows.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut due = Due { forget: unwanted(wanted, rows, busy), ..Due::default() };
    let mut orders = Vec::new();
    let mut later = Vec::new();
    for (name, authority) in wanted.iter().filter(|(name, _)| !busy.contains(*name)) {
        let row = by_name.get(name.as_str()).copied();
        sort(sign_at(row, authority.is_some()), now, name, &mut due.sign, &mut later);
        let Some(authority) = authority else { continue };
        let at = order_at(row, authority);
        if at <= now {
            orders.push((urgency(row, authority, now), at, name.clone()));
        } else {
            later.push(at);
            sort(look_at(row, authority), now, name, &mut due.look, &mut later);
        }
    }
    orders.sort();
    let room = AT_ONCE.saturating_sub(busy.len());
    due.order = orders.into_iter().take(room).map(|(_, _, name)| name).collect();
    due.look.truncate(room.saturating_sub(due.order.len()));
    due.next = later.into_iter().min();
    due
}

fn unwanted(
    wanted: &BTreeMap<String, Option<String>>,
    rows: &[CertificateRow],
    busy: &BTreeSet<String>,
) -> Vec<String> {
    let names = rows.iter().map(|row| &row.name);
    names.filter(|name| !wanted.contains_key(*name) && !busy.contains(*name)).cloned().collect()
}

fn sort(at: Option<Time>, now: Time, name: &str, due: &mut Vec<String>, later: &mut Vec<Time>) {
    match at {
        Some(at) if at <= now => due.push(name.to_owned()),
        Some(at) => later.push(at),
        None => {}
    }
}

/// When the name needs a certificate of our own making; `None`: never, as far as can be seen.
fn sign_at(row: Option<&CertificateRow>, by_acme: bool) -> Option<Time> {
    match held(row) {
        None => Some(Time(0)),
        Some(held) if held.is_self_signed() => Some(held.renew_at),
        // Nobody renews it any more. An expired one that is about to be renewed is better than a stranger's.
        Some(held) if !by_acme => Some(held.not_after),
        Some(_) => None,
    }
}

fn held(row: Option<&CertificateRow>) -> Option<&Held> {
    row?.held.as_ref()
}

/// The certificate of this very authority: one of another (the operator tried things out first) is replaced at once.
fn real<'a>(row: Option<&'a CertificateRow>, authority: &str) -> Option<&'a Held> {
    held(row).filter(|held| held.issuer.as_deref() == Some(authority))
}

fn order_at(row: Option<&CertificateRow>, authority: &str) -> Time {
    let wanted = real(row, authority).map_or(Time(0), |held| held.renew_at);
    wanted.max(row.and_then(|row| row.next_attempt).unwrap_or(Time(0)))
}

fn look_at(row: Option<&CertificateRow>, authority: &str) -> Option<Time> {
    real(row, authority)?.look_at
}

/// Lower comes first: what ends soon, then names without a real certificate, then ordinary renewals.
fn urgency(row: Option<&CertificateRow>, authority: &str, now: Time) -> u8 {
    match real(row, authority) {
        Some(held) if held.not_after <= now.plus(URGENT_MS) => 0,
        None => 1,
        Some(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000_000_000);
    const CA: &str = "https://ca.example/directory";
    const DAY: u64 = 24 * 3_600_000;

    fn row(name: &str) -> CertificateRow {
        CertificateRow {
            name: name.into(),
            held: None,
            order: None,
            attempts: 0,
            next_attempt: None,
            problem: None,
            remedy: None,
        }
    }

    /// A certificate that is renewed in so many days and ends 30 days later.
    fn dated(issuer: Option<&str>, renew_in: i64) -> Option<Held> {
        let day = |days: i64| Time(NOW.0.saturating_add_signed(days * DAY.cast_signed()));
        Some(Held {
            issuer: issuer.map(String::from),
            not_before: day(renew_in - 60),
            not_after: day(renew_in + 30),
            renew_at: day(renew_in),
            look_at: None,
        })
    }

    fn decide(wanted: &[(&str, bool)], rows: &[CertificateRow], busy: &[&str]) -> Due {
        let wanted = wanted
            .iter()
            .map(|(name, by_acme)| ((*name).to_owned(), by_acme.then(|| CA.to_owned())))
            .collect();
        plan(&wanted, rows, &busy.iter().map(|name| (*name).to_owned()).collect(), NOW)
    }

    /// One name, its row, and which list it is in: `f`orget, `s`ign, `o`rder, `l`ook.
    #[test]
    fn one_name_at_a_time() {
        let real = |days| CertificateRow { held: dated(Some(CA), days), ..row("a") };
        let other = CertificateRow { held: dated(Some("https://try.example/directory"), 1), ..row("a") };
        let own = |days| CertificateRow { held: dated(None, days), ..row("a") };
        let waits = |days: u64| CertificateRow { next_attempt: Some(NOW.plus(days * DAY)), ..own(9) };
        let asked = |row: CertificateRow, look: Time| CertificateRow {
            held: row.held.map(|held| Held { look_at: Some(look), ..held }),
            ..row
        };
        let table: [(&str, Option<bool>, Option<CertificateRow>, &str); 19] = [
            ("new, public", Some(true), None, "so"),
            ("new, local", Some(false), None, "s"),
            ("self-signed, public", Some(true), Some(own(9)), "o"),
            ("self-signed, local", Some(false), Some(own(9)), ""),
            ("self-signed and old", Some(false), Some(own(-1)), "s"),
            ("failed, waits", Some(true), Some(waits(1)), ""),
            ("failed, has waited", Some(true), Some(waits(0)), "o"),
            ("issued", Some(true), Some(real(1)), ""),
            ("issued, due", Some(true), Some(real(0)), "o"),
            ("issued, expired", Some(true), Some(real(-40)), "o"),
            ("issued, authority given up", Some(false), Some(real(-1)), ""),
            ("issued, authority given up, expired", Some(false), Some(real(-40)), "s"),
            ("issued, question due", Some(true), Some(asked(real(1), NOW)), "l"),
            ("issued, question not due", Some(true), Some(asked(real(1), NOW.plus(1))), ""),
            ("due, question due", Some(true), Some(asked(real(0), NOW)), "o"),
            (
                "renewal failed, waits",
                Some(true),
                Some(CertificateRow { next_attempt: Some(NOW.plus(1)), ..real(0) }),
                "",
            ),
            ("issued, by another authority", Some(true), Some(other), "o"),
            ("removed", None, Some(real(1)), "f"),
            ("never there", None, None, ""),
        ];
        for (what, wanted, row, expected) in table {
            let wanted: Vec<(&str, bool)> = wanted.map(|by_acme| ("a", by_acme)).into_iter().collect();
            let due = decide(&wanted, &row.into_iter().collect::<Vec<_>>(), &[]);
            let lists = [("f", &due.forget), ("s", &due.sign), ("o", &due.order), ("l", &due.look)];
            let found: String =
                lists.iter().filter(|(_, list)| !list.is_empty()).map(|(word, _)| *word).collect();
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn what_is_under_way_is_left_alone_and_takes_its_place() {
        let wanted = [("a", true), ("b", true), ("c", true), ("d", true), ("e", true), ("f", true)];
        let due = decide(&wanted, &[row("gone")], &["a", "b", "gone"]);
        assert_eq!(due.order, ["c"], "one place is left of {AT_ONCE}");
        assert!(due.forget.is_empty());
        assert_eq!(decide(&wanted, &[], &[]).order.len(), AT_ONCE);
        assert!(decide(&wanted, &[], &["a", "b", "c", "d"]).order.is_empty());
    }

    #[test]
    fn what_ends_soon_comes_before_new_names_and_those_before_renewals() {
        let rows = [
            CertificateRow { held: dated(Some(CA), -1), ..row("a-renewal") },
            CertificateRow { held: dated(Some(CA), -28), ..row("z-ends") },
        ];
        let due = decide(&[("a-renewal", true), ("m-new", true), ("z-ends", true)], &rows, &[]);
        assert_eq!(due.order, ["z-ends", "m-new", "a-renewal"]);
    }

    #[test]
    fn the_next_look_is_when_something_is_due() {
        let rows = [
            CertificateRow { held: dated(Some(CA), 5), ..row("a") },
            CertificateRow { held: dated(None, 9), next_attempt: Some(NOW.plus(7)), ..row("b") },
        ];
        assert_eq!(decide(&[("a", true), ("b", true)], &rows, &[]).next, Some(NOW.plus(7)));
        assert_eq!(decide(&[("a", true)], &rows[..1], &[]).next, Some(NOW.plus(5 * DAY)));
        assert_eq!(decide(&[], &[], &[]).next, None);
    }
}
