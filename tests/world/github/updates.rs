//! What update pull requests need of a repository: which call does what, and its settings.
use serde_json::{Value, json};

use super::answer::Answer;
use super::route::Route;
use super::state::{Operation, State};
use super::{FakeGitHub, RepoHandle, World, issues, merging, payload, pulls, refs};

/// What a repository's owner has set.
#[derive(Clone, Debug)]
pub struct Settings {
    pub allows_auto_merge: bool,
    /// Of `merge`, `squash` and `rebase` those that are allowed.
    pub ways: Vec<&'static str>,
    /// What is required of a pull request and missing, in GitHub's words for a merge.
    pub missing: Option<String>,
    /// So often GitHub does not know yet how a pull request stands.
    pub unstable: usize,
    pub has_issues: bool,
    pub deletes_merged_branches: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allows_auto_merge: false,
            ways: vec!["merge", "squash", "rebase"],
            missing: None,
            unstable: 0,
            has_issues: true,
            deletes_merged_branches: false,
        }
    }
}

/// `GET /repos/{owner}/{repo}`: how it may be merged is told to whoever may write.
pub(super) fn repository(state: &State, id: i64, token: &str) -> Answer {
    let of = state.repository(id);
    let mut document = payload::repository(of);
    if state.tokens[token].may("contents", "write") {
        let allows = |way: &str| of.settings.ways.contains(&way);
        document["allow_merge_commit"] = json!(allows("merge"));
        document["allow_squash_merge"] = json!(allows("squash"));
        document["allow_rebase_merge"] = json!(allows("rebase"));
        document["allow_auto_merge"] = json!(of.settings.allows_auto_merge);
    }
    Answer::new(200, document)
}

/// Carries out a call that was admitted.
pub(super) fn act(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    route: &Route,
    (query, body): (&[(String, String)], &Value),
) -> Answer {
    let argument = route.argument.as_str();
    let number = argument.parse().unwrap_or(0);
    let who = (id, by);
    match route.operation {
        Operation::GetRef => refs::get(world, state, id, argument),
        Operation::CreateRef => refs::create(world, state, who, body),
        Operation::UpdateRef => refs::update(world, state, who, (argument, body)),
        Operation::DeleteRef => refs::delete(world, state, who, argument),
        Operation::Compare => refs::compare(world, state, id, (argument, query)),
        Operation::GetPull => pulls::get(state, id, number),
        Operation::CreatePull => pulls::create(world, state, who, body),
        Operation::EditPull => pulls::edit(world, state, who, (number, body)),
        Operation::PullFiles => pulls::files(world, state, (id, number), query),
        Operation::MergePull => merging::merge(world, state, who, (number, body)),
        Operation::RequestReviewers => pulls::request_reviews(world, state, who, (number, body)),
        Operation::ListIssues => issues::list(state, id, query),
        Operation::CreateIssue => issues::create(state, who, body),
        Operation::EditIssue => issues::edit(state, id, number, body),
        Operation::AddLabels => issues::label(world, state, who, (number, body)),
        Operation::CreateComment => issues::comment(state, who, (number, body)),
        other => panic!("{other:?} is no call of updates"),
    }
}

impl FakeGitHub {
    /// The repository's owner changes its settings.
    pub fn set_settings(&self, repo: &RepoHandle, change: impl FnOnce(&mut Settings)) {
        change(&mut self.world.state().repository_mut(repo.id).settings);
    }
}
