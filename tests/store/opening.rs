//! A store is opened, or refused with words that help.
use fleetcheck::domain::id::InstallationId;
use fleetcheck::domain::run::RunState;
use fleetcheck::domain::verdict::Verdict;
use fleetcheck::store::{Store, StoreError};
use sqlx::AnyPool;
use tokio_util::sync::CancellationToken;

use crate::world::{NOW, World, built, delivery};

async fn refusal(url: &str) -> String {
    match Store::open(url).await {
        Err(error @ StoreError::NotOurs { .. }) => error.to_string(),
        other => panic!("{url}: {other:?}"),
    }
}

contract! {
    async fn a_store_that_is_opened_again_has_everything(world) {
        let run = world.push("a1", &[]).await;
        let again = Store::open(&world.url).await.unwrap();
        assert_eq!(again.run_view(&run).await.unwrap().unwrap().run.id, run);
    }

    async fn a_store_that_is_open_goes_on_while_a_newer_version_migrates_it(world) {
        let database = world.database().await;
        for commit in ["a1", "b2"] {
            let run = world.push(commit, &[]).await;
            let (claim, _) = world.waiting(&[commit]).await;
            let attempt = world.start(commit).await.unwrap();
            let _ = world.finish(&attempt, built()).await;
            let _ = world.store.finish_evaluation(&claim, NOW).await.unwrap();
            let state = world.run(&run).await.run.state;
            assert_eq!(state, RunState::Ended { verdict: Verdict::Passed, at: NOW });
            assert_eq!(world.store.behind_of(InstallationId(7), NOW).await.unwrap().len(), 3);
            // In the first round, between the statements that are prepared and their next use.
            for table in ["run", "build", "attempt", "report", "delivery", "builder"] {
                let text = format!("ALTER TABLE {table} ADD COLUMN since_{commit} TEXT");
                sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&database).await.unwrap();
            }
            for (report, revision) in world.store.behind(NOW, 9).await.unwrap().into_iter().map(|it| (it.report, it.revision)) {
                world.store.give_up_report(&report, revision, "seen").await.unwrap();
            }
        }
    }

    async fn a_newer_schema_is_refused(world) {
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                     execution_time) SELECT 999, description, success, checksum, execution_time \
                     FROM _sqlx_migrations WHERE version = 1";
        let database = world.database().await;
        sqlx::query(newer).execute(&database).await.unwrap();
        let refusal = refusal(&world.url).await;
        assert!(refusal.contains("its schema (999) is newer"), "{refusal}");
        assert!(refusal.contains("run the newer fleetcheck"), "{refusal}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "to do: everything\n".repeat(500)).unwrap();
    let refusal = refusal(&format!("sqlite:{}", path.display())).await;
    assert!(refusal.contains(&path.display().to_string()), "{refusal}");
    assert!(refusal.contains("it is not an SQLite database; set store.url to"), "{refusal}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("to do"), "it is not touched");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hydra.db");
    sqlx::any::install_default_drivers();
    let pool = AnyPool::connect(&format!("sqlite:{}?mode=rwc", path.display())).await.unwrap();
    sqlx::query("CREATE TABLE jobs (id TEXT)").execute(&pool).await.unwrap();
    pool.close().await;
    let before = std::fs::read(&path).unwrap();
    let refusal = refusal(&format!("sqlite://{}", path.display())).await;
    assert!(refusal.contains("an SQLite database of another program"), "{refusal}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "it is not touched");
}

#[tokio::test]
async fn an_empty_file_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    std::fs::write(&path, "").unwrap();
    Store::open(&format!("sqlite:{}", path.display())).await.unwrap();
}

#[tokio::test]
async fn tables_of_another_program_are_refused() {
    let world = World::postgres().await;
    let database = world.database().await;
    sqlx::raw_sql("DROP TABLE meta; CREATE TABLE jobs (id TEXT)").execute(&database).await.unwrap();
    let refusal = refusal(&world.url).await;
    assert!(refusal.contains("it has tables of another program"), "{refusal}");
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    for url in [
        "postgres://fleet:s3cret@127.0.0.1:1/fleet?password=s3cret",
        "postgres://fleet:s3cret@127.0.0.1:s3cret/fleet",
        "postgres://fleet:s3cret/fleet",
        "mysql://fleet:s3cret@localhost/fleet",
        "s3cret",
    ] {
        let error = Store::open(url).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("s3cret") || url == "s3cret", "{text}");
    }
}

#[tokio::test]
async fn an_unknown_kind_of_url_is_refused() {
    assert!(refusal("mysql://localhost/fleet").await.contains("must begin with `sqlite:`"));
    assert!(refusal("sqlite:").await.contains("no file is named"));
    assert!(refusal("sqlite:x?mode=ro").await.contains("parameters are not understood"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let error = Store::open("sqlite:/proc/nothing/fleet.db").await.unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().contains("/proc/nothing"), "{error}");
}

#[tokio::test]
async fn the_log_is_taken_into_the_file_while_the_store_is_kept() {
    let world = World::sqlite().await;
    let path = std::path::PathBuf::from(world.url.strip_prefix("sqlite:").unwrap());
    let before = std::fs::metadata(&path).unwrap().len();
    let deliveries = (0..64).map(|_| delivery()).collect();
    world.store.accept(deliveries).await.unwrap();
    let stop = CancellationToken::new();
    let ending = stop.clone();
    let grown = async {
        while std::fs::metadata(&path).unwrap().len() <= before {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        ending.cancel();
    };
    futures::join!(world.store.keep(stop), grown);
    assert_eq!(world.store.undecided(99).await.unwrap().len(), 64);
    assert_eq!(world.store.counts().await.unwrap().deliveries_undecided, 64);
    assert_eq!(world.store.delete_old(NOW).await.unwrap(), 0);
}
