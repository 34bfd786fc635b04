//! What does not land is told: in one issue, on the pages, among the metrics.
use std::time::Duration;

use serde_json::Value;

use super::fleet::Fleet;
use crate::world::World;
use crate::world::github::{Fault, IssueView, Operation};

const DAY: i64 = 86_400_000;

async fn fleet() -> Fleet {
    Fleet::new(&["a"], &[("raider", "[ ${a.v} != bad ]")], "").await
}

/// Breaks the host in these words.
fn breaks(fleet: &Fleet, why: &str) {
    fleet.inputs().commit("a", &format!("v = throw \"{why}\";"));
}

impl Fleet {
    /// Waits until the one issue of the repository is so.
    async fn issue(&self, what: &str, is_so: impl Fn(&IssueView) -> bool) -> IssueView {
        let issues = || self.world.github.issues(&self.world.repo);
        self.world.wait(what, |_| issues().first().is_some_and(&is_so)).await;
        let mut issues = issues();
        assert_eq!(issues.len(), 1, "{issues:#?}");
        issues.remove(0)
    }

    /// The updates of the repository, as JSON.
    async fn listed(&self) -> Vec<Value> {
        let (owner, name) = (&self.world.repo.owner, &self.world.repo.name);
        let url = self.world.url(&format!("/api/v1/updates?repo={owner}/{name}"));
        let document: Value = serde_json::from_str(&self.world.get(&url).await.1).unwrap();
        document["updates"].as_array().unwrap().clone()
    }

    /// The front page, once it says this.
    async fn home_says(&self, text: &str) -> String {
        let said = async {
            loop {
                let (_, home) = self.world.get(&self.world.url("/")).await;
                if home.contains(text) {
                    return home;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), said).await;
        in_time.unwrap_or_else(|_| panic!("`{text}` is not on the front page"))
    }
}

/// Changes what the service remembers.
async fn rewrite(world: &World, statements: &[String]) {
    sqlx::any::install_default_drivers();
    let file = world.directory().join("fleetcheck.db");
    let database = sqlx::AnyPool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    for text in statements {
        let done = sqlx::query(sqlx::AssertSqlSafe(text.clone())).execute(&database).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{text}");
    }
    database.close().await;
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[tokio::test]
async fn what_is_held_back_is_one_issue_that_is_edited_closed_and_opened_again() {
    let fleet = fleet().await;
    breaks(&fleet, "gtk-engine-murrine was removed");
    assert_eq!(fleet.update().await, "everything is held back");
    let first = fleet.issue("it is told", |_| true).await;
    assert_eq!((&*first.title, first.is_open), ("Updates held back", true));
    assert!(first.body.contains("gtk-engine-murrine was removed"), "{}", first.body);
    let home = fleet.home_says("</time>: everything is held back").await;
    assert!(home.contains("acme/fleet: an update has ended "), "{home}");
    let listed = fleet.listed().await.remove(0);
    assert_eq!((&listed["state"], &listed["group"]), (&"ended".into(), &"all".into()));
    assert_eq!(listed["outcome"]["outcome"], "held_back");
    assert_eq!(listed["cause"]["kind"], "command");
    let run = listed["tries"][0]["url"].as_str().unwrap();
    assert_eq!(fleet.world.get(run).await.0, 200, "{run}");

    // The next week it is the same, and then another failure.
    assert_eq!(fleet.update().await, "everything is held back");
    breaks(&fleet, "python2 is gone");
    assert_eq!(fleet.update().await, "everything is held back");
    let second = fleet.issue("it is edited", |it| it.body.contains("python2 is gone")).await;
    assert_eq!(second.number, first.number);
    assert_eq!(fleet.world.github.count(Operation::EditIssue), 1, "the same is told once");

    // A person has read it, and nothing is new.
    fleet.world.github.close_issue(&fleet.world.repo, first.number);
    assert_eq!(fleet.update().await, "everything is held back");

    fleet.inputs().commit("a", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 2 waits for a person");
    let over = fleet.issue("it is over", |it| it.body.starts_with("No update is held back")).await;
    assert!(!over.is_open);
    assert_eq!(fleet.world.github.count(Operation::EditIssue), 2, "nobody opens it again");
    assert_eq!(fleet.listed().await[0]["pull_request"], 2);

    breaks(&fleet, "perl is gone");
    assert_eq!(fleet.update().await, "everything is held back");
    let again = fleet.issue("it is opened again", |it| it.is_open).await;
    assert_eq!(again.number, first.number);
    assert!(again.body.contains("perl is gone"), "{}", again.body);
    assert_eq!(fleet.world.github.count(Operation::CreateIssue), 1);
}

#[tokio::test]
async fn an_update_that_fails_is_told_until_one_does_not() {
    let mut fleet = fleet().await;
    fleet.set_policy("inptus = [\"nixpkgs\"]\n");
    fleet.push().await;
    let end = fleet.update().await;
    assert!(end.starts_with("it failed: ") && end.contains("inptus"), "{end}");
    let told = fleet.issue("the failure is told", |it| it.is_open).await;
    assert!(told.body.starts_with("### The last update failed\n"), "{}", told.body);
    assert!(told.body.contains("inptus"), "{}", told.body);
    fleet.home_says("</time>: it failed: ").await;
    let listed = fleet.listed().await.remove(0);
    assert_eq!(listed["outcome"]["outcome"], "failed");
    fleet.set_policy("");
    fleet.push().await;
    assert_eq!(fleet.update().await, "up to date");
    fleet.issue("it is over", |it| !it.is_open).await;
}

#[tokio::test]
async fn an_update_is_seen_while_it_is_on_its_way() {
    let mut fleet = fleet().await;
    let mut hold = fleet.world.hold("raider");
    fleet.set_host("raider", &format!("echo ${{a.v}}; {}", hold.script()));
    hold.let_go();
    fleet.push().await;
    hold.runs().await;
    hold.is_over().await;
    fleet.inputs().commit("a", "v = \"2\";");
    fleet.ask();
    hold.runs().await;
    let home = fleet.home_says("acme/fleet: tries lock files since").await;
    assert!(home.contains("1 tried</a>"), "{home}");
    let listed = fleet.listed().await.remove(0);
    assert_eq!((&listed["state"], &listed["outcome"]), (&"searching".into(), &Value::Null));
    assert_eq!(listed["tries"].as_array().unwrap().len(), 1);
    fleet.world.counts("fleetcheck_updates{state=\"searching\"}", 1).await;
    hold.let_go();
    assert_eq!(fleet.ended(1).await, ["pull request 1 waits for a person"]);
    fleet.world.counts("fleetcheck_updates{state=\"searching\"}", 0).await;
    assert_eq!(fleet.world.github.count(Operation::CreateIssue), 0, "there is nothing to tell");
}

#[tokio::test]
async fn an_issue_whose_answer_was_lost_is_not_opened_a_second_time() {
    let mut fleet = fleet().await;
    breaks(&fleet, "gtk-engine-murrine was removed");
    fleet.world.github.fail_next(Operation::CreateIssue, Fault::AnswerLost, 1);
    fleet.update().await;
    fleet.issue("it is opened, and nobody heard of it", |_| true).await;
    fleet.world.kill().await;
    fleet.world.start().await;
    fleet.world.logged("of acme/fleet says what is held back").await;
    fleet.issue("it is there", |it| it.is_open).await;
    assert_eq!(fleet.world.github.count(Operation::CreateIssue), 1);
}

#[tokio::test]
async fn an_issue_that_somebody_has_deleted_is_opened_anew_when_there_is_news() {
    let fleet = fleet().await;
    breaks(&fleet, "gtk-engine-murrine was removed");
    fleet.update().await;
    let first = fleet.issue("it is told", |_| true).await;
    fleet.world.github.delete_issue(&fleet.world.repo, first.number);
    breaks(&fleet, "python2 is gone");
    fleet.update().await;
    let second = fleet.issue("it is told anew", |_| true).await;
    assert!(second.body.contains("python2 is gone"), "{}", second.body);
}

#[tokio::test]
async fn where_there_are_no_issues_it_is_logged_and_nobody_is_asked_in_a_loop() {
    let fleet = fleet().await;
    fleet.world.github.set_settings(&fleet.world.repo, |it| it.has_issues = false);
    breaks(&fleet, "gtk-engine-murrine was removed");
    fleet.update().await;
    fleet.world.logged("could not be written; it is tried again in 86400s").await;
    assert_eq!(fleet.update().await, "everything is held back");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(fleet.world.github.count(Operation::ListIssues), 1);
    assert_eq!(fleet.world.github.count(Operation::CreateIssue), 1);
    fleet.home_says("</time>: everything is held back").await;
}

#[tokio::test]
async fn what_should_have_happened_and_did_not_is_told() {
    let mut fleet = fleet().await;
    fleet.inputs().commit("a", "v = \"2\";");
    assert_eq!(fleet.update().await, "pull request 1 waits for a person");
    let head = fleet.pull().head;
    fleet.world.run_is(&head, "ended").await;
    fleet.world.stop().await;
    // It has been green for eight days, and the instance that sees schedules fire is away.
    let statements = [
        format!(
            "UPDATE run SET state_at = {} WHERE sha = '{head}' AND reason = 'pull_request:1'",
            now() - 8 * DAY
        ),
        "UPDATE lock_pull SET checked_at = 0".to_owned(),
        format!(
            "UPDATE repository SET update_schedule = 'UTC 0 4 * * 0', update_due_at = {}",
            now() - DAY
        ),
    ];
    rewrite(&fleet.world, &statements).await;
    fleet.world = fleet.world.roles("intake,report");
    fleet.world.start().await;
    let told = fleet.issue("it is told", |it| it.is_open).await;
    assert!(told.body.contains("pull request #1 has been green since"), "{}", told.body);
    assert!(!told.body.contains("was due"), "it may be made up now: {}", told.body);
    fleet.home_says("acme/fleet: pull request 1 has been green since").await;
    fleet.home_says("acme/fleet: by the schedule 0 4 * * 0 (UTC) an update was due at").await;
    fleet.world.counts("fleetcheck_update_silences{kind=\"waiting\"}", 1).await;
    fleet.world.counts("fleetcheck_update_silences{kind=\"not_fired\"}", 1).await;
    fleet.world.stop().await;

    // It is back, and so is the person who decides.
    fleet.world.github.close_pull(&fleet.world.repo, 1).await;
    rewrite(&fleet.world, &["UPDATE lock_pull SET checked_at = 0".to_owned()]).await;
    fleet.world = fleet.world.roles("intake,evaluate,build,report,recover");
    fleet.world.start().await;
    fleet.issue("it is over", |it| !it.is_open).await;
}
