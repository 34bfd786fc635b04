//! Whether GitHub knows the App, and whether it may and hears what the code needs.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::doctor::Finding;
use crate::config;
use crate::domain::Timestamp;
use crate::github::client::{AppFacts, Clock, Github, GithubError, InstallationFacts};
use crate::github::{EVENTS, PERMISSIONS, UPDATE_PERMISSIONS};

/// Beyond this GitHub begins to refuse what we sign.
const CLOCK_LIMIT_MS: u64 = 30_000;

/// Asks GitHub about the App and where it is installed.
pub(super) async fn look(settings: &config::Github, keys: &[PathBuf]) -> Vec<Finding> {
    let github = match Github::new(settings, clock()) {
        Ok(github) => github,
        Err(error) => return vec![Finding::Mend(error.to_string())],
    };
    let app = match github.app().await {
        Ok(app) => app,
        Err(error) => {
            return vec![Finding::Mend(format!(
                "{error} (asked {}); check `github.app_id`, the key and the network",
                settings.api_url
            ))];
        }
    };
    let mut findings = judge_app(&app);
    if keys.len() > 1 {
        let judge =
            |(file, answer): (&PathBuf, _)| judge_key("github.private_key_files", file, answer);
        findings.extend(keys.iter().zip(github.try_keys().await).map(judge));
    }
    match github.installations().await {
        Ok(found) => {
            findings.extend(judge_installations(&found, &settings.owners, &app.slug));
            if settings.updater.is_none() {
                findings.extend(judge_updates(&found, &settings.owners));
            }
        }
        Err(error) => findings.push(Finding::Mend(format!("installations: {error}"))),
    }
    findings
}

pub(super) fn clock() -> Clock {
    Arc::new(|| Timestamp(jiff::Timestamp::now().as_millisecond()))
}

/// A key that is being replaced is no mistake, but it should not stay in its list.
pub(super) fn judge_key(list: &str, file: &Path, answer: Result<(), GithubError>) -> Finding {
    let file = file.display();
    match answer {
        Ok(()) => Finding::Good(format!("{file}: GitHub accepts this key")),
        Err(GithubError::Unauthenticated { .. }) => Finding::Note(format!(
            "{file}: GitHub does not accept this key; take it out of `{list}`, or add it on the \
             App's page"
        )),
        Err(error) => Finding::Mend(format!("{file}: {error}")),
    }
}

fn judge_app(app: &AppFacts) -> Vec<Finding> {
    let mut findings = vec![Finding::Good(format!("answers, the App is \"{}\"", app.name))];
    let seconds = app.clock_offset_ms / 1000;
    findings.push(if app.clock_offset_ms.unsigned_abs() > CLOCK_LIMIT_MS {
        Finding::Mend(format!(
            "this machine's clock is {seconds} s away from GitHub's; let NTP set it, or GitHub \
             will refuse every call"
        ))
    } else {
        Finding::Good("the clock is GitHub's".to_owned())
    });
    let missing = missing_permissions(&app.permissions);
    findings.push(if missing.is_empty() {
        Finding::Good("the App has every permission it needs".to_owned())
    } else {
        Finding::Mend(format!(
            "the App lacks {}; give them on its page under \"Permissions & events\"",
            missing.join(", ")
        ))
    });
    let unheard: Vec<&str> =
        EVENTS.into_iter().filter(|event| !app.events.iter().any(|it| it == event)).collect();
    findings.push(if unheard.is_empty() {
        Finding::Good("the App hears every event it needs".to_owned())
    } else {
        Finding::Mend(format!(
            "the App does not hear {}; tick them on its page under \"Permissions & events\"",
            unheard.join(", ")
        ))
    });
    findings
}

fn judge_installations(found: &[InstallationFacts], owners: &[String], slug: &str) -> Vec<Finding> {
    let of = |owner: &String| found.iter().find(|it| it.account.eq_ignore_ascii_case(owner));
    owners
        .iter()
        .map(|owner| match of(owner) {
            None => Finding::Mend(format!(
                "{owner}: the App is not installed there; install it from its page (/apps/{slug}), \
                 or take the name out of `github.owners`"
            )),
            Some(it) if it.suspended => Finding::Mend(format!(
                "{owner}: the installation is suspended; unsuspend it in the account's settings"
            )),
            Some(it) => match missing_permissions(&it.permissions).as_slice() {
                [] => Finding::Good(format!("{owner}: installed")),
                missing => Finding::Mend(format!(
                    "{owner}: has not accepted {}; an owner of the account accepts them in its \
                     settings under \"Installed GitHub Apps\"",
                    missing.join(", ")
                )),
            },
        })
        .collect()
}

/// Updates are nobody's duty: a house that wants none is well without.
pub(super) fn judge_updates(found: &[InstallationFacts], owners: &[String]) -> Vec<Finding> {
    let judge = |owner: &String| {
        let it = found.iter().find(|it| it.account.eq_ignore_ascii_case(owner))?;
        Some(match lacks(UPDATE_PERMISSIONS, &it.permissions).as_slice() {
            [] => Finding::Good(format!("{owner}: update pull requests can be written")),
            missing => Finding::Note(format!(
                "{owner}: no update pull requests: the App lacks {}; give it these or a second App \
                 (deploy/app-manifest-updater.json), if you want them",
                missing.join(", ")
            )),
        })
    };
    owners.iter().filter_map(judge).collect()
}

/// `checks: write`, for each that is not given or only for reading.
fn missing_permissions(given: &BTreeMap<String, String>) -> Vec<String> {
    lacks(&PERMISSIONS.concat(), given)
}

/// The same of any permissions.
pub(super) fn lacks(needed: &[(&str, &str)], given: &BTreeMap<String, String>) -> Vec<String> {
    let needed: BTreeMap<&str, &str> = needed.iter().copied().collect();
    needed
        .into_iter()
        .filter(|(name, level)| match given.get(*name).map(String::as_str) {
            Some("admin" | "write") => false,
            Some(given) => given != *level,
            None => true,
        })
        .map(|(name, level)| format!("{name}: {level}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::InstallationId;

    fn permissions() -> BTreeMap<String, String> {
        let all = PERMISSIONS.into_iter().flatten();
        all.map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
    }

    fn app() -> AppFacts {
        AppFacts {
            slug: "fleet".into(),
            name: "Fleet".into(),
            permissions: permissions(),
            events: EVENTS.map(str::to_owned).into(),
            clock_offset_ms: -400,
        }
    }

    fn mends(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .filter_map(|it| match it {
                Finding::Mend(said) => Some(said.as_str()),
                Finding::Good(_) | Finding::Note(_) => None,
            })
            .collect()
    }

    #[test]
    fn an_app_made_from_the_manifest_is_well() {
        assert_eq!(mends(&judge_app(&app())), Vec::<&str>::new());
    }

    #[test]
    fn what_the_app_lacks_is_named() {
        let mut app = app();
        app.permissions.insert("checks".into(), "read".into());
        app.permissions.remove("contents");
        app.events.retain(|it| it != "push");
        app.clock_offset_ms = 3_600_000;
        let findings = judge_app(&app);
        let mends = mends(&findings).join("\n");
        assert!(mends.contains("lacks checks: write, contents: read;"), "{mends}");
        assert!(mends.contains("does not hear push;"), "{mends}");
        assert!(mends.contains("3600 s away"), "{mends}");
    }

    #[test]
    fn an_owner_without_a_working_installation_is_named() {
        let installation = |account: &str, suspended| InstallationFacts {
            id: InstallationId(1),
            account: account.into(),
            suspended,
            permissions: permissions(),
            events: vec![],
        };
        let mut old = installation("old", false);
        old.permissions.remove("statuses");
        let found = [installation("Acme", false), installation("asleep", true), old];
        let owners = ["acme", "asleep", "old", "gone"].map(str::to_owned);
        let findings = judge_installations(&found, &owners, "fleet");
        assert_eq!(findings[0], Finding::Good("acme: installed".into()));
        assert_eq!(mends(&findings).len(), 3, "{findings:?}");
        assert!(mends(&findings)[1].contains("statuses: write"), "{findings:?}");
    }
}
