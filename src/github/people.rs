//! What an account may do in a repository, and the answer to its comment.
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::domain::decide::{Permission, Reaction};
use crate::domain::id::Login;
use crate::domain::incoming::Repository;
use crate::github::client::{Call, Github, GithubError, Purpose};

impl Github {
    /// What an account may do in a repository, asked at this moment.
    ///
    /// # Errors
    /// [`GithubError::Gone`] when GitHub knows no such account there; otherwise as any call.
    pub async fn permission(
        &self,
        repository: &Repository,
        account: &Login,
    ) -> Result<Permission, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            permission: String,
        }
        let Repository { id, owner, name, installation, .. } = repository;
        // A login holds nothing that would have to be encoded but the brackets of a bot's.
        let encoded = account.as_str().replace('[', "%5B").replace(']', "%5D");
        let call = Call {
            operation: "get_permission",
            about: format!("ask what {account} may do in {owner}/{name}"),
            method: Method::GET,
            path: format!("/repos/{owner}/{name}/collaborators/{encoded}/permission"),
            body: None,
        };
        let answer = self.as_reporter(*installation, *id, call).await?;
        let Wire { permission } = answer.read()?;
        Ok(match permission.as_str() {
            "admin" => Permission::Admin,
            "write" => Permission::Write,
            "read" => Permission::Read,
            // `none`, and whatever comes after us: it grants nothing that we know of.
            _ => Permission::None,
        })
    }
    /// Acknowledges a comment.
    ///
    /// # Errors
    /// On any failure; it is safe to call again, GitHub keeps one reaction of a kind.
    pub async fn react(
        &self,
        repository: &Repository,
        comment: i64,
        reaction: Reaction,
    ) -> Result<(), GithubError> {
        let Repository { id, owner, name, installation, .. } = repository;
        let call = Call {
            operation: "react",
            about: format!("react to a comment in {owner}/{name}"),
            method: Method::POST,
            path: format!("/repos/{owner}/{name}/issues/comments/{comment}/reactions"),
            body: Some(json!({ "content": reaction.content() })),
        };
        self.through(Purpose::React, *installation, *id, call).await.map(drop)
    }
}
