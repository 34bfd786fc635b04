//! Who we are to GitHub: the App's JWT and installation tokens for one purpose each.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use octocrab::jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::config::Sealed;
use crate::domain::Timestamp;
use crate::domain::id::{InstallationId, RepositoryId};
use crate::github::error::GithubError;
use crate::github::{
    FETCH_PERMISSIONS, REACT_PERMISSIONS, RECOVER_PERMISSIONS, REPORT_PERMISSIONS,
    UPDATE_PERMISSIONS,
};

/// A token is replaced this long before GitHub lets it expire, so that none expires in use.
const SPARE_MS: i64 = 5 * 60 * 1000;

/// GitHub's servers learn of a new token one after the other; within this time a refusal may only
/// mean that one of them has not.
const LAG_MS: i64 = 10_000;

/// How long to wait for that, and how often.
pub(super) const LAG_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// What an installation token is for. It can do nothing else, and what is written or fetched with
/// it is in one repository only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Check runs and statuses.
    Report,
    /// Git.
    Fetch,
    /// Reactions to comments.
    React,
    /// Looking at what there is: repositories, pull requests, branches. In every repository of the
    /// installation, because which they are is the question.
    Recover,
    /// Commits, branches, pull requests and issues of updates.
    Update,
}

impl Purpose {
    pub(super) fn permissions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Report => REPORT_PERMISSIONS,
            Self::Fetch => FETCH_PERMISSIONS,
            Self::React => REACT_PERMISSIONS,
            Self::Recover => RECOVER_PERMISSIONS,
            Self::Update => UPDATE_PERMISSIONS,
        }
    }
}

/// One token's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    pub(super) purpose: Purpose,
    pub(super) installation: InstallationId,
    /// `None` for all of the installation.
    pub(super) repository: Option<RepositoryId>,
}

/// An installation token with what is known about its life.
#[derive(Clone, Debug)]
pub(super) struct Minted {
    pub(super) token: Sealed,
    pub(super) expires_at: Timestamp,
    /// When we got it.
    pub(super) since: Timestamp,
}

impl Minted {
    pub(super) fn is_usable(&self, now: Timestamp) -> bool {
        now.plus(SPARE_MS) < self.expires_at
    }

    /// So young that a refusal may be GitHub's own delay.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.since) < LAG_MS
    }
}

/// A token's place: whoever holds the lock mints, everyone else waits for that one.
pub(super) type Slot = Arc<Mutex<Option<Minted>>>;

/// The tokens in use, each minted once however many want it at the same time.
#[derive(Debug, Default)]
pub(super) struct Tokens(DashMap<TokenKey, Slot>);

impl Tokens {
    pub(super) fn slot(&self, key: TokenKey) -> Slot {
        // The guard of the map is gone before anyone waits for the lock of the slot.
        self.0.entry(key).or_default().clone()
    }

    /// Forgets `token`, unless another has taken its place meanwhile.
    pub(super) async fn forget(&self, key: TokenKey, token: &Sealed) {
        let slot = self.slot(key);
        let mut held = slot.lock().await;
        if held.as_ref().is_some_and(|minted| minted.token == *token) {
            *held = None;
        }
    }
}

/// The App's identity: its id and the keys it signs with, the newest first.
pub(super) struct Identity {
    app_id: u64,
    keys: Vec<EncodingKey>,
    /// The place of the key that GitHub accepted last.
    accepted: AtomicUsize,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims {
    iss: String,
    iat: i64,
    exp: i64,
}

impl Identity {
    pub(super) fn new(app_id: u64, private_keys: &[Sealed]) -> Result<Self, GithubError> {
        let key = |key: &Sealed| {
            EncodingKey::from_rsa_pem(key.reveal().as_bytes()).map_err(|_| {
                GithubError::Setup(
                    "github.private_key_file: this is not an RSA private key in PEM; generate one \
                     on the App's settings page and keep the file as it was downloaded"
                        .to_owned(),
                )
            })
        };
        let keys = private_keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(GithubError::Setup("github.private_key_file: no key is given".to_owned()));
        }
        Ok(Self { app_id, keys, accepted: AtomicUsize::new(0) })
    }

    /// How many keys there are.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The key to sign with.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// GitHub accepted this key after it had refused another.
    pub(super) fn accept(&self, key: usize) {
        self.accepted.store(key, Ordering::Relaxed);
    }

    /// A JWT for the next nine minutes, dated a minute back for clocks that differ a little.
    pub(super) fn jwt(&self, key: usize, now: Timestamp) -> Result<Sealed, GithubError> {
        let seconds = now.0.div_euclid(1000);
        let claims =
            Claims { iss: self.app_id.to_string(), iat: seconds - 60, exp: seconds + 9 * 60 };
        encode(&Header::new(Algorithm::RS256), &claims, &self.keys[key])
            .map(Sealed::new)
            .map_err(|error| GithubError::Setup(format!("github.private_key_file: {error}")))
    }
}
