//! Three instances on one `PostgreSQL`, killed at random while they build.
#![expect(clippy::unwrap_used, reason = "tests may panic")]
use std::time::Duration;

use sqlx::{AnyPool, Row as _};

use crate::postgres::world;
use crate::server::Server;
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::github::{FakeGitHub, From};

const RUNS: i64 = 20;
const HOSTS: usize = 50;
/// What happens is the same for the same seed, as far as a machine allows.
const SEED: u64 = 0x5eed_f1ee;
const KILLS: usize = 12;
/// The lease of whoever is killed ends after 40 s, that of the next one as late.
const PATIENCE: Duration = Duration::from_mins(3);

/// Numbers that look random, always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// What GitHub does not show yet.
const BEHIND: &str = "SELECT COUNT(*) FROM report WHERE wanted > shown";

async fn number(pool: &AnyPool, text: &'static str) -> i64 {
    sqlx::query(text).fetch_one(pool).await.unwrap().get(0)
}

/// The gate speaks of every host; a check of its own have those that are worth one.
fn is_settled(world: &World, sha: &str) -> bool {
    let runs = world.github.check_runs(world.repo.id, sha);
    runs.iter().any(|it| it.name == "fleet")
        && runs.iter().all(|it| it.conclusion.as_deref() == Some("success"))
}

#[tokio::test]
async fn a_thousand_builds_end_once_each_whoever_is_killed_meanwhile() {
    let first = world("killed").await.github_setting("checks_limit = 10");
    let mut all = [first.beside(), first.beside(), first];
    for it in &mut all {
        it.start().await;
    }
    let mut commits = Vec::new();
    for number in 1..=RUNS {
        let host = |it| Host::good(&format!("host{it}"), &format!("{number}"));
        let hosts: Vec<Host> = (0..HOSTS).map(host).collect();
        commits.push(all[2].commit(&format!("topic{number}"), &hosts, &[]));
    }
    let mut dice = Dice(SEED);
    // From the first what evaluations cost is known: the others are evaluated many to a process.
    all[2].pull_request("opened", 1, &commits[0], From::SameRepository).await;
    all[2].concluded(&commits[0], "fleet", "success").await;
    // Most come at once. Of the others one comes before each kill, so that whoever is killed has work,
    // however fast the machine is.
    let mut waiting = (1..).zip(&commits).skip(1);
    for (number, sha) in waiting.by_ref().take(commits.len() - 1 - KILLS) {
        all[2].pull_request("opened", number, sha, From::SameRepository).await;
    }
    let mut dead: Option<usize> = None;
    for (number, sha) in waiting {
        if let Some(dead) = dead.take() {
            all[dead].start().await;
        }
        all[2].pull_request("opened", number, sha, From::SameRepository).await;
        let seen = all[2].github.calls().len() + dice.below(12);
        // The last of its calls may be fewer than that.
        let shown = |it: &FakeGitHub| it.calls().len() > seen || is_settled(&all[2], sha);
        all[2].github.wait_within(PATIENCE, "something is shown", shown).await;
        let victim = dice.below(all.len());
        all[victim].kill().await;
        // Some are started again at once, the others at the next turn.
        if dice.below(2) == 0 {
            all[victim].start().await;
        } else {
            dead = Some(victim);
        }
    }
    // One stays dead.
    let gone = dead.unwrap_or(0);
    if dead.is_none() {
        all[gone].kill().await;
    }
    let alive = &all[(gone + 1) % all.len()];
    for sha in &commits {
        // It takes as long as it takes: something happens all the while.
        while !is_settled(alive, sha) {
            let seen = alive.github.calls().len();
            let moved = |it: &FakeGitHub| it.calls().len() > seen || is_settled(alive, sha);
            alive.github.wait_within(PATIENCE, "it goes on", moved).await;
        }
        alive.assert_nothing_doubled(sha);
        let title = alive.check(sha, "fleet").title;
        assert!(title.starts_with(&format!("{HOSTS} hosts build")), "{title}");
    }
    let pool = AnyPool::connect(&Server::get().url("killed")).await.unwrap();
    assert_eq!(number(&pool, "SELECT COUNT(*) FROM build WHERE state = 'ended'").await, 1_000);
    assert_eq!(number(&pool, "SELECT COUNT(*) FROM run WHERE state <> 'ended'").await, 0);
    assert_eq!(number(&pool, "SELECT COUNT(*) FROM attempt WHERE state = 'running'").await, 0);
    let twice = "SELECT COUNT(*) FROM (SELECT drv FROM attempt WHERE outcome LIKE '{\"answered\"%' \
                 GROUP BY drv HAVING COUNT(*) > 1) twice";
    assert_eq!(number(&pool, twice).await, 0, "derivations that came to two answers");
    let owner = std::fs::read_to_string(all[gone].directory().join("state/owner")).unwrap();
    let held = "SELECT COUNT(*) FROM lease l WHERE l.owner = $1 AND l.held_until > \
                (SELECT MAX(seen_at) FROM instance)";
    let count = async || -> i64 {
        let row = sqlx::query(held).bind(owner.trim()).fetch_one(&pool).await.unwrap();
        row.get::<i64, _>(0) + number(&pool, BEHIND).await
    };
    let nothing_left = async {
        while count().await > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(2), nothing_left).await;
    assert!(in_time.is_ok(), "the dead hold a lease, or something is not shown");
}
