//! Why the router answered by itself: the reasons under which its own answers are counted and logged.

use crate::pages::Page;

/// A reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// The request cannot be forwarded.
    Refused,
    /// The client went away, or broke off its body.
    Abandoned,
    /// No instance took the request.
    Unreachable,
    /// The instance broke off.
    Broken,
    /// The instance's answer is none.
    Garbled,
    /// The instance did not answer in time.
    Slow,
    /// The environment was closed meanwhile.
    Closed,
    /// No app has the domain.
    Unknown,
    /// The app has no live environment.
    Absent,
    /// The app has as much in flight as it may.
    Crowded,
    /// The client has as much in flight as one may.
    Greedy,
    /// Sent to `https`.
    Secure,
    /// A proof for a certificate authority.
    Proof,
}

impl Own {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 13] = [
        Self::Refused,
        Self::Abandoned,
        Self::Unreachable,
        Self::Broken,
        Self::Garbled,
        Self::Slow,
        Self::Closed,
        Self::Unknown,
        Self::Absent,
        Self::Crowded,
        Self::Greedy,
        Self::Secure,
        Self::Proof,
    ];

    /// The word under which it is counted and logged.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Garbled => "garbled",
            Self::Slow => "slow",
            Self::Closed => "closed",
            Self::Unknown => "unknown_domain",
            Self::Absent => "absent",
            Self::Crowded => "app_limit",
            Self::Greedy => "client_limit",
            Self::Secure => "sent_to_https",
            Self::Proof => "proof",
        }
    }
}

impl From<&Page> for Own {
    fn from(page: &Page) -> Self {
        match page {
            Page::Refused(_) => Self::Refused,
            Page::Abandoned => Self::Abandoned,
            Page::Unreachable(_) => Self::Unreachable,
            Page::Broken(_) => Self::Broken,
            Page::Garbled(_) => Self::Garbled,
            Page::Slow(_) => Self::Slow,
            Page::Closed(_) => Self::Closed,
            Page::Unknown(_) => Self::Unknown,
            Page::Absent(..) => Self::Absent,
            Page::Crowded(_) => Self::Crowded,
            Page::Greedy(_) => Self::Greedy,
            Page::Secure(_) => Self::Secure,
            Page::Proof(_) => Self::Proof,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_place_and_word() {
        for (place, own) in Own::ALL.into_iter().enumerate() {
            assert_eq!(own as usize, place);
            assert_eq!(Own::ALL.iter().filter(|other| other.word() == own.word()).count(), 1);
        }
    }
}
