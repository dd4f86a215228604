//! What a person may do, as one word. Deciding about a request is the server's business; here is only the order of the words.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A role: each may do all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing: of an app, not even that it exists.
    #[default]
    None,
    /// Look: status, activity, logs, metrics, code.
    Viewer,
    /// Deploy and change: pushes, variables, domains, settings.
    Developer,
    /// Everything: of an app, its members and its end; of the server, people, images and maintenance.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::None, Self::Viewer, Self::Developer, Self::Admin];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.word() == text);
        found.ok_or_else(|| "a role is `none`, `viewer`, `developer` or `admin`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written_and_ordered_by_what_they_allow() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.word().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).expect("JSON"), format!("\"{role}\""));
        }
        assert!("owner".parse::<Role>().is_err());
    }
}
