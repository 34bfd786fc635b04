//! The buttons of our own that stand on checks.
use crate::domain::page::Action;

/// What a button does when it is pressed by somebody with write access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Button {
    /// A fork's commit is evaluated and built, this one alone.
    Approve,
    /// A host's derivation is realised anew, whatever is known of it.
    Rebuild,
    /// Whatever of the run has not ended is stopped.
    Cancel,
}

impl Button {
    const ALL: [Self; 3] = [Self::Approve, Self::Rebuild, Self::Cancel];

    /// What GitHub keeps with the button and sends back: never changes.
    #[must_use]
    pub fn identifier(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Rebuild => "rebuild",
            Self::Cancel => "cancel",
        }
    }

    /// The button of this identifier; `None` of one that this version does not have.
    #[must_use]
    pub fn of(identifier: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.identifier() == identifier)
    }

    /// The button as a check has it.
    #[must_use]
    pub fn action(self) -> Action {
        let (label, description) = match self {
            Self::Approve => ("Approve and build", "Build this commit of a fork, only this"),
            Self::Rebuild => ("Rebuild from scratch", "Build again, whatever is known of it"),
            Self::Cancel => ("Cancel run", "Stop everything that still runs"),
        };
        Action {
            label: label.to_owned(),
            description: description.to_owned(),
            identifier: self.identifier().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_button_is_within_github_s_limits_and_found_again() {
        for button in Button::ALL {
            let Action { label, description, identifier } = button.action();
            assert!(label.chars().count() <= 20, "{label}");
            assert!(description.chars().count() <= 40, "{description}");
            assert!(identifier.chars().count() <= 20, "{identifier}");
            assert_eq!(Button::of(&identifier), Some(button));
        }
        assert_eq!(Button::of("launch"), None);
    }
}
