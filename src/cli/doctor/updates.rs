//! Whether the App of updates works, where the settings name one.
use std::path::PathBuf;

use crate::cli::doctor::Finding;
use crate::cli::doctor::github::{clock, judge_key, lacks};
use crate::config;
use crate::github::UPDATE_PERMISSIONS;
use crate::github::client::{AppFacts, Github, GithubError, InstallationFacts};

/// Asks GitHub about the App of updates and where it is installed.
pub(super) async fn look(app: &config::UpdaterApp, settings: &config::Github) -> Vec<Finding> {
    let github = match Github::for_updates(app, settings, clock()) {
        Ok(github) => github,
        Err(error) => return vec![Finding::Mend(error.to_string())],
    };
    let facts = match github.app().await {
        Ok(facts) => facts,
        Err(error) => {
            return vec![Finding::Mend(format!(
                "{error} (asked {}); check `github.updater_app_id`, its key and the network",
                settings.api_url
            ))];
        }
    };
    let mut findings = judge_app(&facts);
    if app.files.len() > 1 {
        let judge = |(file, answer): (&PathBuf, _)| {
            judge_key("github.updater_private_key_files", file, answer)
        };
        findings.extend(app.files.iter().zip(github.try_keys().await).map(judge));
    }
    match github.installations().await {
        Ok(found) => findings.extend(judge_installations(&found, &settings.owners, &facts.slug)),
        Err(error) => findings.push(unlisted(&error)),
    }
    findings
}

fn unlisted(error: &GithubError) -> Finding {
    Finding::Mend(format!("installations of the App of updates: {error}"))
}

fn judge_app(app: &AppFacts) -> Vec<Finding> {
    let answers = Finding::Good(format!("answers, the App of updates is \"{}\"", app.name));
    let may = match lacks(UPDATE_PERMISSIONS, &app.permissions).as_slice() {
        [] => Finding::Good("the App of updates has every permission it needs".to_owned()),
        missing => Finding::Mend(format!(
            "the App of updates lacks {}; give them on its page under \"Permissions & events\"",
            missing.join(", ")
        )),
    };
    vec![answers, may]
}

fn judge_installations(found: &[InstallationFacts], owners: &[String], slug: &str) -> Vec<Finding> {
    let of = |owner: &String| found.iter().find(|it| it.account.eq_ignore_ascii_case(owner));
    let judge = |owner: &String| match of(owner) {
        None => Finding::Mend(format!(
            "{owner}: no update pull requests: the App of updates is not installed there; install \
             it from its page (/apps/{slug})"
        )),
        Some(it) if it.suspended => Finding::Mend(format!(
            "{owner}: no update pull requests: the installation of the App of updates is \
             suspended; unsuspend it in the account's settings"
        )),
        Some(it) => match lacks(UPDATE_PERMISSIONS, &it.permissions).as_slice() {
            [] => Finding::Good(format!("{owner}: update pull requests can be written")),
            missing => Finding::Mend(format!(
                "{owner}: no update pull requests: has not accepted {}; an owner of the account \
                 accepts them in its settings under \"Installed GitHub Apps\"",
                missing.join(", ")
            )),
        },
    };
    owners.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::doctor::github::judge_updates;
    use crate::domain::id::InstallationId;

    fn installation(account: &str, contents: &str) -> InstallationFacts {
        let given = UPDATE_PERMISSIONS.iter().map(|(it, level)| ((*it).into(), (*level).into()));
        let mut permissions: BTreeMap<String, String> = given.collect();
        permissions.insert("contents".into(), contents.into());
        InstallationFacts {
            id: InstallationId(1),
            account: account.into(),
            suspended: account == "asleep",
            permissions,
            events: vec![],
        }
    }

    fn said(findings: &[Finding]) -> String {
        let line = |it: &Finding| match it {
            Finding::Good(said) => format!("ok    {said}"),
            Finding::Note(said) => format!("note  {said}"),
            Finding::Mend(said) => format!("mend  {said}"),
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_app_that_reports_need_not_write_and_one_for_updates_must() {
        let found = ["Acme", "old", "asleep"]
            .map(|it| installation(it, if it == "old" { "read" } else { "write" }));
        let owners = ["acme", "old", "asleep", "gone"].map(str::to_owned);
        insta::assert_snapshot!(said(&judge_updates(&found, &owners[..2])), @r"
        ok    acme: update pull requests can be written
        note  old: no update pull requests: the App lacks contents: write; give it these or a second App (deploy/app-manifest-updater.json), if you want them
        ");
        insta::assert_snapshot!(said(&judge_installations(&found, &owners, "fleet-up")), @r#"
        ok    acme: update pull requests can be written
        mend  old: no update pull requests: has not accepted contents: write; an owner of the account accepts them in its settings under "Installed GitHub Apps"
        mend  asleep: no update pull requests: the installation of the App of updates is suspended; unsuspend it in the account's settings
        mend  gone: no update pull requests: the App of updates is not installed there; install it from its page (/apps/fleet-up)
        "#);
    }
}
