//! What an account may do in a repository.
use http::Method;
use serde::Deserialize;

use crate::domain::decide::Permission;
use crate::domain::id::Login;
use crate::domain::incoming::Repository;
use crate::github::client::{Call, Github, GithubError};

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
}
