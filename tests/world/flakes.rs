//! Flakes in commits, mirrored, pinned and ready to evaluate.
#![expect(clippy::unwrap_used, reason = "a harness: it may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
use fleetcheck::config;
use fleetcheck::domain::build::EvaluationFailure;
use fleetcheck::domain::id::{AttrPath, CommitSha};
use fleetcheck::domain::policy::AttrPattern;
use fleetcheck::nix::eval::{EvalError, Evaluated, Evaluator};
use fleetcheck::nix::flake::Pinned;
use fleetcheck::nix::git::{Mirror, Mirrors};
use tokio_util::sync::CancellationToken;

use crate::forge::{Forge, Repository, TOKEN, source};
use crate::nix::TestNix;

/// Bytes that an evaluation is given.
pub const SHARE: u64 = 1 << 30;

/// A commit with a fixture's flake, mirrored and pinned, and what evaluates it.
pub struct Lab {
    pub nix: TestNix,
    pub forge: Forge,
    pub repository: Repository,
    pub commit: CommitSha,
    pub mirror: Mirror,
    pub flake: Pinned,
    pub evaluator: Evaluator,
    pub stop: CancellationToken,
}

impl Lab {
    pub async fn new(nix: TestNix, fixture: &str) -> Self {
        Self::within(nix, fixture, "", "ours").await
    }

    /// The flake in a folder of the repository, mirrored in a folder of this name.
    pub async fn within(nix: TestNix, fixture: &str, dir: &str, ours: &str) -> Self {
        let forge = Forge::start().await;
        let repository = forge.repository("fleet");
        repository.commit("before");
        repository.fixture(fixture, "");
        let commit = repository.commit("the flake");
        // A later commit must make no difference.
        repository.write("flake.nix", "throw \"another commit\"");
        repository.commit("after");
        let mirrors = Mirrors::new(&nix.directory().join(ours), &forge.url);
        let stop = CancellationToken::new();
        let from = source(&repository, Some(TOKEN));
        let mirror = mirrors.fetch(&from, &commit, &stop).await.unwrap();
        let evaluator = evaluator(&nix, |_| {});
        let reference = mirror.flake(&commit, dir);
        let flake = evaluator.pin(&reference, Some(&commit), &stop).await.unwrap();
        Self { nix, forge, repository, commit, mirror, flake, evaluator, stop }
    }

    pub async fn list(&self, outputs: &[&str]) -> Result<Vec<String>, EvalError> {
        let outputs: Vec<_> = outputs.iter().map(|it| pattern(it)).collect();
        let listed = self.evaluator.list(&self.flake, &outputs, &[], &self.stop).await?;
        Ok(listed.iter().map(AttrPath::to_string).collect())
    }

    pub async fn evaluate(&self, attrs: &[AttrPath]) -> Result<Vec<Evaluated>, EvalError> {
        let ended = self.evaluator.evaluate(&self.flake, attrs, SHARE, &self.stop).await;
        ended.map_err(|it| it.error)
    }

    /// How a host that does not evaluate fails.
    pub async fn failure(&self, host: &str) -> EvaluationFailure {
        let ended = self.evaluate(&[AttrPath::host(host)]).await;
        let Err(EvalError::Flake(failure)) = ended else { panic!("{host}: {ended:?}") };
        failure
    }
}

pub fn evaluator(nix: &TestNix, change: impl FnOnce(&mut config::Nix)) -> Evaluator {
    let mut settings = nix.config();
    change(&mut settings);
    Evaluator::new(nix.nix(), &settings, &nix.directory().join("ours"))
}

pub fn pattern(text: &str) -> AttrPattern {
    let recursive = text.ends_with(".**");
    let components = text.trim_end_matches(".**").split('.').map(str::to_owned).collect();
    AttrPattern { components, recursive }
}

pub fn attr(text: &str) -> AttrPath {
    AttrPath::new(text.split('.').map(str::to_owned).collect()).unwrap()
}
