//! Repositories, installations and the tokens to them.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::answer::Answer;
use super::state::{Installation, Repository, State, Token};
use super::updates::Settings;
use super::{APP_ID, FakeGitHub, World};

/// What the App was granted wherever it is installed.
const GRANTED: [(&str, &str); 7] = [
    ("checks", "write"),
    ("contents", "read"),
    ("issues", "write"),
    ("merge_queues", "read"),
    ("metadata", "read"),
    ("pull_requests", "read"),
    ("statuses", "write"),
];

/// A repository of the fake's, with real git behind it.
#[derive(Clone, Debug)]
pub struct RepoHandle {
    pub id: i64,
    pub owner: String,
    pub name: String,
    pub installation: i64,
    /// The bare repository.
    pub git: PathBuf,
}

pub(super) fn granted(state: &State) -> BTreeMap<String, String> {
    let withheld = |it: &str| state.withheld.contains(it);
    let always = GRANTED.iter().map(|(it, level)| ((*it).to_owned(), (*level).to_owned()));
    let mut granted: BTreeMap<String, String> = always.collect();
    granted.extend(state.grants.clone());
    granted.retain(|permission, _| !withheld(permission));
    granted
}

/// `POST /app/installations/{id}/access_tokens`.
pub(super) fn mint(
    state: &mut State,
    app: u64,
    (installation, body): (&str, &Value),
    now: i64,
) -> Answer {
    let id = installation.parse().unwrap_or(0);
    match state.installation(id).filter(|it| it.app == app) {
        None => return Answer::not_found(),
        Some(it) if it.is_suspended => {
            return Answer::refused(403, "This installation has been suspended");
        }
        Some(_) => {}
    }
    let granted = state.granted_to(app);
    let asked: BTreeMap<String, String> =
        serde_json::from_value(body["permissions"].clone()).unwrap_or_else(|_| granted.clone());
    let allowed = |(permission, level): (&String, &String)| {
        granted.get(permission).is_some_and(|it| it == level || it == "write")
    };
    if !asked.iter().all(allowed) {
        let text = "The permissions requested are not granted to this installation.";
        return Answer::refused(422, text);
    }
    let repositories: Option<Vec<i64>> =
        serde_json::from_value(body["repository_ids"].clone()).ok();
    let ours =
        |wanted: &i64| state.repositories.iter().any(|it| it.id == *wanted && it.is_reached_by(id));
    if repositories.as_ref().is_some_and(|ids| !ids.iter().all(ours)) {
        return Answer::refused(
            422,
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        );
    }
    let token = new_token();
    let expires_at = now + 3_600_000;
    let at = jiff::Timestamp::from_second(expires_at / 1000).unwrap();
    let answer = Answer::new(
        201,
        serde_json::json!({ "token": token, "expires_at": at.to_string(), "permissions": asked }),
    );
    state
        .tokens
        .insert(token, Token { installation: id, repositories, permissions: asked, expires_at });
    answer
}

/// Of GitHub's newer form: about 520 characters, with dots and dashes.
fn new_token() -> String {
    let part = || uuid::Uuid::now_v7().to_string();
    let parts: Vec<String> = (0..13).map(|_| part()).collect();
    format!("ghs_{APP_ID}_{}", parts.join("."))
}

pub(super) async fn has_commit(world: &World, repository: i64, sha: &str) -> bool {
    let git = {
        let state = world.state();
        let repository = state.repository(repository);
        if repository.commits.contains(sha) {
            return true;
        }
        path(&world.root, &repository.owner, &repository.name)
    };
    let status = tokio::process::Command::new("git")
        .arg("-C")
        .arg(git)
        .args(["cat-file", "-e", &format!("{sha}^{{commit}}")])
        .stderr(Stdio::null())
        .status()
        .await;
    let is_there = status.unwrap().success();
    if is_there {
        world.state().repository_mut(repository).commits.insert(sha.to_owned());
    }
    is_there
}

pub(super) fn path(root: &Path, owner: &str, name: &str) -> PathBuf {
    root.join(owner).join(format!("{name}.git"))
}

pub(super) fn git(directory: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl RepoHandle {
    /// Commits files on top of a branch, or as its first commit, and gives the commit's hash.
    pub fn commit(&self, branch: &str, message: &str, files: &[(&str, &str)]) -> String {
        let tip = self.head(branch);
        self.commit_onto(tip.as_deref(), branch, message, files)
    }

    /// The same onto any commit, as a force push leaves it.
    pub fn commit_onto(
        &self,
        parent: Option<&str>,
        branch: &str,
        message: &str,
        files: &[(&str, &str)],
    ) -> String {
        self.import(parent, branch, (message, jiff::Timestamp::now().as_second()), files)
    }

    /// Commits files on top of a branch, this many days ago.
    pub fn commit_ago(&self, days: i64, branch: &str, files: &[(&str, &str)]) -> String {
        let at = jiff::Timestamp::now().as_second() - days * 86_400;
        self.import(self.head(branch).as_deref(), branch, ("an old change", at), files)
    }

    fn import(
        &self,
        parent: Option<&str>,
        branch: &str,
        (message, at): (&str, i64),
        files: &[(&str, &str)],
    ) -> String {
        let mut script = format!(
            "commit refs/heads/{branch}\ncommitter fleetcheck <fleetcheck@example.org> {at} +0000\ndata {}\n{message}\n",
            message.len()
        );
        // Without this line fast-import would take the branch's own tip; with zeros, none.
        let nothing = "0".repeat(40);
        let _ = writeln!(script, "from {}", parent.unwrap_or(&nothing));
        for (name, content) in files {
            let _ = writeln!(script, "M 100644 inline {name}\ndata {}\n{content}", content.len());
        }
        git(&self.git, &["fast-import", "--quiet", "--force"], script.as_bytes());
        self.head(branch).unwrap()
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.git
    }

    /// The commit of a branch.
    pub fn head(&self, branch: &str) -> Option<String> {
        let name = format!("refs/heads/{branch}");
        let found = git(&self.git, &["for-each-ref", "--format=%(objectname)", &name], b"");
        (!found.is_empty()).then_some(found)
    }
}

impl FakeGitHub {
    /// A repository in which the App is installed; the account's installation is made with its
    /// first repository.
    pub fn create_repository(&self, owner: &str, name: &str, is_private: bool) -> RepoHandle {
        let directory = path(&self.world.root, owner, name);
        std::fs::create_dir_all(&directory).unwrap();
        git(&directory, &["init", "--quiet", "--bare", "--initial-branch=main"], b"");
        for key in ["uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"] {
            git(&directory, &["config", key, "true"], b"");
        }
        let now = self.world.now();
        let mut state = self.world.state();
        let ours = |it: &&Installation| it.account == owner && it.app == APP_ID;
        let known = state.installations.iter().find(ours).map(|it| it.id);
        let installation = known.unwrap_or_else(|| {
            let id = state.next_id();
            let account = owner.to_owned();
            state.installations.push(Installation {
                id,
                app: APP_ID,
                account,
                is_suspended: false,
                calls_left: 5000,
            });
            id
        });
        let id = state.next_id();
        state.repositories.push(Repository {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            is_private,
            installation,
            second: None,
            former: Vec::new(),
            is_deleted: false,
            is_archived: false,
            pushed_at: now,
            updated_at: now,
            branches: BTreeMap::new(),
            commits: BTreeSet::new(),
            settings: Settings::default(),
        });
        RepoHandle { id, owner: owner.into(), name: name.into(), installation, git: directory }
    }

    /// A commit that is taken for one of the repository's without being there.
    pub fn believe(&self, repo: &RepoHandle, sha: &str) {
        self.world.state().repository_mut(repo.id).commits.insert(sha.to_owned());
    }

    /// The repository gets another name; calls for the old one are redirected.
    pub fn rename(&self, repo: &mut RepoHandle, name: &str) {
        let to = path(&self.world.root, &repo.owner, name);
        std::fs::rename(&repo.git, &to).unwrap();
        let mut state = self.world.state();
        let repository = state.repository_mut(repo.id);
        repository.former.push(std::mem::replace(&mut repository.name, name.to_owned()));
        repo.git = to;
        name.clone_into(&mut repo.name);
    }

    /// The repository is gone: 404 for everything.
    pub fn delete_repository(&self, repo: &RepoHandle) {
        self.world.state().repository_mut(repo.id).is_deleted = true;
    }

    /// The owner suspends the App; tokens stop working at once. Nobody is told: deliver that too.
    pub fn suspend(&self, installation: i64) {
        self.set_suspended(installation, true);
    }

    pub fn unsuspend(&self, installation: i64) {
        self.set_suspended(installation, false);
    }

    fn set_suspended(&self, installation: i64, is_suspended: bool) {
        let mut state = self.world.state();
        let found = state.installations.iter_mut().find(|it| it.id == installation);
        found.unwrap().is_suspended = is_suspended;
    }
}
