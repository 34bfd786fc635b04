//! The tests' GitHub as a program, for `deploy/demo.sh` and for trying things by hand.
//!
//! ```text
//! stand-in-github --listen 127.0.0.1:0 --data DIR --webhook URL
//! ```
//!
//! It prints `listening on http://…` when it is ready, and writes `app-id`, `app.pem` and
//! `webhook-secret` into DIR. API, git and these answer on one port:
//!
//! - `POST /_/push?repository=OWNER/NAME&branch=B&from=PATH`: takes branch B of the git repository
//!   at PATH and announces the push. The repository is made with its first push.
//! - `POST /_/pull-request?repository=OWNER/NAME&branch=B&number=N[&fork=true]`: opens it.
//! - `POST /_/member?repository=OWNER/NAME&login=L&permission=write`: what an account may do there.
//! - `POST /_/rerun?repository=OWNER/NAME&sha=SHA&name=CHECK`: somebody presses "Re-run" on it.
//! - `POST /_/button?repository=OWNER/NAME&sha=SHA&name=CHECK&identifier=I&login=L`: L presses a
//!   button of the App's own on it.
//! - `GET /_/pulls?repository=OWNER/NAME`: the pull requests that the App has opened.
//! - `GET /_/checks?sha=SHA`: `{"check_runs": […], "statuses": […]}`, the newest of each name.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#[path = "../tests/world/github/mod.rs"]
mod github;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use clap::Parser;
use github::{CheckRunView, Contract, FakeGitHub, From, Options, RepoHandle};
use serde::Deserialize;
use serde_json::{Value, json};

/// A stand-in for GitHub.
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where repositories, key and secret are kept.
    #[arg(long)]
    data: PathBuf,
    /// Where deliveries go.
    #[arg(long)]
    webhook: String,
}

/// What the control pages work with; the GitHub is there as soon as it listens.
#[derive(Default)]
struct Control {
    github: OnceLock<FakeGitHub>,
    repositories: Mutex<HashMap<String, RepoHandle>>,
}

impl Control {
    fn github(&self) -> Result<&FakeGitHub, Refusal> {
        self.github.get().ok_or_else(|| refusal("not ready yet"))
    }

    fn repository(&self, name: &str) -> Result<RepoHandle, Refusal> {
        let known = self.repositories.lock().unwrap().get(name).cloned();
        known.ok_or_else(|| refusal("no such repository: push to it first"))
    }

    fn check(&self, of: &Pressed) -> Result<(RepoHandle, CheckRunView), Refusal> {
        let repo = self.repository(&of.repository)?;
        let check = self.github()?.check_run(repo.id, &of.sha, &of.name);
        Ok((repo, check.ok_or_else(|| refusal("no such check"))?))
    }
}

type Refusal = (StatusCode, String);
type Answered = Result<Json<Value>, Refusal>;

fn refusal(text: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, format!("{text}\n"))
}

#[tokio::main]
async fn main() {
    let Arguments { listen, data, webhook } = Arguments::parse();
    std::fs::create_dir_all(&data).unwrap();
    let data = data.canonicalize().unwrap();
    let control = Arc::new(Control::default());
    let pages = axum::Router::new()
        .route("/_/push", post(push))
        .route("/_/pull-request", post(pull_request))
        .route("/_/member", post(member))
        .route("/_/rerun", post(rerun))
        .route("/_/button", post(button))
        .route("/_/pulls", get(pulls))
        .route("/_/checks", get(checks))
        .with_state(Arc::clone(&control));
    let options = Options {
        listen,
        directory: Some(data.join("repositories")),
        // The demo installs no npm; where the tests have run, it is checked all the same.
        contract: Contract::IfPresent,
        control: pages,
        ..Options::default()
    };
    let github = FakeGitHub::start(options).await;
    github.set_webhook(&webhook);
    github.grant_updates();
    std::fs::write(data.join("app-id"), github.app_id().to_string()).unwrap();
    std::fs::write(data.join("app.pem"), github.private_key_pem()).unwrap();
    std::fs::write(data.join("webhook-secret"), github.secret()).unwrap();
    println!("listening on {}", github.api_url());
    assert!(control.github.set(github).is_ok());
    std::future::pending::<()>().await;
}

#[derive(Deserialize)]
struct Push {
    repository: String,
    branch: String,
    from: PathBuf,
}

async fn push(State(control): State<Arc<Control>>, Query(push): Query<Push>) -> Answered {
    let Push { repository, branch, from } = push;
    let github = control.github()?;
    let repo = {
        let mut known = control.repositories.lock().unwrap();
        let Some((owner, name)) = repository.split_once('/') else {
            return Err(refusal("repository=OWNER/NAME is wanted"));
        };
        let made = || github.create_repository(owner, name, false);
        known.entry(repository.clone()).or_insert_with(made).clone()
    };
    fetch(&repo.git, &from, &branch)?;
    let sha = repo.head(&branch).ok_or_else(|| refusal("the branch has no commit"))?;
    let delivered = github.push(&repo, &branch, &sha).await;
    Ok(Json(json!({ "sha": sha, "delivered": delivered })))
}

fn fetch(into: &Path, from: &Path, branch: &str) -> Result<(), Refusal> {
    let what = format!("+refs/heads/{branch}:refs/heads/{branch}");
    let output = Command::new("git")
        .arg("-C")
        .arg(into)
        .args(["fetch", "--quiet", "--"])
        .arg(from)
        .arg(what)
        .output()
        .map_err(|error| refusal(&format!("git: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(refusal(&String::from_utf8_lossy(&output.stderr)))
    }
}

#[derive(Deserialize)]
struct PullRequest {
    repository: String,
    branch: String,
    number: i64,
    #[serde(default)]
    fork: bool,
}

async fn pull_request(
    State(control): State<Arc<Control>>,
    Query(pull): Query<PullRequest>,
) -> Answered {
    let PullRequest { repository, branch, number, fork } = pull;
    let repo = control.repository(&repository)?;
    let sha = repo.head(&branch).ok_or_else(|| refusal("no such branch: push it first"))?;
    let from = if fork { From::Fork } else { From::SameRepository };
    let delivered = control.github()?.open_pull_request(&repo, number, &sha, from).await;
    Ok(Json(json!({ "sha": sha, "number": number, "delivered": delivered })))
}

#[derive(Deserialize)]
struct Member {
    repository: String,
    login: String,
    permission: String,
}

async fn member(State(control): State<Arc<Control>>, Query(of): Query<Member>) -> Answered {
    let repo = control.repository(&of.repository)?;
    control.github()?.set_permission(&repo, &of.login, &of.permission);
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Pressed {
    repository: String,
    sha: String,
    name: String,
    #[serde(default)]
    identifier: String,
    #[serde(default)]
    login: String,
}

async fn rerun(State(control): State<Arc<Control>>, Query(of): Query<Pressed>) -> Answered {
    let (repo, check) = control.check(&of)?;
    let delivered = control.github()?.press_rerun(&repo, &check).await;
    Ok(Json(json!({ "delivered": delivered })))
}

async fn button(State(control): State<Arc<Control>>, Query(of): Query<Pressed>) -> Answered {
    let (repo, check) = control.check(&of)?;
    let github = control.github()?;
    let delivered = github.press_button(&repo, &check, &of.identifier, &of.login).await;
    Ok(Json(json!({ "delivered": delivered })))
}

#[derive(Deserialize)]
struct Checks {
    sha: String,
}

async fn checks(State(control): State<Arc<Control>>, Query(of): Query<Checks>) -> Answered {
    Ok(Json(control.github()?.checks_document(&of.sha)))
}

#[derive(Deserialize)]
struct Of {
    repository: String,
}

async fn pulls(State(control): State<Arc<Control>>, Query(of): Query<Of>) -> Answered {
    let repo = control.repository(&of.repository)?;
    let pulls = control.github()?.pulls(&repo).into_iter().map(|it| {
        json!({
            "number": it.number,
            "state": it.state,
            "branch": it.branch,
            "sha": it.head,
            "title": it.title,
            "body": it.body,
        })
    });
    Ok(Json(pulls.collect()))
}
