//! What did not reach us: deliveries that GitHub could not deliver are asked for again, and where
//! things stand at GitHub is compared with what is known.
//!
//! GitHub sends each delivery once, in any order, and keeps it for three days. Two looks make up
//! for that. The first, every `github.recover_interval`, goes through GitHub's list of deliveries
//! back to where the last look began. The second, every hour and whenever an installation or a
//! repository changed, asks for installations, repositories and heads themselves
//! (`heads`): it needs no delivery at all. What a look finds becomes a row; its mark
//! moves afterwards, so a crash repeats a look and skips none.
mod heads;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::Timestamp;
use crate::domain::decide::Source;
use crate::domain::id::RepositoryId;
use crate::domain::recover::{self, KEPT_MS, ListedDelivery};
use crate::flow::recover::heads::Pending;
use crate::flow::shared::Shared;
use crate::flow::source::Commits;
use crate::flow::{Stage, Step};
use crate::github::client::{Github, GithubError};
use crate::github::recovered::RecoveredDelivery;
use crate::github::webhook;
use crate::store::intake::{Accepted, Arrival, NewDelivery};
use crate::store::looks::{Look, LookKind};
use crate::store::recover::{Mark, Missed};
use crate::store::{Body, Event, StoreError};
use crate::telemetry;

/// Looks at GitHub for what it did not tell.
pub struct Recover {
    shared: Arc<Shared>,
    github: Arc<Github>,
    commits: Commits,
    /// `github.owners`, in lower case.
    owners: Vec<String>,
    /// `github.recover_interval` in milliseconds.
    interval: i64,
    /// When the next look of each kind may begin, in milliseconds.
    deliveries_at: AtomicI64,
    heads_at: AtomicI64,
    /// The look at heads that is under way.
    pending: Mutex<Option<Pending>>,
    /// GitHub's time of the newest push to repositories whose branches were compared since.
    quiet: DashMap<RepositoryId, Timestamp>,
}

/// A delivery may stand in GitHub's list minutes after it was tried.
const OVERLAP_MS: i64 = 10 * 60_000;

/// Pages of the list that are read in one look: 30,000 deliveries.
const PAGES: usize = 300;

/// Deliveries that are asked for in one look; the others' turn is at the next. GitHub allows 180
/// such requests a minute.
const ASKED_AT_ONCE: i64 = 100;

/// Why a look did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Github(#[from] GithubError),
}

/// What GitHub listed since the last look.
struct Listed {
    deliveries: Vec<ListedDelivery>,
    /// GitHub's time when the look began.
    at: Timestamp,
    since: Timestamp,
    is_whole: bool,
}

impl Recover {
    pub fn new(
        shared: Arc<Shared>,
        github: Arc<Github>,
        commits: Commits,
        (owners, interval): (Vec<String>, Duration),
    ) -> Self {
        Self {
            shared,
            github,
            commits,
            owners,
            interval: i64::try_from(interval.as_millis()).unwrap_or(i64::MAX),
            deliveries_at: AtomicI64::new(0),
            heads_at: AtomicI64::new(0),
            pending: Mutex::default(),
            quiet: DashMap::new(),
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }
}

impl Stage for Recover {
    const NAME: &'static str = "recover";
    type Error = StoreError;

    async fn step(&self, stop: &CancellationToken) -> Result<Step, StoreError> {
        let now = self.now();
        if self.deliveries_at.load(Ordering::Relaxed) <= now.0 {
            self.deliveries_at.store(now.plus(self.interval).0, Ordering::Relaxed);
            match self.look_at_deliveries().await {
                Ok(()) => {}
                Err(Interrupted::Store(error)) => return Err(error),
                Err(Interrupted::Github(error)) => {
                    tracing::warn!(
                        "GitHub's list of deliveries could not be looked at; the next look goes as far back: {error}"
                    );
                    let note = Some(error.to_string());
                    self.shared.store.looked(&self.look(LookKind::Deliveries, note), &[]).await?;
                }
            }
            return Ok(Step::Worked);
        }
        if stop.is_cancelled() {
            return Ok(Step::Idle);
        }
        self.step_heads(stop).await
    }
}

impl Recover {
    /// A look that found nothing so far.
    fn look(&self, kind: LookKind, note: Option<String>) -> Look {
        let id = uuid::Uuid::now_v7().to_string();
        Look { id, kind, at: self.now(), looked: 0, missed: 0, asked: 0, given_up: 0, note }
    }

    async fn look_at_deliveries(&self) -> Result<(), Interrupted> {
        let store = &self.shared.store;
        let first = self.github.deliveries(None).await?;
        let Some(mark) = store.mark(Mark::Deliveries).await? else {
            // A new store: what was before it is not its to find.
            let marks =
                [(Mark::Begun, first.at), (Mark::Deliveries, first.at), (Mark::Heads, self.now())];
            store.set_marks(&marks).await?;
            return Ok(());
        };
        let begun = store.mark(Mark::Begun).await?.unwrap_or(mark);
        let since = begun.max(mark.plus(-OVERLAP_MS));
        let listed = self.list(first, since).await?;
        let mut look = self.look(LookKind::Deliveries, None);
        look.looked = count(listed.deliveries.len());
        look.note = remark(&listed, mark);
        let at = listed.at;
        if let Some(note) = &look.note {
            tracing::warn!("{note}");
            store.set_marks(&[(Mark::HeadsAsked, self.now())]).await?;
        }
        self.note_missed(listed.deliveries).await?;
        self.ask_again(&mut look).await?;
        store.looked(&look, &[(Mark::Deliveries, at)]).await?;
        measured(LookKind::Deliveries, look.at);
        Ok(())
    }

    /// Reads the list back to `since`, page by page.
    async fn list(
        &self,
        first: crate::github::deliveries::DeliveryPage,
        since: Timestamp,
    ) -> Result<Listed, GithubError> {
        let at = first.at;
        let mut deliveries = Vec::new();
        let mut page = first;
        for _ in 0..PAGES {
            let reaches = page.deliveries.iter().any(|it| it.delivered_at < since);
            deliveries.extend(page.deliveries.into_iter().filter(|it| it.delivered_at >= since));
            let Some(next) = page.next.filter(|_| !reaches) else {
                return Ok(Listed { deliveries, at, since, is_whole: true });
            };
            page = self.github.deliveries(Some(&next)).await?;
        }
        Ok(Listed { deliveries, at, since, is_whole: false })
    }

    async fn note_missed(&self, mut listed: Vec<ListedDelivery>) -> Result<(), StoreError> {
        let store = &self.shared.store;
        listed.retain(|it| webhook::may_act(&it.event, it.action.as_deref()));
        let guids: Vec<_> = listed.iter().map(|it| it.guid.clone()).collect();
        let known = store.known_deliveries(&guids).await?;
        let missed = recover::missed(listed, &known);
        let new = store.note_missed(&missed, self.now()).await?;
        if new > 0 {
            metrics::counter!(telemetry::MISSED).increment(new);
            tracing::info!("{new} deliveries did not reach us; GitHub is asked to send them again");
        }
        Ok(())
    }

    /// Asks for what is missing, each with patience and an end.
    async fn ask_again(&self, look: &mut Look) -> Result<(), Interrupted> {
        let store = &self.shared.store;
        store.note_arrived(self.now()).await?;
        let missing = store.to_ask_for(self.now(), ASKED_AT_ONCE).await?;
        look.missed = count(missing.len());
        for it in missing {
            if let Some(why) = self.gives_up(&it) {
                self.give_up(&it, &why, look).await?;
                continue;
            }
            match self.github.redeliver(it.github_id).await {
                Ok(()) => {
                    let patience = recover::patience_ms(it.asked + 1, self.interval);
                    let until = self.now().plus(patience.unwrap_or(self.interval));
                    store.asked_for(&it.guid, until, self.now()).await?;
                    look.asked += 1;
                    metrics::counter!(telemetry::ASKED_AGAIN, "outcome" => "asked").increment(1);
                }
                Err(error @ (GithubError::Gone(_) | GithubError::Rejected { .. })) => {
                    self.give_up(&it, &error.to_string(), look).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn gives_up(&self, missed: &Missed) -> Option<String> {
        if missed.asked >= recover::MOST_ASKED {
            return Some(format!("asked for {} times in vain", missed.asked));
        }
        let age = self.now().since(missed.delivered_at);
        // Enterprise Server keeps them for seven days: it says itself when it has one no more.
        (age > 7 * 86_400_000).then(|| "older than GitHub keeps deliveries".to_owned())
    }

    async fn give_up(&self, it: &Missed, why: &str, look: &mut Look) -> Result<(), StoreError> {
        tracing::warn!(delivery = %it.guid, event = %it.event, "delivery {} ({}) is given up: {why}; where things stand is compared every hour all the same", it.guid, it.event);
        metrics::counter!(telemetry::ASKED_AGAIN, "outcome" => "given_up").increment(1);
        look.given_up += 1;
        self.shared.store.give_up_delivery(&it.guid, why, self.now()).await
    }

    /// Leaves what was found as a delivery for the ordinary intake; the same once.
    async fn deliver(&self, look: &mut Look, found: RecoveredDelivery) -> Result<(), StoreError> {
        let RecoveredDelivery { event, action, repository, installation, subject, body } = found;
        let digest = hex::encode(Sha256::digest(subject.as_bytes()));
        let guid = format!("{}{}", Source::RECOVERED, &digest[..40]);
        let Ok(guid) = guid.parse() else { return Ok(()) };
        let delivery = NewDelivery {
            guid,
            event: event.to_owned(),
            action: action.map(str::to_owned),
            repository,
            installation: Some(installation),
            received_at: self.now(),
            standing: Arrival::Received {
                body_sha256: hex::encode(Sha256::digest(body.as_bytes())),
            },
            body: Body::pack(body.as_bytes())?,
        };
        let accepted = self.shared.store.accept(vec![delivery]).await?;
        if accepted.contains(&Accepted::New) {
            look.missed += 1;
            metrics::counter!(telemetry::RECOVERED, "what" => event).increment(1);
            tracing::info!(
                installation = installation.0,
                "GitHub did not tell us, so we found out: {subject}"
            );
            self.shared.wakeups.say(Event::DeliveryWaiting);
        }
        Ok(())
    }
}

/// Why the list alone cannot have told everything, if so.
fn remark(listed: &Listed, mark: Timestamp) -> Option<String> {
    let away = listed.at.since(mark);
    if away > KEPT_MS - OVERLAP_MS {
        let days = away / 86_400_000;
        return Some(format!(
            "the last look was {days} days ago, longer than GitHub keeps deliveries: heads are compared"
        ));
    }
    (!listed.is_whole).then(|| {
        format!(
            "GitHub lists more than {} deliveries since {}: heads are compared",
            listed.deliveries.len(),
            jiff::Timestamp::from_millisecond(listed.since.0).unwrap_or_default()
        )
    })
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a time in seconds")]
fn measured(kind: LookKind, at: Timestamp) {
    metrics::gauge!(telemetry::LAST_LOOK, "kind" => kind.as_str()).set(at.0 as f64 / 1000.0);
}
