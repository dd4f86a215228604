//! What whoever asks may do: their role on the server, their roles in apps, and the limits of what proved who they are. Pure; it must never
//! ask anything: whoever made it has looked.

use std::collections::{BTreeMap, BTreeSet};
use teal_core::{id::AppId, role::Role};

/// Limits of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// No more than this, anywhere.
    pub role: Role,
    /// These apps only, and nothing of the server.
    pub only: Option<BTreeSet<AppId>>,
    /// It ends by itself.
    pub ends: bool,
}

impl Limits {
    /// Those of whatever has none.
    pub const NONE: Self = Self { role: Role::Admin, only: None, ends: false };
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// With every app, and with the server.
    pub server: Role,
    /// With single apps, beside that.
    pub apps: BTreeMap<AppId, Role>,
    /// But no more than this.
    pub limits: Limits,
}

impl Rights {
    /// Of an administrator without limits.
    #[must_use]
    pub fn everything() -> Self {
        Self { server: Role::Admin, apps: BTreeMap::new(), limits: Limits::NONE }
    }

    /// With the server itself.
    #[must_use]
    pub fn on_server(&self) -> Role {
        if self.limits.only.is_some() { Role::None } else { self.server.min(self.limits.role) }
    }

    /// With this app. Who has none may not even know of it.
    #[must_use]
    pub fn on(&self, app: &AppId) -> Role {
        if self.limits.only.as_ref().is_some_and(|only| !only.contains(app)) {
            return Role::None;
        }
        let own = self.apps.get(app).copied().unwrap_or_default();
        own.max(self.server).min(self.limits.role)
    }

    /// Whether it may make what would outlive or exceed its own limits: other tokens, keys.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limits != Limits::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppId {
        format!("a-{name}").parse().expect("legal")
    }

    fn rights(server: Role, shop: Role, limits: Limits) -> Rights {
        Rights { server, apps: [(app("shop"), shop)].into(), limits }
    }

    #[test]
    fn the_greater_role_counts_and_limits_cut_it() {
        for server in Role::ALL {
            for shop in Role::ALL {
                for role in Role::ALL {
                    let limits = Limits { role, ..Limits::NONE };
                    let rights = rights(server, shop, limits);
                    assert_eq!(rights.on(&app("shop")), server.max(shop).min(role));
                    assert_eq!(rights.on(&app("blog")), server.min(role));
                    assert_eq!(rights.on_server(), server.min(role));
                }
            }
        }
    }

    #[test]
    fn a_token_for_some_apps_is_nothing_anywhere_else() {
        let limits = Limits { only: Some([app("shop")].into()), ..Limits::NONE };
        let rights = rights(Role::Admin, Role::None, limits);
        assert_eq!(rights.on(&app("shop")), Role::Admin);
        assert_eq!((rights.on(&app("blog")), rights.on_server()), (Role::None, Role::None));
        assert!(rights.is_limited() && !Rights::everything().is_limited());
    }
}
