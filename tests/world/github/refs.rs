//! Branches written over the API, and the commits that GitHub makes itself.
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::Answer;
use super::payload::{self, Moved, NOTHING};
use super::pulls::Standing;
use super::repository;
use super::second::bot;
use super::state::State;
use super::{FakeGitHub, World};

/// What git prints, or says against it.
pub(super) fn try_git(directory: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|it| (it, "GitHub")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|it| (it, "noreply@github.com")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

pub(super) fn directory(world: &World, state: &State, id: i64) -> std::path::PathBuf {
    let of = state.repository(id);
    repository::path(&world.root, &of.owner, &of.name)
}

/// The commit of a branch, by the branch's full name.
pub(super) fn tip(directory: &Path, name: &str) -> Option<String> {
    try_git(directory, &["rev-parse", "--verify", "--quiet", name], "").ok()
}

pub(super) fn has(directory: &Path, sha: &str) -> bool {
    try_git(directory, &["cat-file", "-e", &format!("{sha}^{{commit}}")], "").is_ok()
}

fn document(id: i64, name: &str, sha: &str) -> Value {
    json!({
        "ref": name,
        "node_id": format!("REF_{id}_{name}"),
        "url": "https://api.github.invalid/git/refs",
        "object": { "type": "commit", "sha": sha, "url": "https://api.github.invalid/git/commits" },
    })
}

/// `GET /git/ref/{ref}`.
pub(super) fn get(world: &World, state: &State, id: i64, argument: &str) -> Answer {
    let directory = directory(world, state, id);
    let name = format!("refs/{argument}");
    match tip(&directory, &name) {
        Some(sha) => Answer::new(200, document(id, &name, &sha)),
        None if try_git(&directory, &["for-each-ref"], "").unwrap().is_empty() => {
            Answer::refused(409, "Git Repository is empty.")
        }
        None => Answer::not_found(),
    }
}

/// `POST /git/refs`.
pub(super) fn create(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    body: &Value,
) -> Answer {
    let (name, sha) = (body["ref"].as_str().unwrap(), body["sha"].as_str().unwrap());
    let directory = directory(world, state, id);
    if !name.starts_with("refs/heads/") {
        return Answer::violation("Reference name must start with 'refs/' and be of a branch here");
    }
    if !has(&directory, sha) {
        return Answer::refused(422, "Object does not exist");
    }
    if tip(&directory, name).is_some() {
        return Answer::refused(422, "Reference already exists");
    }
    match set(world, state, (id, by), (name, None, Some(sha))) {
        Ok(()) => Answer::new(201, document(id, name, sha)),
        Err(_) => Answer::refused(422, "Reference update failed"),
    }
}

/// `PATCH /git/refs/{ref}`.
pub(super) fn update(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    (argument, body): (&str, &Value),
) -> Answer {
    let (name, sha) = (format!("refs/{argument}"), body["sha"].as_str().unwrap());
    let directory = directory(world, state, id);
    let Some(before) = tip(&directory, &name) else {
        return Answer::refused(422, "Reference does not exist");
    };
    if !has(&directory, sha) {
        return Answer::refused(422, "Object does not exist");
    }
    if body["force"] != true && !descends(&directory, &before, sha) {
        return Answer::refused(422, "Update is not a fast forward");
    }
    set(world, state, (id, by), (&name, Some(&before), Some(sha))).unwrap();
    Answer::new(200, document(id, &name, sha))
}

/// `DELETE /git/refs/{ref}`.
pub(super) fn delete(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    argument: &str,
) -> Answer {
    let name = format!("refs/{argument}");
    let Some(before) = tip(&directory(world, state, id), &name) else {
        return Answer::refused(422, "Reference does not exist");
    };
    set(world, state, (id, by), (&name, Some(&before), None)).unwrap();
    Answer::new(204, Value::Null)
}

/// `GET /compare/{basehead}`: the number, and a page of the commits.
pub(super) fn compare(
    world: &World,
    state: &State,
    id: i64,
    (range, query): (&str, &[(String, String)]),
) -> Answer {
    let directory = directory(world, state, id);
    let Some((from, to)) = range.split_once("...") else { return Answer::not_found() };
    if ![from, to].iter().all(|it| has(&directory, it)) {
        return Answer::not_found();
    }
    let count = |range: String| {
        let counted = try_git(&directory, &["rev-list", "--count", &range], "").unwrap();
        counted.parse::<u64>().unwrap()
    };
    let (ahead, behind) = (count(format!("{from}..{to}")), count(format!("{to}..{from}")));
    let status = if behind == 0 { "ahead" } else { "diverged" };
    let format = "--format=%H %cI %P";
    let range = format!("{from}..{to}");
    let listed = try_git(&directory, &["log", "--topo-order", "--reverse", format, &range], "");
    let commit = |line: &str| {
        let mut words = line.split(' ');
        let (sha, date) = (words.next().unwrap(), words.next().unwrap());
        let parents: Vec<Value> =
            words.filter(|it| !it.is_empty()).map(|it| json!({ "sha": it })).collect();
        json!({ "sha": sha, "commit": { "committer": { "date": date } }, "parents": parents })
    };
    let number = |key: &str| {
        let found = query.iter().find(|(name, _)| name == key);
        found.map_or(1, |(_, value)| value.parse::<usize>().unwrap())
    };
    let (size, page) = (number("per_page"), number("page"));
    let listed = listed.unwrap();
    let commits: Vec<Value> =
        listed.lines().skip((page - 1) * size).take(size).map(commit).collect();
    Answer::new(
        200,
        json!({
            "status": status,
            "ahead_by": ahead,
            "behind_by": behind,
            "total_commits": ahead,
            "commits": commits,
            "files": [],
        }),
    )
}

/// `createCommitOnBranch`.
pub(super) fn commit(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    input: &Value,
) -> Answer {
    let directory = directory(world, state, id);
    let node = input["branch"]["id"].as_str().unwrap_or_default();
    let Some(name) = node.strip_prefix(&format!("REF_{id}_")) else { return Answer::not_found() };
    let Some(head) = tip(&directory, name) else { return Answer::not_found() };
    let expected = input["expectedHeadOid"].as_str().unwrap();
    if head != expected {
        let said = format!("Expected branch to point to \"{expected}\" but it did not.");
        return Answer::refused(409, &format!("{said} Pull and try again."));
    }
    let message = &input["message"];
    let headline = message["headline"].as_str().unwrap();
    let message = match message["body"].as_str().filter(|it| !it.is_empty()) {
        Some(body) => format!("{headline}\n\n{body}"),
        None => headline.to_owned(),
    };
    // The branch is moved by what all moves go through; this one is made and taken away.
    let (at, aside) = (world.now() / 1000, "refs/aside/commit");
    let mut script = format!(
        "commit {aside}\nauthor {by} <{by}@users.noreply.github.com> {at} +0000\n\
         committer GitHub <noreply@github.com> {at} +0000\ndata {}\n{message}\nfrom {head}\n",
        message.len()
    );
    for file in input["fileChanges"]["additions"].as_array().map_or(&[][..], Vec::as_slice) {
        let content = STANDARD.decode(file["contents"].as_str().unwrap()).unwrap();
        let content = String::from_utf8(content).unwrap();
        let (path, length) = (file["path"].as_str().unwrap(), content.len());
        let _ = writeln!(script, "M 100644 inline {path}\ndata {length}\n{content}");
    }
    try_git(&directory, &["fast-import", "--quiet", "--force"], &script).unwrap();
    let made = tip(&directory, aside).unwrap();
    try_git(&directory, &["update-ref", "-d", aside], "").unwrap();
    set(world, state, (id, by), (name, Some(&head), Some(&made))).unwrap();
    let url = "https://github.invalid/commit";
    Answer::new(200, json!({ "commit": { "oid": made, "url": url }, "clientMutationId": null }))
}

/// `updateRefs`: all of them or none.
pub(super) fn update_all(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    input: &Value,
) -> Answer {
    let directory = directory(world, state, id);
    let updates = input["refUpdates"].as_array().unwrap();
    for update in updates {
        let name = update["name"].as_str().unwrap();
        let (before, after) = (update["beforeOid"].as_str(), update["afterOid"].as_str().unwrap());
        let is = tip(&directory, name);
        // GitHub's words for this are written nowhere; these are ours.
        if before.is_some_and(|it| it != is.as_deref().unwrap_or(NOTHING)) {
            return Answer::refused(422, &format!("{name} is not at its expected value"));
        }
        if after != NOTHING && !has(&directory, after) {
            return Answer::refused(422, &format!("{after} is no commit"));
        }
        let is_forward = |is: &String| after != NOTHING && descends(&directory, is, after);
        if update["force"] != true && !is.as_ref().is_none_or(is_forward) {
            return Answer::refused(422, &format!("{name}: not a fast forward"));
        }
    }
    for update in updates {
        let name = update["name"].as_str().unwrap();
        let after = update["afterOid"].as_str().filter(|it| *it != NOTHING);
        let before = tip(&directory, name);
        if set(world, state, (id, by), (name, before.as_deref(), after)).is_err() {
            return Answer::refused(422, &format!("{name} cannot be updated"));
        }
    }
    Answer::new(200, json!({ "clientMutationId": input["clientMutationId"] }))
}

pub(super) fn descends(directory: &Path, before: &str, after: &str) -> bool {
    try_git(directory, &["merge-base", "--is-ancestor", before, after], "").is_ok()
}

/// Moves, makes or deletes a branch and has everybody told.
pub(super) fn set(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    (name, before, after): (&str, Option<&str>, Option<&str>),
) -> Result<(), String> {
    let directory = directory(world, state, id);
    match after {
        Some(after) => {
            let before = before.unwrap_or(NOTHING);
            try_git(&directory, &["update-ref", name, after, before], "")?
        }
        None => try_git(&directory, &["update-ref", "-d", name], "")?,
    };
    let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
    let forced = match (before, after) {
        (Some(before), Some(after)) => !descends(&directory, before, after),
        (_, _) => false,
    };
    let now = world.now();
    let repository = state.repository_mut(id);
    repository.pushed_at = now;
    match after {
        Some(after) => repository.branches.insert(branch.to_owned(), after.to_owned()),
        None => repository.branches.remove(branch),
    };
    let (before, to) = (before.unwrap_or(NOTHING), after.unwrap_or(NOTHING));
    let mut event = payload::push(repository, &Moved { git_ref: name, before, after: to, forced });
    event["sender"] = bot(by);
    event["pusher"]["name"] = json!(by);
    state.due.push(("push", event));
    follow(world, state, (id, by), (branch, after));
    Ok(())
}

/// Pull requests follow their branch, and end with it.
pub(super) fn follow(
    world: &World,
    state: &mut State,
    (id, by): (i64, &str),
    (branch, after): (&str, Option<&str>),
) {
    let directory = directory(world, state, id);
    let of = state.repository(id).clone();
    let mut due = Vec::new();
    let is_it = |it: &&mut super::pulls::Pull| {
        it.repository == id
            && it.branch == branch
            && it.by.is_some()
            && it.standing == Standing::Open
            && after != Some(it.head.as_str())
    };
    for pull in state.pulls.iter_mut().filter(is_it) {
        pull.updated_at = world.now();
        let (action, before) = if let Some(after) = after {
            let name = format!("refs/pull/{}/head", pull.number);
            try_git(&directory, &["update-ref", &name, after], "").unwrap();
            ("synchronize", Some(std::mem::replace(&mut pull.head, after.to_owned())))
        } else {
            pull.standing = Standing::Closed;
            ("closed", None)
        };
        let mut event = pull.event(&of, action, before.as_deref());
        event["sender"] = bot(by);
        due.push(("pull_request", event));
    }
    state.due.extend(due);
}

impl FakeGitHub {
    /// What a person's push or deletion means for pull requests that were opened over the API.
    pub(super) async fn follow(&self, repository: i64, branch: &str, after: Option<&str>) {
        {
            let mut state = self.world.state();
            let by = (repository, "octo-fleet");
            follow(&self.world, &mut state, by, (branch, after));
        }
        self.world.send_due().await;
    }
}
