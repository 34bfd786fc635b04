//! Who makes a call: the App itself, by the newest of its keys that GitHub accepts, or an
//! installation, by a token for one purpose.
use std::time::Duration;

use crate::domain::id::{InstallationId, RepositoryId};
use crate::github::client::{Answer, Call, Github, GithubError, Purpose, Who};
use crate::github::token::{LAG_PAUSES, TokenKey};

impl Github {
    /// A call as the App itself, signed with the newest key that GitHub accepts: it does nothing
    /// for a key that it refuses.
    pub(super) async fn as_app(&self, call: Call) -> Result<Answer, GithubError> {
        let accepted = self.identity.accepted();
        let refused = match self.signed_with(accepted, &call).await {
            Err(it @ GithubError::Unauthenticated { .. }) if !it.is_clock() => it,
            other => return other,
        };
        for key in (0..self.identity.keys()).filter(|it| *it != accepted) {
            match self.signed_with(key, &call).await {
                Err(GithubError::Unauthenticated { .. }) => {}
                other => {
                    if other.is_ok() {
                        self.identity.accept(key);
                        tracing::warn!(
                            key = key + 1,
                            "GitHub no longer accepts the App's key {}; from now on key {} signs",
                            accepted + 1,
                            key + 1
                        );
                    }
                    return other;
                }
            }
        }
        Err(refused)
    }

    pub(super) async fn signed_with(&self, key: usize, call: &Call) -> Result<Answer, GithubError> {
        let jwt = self.identity.jwt(key, self.now())?;
        self.send(call, &jwt, Who::App).await
    }

    /// A call that reports, through an installation and in one repository.
    ///
    /// A refused token is replaced once; one that is seconds old is given time to become known.
    /// Neither can double an effect: GitHub did nothing.
    pub(super) async fn as_reporter(
        &self,
        installation: InstallationId,
        repository: RepositoryId,
        call: Call,
    ) -> Result<Answer, GithubError> {
        self.through(Purpose::Report, installation, repository, call).await
    }

    /// A call for one purpose, through an installation and in one repository.
    pub(super) async fn through(
        &self,
        purpose: Purpose,
        installation: InstallationId,
        repository: RepositoryId,
        call: Call,
    ) -> Result<Answer, GithubError> {
        self.with_token(TokenKey { purpose, installation, repository: Some(repository) }, call)
            .await
    }

    /// A call that looks at what an installation has, in any of its repositories.
    pub(super) async fn as_recoverer(
        &self,
        installation: InstallationId,
        call: Call,
    ) -> Result<Answer, GithubError> {
        let key = TokenKey { purpose: Purpose::Recover, installation, repository: None };
        self.with_token(key, call).await
    }

    async fn with_token(&self, key: TokenKey, call: Call) -> Result<Answer, GithubError> {
        let mut lag = LAG_PAUSES.iter();
        let mut replaced = false;
        let installation = key.installation;
        loop {
            if let Some(until) = self.closed_until(installation) {
                let wait = Duration::from_millis(until.since(self.now()).unsigned_abs());
                let what = format!("{}: GitHub wants no calls for {wait:?}", call.about);
                return Err(GithubError::Weather { what, retry_after: Some(wait) });
            }
            let minted = self.minted(key).await?;
            let who = Who::Installation(installation);
            let refused = match self.send(&call, &minted.token, who).await {
                Err(it @ (GithubError::Unauthenticated { .. } | GithubError::Forbidden(_))) => it,
                other => return other,
            };
            if is_suspension(&refused) {
                self.tokens.forget(key, &minted.token).await;
                return Err(refused);
            }
            if minted.is_fresh(self.now())
                && let Some(pause) = lag.next()
            {
                tokio::time::sleep(*pause).await;
            } else if matches!(refused, GithubError::Unauthenticated { .. }) && !replaced {
                self.tokens.forget(key, &minted.token).await;
                replaced = true;
            } else {
                return Err(refused);
            }
        }
    }
}

fn is_suspension(error: &GithubError) -> bool {
    matches!(error, GithubError::Forbidden(text) if text.contains("suspended"))
}
