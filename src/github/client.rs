//! Calls to GitHub: who is asking, how long we wait, what an answer means.
//!
//! Built on octocrab's transport with what its defaults lack: time-outs, no replay of requests
//! that may have had their effect, tokens for one purpose and repository shared by all callers.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use octocrab::Octocrab;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::{self, Sealed};
use crate::domain::Timestamp;
use crate::domain::id::{InstallationId, RepositoryId};
use crate::github::error::{self, classify, header};
use crate::github::graphql;
use crate::github::limits::Limits;
use crate::github::token::{Identity, Minted, TokenKey, Tokens};

pub use crate::github::app::{AppFacts, InstallationFacts};
pub use crate::github::error::GithubError;
pub use crate::github::token::Purpose;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence on a connection.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A whole call, however slowly its answer comes.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// A renamed and transferred repository redirects twice at most.
const REDIRECTS: usize = 3;
/// GitHub's largest page.
pub(super) const PER_PAGE: usize = 100;

/// Tells the time: tokens and limits are dated, and a wrong clock is told apart from a wrong key.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A client for one App.
pub struct Github {
    transport: Octocrab,
    /// Scheme, host and path of the API, to recognise redirects that stay there.
    api_url: String,
    /// An absolute address, which octocrab's base does not change.
    pub(super) graphql_url: String,
    pub(super) app_id: u64,
    pub(super) identity: Identity,
    pub(super) tokens: Tokens,
    pub(super) limits: Limits,
    clock: Clock,
}

/// Whom an answer is about.
#[derive(Clone, Copy)]
pub(super) enum Who {
    App,
    Installation(InstallationId),
}

impl fmt::Debug for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            transport: _,
            api_url,
            graphql_url: _,
            app_id,
            identity: _,
            tokens: _,
            limits: _,
            clock: _,
        } = self;
        f.debug_struct("Github")
            .field("api_url", api_url)
            .field("app_id", app_id)
            .finish_non_exhaustive()
    }
}

/// One request, before anyone has signed it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// A name for metrics: `create_check`.
    pub(super) operation: &'static str,
    /// What is asked, for people: `create the check of acme/fleet`.
    pub(super) about: String,
    pub(super) method: Method,
    /// Path and query below the API's base: octocrab adds the base, also GitHub Enterprise's
    /// `/api/v3`. Absolute addresses from GitHub are never called.
    pub(super) path: String,
    pub(super) body: Option<Value>,
}

/// An answer of 2xx.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    about: String,
    body: String,
}

impl Answer {
    /// GitHub's time when it answered; ours where it does not say.
    pub(super) fn date(&self, now: Timestamp) -> Timestamp {
        now.plus(error::clock_offset(&self.headers, now).unwrap_or(0))
    }

    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, GithubError> {
        serde_json::from_str(&self.body).map_err(|error| {
            GithubError::weather(format!("{}: GitHub's answer cannot be read: {error}", self.about))
        })
    }
}

impl Github {
    /// A client for the configured App.
    ///
    /// # Errors
    /// When the key is not an RSA key in PEM, the address is not one, or this machine has no CA
    /// certificates.
    pub fn new(config: &config::Github, clock: Clock) -> Result<Self, GithubError> {
        Self::signing((config.app_id, &config.private_keys), config, clock)
    }

    /// A client for the App of updates.
    ///
    /// # Errors
    /// As [`Github::new`].
    pub fn for_updates(
        app: &config::UpdaterApp,
        config: &config::Github,
        clock: Clock,
    ) -> Result<Self, GithubError> {
        Self::signing((app.app_id, &app.private_keys), config, clock)
    }

    fn signing(
        (app_id, private_keys): (u64, &[Sealed]),
        config: &config::Github,
        clock: Clock,
    ) -> Result<Self, GithubError> {
        let setup = |error: octocrab::Error| {
            let GithubError::Weather { what, .. } = error::transport("github.api_url", &error)
            else {
                return GithubError::Setup("github.api_url cannot be used".to_owned());
            };
            GithubError::Setup(what)
        };
        let agent = concat!("fleetcheck/", env!("CARGO_PKG_VERSION")).to_owned();
        let transport = Octocrab::builder()
            .base_uri(root(&config.api_url))
            .map_err(|_| {
                GithubError::Setup(format!("github.api_url: `{}` is no address", config.api_url))
            })?
            .add_header(USER_AGENT, agent)
            .set_connect_timeout(Some(CONNECT_TIMEOUT))
            .set_read_timeout(Some(READ_TIMEOUT))
            .set_write_timeout(Some(READ_TIMEOUT))
            .build()
            .map_err(setup)?;
        Ok(Self {
            transport,
            graphql_url: graphql::url(config.api_url.trim_end_matches('/')),
            api_url: config.api_url.trim_end_matches('/').to_owned(),
            app_id,
            identity: Identity::new(app_id, private_keys)?,
            tokens: Tokens::default(),
            limits: Limits::default(),
            clock,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// An installation token for one purpose and one repository, shared by all who want it at the
    /// same time and kept until five minutes before it expires.
    ///
    /// # Errors
    /// When GitHub mints none: suspended, not installed any more, permission not granted, weather.
    pub async fn token(
        &self,
        purpose: Purpose,
        installation: InstallationId,
        repository: RepositoryId,
    ) -> Result<Sealed, GithubError> {
        let key = TokenKey { purpose, installation, repository: Some(repository) };
        self.minted(key).await.map(|minted| minted.token)
    }

    /// Forgets a token that was refused elsewhere (by git), so that the next one is new.
    pub async fn forget_token(
        &self,
        purpose: Purpose,
        installation: InstallationId,
        repository: RepositoryId,
        token: &Sealed,
    ) {
        let key = TokenKey { purpose, installation, repository: Some(repository) };
        self.tokens.forget(key, token).await;
    }

    pub(super) async fn minted(&self, key: TokenKey) -> Result<Minted, GithubError> {
        let slot = self.tokens.slot(key);
        let mut held = slot.lock().await;
        if let Some(minted) = held.as_ref().filter(|it| it.is_usable(self.now())) {
            return Ok(minted.clone());
        }
        let minted = self.mint(key).await?;
        *held = Some(minted.clone());
        Ok(minted)
    }

    async fn mint(&self, key: TokenKey) -> Result<Minted, GithubError> {
        #[derive(Deserialize)]
        struct Wire {
            token: String,
            expires_at: String,
        }
        let TokenKey { purpose, installation, repository } = key;
        let permissions: serde_json::Map<String, Value> = purpose
            .permissions()
            .iter()
            .map(|(it, level)| ((*it).to_owned(), json!(level)))
            .collect();
        let call = Call {
            operation: "mint_token",
            about: format!("get a token of installation {}", installation.0),
            method: Method::POST,
            path: format!("/app/installations/{}/access_tokens", installation.0),
            body: Some(match repository {
                Some(it) => json!({ "repository_ids": [it.0], "permissions": permissions }),
                None => json!({ "permissions": permissions }),
            }),
        };
        let answer = self.as_app(call).await.map_err(|it| mint_refused(purpose, it))?;
        let Wire { token, expires_at } = answer.read()?;
        let expires_at: jiff::Timestamp = expires_at.parse().map_err(|_| {
            GithubError::weather(format!("{}: `expires_at` is no time", answer.about))
        })?;
        Ok(Minted {
            token: Sealed::new(token),
            expires_at: Timestamp(expires_at.as_millisecond()),
            since: self.now(),
        })
    }

    /// One call, once, except that a GET follows redirects within the API (a repository that was
    /// renamed) and a write repeats where GitHub says that nothing was done here (307, 308).
    pub(super) async fn send(
        &self,
        call: &Call,
        bearer: &Sealed,
        who: Who,
    ) -> Result<Answer, GithubError> {
        let sent = self.follow(call, bearer, who).await;
        let outcome = sent.as_ref().err().map_or("ok", GithubError::outcome);
        metrics::counter!("github_calls_total", "operation" => call.operation, "outcome" => outcome)
            .increment(1);
        sent
    }

    async fn follow(&self, call: &Call, bearer: &Sealed, who: Who) -> Result<Answer, GithubError> {
        let mut path = call.path.clone();
        for _ in 0..=REDIRECTS {
            let (status, headers, body) = self.exchange(call, &path, bearer).await?;
            if let Some(left) =
                header(&headers, "x-ratelimit-remaining").and_then(|it| it.parse::<f64>().ok())
            {
                let label = match who {
                    Who::App => "app".to_owned(),
                    Who::Installation(installation) => installation.0.to_string(),
                };
                metrics::gauge!("github_rate_limit_remaining", "installation" => label).set(left);
            }
            if let Who::Installation(installation) = who {
                self.note_limits(installation, status, &headers, &body);
            }
            if status.is_success() {
                return Ok(Answer { headers, about: call.about.clone(), body });
            }
            match self.redirect(call, status, &headers) {
                Some(next) => path = next,
                None => return Err(classify(&call.about, status, &headers, &body, self.now())),
            }
        }
        Err(GithubError::Gone(format!("{}: GitHub redirects in a circle", call.about)))
    }

    fn redirect(&self, call: &Call, status: StatusCode, headers: &HeaderMap) -> Option<String> {
        let follow = match status.as_u16() {
            301 | 302 => call.method == Method::GET,
            307 | 308 => true,
            _ => false,
        };
        let location = header(headers, LOCATION.as_str()).filter(|_| follow)?;
        // Elsewhere than the API the token has no business.
        let path = location.strip_prefix(self.api_url.as_str()).unwrap_or(location);
        (path.starts_with('/') && !path.starts_with("//")).then(|| path.to_owned())
    }

    /// octocrab would put its base's path before absolute addresses too, so its base has none.
    fn address(&self, path: &str) -> String {
        if path.starts_with('/') { format!("{}{path}", self.api_url) } else { path.to_owned() }
    }

    async fn exchange(
        &self,
        call: &Call,
        path: &str,
        bearer: &Sealed,
    ) -> Result<(StatusCode, HeaderMap, String), GithubError> {
        let failed = |error: octocrab::Error| error::transport(&call.about, &error);
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", bearer.reveal()))
            .map_err(|_| GithubError::weather(format!("{}: the token is unfit", call.about)))?;
        authorization.set_sensitive(true);
        let request = Request::builder()
            .method(call.method.clone())
            .uri(self.address(path))
            .header(AUTHORIZATION, authorization)
            .header("accept", "application/vnd.github+json");
        let request = self.transport.build_request(request, call.body.as_ref()).map_err(failed)?;
        let whole = async {
            let response = self.transport.send(request).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok((status, headers, self.transport.body_to_string(response).await?))
        };
        match tokio::time::timeout(CALL_TIMEOUT, whole).await {
            Ok(ended) => ended.map_err(failed),
            Err(_) => Err(GithubError::weather(format!(
                "{}: no answer from GitHub within {} s",
                call.about,
                CALL_TIMEOUT.as_secs()
            ))),
        }
    }
}

/// An address without its path.
fn root(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |end| &url[..host + end])
}

/// A GET.
pub(super) fn get(operation: &'static str, about: &str, path: String) -> Call {
    Call { operation, about: about.to_owned(), method: Method::GET, path, body: None }
}

/// GitHub answers 422 when an installation was not granted what the token asks for.
fn mint_refused(purpose: Purpose, error: GithubError) -> GithubError {
    match error {
        // Updates are optional: what to do about theirs is said where they are written.
        GithubError::Rejected { status: 422, message }
            if purpose == Purpose::Update && message.contains("ermission") =>
        {
            GithubError::Forbidden(message)
        }
        GithubError::Rejected { status: 422, message } if message.contains("ermission") => {
            GithubError::Forbidden(format!(
                "{message}; the account's owner has to accept the App's permissions on GitHub"
            ))
        }
        GithubError::Rejected { status: 422, message } if message.contains("repositor") => {
            GithubError::Gone(message)
        }
        other @ (GithubError::Weather { .. }
        | GithubError::Gone(_)
        | GithubError::Forbidden(_)
        | GithubError::Rejected { .. }
        | GithubError::Unauthenticated { .. }
        | GithubError::Setup(_)) => other,
    }
}
