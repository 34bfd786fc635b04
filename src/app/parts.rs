//! Makes everything that the stages share.
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::app::StartError;
use crate::app::own;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::domain::build::Patience;
use crate::domain::link::Links;
use crate::flow::Clock;
use crate::flow::evaluate::Tools;
use crate::flow::look::Builders;
use crate::flow::shared::{Shared, Wakeups};
use crate::flow::source::Commits;
use crate::github::client::Github;
use crate::github::updater::Updater;
use crate::nix::Nix;
use crate::nix::eval::Evaluator;
use crate::nix::git::Mirrors;
use crate::nix::log::LogStore;
use crate::nix::log::archive::Archive;
use crate::nix::roots::Roots;
use crate::store::Store;

/// Everything that is made once and shared.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) github: Arc<Github>,
    /// Writes pull requests.
    pub(super) updater: Updater,
    pub(super) commits: Commits,
    pub(super) mirrors: Arc<Mirrors>,
    pub(super) tools: Arc<Tools>,
    pub(super) roots: Arc<Roots>,
    pub(super) links: Links,
    /// Where logs are kept for other instances.
    pub(super) archive: Option<Arc<Archive>>,
}

impl Parts {
    pub(super) async fn make(config: &Config) -> Result<Self, StartError> {
        let clock = system_clock();
        let directory = &config.store.directory;
        let ms = |it: Duration| i64::try_from(it.as_millis()).unwrap_or(i64::MAX);
        let owner = own::name(directory, random)?;
        let store = Store::open(config.store.url.reveal()).await?.owned_by(&owner);
        let store = store.reached_at(config.http.instance_url.as_deref().unwrap_or_default());
        let store = store.lending(config.nix.instance_store.as_deref().unwrap_or_default());
        let store = store.with_patience(Patience {
            retries: config.nix.retries,
            failure_memory_ms: ms(config.nix.failure_memory),
            unplaceable_ms: ms(config.nix.unplaceable_after),
        });
        let key = store.keep_value("link key", random()).await?;
        let now = clock.now();
        store.beat(now).await?;
        let expired = store.forget_claims_of(&owner, now).await?;
        if !expired.runs.is_empty() || !expired.attempts.is_empty() {
            tracing::info!(
                runs = expired.runs.len(),
                attempts = expired.attempts.len(),
                "taking up the work that the last process left: {} evaluations and {} builds",
                expired.runs.len(),
                expired.attempts.len()
            );
        }
        let github = Arc::new(Github::new(&config.github, {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        })?);
        let updater = Updater::from_config(&config.github, github.clone(), {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        })?;
        let mirrors = Arc::new(Mirrors::new(directory, &config.github.git_url));
        let nix = Nix::new(&config.nix);
        let tools = Tools {
            evaluator: Evaluator::new(nix.clone(), &config.nix, directory),
            nix,
            builders: Arc::new(Builders::new(&config.builders)),
        };
        let logs = LogStore::new(directory);
        let archive = match &config.logs.bucket {
            Some(bucket) => Some(Arc::new(Archive::new(bucket, logs.clone())?)),
            None => None,
        };
        let shared = Shared {
            store,
            clock,
            wakeups: Wakeups::default(),
            logs,
            owner,
            started: now,
            progress: Arc::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            commits: Commits::new(github.clone(), mirrors.clone()),
            mirrors,
            updater,
            github,
            tools: Arc::new(tools),
            roots: Arc::new(Roots::new(directory)),
            links: Links::new(&config.http.public_url, &Sha256::digest(key.as_bytes()).into()),
            archive,
        })
    }
}

/// 244 random bits, as text.
fn random() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// The time of this machine.
#[expect(clippy::disallowed_methods, reason = "the one clock: everyone else is told the time")]
pub fn system_clock() -> Clock {
    Clock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
