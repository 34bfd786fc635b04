//! The Apps: what each was granted, where each is installed, under what name each writes.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::Answer;
use super::repository;
use super::route::{Named, Route};
use super::state::{Installation, State};
use super::{APP_ID, EVENTS, FakeGitHub, RepoHandle, SECOND_APP_ID, World};

/// What writing updates needs, besides reading metadata.
const WRITES: [&str; 3] = ["contents", "issues", "pull_requests"];

/// An App for updates alone.
#[derive(Clone, Debug)]
pub(super) struct Second {
    pub(super) granted: BTreeMap<String, String>,
}

/// An account that does something: a bot by its name's end.
pub(super) fn bot(login: &str) -> Value {
    let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
    json!({ "login": login, "id": 4_712, "type": kind, "site_admin": false })
}

impl State {
    pub(super) fn granted_to(&self, app: u64) -> BTreeMap<String, String> {
        match &self.second {
            Some(second) if app == SECOND_APP_ID => second.granted.clone(),
            Some(_) | None => repository::granted(self),
        }
    }

    /// Under what name an installation writes.
    pub(super) fn bot(&self, installation: i64) -> String {
        let app = self.installation(installation).map_or(APP_ID, |it| it.app);
        format!("{}[bot]", slug(app))
    }
}

/// The App that writes under this name.
pub(super) fn app_called(bot: &str) -> u64 {
    let is_it = |app: &u64| bot.strip_suffix("[bot]") == Some(slug(*app));
    [APP_ID, SECOND_APP_ID].into_iter().find(is_it).unwrap()
}

fn slug(app: u64) -> &'static str {
    if app == SECOND_APP_ID { "fleetcheck-updater" } else { "fleetcheck" }
}

fn events(app: u64) -> &'static [&'static str] {
    if app == SECOND_APP_ID { &[] } else { &EVENTS }
}

/// `GET /app`.
pub(super) fn app(state: &State, app: u64) -> Value {
    json!({
        "id": app,
        "slug": slug(app),
        "name": slug(app),
        "permissions": state.granted_to(app),
        "events": events(app),
    })
}

/// `GET /app/installations`.
pub(super) fn installations(state: &State, app: u64) -> Value {
    let permissions = state.granted_to(app);
    let all = state.installations.iter().filter(|it| it.app == app).map(|it| {
        json!({
            "id": it.id,
            "account": { "login": it.account },
            "suspended_at": it.is_suspended.then_some("2026-11-01T00:00:00Z"),
            "permissions": permissions,
            "events": events(app),
        })
    });
    all.collect()
}

/// `GET /repos/{owner}/{repo}/installation`.
pub(super) fn installation(world: &World, state: &State, app: u64, route: &Route) -> Answer {
    let found = state.repositories.iter().find(|it| match &route.repository {
        Some(Named::By(owner, name)) => it.is(owner, name) || it.was(owner, name),
        Some(Named::Id(id)) => it.id == *id,
        None => false,
    });
    let Some(repository) = found.filter(|it| !it.is_deleted) else { return Answer::not_found() };
    if let Some(Named::By(owner, name)) = &route.repository
        && !repository.is(owner, name)
    {
        let to = format!("{}/repositories/{}/installation", world.api_url(), repository.id);
        return Answer::refused(301, "Moved Permanently").with("location", to);
    }
    let id = if app == SECOND_APP_ID { repository.second } else { Some(repository.installation) };
    match id.and_then(|it| state.installation(it)) {
        Some(it) => Answer::new(200, json!({ "id": it.id, "app_id": app, "app_slug": slug(app) })),
        None => Answer::not_found(),
    }
}

impl FakeGitHub {
    /// The App's owner grants it a permission besides those that it always has.
    pub fn grant(&self, permission: &str, level: &str) {
        self.world.state().grants.insert(permission.to_owned(), level.to_owned());
    }

    /// The App may write updates.
    pub fn grant_updates(&self) {
        for permission in WRITES {
            self.grant(permission, "write");
        }
    }

    /// A second App, for updates alone ([`SECOND_APP_ID`]), exists and is installed in this
    /// repository's account, for this repository; the installation.
    pub fn install_second_app(&self, repo: &RepoHandle) -> i64 {
        let mut state = self.world.state();
        state.second.get_or_insert_with(|| {
            let writes = WRITES.map(|it| (it.to_owned(), "write".to_owned()));
            let mut granted = BTreeMap::from(writes);
            granted.insert("metadata".to_owned(), "read".to_owned());
            Second { granted }
        });
        let of = |it: &&Installation| it.app == SECOND_APP_ID && it.account == repo.owner;
        let known = state.installations.iter().find(of).map(|it| it.id);
        let id = known.unwrap_or_else(|| {
            let id = state.next_id();
            let account = repo.owner.clone();
            state.installations.push(Installation {
                id,
                app: SECOND_APP_ID,
                account,
                is_suspended: false,
                calls_left: 5000,
            });
            id
        });
        state.repository_mut(repo.id).second = Some(id);
        id
    }

    /// The second App loses a permission.
    pub fn withhold_from_second(&self, permission: &str) {
        self.world.state().second.as_mut().unwrap().granted.remove(permission);
    }
}
