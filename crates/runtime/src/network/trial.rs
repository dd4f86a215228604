//! Trials for the doctor: would the rules be taken, can a pair of interfaces be made? Nothing of them stays.

use super::{
    Error, netlink,
    pool::Range,
    rules::{self, Guest},
};
use nix::sched::{CloneFlags, unshare};
use std::{fs::File, io, net::Ipv4Addr, thread};

/// Lets the kernel check rules like ours without installing them.
pub(crate) fn rules() -> Result<(), Error> {
    let pool = Range { base: Ipv4Addr::new(10, 177, 0, 0), prefix: 16 };
    let (gateway, address) = (Ipv4Addr::new(10, 177, 0, 1), Ipv4Addr::new(10, 177, 0, 2));
    let guest =
        Guest { interface: super::interface_name(gateway), gateway, address, egress: true, build: true };
    rules::check(&rules::render("teal_doctor", pool, &[guest], &[]))
}

/// Makes a pair of interfaces in a network namespace of its own, which goes with its thread.
pub(crate) fn pair() -> Result<(), Error> {
    let failed = |source| Error::Io { what: "a network namespace could not be made".to_owned(), source };
    let trial = move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
        let own = File::open("/proc/thread-self/ns/net").map_err(failed)?;
        netlink::with(None, async |handle| netlink::create(handle, "tltrial", 1500, &own).await)
    };
    let worker = thread::Builder::new().spawn(trial).map_err(failed)?;
    worker.join().map_err(|_| failed(io::ErrorKind::Other.into()))?
}

/// Other tables' forward chains that drop what no rule of theirs accepts, as `family table chain`: our own rules cannot overrule them.
pub(crate) fn forward_droppers() -> Result<Vec<String>, Error> {
    let listed: serde_json::Value =
        serde_json::from_str(&rules::chains_json()?).map_err(|error| Error::Nft(error.to_string()))?;
    let entries = listed.get("nftables").and_then(|all| all.as_array()).cloned().unwrap_or_default();
    let text = |chain: &serde_json::Value, key: &str| {
        chain.get(key).and_then(|value| value.as_str().map(str::to_owned))
    };
    let drops = |chain: &serde_json::Value| {
        let hit = text(chain, "hook")? == "forward" && text(chain, "policy")? == "drop";
        hit.then(|| {
            [text(chain, "family"), text(chain, "table"), text(chain, "name")]
                .map(Option::unwrap_or_default)
                .join(" ")
        })
    };
    Ok(entries.iter().filter_map(|entry| drops(entry.get("chain")?)).collect())
}
