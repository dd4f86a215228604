//! Addresses that webhooks may not be posted to: pure. Whatever is not the public internet is refused, unless the operator allows it by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    base: IpAddr,
    bits: u8,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, bits)| (a, Some(bits)));
        let base: IpAddr = address.parse().ok()?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self { base, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                same(u128::from(base.to_bits()) << 96, u128::from(address.to_bits()) << 96, self.bits)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => same(base.to_bits(), address.to_bits(), self.bits),
            _ => false,
        }
    }
}

/// The first `bits` of both are the same.
fn same(a: u128, b: u128, bits: u8) -> bool {
    bits == 0 || (a ^ b) >> (128 - u32::from(bits)) == 0
}

/// What is refused, with the word for it. The first that fits.
const REFUSED: &[(&str, &str)] = &[
    ("127.0.0.0/8", "this host itself"),
    ("::1/128", "this host itself"),
    ("0.0.0.0/8", "no host"),
    ("::/128", "no host"),
    ("169.254.0.0/16", "link-local, where clouds tell hosts their secrets"),
    ("fe80::/10", "link-local"),
    ("10.0.0.0/8", "a private network"),
    ("172.16.0.0/12", "a private network"),
    ("192.168.0.0/16", "a private network"),
    ("100.64.0.0/10", "a shared network"),
    ("fc00::/7", "a private network"),
    ("fec0::/10", "a private network"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "reserved for documentation"),
    ("198.51.100.0/24", "reserved for documentation"),
    ("203.0.113.0/24", "reserved for documentation"),
    ("2001:db8::/32", "reserved for documentation"),
    ("198.18.0.0/15", "reserved for measurements"),
    ("224.0.0.0/4", "multicast"),
    ("ff00::/8", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("2001::/32", "a tunnel"),
    ("100::/64", "reserved"),
];

/// What the operator allows, and what instances have.
#[derive(Debug, Clone)]
pub struct Ranges {
    pool: Option<Range>,
    allowed: Vec<Range>,
}

impl Ranges {
    /// With the pool of instances, and what is allowed nevertheless.
    ///
    /// # Errors
    /// If one of them is no range.
    pub fn new(pool: &str, allowed: &[String]) -> Result<Self, String> {
        let read = |text: &String| {
            Range::parse(text).ok_or_else(|| {
                format!("`webhook_allow` has `{text}`, which is not a range such as 10.0.0.5/32")
            })
        };
        let allowed = allowed.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { pool: Range::parse(pool), allowed })
    }

    /// With nothing allowed.
    #[must_use]
    pub fn strict(pool: &str) -> Self {
        Self { pool: Range::parse(pool), allowed: Vec::new() }
    }

    /// Why nothing may be posted to this address; `None`: it may.
    #[must_use]
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        let address = inner(address);
        let pool = self.pool.filter(|pool| pool.contains(address));
        // A wide range that happens to contain the pool was not meant for instances.
        let meant =
            |range: &Range| pool.is_none_or(|pool| pool.contains(range.base) && range.bits >= pool.bits);
        if self.allowed.iter().any(|range| range.contains(address) && meant(range)) {
            return None;
        }
        if pool.is_some() {
            return Some("an instance's own");
        }
        let found =
            REFUSED.iter().find(|(range, _)| Range::parse(range).is_some_and(|r| r.contains(address)));
        found.map(|(_, why)| *why)
    }
}

/// The address of version 4 that one of version 6 stands for, where it does: in it, translated or tunnelled.
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let of = |a: u16, b: u16| {
        let [a, b] = [a.to_be_bytes(), b.to_be_bytes()];
        IpAddr::V4(Ipv4Addr::new(a[0], a[1], b[0], b[1]))
    };
    match six.segments() {
        // ::ffff:a.b.c.d, and the older ::a.b.c.d but for :: and ::1 themselves.
        [0, 0, 0, 0, 0, 0xffff, a, b] => of(a, b),
        [0, 0, 0, 0, 0, 0, a, b] if six != Ipv6Addr::UNSPECIFIED && six != Ipv6Addr::LOCALHOST => of(a, b),
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] => of(a, b),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(ranges: &Ranges, address: &str) -> bool {
        ranges.refusal(address.parse().expect(address)).is_some()
    }

    #[test]
    fn only_the_public_internet_is_posted_to() {
        let ranges = Ranges::new("11.177.0.0/16", &[]).expect("ranges");
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "11.177.3.4",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:1::1",
            "::ffff:11.177.0.5",
        ] {
            assert!(refused(&ranges, address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "11.178.0.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(!refused(&ranges, address), "{address}");
        }
    }

    #[test]
    fn the_operator_allows_by_range_and_instances_only_if_they_are_meant() {
        let allowed = ["10.0.0.0/8".to_owned(), "127.0.0.1".to_owned(), "fd00::/64".to_owned()];
        let ranges = Ranges::new("10.177.0.0/16", &allowed).expect("ranges");
        for (address, refuse) in [
            ("10.0.0.5", false),
            ("127.0.0.1", false),
            ("fd00::5", false),
            ("::ffff:127.0.0.1", false),
            ("127.0.0.2", true),
            ("10.177.0.5", true),
            ("fd00:1::5", true),
        ] {
            assert_eq!(refused(&ranges, address), refuse, "{address}");
        }
        let ranges = Ranges::new("10.177.0.0/16", &["10.177.4.0/24".into()]).expect("ranges");
        assert!(!refused(&ranges, "10.177.4.9") && refused(&ranges, "10.177.5.9"));
        for bad in ["10.0.0.0/33", "ten", "10.0.0.0/x", "::/129", ""] {
            assert!(
                Ranges::new("10.177.0.0/16", &[bad.into()]).is_err_and(|why| why.contains("webhook_allow"))
            );
        }
    }
}
