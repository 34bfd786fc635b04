//! Pull requests merged: by whoever may, or by GitHub itself once nothing is missing.
use serde_json::{Value, json};

use super::answer::Answer;
use super::pulls::{Pull, Standing, change};
use super::refs::{self, tip, try_git};
use super::state::State;
use super::{FakeGitHub, RepoHandle, World};

fn refused(message: &str) -> Answer {
    Answer::refused(405, message)
}

/// `PUT /pulls/{number}/merge`.
pub(super) fn merge(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    (number, body): (i64, &Value),
) -> Answer {
    let Some(pull) = state.pulls.iter().find(|it| it.is(id, number)).cloned() else {
        return Answer::not_found();
    };
    let settings = &state.repository(id).settings;
    let way = body["merge_method"].as_str().unwrap_or("merge");
    if pull.standing != Standing::Open {
        return refused("Pull Request is not mergeable");
    }
    if !settings.ways.contains(&way) {
        let named = if way == "merge" { "Merge" } else { way };
        return refused(&format!("{named} commits are not allowed on this repository."));
    }
    if body["sha"].as_str().is_some_and(|it| it != pull.head) {
        let said = "Head branch was modified. Review and try the merge again.";
        return Answer::refused(409, said);
    }
    if let Some(missing) = &settings.missing {
        return refused(missing);
    }
    match make(world, state, (id, by), (&pull, way)) {
        Ok(sha) => {
            let said = "Pull Request successfully merged";
            Answer::new(200, json!({ "sha": sha, "merged": true, "message": said }))
        }
        Err(_) => refused("Pull Request is not mergeable"),
    }
}

/// Makes the commit on the base branch and has everybody told.
fn make(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    (pull, way): (&Pull, &str),
) -> Result<String, String> {
    let directory = refs::directory(world, state, id);
    let name = format!("refs/heads/{}", pull.base_branch);
    let base = tip(&directory, &name).ok_or("the base is gone")?;
    let tree = try_git(&directory, &["merge-tree", "--write-tree", &base, &pull.head], "")?;
    let message = match way {
        "merge" => format!("Merge pull request #{} from {}", pull.number, pull.branch),
        _ => format!("{} (#{})", pull.title, pull.number),
    };
    let mut arguments = vec!["commit-tree", &tree, "-p", &base];
    if way == "merge" {
        arguments.extend(["-p", &pull.head]);
    }
    let made = try_git(&directory, &arguments, &message)?;
    refs::set(world, state, (id, by), (&name, Some(&base), Some(&made)))?;
    change(state, (id, by), (pull.number, "closed", world.now()), |pull| {
        pull.standing = Standing::Merged;
        pull.auto_merge = None;
    });
    if state.repository(id).settings.deletes_merged_branches {
        let name = format!("refs/heads/{}", pull.branch);
        refs::set(world, state, (id, by), (&name, Some(&pull.head), None))?;
    }
    Ok(made)
}

/// `enablePullRequestAutoMerge`.
pub(super) fn enable_auto(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    input: &Value,
) -> Answer {
    let node = input["pullRequestId"].as_str().unwrap_or_default();
    let number = node.rsplit('_').next().and_then(|it| it.parse().ok()).unwrap_or(0);
    let Some(pull) = state.pulls.iter().find(|it| it.is(id, number)).cloned() else {
        return Answer::not_found();
    };
    let refused = |said: &str| Answer::refused(422, &format!("Pull request {said}"));
    let settings = &mut state.repository_mut(id).settings;
    let way = input["mergeMethod"].as_str().unwrap_or("MERGE");
    if !settings.allows_auto_merge {
        return refused("Auto merge is not allowed for this repository");
    }
    if !settings.ways.contains(&way.to_lowercase().as_str()) {
        return refused("Merge method merge commits are not allowed on this repository");
    }
    if pull.standing != Standing::Open {
        return refused("Pull request is closed");
    }
    if input["expectedHeadOid"].as_str().is_some_and(|it| it != pull.head) {
        return refused("Head sha was modified");
    }
    if settings.unstable > 0 {
        settings.unstable -= 1;
        return refused("Pull request is in unstable status");
    }
    if settings.missing.is_none() {
        return refused("Pull request is in clean status");
    }
    change(state, (id, by), (number, "auto_merge_enabled", world.now()), |pull| {
        pull.auto_merge = Some(way.to_owned());
    });
    Answer::new(200, json!({ "pullRequest": { "id": node } }))
}

impl FakeGitHub {
    /// Nothing that is required is missing any more: GitHub merges what it was told to.
    pub async fn satisfy(&self, repo: &RepoHandle) {
        {
            let mut state = self.world.state();
            state.repository_mut(repo.id).settings.missing = None;
            let due: Vec<Pull> =
                state.pulls.iter().filter(|it| it.repository == repo.id).cloned().collect();
            for pull in due {
                let Some(way) = &pull.auto_merge else { continue };
                let by = pull.by.clone().unwrap_or_default();
                let way = way.to_lowercase();
                make(&self.world, &mut state, (repo.id, &by), (&pull, &way)).unwrap();
            }
        }
        self.world.send_due().await;
    }
}
