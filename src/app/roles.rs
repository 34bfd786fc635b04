//! Which part of the work an instance does: several may share one store, each with some roles.
//!
//! - `intake`: `/webhook`, and what is decided about deliveries.
//! - `evaluate`: runs are fetched, listed and evaluated. What is evaluated is in this machine's Nix
//!   store: an instance that does not `build` too lends it to those that do.
//! - `build`: the slots of this instance's builders, the looks at them, and what changes on hosts.
//! - `report`: checks, statuses and reactions on GitHub.
//! - `recover`: what GitHub did not tell.
//!
//! Pages, the API, health and the sweep belong to every instance.
use std::collections::BTreeSet;
use std::str::FromStr;

use crate::config::Config;

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Intake,
    Evaluate,
    Build,
    Report,
    Recover,
}

impl Role {
    const ALL: [Self; 5] = [Self::Intake, Self::Evaluate, Self::Build, Self::Report, Self::Recover];

    fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Evaluate => "evaluate",
            Self::Build => "build",
            Self::Report => "report",
            Self::Recover => "recover",
        }
    }
}

/// The roles of an instance: one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

/// Why `--roles` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRoles {
    #[error("`{}` is no role; write some of intake,evaluate,build,report,recover", .0.escape_debug())]
    Unknown(String),
}

/// Why an instance with these roles would do its work for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error(
        "--roles: `evaluate` without `build` needs `nix.instance_store`, from which the instances \
         that build copy what this one evaluated, like \"ssh-ng://nix@eval-1\"; set it, or add \
         `build`"
    )]
    NothingLent,
    #[error(
        "--roles: `evaluate` without `build` needs another instance that builds, and none can share \
         a `store.url` of the kind \"sqlite:\"; write one that begins with postgres://, or add \
         `build`"
    )]
    Alone,
}

impl Default for Roles {
    fn default() -> Self {
        Self(Role::ALL.into())
    }
}

impl Roles {
    /// Whether this part of the work is done here.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether somebody can build what an instance with these settings evaluates.
    ///
    /// # Errors
    /// When nobody can.
    pub fn fit(&self, config: &Config) -> Result<(), Unfit> {
        if !self.has(Role::Evaluate) || self.has(Role::Build) {
            return Ok(());
        }
        if config.store.url.reveal().starts_with("sqlite:") {
            return Err(Unfit::Alone);
        }
        match config.nix.instance_store {
            Some(_) => Ok(()),
            None => Err(Unfit::NothingLent),
        }
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|it| it.name()).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Roles {
    type Err = NotRoles;

    fn from_str(text: &str) -> Result<Self, NotRoles> {
        let named = |word: &str| {
            let found = Role::ALL.into_iter().find(|it| it.name() == word.trim());
            found.ok_or_else(|| NotRoles::Unknown(word.chars().take(40).collect()))
        };
        Ok(Self(text.split(',').map(named).collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_and_whatever_is_none_is_refused() {
        assert_eq!("report, intake".parse::<Roles>().unwrap().to_string(), "intake,report");
        assert_eq!(Roles::default().to_string(), "intake,evaluate,build,report,recover");
        for text in ["", "intake,", "intake;report", "Intake", "all"] {
            assert!(matches!(text.parse::<Roles>(), Err(NotRoles::Unknown(_))), "{text}");
        }
    }
}
