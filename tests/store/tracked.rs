//! What people are told of updates, unasked and when they look.
use std::collections::BTreeSet;

use fleetcheck::domain::Timestamp;
use fleetcheck::domain::id::{RepositoryId, UpdateId};
use fleetcheck::domain::lock::Lock;
use fleetcheck::domain::update::life::{Cause, Outcome, Plan, Update};
use fleetcheck::store::overview::UpdateLine;
use fleetcheck::store::pulls::TrackingIssue;
use fleetcheck::store::runs::Subject;
use fleetcheck::store::schedules::NextUpdate;
use fleetcheck::store::tracked::Tracked;
use fleetcheck::store::updates::{Left, UpdateClaim};

use crate::world::{LEASE, NOW, World, id, repository, sha};

const DAY: i64 = 86_400_000;

fn plan(group: &str) -> Plan {
    Plan {
        group: group.to_owned(),
        branch: "fleetcheck/update".parse().unwrap(),
        base: sha("a1"),
        path: "flake.lock".to_owned(),
        old: Lock::none(),
        new: Lock::none(),
        moving: BTreeSet::new(),
        required: BTreeSet::new(),
        not_found: vec![],
        left: vec![],
        histories: vec![],
    }
}

fn new(at: Timestamp) -> Update {
    Update::new(id(), RepositoryId(42), Cause::Command, at)
}

/// Somebody asks for an update at this moment.
async fn ask(world: &World, at: Timestamp) -> UpdateId {
    let update = new(at);
    let _ = world.store.ask_for_update(&update, at).await.unwrap();
    update.id
}

async fn claim(world: &World) -> (UpdateClaim, Update) {
    let claimed = world.store.claim_update("me", NOW, LEASE).await.unwrap();
    let (claim, update, _) = claimed.expect("an update to go on with");
    (claim, update)
}

async fn leave(
    world: &World,
    (claim, update): (UpdateClaim, &Update),
    siblings: &[Update],
    report: Option<&str>,
) {
    let left = Left { update, siblings, trial: None, report, not_before: NOW };
    let _ = world.store.leave_update(claim, left, NOW).await.unwrap();
}

/// The next update has looked up the newest revisions, and these groups have some. It is the first's;
/// the others' go on before it.
async fn looks(world: &World, groups: &[&str]) {
    let (claim, update) = claim(world).await;
    let at = update.created_at.plus(1);
    let siblings = groups[1..].iter().map(|it| new(at).search(plan(it)).unwrap());
    let siblings: Vec<Update> = siblings.collect();
    let update = update.search(plan(groups[0])).unwrap();
    leave(world, (claim, &update), &siblings, None).await;
}

/// The next update ends so.
async fn ends(world: &World, outcome: Outcome, report: Option<&str>) {
    let (claim, update) = claim(world).await;
    let update = update.end(outcome, NOW).unwrap();
    leave(world, (claim, &update), &[], report).await;
}

async fn tracked(world: &World) -> Tracked {
    let mut all = world.store.tracked().await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// `group: report` of what is held back.
async fn held_back(world: &World) -> Vec<String> {
    let it = tracked(world).await;
    it.held_back.iter().map(|(group, text)| format!("{group}: {text}")).collect()
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed { why: why.to_owned() }
}

contract! {
    async fn a_repository_is_told_of_once_it_has_to_do_with_updates(world) {
        world.push("a1", &[]).await;
        assert_eq!(world.store.tracked().await.unwrap(), []);
        let weekly = NextUpdate { schedule: "UTC 0 4 * * 0".to_owned(), due_at: NOW };
        let run = world.claim().await;
        let subject = Subject { next_update: Some(&weekly), ..Subject::default() };
        world.store.set_subject(&run, &subject, NOW).await.unwrap();
        let it = tracked(&world).await;
        assert_eq!(it.repository, repository());
        assert_eq!(it.facts.schedule.as_deref(), Some("0 4 * * 0 (UTC)"));
        assert_eq!((it.facts.due_at, it.issue), (Some(NOW), None));
        ask(&world, NOW).await;
        looks(&world, &["all"]).await;
        assert_eq!(tracked(&world).await.facts.open, [("the update of all inputs".to_owned(), NOW)]);
        let issue = TrackingIssue {
            repository: RepositoryId(42), number: 7, is_open: true, shown: "ab".to_owned(),
        };
        world.store.note_tracking_issue(&issue, NOW).await.unwrap();
        assert_eq!(tracked(&world).await.issue, Some(issue));
    }

    async fn what_a_group_s_newest_report_says_is_held_back(world) {
        world.push("a1", &[]).await;
        ask(&world, NOW).await;
        looks(&world, &["all"]).await;
        ends(&world, Outcome::HeldBack, Some("nixpkgs")).await;
        assert_eq!(held_back(&world).await, ["all: nixpkgs"]);
        ask(&world, NOW.plus(DAY)).await;
        assert_eq!(held_back(&world).await, ["all: nixpkgs"], "nothing newer is known");
        looks(&world, &["all"]).await;
        assert_eq!(held_back(&world).await, ["all: nixpkgs"]);
        ends(&world, failed("no answer"), None).await;
        assert_eq!(held_back(&world).await, ["all: nixpkgs"], "a failure says nothing of it");
        ask(&world, NOW.plus(2 * DAY)).await;
        looks(&world, &["all"]).await;
        ends(&world, Outcome::Opened { number: 7 }, Some("")).await;
        assert_eq!(held_back(&world).await, Vec::<String>::new());
    }

    async fn what_nothing_moves_any_more_is_not_held_back(world) {
        world.push("a1", &[]).await;
        ask(&world, NOW).await;
        looks(&world, &["all"]).await;
        ends(&world, Outcome::HeldBack, Some("nixpkgs")).await;
        ask(&world, NOW.plus(DAY)).await;
        ends(&world, Outcome::UpToDate, None).await;
        assert_eq!(held_back(&world).await, Vec::<String>::new());
    }

    async fn a_group_that_is_gone_holds_nothing_back(world) {
        world.push("a1", &[]).await;
        ask(&world, NOW).await;
        looks(&world, &["b", "a"]).await;
        ends(&world, Outcome::HeldBack, Some("one")).await;
        ends(&world, Outcome::HeldBack, Some("two")).await;
        assert_eq!(held_back(&world).await, ["a: one", "b: two"]);
        ask(&world, NOW.plus(DAY)).await;
        assert_eq!(held_back(&world).await, ["a: one", "b: two"]);
        looks(&world, &["b", "c"]).await;
        assert_eq!(held_back(&world).await, ["b: two"], "while it is tried again");
    }

    async fn a_failure_is_told_until_a_later_update_has_ended(world) {
        world.push("a1", &[]).await;
        let told = async || tracked(&world).await.failed;
        ask(&world, NOW).await;
        ends(&world, failed("no such branch"), None).await;
        assert_eq!(told().await.as_deref(), Some("no such branch"));
        ask(&world, NOW.plus(DAY)).await;
        looks(&world, &["b", "a"]).await;
        ends(&world, failed("one"), None).await;
        assert_eq!(told().await.as_deref(), Some("no such branch\n\na: one"));
        ends(&world, failed("two"), None).await;
        assert_eq!(told().await.as_deref(), Some("b: two\n\na: one"));
        ask(&world, NOW.plus(2 * DAY)).await;
        looks(&world, &["a", "b"]).await;
        assert_eq!(told().await.as_deref(), Some("b: two\n\na: one"));
        ends(&world, Outcome::Opened { number: 7 }, Some("")).await;
        assert_eq!(told().await.as_deref(), Some("a: one"));
        ends(&world, Outcome::Opened { number: 8 }, Some("")).await;
        assert_eq!(told().await, None);
    }

    async fn updates_are_listed_with_those_on_their_way_first(world) {
        world.push("a1", &[]).await;
        let first = ask(&world, NOW).await;
        looks(&world, &["all"]).await;
        ends(&world, Outcome::Merged { number: 7 }, Some("")).await;
        let second = ask(&world, NOW.plus(DAY)).await;
        ends(&world, Outcome::UpToDate, None).await;
        let third = ask(&world, NOW.plus(2 * DAY)).await;
        let lines = world.store.updates_of("Acme", "FLEET", 9).await.unwrap();
        let shown = |it: &UpdateLine| {
            (it.update.id.clone(), it.group.clone(), it.update.state.name(), it.tries.len())
        };
        assert_eq!(
            lines.iter().map(shown).collect::<Vec<_>>(),
            [
                (third, String::new(), "requested", 0),
                (second, String::new(), "ended", 0),
                (first, "all".to_owned(), "ended", 0),
            ]
        );
        assert_eq!(world.store.updates_of("acme", "fleet", 1).await.unwrap().len(), 1);
        assert_eq!(world.store.updates_of("acme", "other", 9).await.unwrap(), []);
        assert_eq!(world.store.public_updates(9).await.unwrap(), [], "it is private");
        let database = world.database().await;
        sqlx::query("UPDATE repository SET visibility = 'public'").execute(&database).await.unwrap();
        let shown = world.store.public_updates(9).await.unwrap();
        let ids = |all: &[UpdateLine]| all.iter().map(|it| it.update.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&shown), ids(&lines[..2]), "the newest that has ended, and no other");
    }
}
