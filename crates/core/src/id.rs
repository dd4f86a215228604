//! Names of things: one type per kind, so that an app's id can never be passed for a deployment's.
//!
//! An id is chosen before the first attempt of any effect and is part of file, cgroup and interface names: it holds only
//! lower-case letters, digits and `-`, starts with a letter, and is at most 40 characters long. Parsing refuses everything else.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest id, in characters: it has to fit into file, cgroup and unit names with room for a suffix.
pub const MAX_LEN: usize = 40;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an id: lower-case letters, digits and `-`, a letter first, at most {MAX_LEN} characters"
)]
pub struct InvalidId {
    /// What was given, shortened.
    pub text: String,
}

fn check(text: &str) -> Result<(), InvalidId> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = !text.is_empty() && text.len() <= MAX_LEN && text.chars().all(legal);
    if fits && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(());
    }
    Err(InvalidId { text: text.chars().take(MAX_LEN).collect() })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                check(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// An app, for life; its name may change, this does not.
    AppId;
    /// One attempt to change what is in production.
    DeploymentId;
    /// A thing that runs or sleeps. Derived from the deployment that makes it, so it is known before the first effect.
    EnvironmentId;
    /// An immutable built artifact, named by its content.
    ReleaseId;
    /// One VM or sandbox: an environment's nth instance, or the sandbox of a build.
    InstanceId;
    /// One move of all apps to another image.
    RolloutId;
}

impl DeploymentId {
    /// The environment that this deployment makes, if it makes one.
    #[must_use]
    pub fn environment(&self) -> EnvironmentId {
        EnvironmentId(format!("e-{}", self.0.trim_start_matches("d-")))
    }

    /// The sandbox in which this deployment's commit is built.
    #[must_use]
    pub fn build(&self) -> InstanceId {
        InstanceId(format!("b-{}", self.0.trim_start_matches("d-")))
    }

    /// The instance in which the hook runs that comes after this deployment's verdict.
    #[must_use]
    pub fn hook(&self) -> InstanceId {
        InstanceId(format!("h-{}", self.0.trim_start_matches("d-")))
    }
}

impl EnvironmentId {
    /// The id of this environment's `number`th instance, counted from 0.
    #[must_use]
    pub fn instance(&self, number: u32) -> InstanceId {
        InstanceId(format!("{}-{number}", self.0))
    }

    /// The instance in which the release command of this environment's first deployment runs, or its task.
    #[must_use]
    pub fn release_command(&self) -> InstanceId {
        InstanceId(format!("c-{}", self.0.trim_start_matches("e-")))
    }
}

impl InstanceId {
    /// The environment that this instance belongs to; `None` for the sandbox of a build and for a release command's.
    #[must_use]
    pub fn environment(&self) -> Option<EnvironmentId> {
        let (environment, number) = self.0.rsplit_once('-')?;
        let counted = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        (counted && environment.starts_with("e-")).then(|| EnvironmentId(environment.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_safe_in_paths_are_ids() {
        for bad in ["", "A", "a/b", "..", "-a", "1a", "a b", "é", &"a".repeat(41)] {
            assert!(bad.parse::<AppId>().is_err(), "{bad:?}");
        }
        assert!("shop-2".parse::<AppId>().is_ok());
    }

    #[test]
    fn instances_know_their_environment() {
        let deployment: DeploymentId = "d-01abc".parse().expect("legal");
        let instance = deployment.environment().instance(3);
        assert_eq!(instance.as_str(), "e-01abc-3");
        assert_eq!(instance.environment(), Some(deployment.environment()));
        assert_eq!(deployment.build().environment(), None);
        assert_eq!(deployment.hook().environment(), None);
        assert_eq!(deployment.environment().release_command().environment(), None);
    }
}
