//! Who may do what in a repository.
use serde_json::json;

use super::answer::Answer;
use super::state::State;
use super::{FakeGitHub, RepoHandle};

/// `GET /collaborators/{username}/permission`. Who was given nothing may read what is public, and
/// is not known in a private repository.
pub(super) fn permission(state: &State, repository: i64, login: &str) -> Answer {
    let login = login.replace("%5B", "[").replace("%5D", "]");
    let given = state.permissions.get(&(repository, login.to_lowercase()));
    let permission = match given {
        Some(given) => given.as_str(),
        None if state.repository(repository).is_private => return Answer::not_found(),
        None => "read",
    };
    Answer::new(
        200,
        json!({
            "permission": permission,
            "role_name": permission,
            "user": { "login": login, "id": 1, "type": "User" },
        }),
    )
}

impl FakeGitHub {
    /// An account may do this from now on: `admin`, `write`, `read` or `none`.
    pub fn set_permission(&self, repo: &RepoHandle, login: &str, permission: &str) {
        let key = (repo.id, login.to_lowercase());
        self.world.state().permissions.insert(key, permission.to_owned());
    }
}
