//! What GitHub says about the App and where it is installed; `doctor` compares it with what we need.
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::id::InstallationId;
use crate::github::client::{Github, GithubError, PER_PAGE, get};
use crate::github::error::clock_offset;

/// What GitHub says about the App itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFacts {
    pub slug: String,
    pub name: String,
    /// Permission to level: `checks` to `write`.
    pub permissions: BTreeMap<String, String>,
    pub events: Vec<String>,
    /// GitHub's clock minus ours, in milliseconds, exact to about a second.
    pub clock_offset_ms: i64,
}

/// The App in one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallationFacts {
    pub id: InstallationId,
    /// The account's login.
    pub account: String,
    pub suspended: bool,
    pub permissions: BTreeMap<String, String>,
    pub events: Vec<String>,
}

impl Github {
    /// What GitHub says about the App: permissions, events, and its clock.
    ///
    /// # Errors
    /// When GitHub does not know the App by this id and key, or does not answer.
    pub async fn app(&self) -> Result<AppFacts, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            slug: Option<String>,
            name: String,
            permissions: BTreeMap<String, String>,
            events: Vec<String>,
        }
        let answer = self.as_app(get("app", "look up the App", "/app".to_owned())).await?;
        let Wire { slug, name, permissions, events } = answer.read()?;
        let clock_offset_ms = clock_offset(&answer.headers, self.now()).unwrap_or(0);
        Ok(AppFacts { slug: slug.unwrap_or_default(), name, permissions, events, clock_offset_ms })
    }

    /// What GitHub says to each of the App's keys, in their order in the settings.
    pub async fn try_keys(&self) -> Vec<Result<(), GithubError>> {
        let mut answers = Vec::new();
        for key in 0..self.identity.keys() {
            let call = get("app", "look up the App", "/app".to_owned());
            answers.push(self.signed_with(key, &call).await.map(drop));
        }
        answers
    }

    /// The accounts in which the App is installed.
    ///
    /// # Errors
    /// As [`Github::app`].
    pub async fn installations(&self) -> Result<Vec<InstallationFacts>, GithubError> {
        #[derive(Deserialize)]
        struct Account {
            login: Option<String>,
            slug: Option<String>,
        }
        #[derive(Deserialize)]
        struct Wire {
            id: i64,
            account: Option<Account>,
            suspended_at: Option<String>,
            permissions: BTreeMap<String, String>,
            events: Vec<String>,
        }
        let mut all = Vec::new();
        for page in 1.. {
            let path = format!("/app/installations?per_page={PER_PAGE}&page={page}");
            let call = get("installations", "list the App's installations", path);
            let found: Vec<Wire> = self.as_app(call).await?.read()?;
            let full = found.len() >= PER_PAGE;
            all.extend(found.into_iter().map(|it| InstallationFacts {
                id: InstallationId(it.id),
                // An enterprise has a slug where accounts have a login.
                account: it.account.and_then(|it| it.login.or(it.slug)).unwrap_or_default(),
                suspended: it.suspended_at.is_some(),
                permissions: it.permissions,
                events: it.events,
            }));
            if !full {
                break;
            }
        }
        Ok(all)
    }
}
