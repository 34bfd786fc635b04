//! The schema grows by steps: each is numbered, keeps the data of the steps before it, and ends
//! up where a fresh store begins.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::path::Path;

use fleetcheck::domain::run::RunState;
use fleetcheck::store::Store;
use sqlx::migrate::Migrator;
use sqlx::{AnyPool, Row as _};

/// A row in every table, as the first version wrote it.
const SAMPLE: &str = "
INSERT INTO installation VALUES (7, 'active', 1);
INSERT INTO repository VALUES (42, 'acme', 'fleet', 'main', 'private', 7, 1);
INSERT INTO delivery VALUES ('72d3162e-cc78-11e3-81ab-4c9367dc0958', 'push', NULL, 42, 7, 1, 1,
    'decided', NULL, 'ab', '{}');
INSERT INTO delivery VALUES ('82d3162e-cc78-11e3-81ab-4c9367dc0958', 'push', NULL, 42, 7, 2, 2,
    'arrived', NULL, 'cd', '{\"ref\":\"x\"}');
INSERT INTO run VALUES ('01890a5d-ac96-774b-bcce-000000000001', 42,
    '0123456789abcdef0123456789abcdef01234567', 'push:main', NULL, 1, 1, 'ended', 9,
    '{\"verdict\":\"passed\"}', NULL, NULL, 0, 1, NULL, 0);
INSERT INTO build VALUES ('01890a5d-ac96-774b-bcce-000000000002',
    '01890a5d-ac96-774b-bcce-000000000001', '[\"nixosConfigurations\",\"raider\"]',
    '[\"nixosConfigurations\",\"raider\"]', 'raider', 'required', 0, 'ended', 8, 'x86_64-linux',
    '/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv',
    '{\"path\":\"/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv\",\"outputs\":{},\"system\":\"x86_64-linux\",\"features\":[]}',
    NULL, 0, 0, 1, 0, '01890a5d-ac96-774b-bcce-000000000003',
    '{\"ending\":\"built\",\"seconds\":3}', 8, 120, 4000000);
INSERT INTO attempt VALUES ('01890a5d-ac96-774b-bcce-000000000003',
    '/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-raider.drv', 'local', 'ended', 'me', 5, 2, 8,
    '{\"answered\":{\"ending\":\"built\",\"seconds\":3}}', 10);
INSERT INTO report VALUES ('gate-01890a5d-ac96-774b-bcce-000000000001',
    '01890a5d-ac96-774b-bcce-000000000001', NULL, 'gate', 2, 2, 2, 1, 1, 1, 77, 'completed', 'd',
    9, 2, 0, NULL);
INSERT INTO memory VALUES (42, '[\"nixosConfigurations\",\"raider\"]',
    '[\"nixosConfigurations\",\"raider\"]', 120, 4000000, 6000, NULL, NULL, 0, 1);
";

/// Of a version whose instances lent nothing.
const INSTANCE: &str =
    "INSERT INTO instance (owner, seen_at, url) VALUES ('one', 1, 'http://one');";

async fn migrator() -> Migrator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
    Migrator::new(folder).await.unwrap()
}

async fn schema(url: &str) -> Vec<String> {
    let pool = AnyPool::connect(url).await.unwrap();
    let tables = "SELECT name || ' ' || coalesce(sql, '') AS text FROM sqlite_master \
                  WHERE name NOT LIKE '%sqlx%' ORDER BY name";
    let rows = sqlx::query(tables).fetch_all(&pool).await.unwrap();
    rows.iter().map(|row| row.get("text")).collect()
}

#[tokio::test]
async fn data_of_the_first_version_survives_every_step() {
    sqlx::any::install_default_drivers();
    let directory = tempfile::tempdir().unwrap();
    let stepped = format!("sqlite:{}/stepped.db", directory.path().display());
    let fresh = format!("sqlite:{}/fresh.db", directory.path().display());
    Store::open(&fresh).await.unwrap();

    let pool = AnyPool::connect(&format!("{stepped}?mode=rwc")).await.unwrap();
    let all = migrator().await;
    for steps in 1..=all.migrations.len() {
        let mut some = migrator().await;
        some.migrations = all.migrations[..steps].to_vec().into();
        some.run(&pool).await.unwrap();
        if steps == 1 {
            sqlx::raw_sql(SAMPLE).execute(&pool).await.unwrap();
        }
        if steps == 22 {
            sqlx::raw_sql(INSTANCE).execute(&pool).await.unwrap();
        }
    }
    // The mark that `Store::open` sets before the first step.
    sqlx::query("PRAGMA application_id = 1718379877").execute(&pool).await.unwrap();
    pool.close().await;

    let store = Store::open(&stepped).await.unwrap();
    let run = "01890a5d-ac96-774b-bcce-000000000001".parse().unwrap();
    let view = store.run_view(&run).await.unwrap().unwrap();
    assert!(matches!(view.run.state, RunState::Ended { .. }));
    assert_eq!(view.run.lock, None, "not looked at then");
    assert_eq!(view.builds[0].build.attr.label().unwrap(), "raider");
    let attempt = view.builds[0].attempt.clone().unwrap();
    assert!(store.attempt(&attempt).await.unwrap().unwrap().outcome.is_some());
    let undecided = store.undecided(1).await.unwrap();
    assert_eq!(undecided[0].body, br#"{"ref":"x"}"#, "kept before bodies were packed");
    let pool = AnyPool::connect(&stepped).await.unwrap();
    let lent = sqlx::query_scalar("SELECT store FROM instance").fetch_one(&pool).await;
    assert_eq!(lent.ok(), Some(String::new()), "what was not there is empty");
    assert_eq!(schema(&stepped).await, schema(&fresh).await);
}

#[tokio::test]
async fn every_column_is_of_a_type_that_both_databases_have() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/fresh.db", directory.path().display());
    Store::open(&url).await.unwrap();
    let pool = AnyPool::connect(&url).await.unwrap();
    let columns = "SELECT m.name || '.' || c.name AS name, c.type AS type FROM sqlite_master m \
                   JOIN pragma_table_info(m.name) c \
                   WHERE m.type = 'table' AND m.name NOT LIKE '%sqlx%'";
    let rows = sqlx::query(columns).fetch_all(&pool).await.unwrap();
    assert!(rows.len() > 50);
    for row in rows {
        let (name, kind): (String, String) = (row.get("name"), row.get("type"));
        // BYTEA is PostgreSQL's word; to SQLite any word will do for bytes.
        let known = ["TEXT", "BIGINT", "BYTEA"].contains(&kind.as_str());
        assert!(known, "{name} is {kind}");
    }
}

#[tokio::test]
async fn steps_are_numbered_without_a_gap() {
    let numbers: Vec<i64> = migrator().await.migrations.iter().map(|it| it.version).collect();
    let wanted: Vec<i64> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, wanted);
}
