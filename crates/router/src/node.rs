//! The other end of a connection, as each of its requests tells an app of it: written once, when it comes, and not for every request.

use std::{net::IpAddr, sync::Arc};

/// What the lines begin with; the address follows.
const FOR: &str = "X-Forwarded-For: ";

/// The other end.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    lines: Arc<str>,
    /// Of its address as text.
    length: usize,
}

impl Node {
    /// At this address.
    pub(crate) fn new(address: IpAddr) -> Self {
        let text = address.to_string();
        let quoted = if address.is_ipv6() { format!("\"[{text}]\"") } else { text.clone() };
        Self { lines: format!("{FOR}{text}\r\nForwarded: for={quoted};host=\"").into(), length: text.len() }
    }

    /// Its address as text.
    pub(crate) fn text(&self) -> &str {
        &self.lines[FOR.len()..FOR.len() + self.length]
    }

    /// Its place in a `Forwarded` line, up to the host: `for=192.0.2.1;host="`.
    pub(crate) fn pair(&self) -> &str {
        &self.lines[FOR.len() + self.length + "\r\nForwarded: ".len()..]
    }

    /// The lines of a request that nobody has forwarded before, up to the host.
    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_six_are_quoted_where_they_have_to_be() {
        for (address, pair) in
            [("192.0.2.1", "for=192.0.2.1;host=\""), ("2001:db8::1", "for=\"[2001:db8::1]\";host=\"")]
        {
            let node = Node::new(address.parse().expect("an address"));
            assert_eq!((node.text(), node.pair()), (address, pair));
            assert_eq!(node.lines(), format!("X-Forwarded-For: {address}\r\nForwarded: {pair}"));
        }
    }
}
