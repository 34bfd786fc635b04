//! What people do to the world: they press buttons and write comments.
use super::World;
use super::github::{FakeGitHub, From};

impl World {
    /// Somebody presses "Re-run" next to the newest check of this name.
    pub async fn rerun(&self, sha: &str, name: &str) {
        let check = self.check(sha, name);
        assert_eq!(self.github.press_rerun(&self.repo, &check).await, Some(202), "{}", self.log());
    }

    /// Somebody presses "Re-run all checks" at this second.
    pub async fn rerun_all(&self, sha: &str, at: i64) {
        let status = self.github.press_rerun_all(&self.repo, sha, at).await;
        assert_eq!(status, Some(202), "{}", self.log());
    }

    /// Somebody presses a button of ours on the newest check of this name.
    pub async fn press(&self, sha: &str, name: &str, identifier: &str, login: &str) {
        let check = self.check(sha, name);
        let status = self.github.press_button(&self.repo, &check, identifier, login).await;
        assert_eq!(status, Some(202), "{}", self.log());
    }

    /// Waits until a comment has these reactions.
    pub async fn answered(&self, comment: i64, reactions: &[&str]) {
        let what = format!("the comment has {reactions:?}");
        self.wait(&what, |github| github.reactions(comment) == reactions).await;
    }

    /// A fork's pull request 7 with this commit, parked.
    pub async fn parked(&self, sha: &str) {
        self.pull_request("opened", 7, sha, From::Fork).await;
        self.concluded(sha, "fleet", "action_required").await;
    }

    /// Waits until the newest check of this name has this text in its summary.
    pub async fn says(&self, sha: &str, name: &str, text: &str) {
        let shown = |github: &FakeGitHub| {
            github.check_run(self.repo.id, sha, name).is_some_and(|it| it.summary.contains(text))
        };
        self.wait(&format!("{name} says {text}"), shown).await;
    }

    /// The conclusions of all check runs of this name, the oldest first.
    pub fn conclusions(&self, sha: &str, name: &str) -> Vec<String> {
        let all = self.github.all_check_runs(self.repo.id, sha);
        let of_name = all.into_iter().filter(|it| it.name == name);
        of_name.map(|it| it.conclusion.unwrap_or(it.status)).collect()
    }

    /// The newest run's build of this host, as the service's API has it.
    pub async fn build_of(&self, sha: &str, host: &str) -> serde_json::Value {
        let (owner, name) = (&self.repo.owner, &self.repo.name);
        let url = self.url(&format!("/api/v1/runs?repo={owner}/{name}&sha={sha}"));
        let runs: serde_json::Value = serde_json::from_str(&self.get(&url).await.1).unwrap();
        let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
        let url = self.url(&format!("/api/v1/runs/{run}"));
        let run: serde_json::Value = serde_json::from_str(&self.get(&url).await.1).unwrap();
        let builds = run["builds"].as_array().unwrap().clone();
        builds.into_iter().find(|it| it["name"] == host).unwrap()
    }
}
