//! What a request asks for, by its method and path.
use axum::http::Method;
use serde_json::Value;

use super::answer::Answer;
use super::state::{Operation, Operation as Op};
use super::{Shape, World};

/// A repository as a path names it.
pub(super) enum Named {
    By(String, String),
    Id(i64),
}

pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) method: Method,
    /// As GitHub's description has it.
    template: &'static str,
    pub(super) repository: Option<Named>,
    /// What follows the repository in the path, for redirects.
    pub(super) rest: String,
    /// The last variable part: an id or a commit.
    pub(super) argument: String,
}

impl Route {
    pub(super) fn of(method: &Method, path: &str, shape: Shape) -> Self {
        let path = match shape {
            Shape::Com => path,
            Shape::Enterprise => match path.strip_prefix("/api/v3/") {
                Some(path) => path,
                // Beside REST, not below it.
                None if path == "/api/graphql" => "/graphql",
                None => "/nowhere",
            },
        };
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (repository, rest) = match segments.as_slice() {
            ["repos", owner, name, rest @ ..] => {
                (Some(Named::By((*owner).into(), (*name).into())), rest)
            }
            ["repositories", id, rest @ ..] => (id.parse().ok().map(Named::Id), rest),
            all => (None, all),
        };
        let argument: String;
        let (operation, template, argument) = match (method.as_str(), repository.is_some(), rest) {
            ("POST", false, ["graphql"]) => (Op::Graphql, "", ""),
            ("GET", false, ["app"]) => (Op::App, "/app", ""),
            ("GET", false, ["app", "installations"]) => {
                (Op::Installations, "/app/installations", "")
            }
            ("POST", false, ["app", "installations", id, "access_tokens"]) => {
                (Op::MintToken, "/app/installations/{installation_id}/access_tokens", *id)
            }
            ("GET", false, ["app", "hook", "deliveries"]) => {
                (Op::Deliveries, "/app/hook/deliveries", "")
            }
            ("POST", false, ["app", "hook", "deliveries", id, "attempts"]) => {
                (Op::Redeliver, "/app/hook/deliveries/{delivery_id}/attempts", *id)
            }
            ("GET", false, ["installation", "repositories"]) => {
                (Op::Repositories, "/installation/repositories", "")
            }
            ("GET", true, ["pulls"]) => (Op::Pulls, "/repos/{owner}/{repo}/pulls", ""),
            ("GET", true, ["branches", rest @ ..]) => {
                let template = if rest.is_empty() {
                    "/repos/{owner}/{repo}/branches"
                } else {
                    "/repos/{owner}/{repo}/branches/{branch}"
                };
                argument = rest.join("/");
                (Op::Branches, template, argument.as_str())
            }
            ("GET", true, []) => (Op::Repository, "/repos/{owner}/{repo}", ""),
            ("POST", true, ["check-runs"]) => {
                (Op::CreateCheck, "/repos/{owner}/{repo}/check-runs", "")
            }
            ("PATCH", true, ["check-runs", id]) => {
                (Op::UpdateCheck, "/repos/{owner}/{repo}/check-runs/{check_run_id}", *id)
            }
            ("GET", true, ["check-runs", id]) => {
                (Op::GetCheck, "/repos/{owner}/{repo}/check-runs/{check_run_id}", *id)
            }
            ("GET", true, ["commits", sha, "check-runs"]) => {
                (Op::ListChecks, "/repos/{owner}/{repo}/commits/{ref}/check-runs", *sha)
            }
            ("POST", true, ["statuses", sha]) => {
                (Op::SetStatus, "/repos/{owner}/{repo}/statuses/{sha}", *sha)
            }
            ("POST", true, ["issues", "comments", id, "reactions"]) => {
                (Op::React, "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions", *id)
            }
            ("GET", true, ["collaborators", login, "permission"]) => (
                Op::Permission,
                "/repos/{owner}/{repo}/collaborators/{username}/permission",
                *login,
            ),
            (_, true, rest) => {
                let (operation, template, found) = updates(method, rest);
                argument = found;
                (operation, template, argument.as_str())
            }
            _ => (Op::Unknown, "", ""),
        };
        Self {
            operation,
            method: method.clone(),
            template,
            repository,
            rest: rest.join("/"),
            argument: argument.to_owned(),
        }
    }

    /// What GitHub's description of the operation says against a body.
    pub(super) fn objection(&self, world: &World, body: &Value) -> Option<Answer> {
        // Without a template there is nothing to compare with: GraphQL has a schema of its own.
        if self.template.is_empty() {
            return None;
        }
        let operation = format!("{} {}", self.method, self.template);
        world.contract.objection(&operation, body).map(|wrong| Answer::violation(&wrong))
    }
}

/// What update pull requests need, below a repository.
fn updates(method: &Method, rest: &[&str]) -> (Op, &'static str, String) {
    let (operation, template, argument) = match (method.as_str(), rest) {
        ("GET", ["installation"]) => {
            (Op::RepositoryInstallation, "/repos/{owner}/{repo}/installation", "")
        }
        ("GET", ["git", "ref", rest @ ..]) => {
            return (Op::GetRef, "/repos/{owner}/{repo}/git/ref/{ref}", rest.join("/"));
        }
        ("POST", ["git", "refs"]) => (Op::CreateRef, "/repos/{owner}/{repo}/git/refs", ""),
        ("PATCH", ["git", "refs", rest @ ..]) => {
            return (Op::UpdateRef, "/repos/{owner}/{repo}/git/refs/{ref}", rest.join("/"));
        }
        ("DELETE", ["git", "refs", rest @ ..]) => {
            return (Op::DeleteRef, "/repos/{owner}/{repo}/git/refs/{ref}", rest.join("/"));
        }
        ("GET", ["compare", range]) => {
            (Op::Compare, "/repos/{owner}/{repo}/compare/{basehead}", *range)
        }
        ("POST", ["pulls"]) => (Op::CreatePull, "/repos/{owner}/{repo}/pulls", ""),
        ("GET", ["pulls", number]) => {
            (Op::GetPull, "/repos/{owner}/{repo}/pulls/{pull_number}", *number)
        }
        ("PATCH", ["pulls", number]) => {
            (Op::EditPull, "/repos/{owner}/{repo}/pulls/{pull_number}", *number)
        }
        ("GET", ["pulls", number, "files"]) => {
            (Op::PullFiles, "/repos/{owner}/{repo}/pulls/{pull_number}/files", *number)
        }
        ("PUT", ["pulls", number, "merge"]) => {
            (Op::MergePull, "/repos/{owner}/{repo}/pulls/{pull_number}/merge", *number)
        }
        ("POST", ["pulls", number, "requested_reviewers"]) => (
            Op::RequestReviewers,
            "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers",
            *number,
        ),
        ("GET", ["issues"]) => (Op::ListIssues, "/repos/{owner}/{repo}/issues", ""),
        ("POST", ["issues"]) => (Op::CreateIssue, "/repos/{owner}/{repo}/issues", ""),
        ("PATCH", ["issues", number]) => {
            (Op::EditIssue, "/repos/{owner}/{repo}/issues/{issue_number}", *number)
        }
        ("POST", ["issues", number, "labels"]) => {
            (Op::AddLabels, "/repos/{owner}/{repo}/issues/{issue_number}/labels", *number)
        }
        ("POST", ["issues", number, "comments"]) => {
            (Op::CreateComment, "/repos/{owner}/{repo}/issues/{issue_number}/comments", *number)
        }
        _ => (Op::Unknown, "", ""),
    };
    (operation, template, argument.to_owned())
}
