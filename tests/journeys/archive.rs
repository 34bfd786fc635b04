//! Logs in a bucket that all instances share.
use crate::postgres::world;
use crate::world::World;
use crate::world::fleet::Host;
use crate::world::s3::S3;

impl World {
    /// Where a host's build is shown, on any instance.
    fn page_of(&self, sha: &str, host: &str) -> String {
        let url = self.check(sha, &format!("fleet / {host}")).details_url;
        format!("/builds/{}", url.split("/builds/").nth(1).unwrap())
    }

    /// Waits until this instance has put so many logs into the bucket, and told the store.
    async fn has_carried(&self, count: usize) {
        self.counts("fleetcheck_logs_archived_total", count).await;
    }

    fn logs_here(&self) -> usize {
        let folders = std::fs::read_dir(self.directory().join("state/logs"));
        let folders = folders.into_iter().flatten().flatten();
        folders.flat_map(|it| std::fs::read_dir(it.path()).unwrap()).count()
    }
}

/// Says more than one piece of a log takes.
fn talkative(name: &str) -> Host {
    let lines = "i=0; while [ $i -lt 20000 ]; do echo line $i of the log; i=$((i+1)); done";
    Host::script(name, &format!("{lines}; echo > $out"))
}

fn whole() -> String {
    let lines: Vec<String> = (0..20_000).map(|it| format!("line {it} of the log")).collect();
    lines.join("\n")
}

#[tokio::test]
async fn the_log_of_an_instance_that_is_gone_is_read_whole_from_another() {
    let mut server = S3::start();
    let mut one = world("archive").await.bucket(&server);
    let mut other = one.beside().roles("intake,report");
    one.start().await;
    other.start().await;
    let sha = one.push(&[talkative("orion")], &[]).await;
    one.settled(&sha, &["fleet", "fleet / orion"]).await;
    one.has_carried(1).await;
    one.kill().await;

    let page = other.url(&one.page_of(&sha, "orion"));
    let log = format!("{page}/log");
    server.stop();
    for url in [&log, &format!("{log}?from=0")] {
        let (status, text) = other.get(url).await;
        assert_eq!(status, 503, "{url}: {text}");
        assert!(text.contains("this log cannot be reached now"), "{text}");
    }
    let (status, text) = other.get(&page).await;
    assert!(status == 200 && text.contains("It cannot be reached now"), "{text}");
    assert_eq!(other.logs_here(), 0);
    server.start_again();
    let (status, text) = other.get(&log).await;
    assert_eq!(status, 200);
    assert!(text.contains(&whole()), "{} bytes", text.len());
    assert_eq!(other.logs_here(), 1, "and the next reader finds it here");
    let (status, text) = other.get(&page).await;
    assert_eq!(status, 200);
    assert!(text.contains("line 19999 of the log"));
    let metrics = other.get(&other.url("/metrics")).await.1;
    assert!(metrics.contains("fleetcheck_logs_fetched_total 1"), "{metrics}");
    for log in [one.log(), other.log()] {
        assert!(!log.contains(crate::world::s3::SECRET), "{log}");
    }
    assert!(other.stop().await.success());
}

#[tokio::test]
async fn a_bucket_that_is_away_while_a_build_ends_gets_its_log_when_it_is_back() {
    let mut server = S3::start();
    let mut world = World::new().await.bucket(&server);
    let mut hold = world.hold("orion");
    world.start().await;
    let hosts = [Host::held_by("orion", &hold.script()), Host::broken("viper")];
    let sha = world.push(&hosts, &[]).await;
    hold.runs().await;
    world.concluded(&sha, "fleet / viper", "failure").await;
    world.has_carried(1).await;
    server.stop();
    hold.let_go();
    world.settled(&sha, &["fleet", "fleet / orion", "fleet / viper"]).await;
    world.concluded(&sha, "fleet / orion", "success").await;
    let (status, text) =
        world.get(&format!("{}/log", world.url(&world.page_of(&sha, "orion")))).await;
    assert_eq!((status, text.contains("waiting")), (200, true), "it is here: {text}");
    world
        .logged(&format!("archive will try again: logs: s3://logs/fleet at {}", server.endpoint()))
        .await;
    server.start_again();
    world.has_carried(2).await;
    assert_eq!(server.names().len(), 2);
    assert!(world.stop().await.success());
}
