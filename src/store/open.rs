//! A URL becomes a store, or a refusal that names what was found and says what to do.
use std::future::{Ready, ready};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection as _, Row as _};
use tokio_util::sync::CancellationToken;

use crate::domain::build::Patience;
use crate::store::error::{Result, StoreError};
use crate::store::{Database, Store};

/// `PRAGMA application_id` of our files: "flee" as a number.
const APPLICATION_ID: i64 = 0x666c_6565;

/// Before everything else on every connection to `SQLite`. Checkpoints are taken by
/// [`Store::keep`] alone, so that no writer waits for one.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; \
     PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY";

/// Between two checkpoints, when something was written. A commit may wait while the disk takes what
/// a checkpoint has written: often and little keeps that to a few milliseconds.
const CHECKPOINTS: Duration = Duration::from_millis(100);
/// A log of so many pages (16 MiB) is written from its beginning again when no reader is in the way
/// for long: writers wait for that, but to write where a file was written before costs half as much.
const LONG_LOG: i64 = 4096;
/// And one of 64 MiB whoever is in the way.
const HUGE_LOG: i64 = 4 * LONG_LOG;

impl Store {
    /// Opens `sqlite:PATH` (made when it does not exist, with its folder) or `postgres://…`, and
    /// brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::NotOurs`] when something else lives there, or a newer version's store;
    /// [`StoreError::Unavailable`] when it cannot be reached.
    pub async fn open(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        if let Some(path) = url.strip_prefix("sqlite:") {
            open_sqlite(path).await
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url).await
        } else {
            let scheme = url.split(':').next().unwrap_or_default().chars().take(20).collect();
            Err(StoreError::NotOurs {
                place: scheme,
                found: "store.url must begin with `sqlite:` or `postgres://`".into(),
            })
        }
    }

    /// Takes `SQLite`'s log into its file as it grows, until `stop`. With `PostgreSQL` there is
    /// nothing to do.
    pub async fn keep(&self, stop: CancellationToken) {
        let Database::Sqlite { checkpointer, log } = &self.database else {
            return stop.cancelled().await;
        };
        let mut taken = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(CHECKPOINTS) => {}
            }
            let Ok(found) = tokio::fs::metadata(log).await else { continue };
            let state = (found.len(), found.modified().ok());
            if found.len() == 0 || taken == Some(state) {
                continue;
            }
            taken = Some(state);
            if let Err(error) = checkpoint(checkpointer).await {
                tracing::warn!(%error, "the store's log could not be taken into its file; it will be tried again");
            }
        }
    }
}

/// Takes the log into the file beside the writer. Under steady load it never comes to the log's end
/// by that: of a long log writers wait for the little that came in the meantime.
async fn checkpoint(pool: &AnyPool) -> std::result::Result<(), sqlx::Error> {
    let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(pool).await?;
    let pages: i64 = row.try_get("log")?;
    if pages >= LONG_LOG {
        let patience = match pages {
            HUGE_LOG.. => "PRAGMA busy_timeout = 5000",
            _ => "PRAGMA busy_timeout = 10",
        };
        let mut connection = pool.acquire().await?;
        sqlx::query(patience).execute(&mut *connection).await?;
        sqlx::query("PRAGMA wal_checkpoint(RESTART)").execute(&mut *connection).await?;
    }
    Ok(())
}

async fn open_sqlite(given: &str) -> Result<Store> {
    let path = sqlite_path(given)?;
    let place = path.display().to_string();
    if let Some(directory) = path.parent() {
        tokio::fs::create_dir_all(directory).await.map_err(|error| {
            StoreError::unavailable(format_args!("`{}`: {error}", directory.display()))
        })?;
    }
    let url = sqlite_url(&path);
    let at = |error| named(error, &place);
    let first = sqlite_pool(&url, 1, "PRAGMA busy_timeout = 5000").await.map_err(at)?;
    let mark = refuse_foreign_file(&first, &place).await;
    first.close().await;
    mark?;
    let writer = sqlite_pool(&url, 1, PRAGMAS).await.map_err(at)?;
    let marked =
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}")));
    marked.execute(&writer).await.map_err(|error| at(error.into()))?;
    migrate(&writer, &place).await?;
    Ok(Store {
        reader: sqlite_pool(&url, 4, PRAGMAS).await.map_err(at)?,
        database: Database::Sqlite {
            checkpointer: sqlite_pool(&url, 1, PRAGMAS).await.map_err(at)?,
            log: PathBuf::from(format!("{place}-wal")),
        },
        writer,
        patience: Patience::default(),
        owner: "".into(),
        url: "".into(),
        lent: "".into(),
    })
}

/// The file of `sqlite:PATH` or `sqlite://PATH`, absolute.
fn sqlite_path(given: &str) -> Result<PathBuf> {
    let refused = |found: &str| StoreError::NotOurs {
        place: format!("sqlite:{given}"),
        found: format!("{found}; store.url must be `sqlite:` and the path of a file"),
    };
    let path = given.strip_prefix("//").unwrap_or(given);
    if path.is_empty() || path == ":memory:" {
        return Err(refused("no file is named"));
    }
    if path.contains('?') {
        return Err(refused("parameters are not understood"));
    }
    std::path::absolute(path).map_err(|error| refused(&error.to_string()))
}

/// The path as sqlx reads it back: percent-encoded, and made when it does not exist.
fn sqlite_url(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                url.push(char::from(*byte));
            }
            other => {
                let _ = write!(url, "%{other:02X}");
            }
        }
    }
    url.push_str("?mode=rwc");
    url
}

/// Whether a connection is outside of any transaction. One whose commit failed, on a full disk for
/// example, is not, and would refuse every transaction from then on: the pool closes it, which
/// rolls back, and opens another.
fn is_whole(connection: &mut AnyConnection) -> Ready<sqlx::Result<bool>> {
    ready(Ok(!connection.is_in_transaction()))
}

async fn sqlite_pool(url: &str, size: u32, pragmas: &'static str) -> Result<AnyPool> {
    let pool = AnyPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_whole(connection)))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(pragmas).execute(connection).await?;
                Ok(())
            })
        });
    Ok(pool.connect(url).await?)
}

/// An empty file is taken; anything that another program made is not touched.
async fn refuse_foreign_file(pool: &AnyPool, place: &str) -> Result<()> {
    let refused = |found: String| StoreError::NotOurs {
        place: place.to_owned(),
        found: format!(
            "{found}; set store.url to a file of fleetcheck's own, or to a path where none is yet"
        ),
    };
    let id: i64 = match sqlx::query_scalar("PRAGMA application_id").fetch_one(pool).await {
        Ok(id) => id,
        Err(error) => {
            let error = StoreError::from(error);
            if matches!(error, StoreError::Corrupt { .. }) {
                return Err(refused("it is not an SQLite database".into()));
            }
            return Err(named(error, place));
        }
    };
    let tables: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master").fetch_one(pool).await?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        return Ok(());
    }
    Err(refused("it is an SQLite database of another program".into()))
}

async fn open_postgres(url: &str) -> Result<Store> {
    let place = postgres_place(url);
    // A pool would try again for a while and then say no more than that it took too long.
    AnyConnection::connect(url).await.map_err(|error| postgres_refusal(error, &place))?;
    let pool = AnyPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .before_acquire(|connection, _| Box::pin(is_whole(connection)))
        .connect_lazy(url)
        .map_err(|error| postgres_refusal(error, &place))?;
    let tables: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema()",
    )
    .fetch_one(&pool)
    .await?;
    let ours: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM information_schema.tables \
         WHERE table_schema = current_schema() AND table_name IN ('meta', 'delivery', '_sqlx_migrations')",
    )
    .fetch_one(&pool)
    .await?;
    if tables > 0 && ours < 3 {
        return Err(StoreError::NotOurs {
            place,
            found: "it has tables of another program; give fleetcheck a database of its own".into(),
        });
    }
    migrate(&pool, &place).await?;
    // A listener holds its connection for as long as it listens.
    let notices = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(10))
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy(url)
        .map_err(|error| postgres_refusal(error, &place))?;
    Ok(Store {
        writer: pool.clone(),
        reader: pool,
        database: Database::Postgres { notices },
        patience: Patience::default(),
        owner: "".into(),
        url: "".into(),
        lent: "".into(),
    })
}

/// Server and database, without user, password and parameters.
fn postgres_place(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit('@').next().unwrap_or_default();
    let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
    // What stands where a port should may be a password whose `@` was forgotten.
    let server = match server.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_err() => host,
        Some(_) | None => server,
    };
    format!("postgres://{server}/{database}")
}

/// What the server said, or that the URL is none; never the URL itself.
fn postgres_refusal(error: sqlx::Error, place: &str) -> StoreError {
    if let sqlx::Error::Configuration(_) = error {
        return StoreError::NotOurs {
            place: place.to_owned(),
            found: "it is not a URL; write postgres://USER:PASSWORD@HOST/DATABASE".into(),
        };
    }
    if let Some(said) = error.as_database_error() {
        let code = said.code().unwrap_or_default();
        // Wrong password, unknown role, unknown database: waiting does not mend these.
        if code.starts_with("28") || code == "3D000" {
            return StoreError::NotOurs { place: place.to_owned(), found: said.to_string() };
        }
    }
    named(error.into(), place)
}

/// The same error, saying where.
fn named(error: StoreError, place: &str) -> StoreError {
    match error {
        StoreError::Unavailable { what } => {
            StoreError::Unavailable { what: format!("`{place}`: {what}") }
        }
        other @ (StoreError::NotOurs { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Statement(_)
        | StoreError::Missing(_)
        | StoreError::ClaimLost(_)
        | StoreError::Run(_)
        | StoreError::Build(_)) => other,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx's own; more may come")]
async fn migrate(pool: &AnyPool, place: &str) -> Result<()> {
    let Err(error) = sqlx::migrate!("src/store/migrations").run(pool).await else {
        return Ok(());
    };
    let refused = |found: String| StoreError::NotOurs { place: place.to_owned(), found };
    Err(match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            refused(format!(
                "its schema ({version}) is newer than this version knows; run the newer fleetcheck"
            ))
        }
        MigrateError::VersionMismatch(version) => refused(format!(
            "its schema {version} is another than this version's; run the version that made it"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            named(error.into(), place)
        }
        other => StoreError::corrupt(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_log_is_written_from_its_beginning_again() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/fleet.db", directory.path().display());
        let store = Store::open(&url).await.unwrap();
        let Database::Sqlite { checkpointer, log } = &store.database else { unreachable!() };
        let length = || std::fs::metadata(log).unwrap().len();
        let write = async |megabytes: usize| {
            for _ in 0..megabytes {
                let text = "INSERT INTO meta VALUES (hex(randomblob(16)), hex(randomblob(524288)))";
                sqlx::query(text).execute(&store.writer).await.unwrap();
            }
        };
        // A reader that stays keeps the log as it is, and nobody waits long for it.
        let mut reader = store.read().await.unwrap();
        sqlx::query("SELECT COUNT(*) FROM meta").execute(&mut *reader).await.unwrap();
        write(20).await;
        checkpoint(checkpointer).await.unwrap();
        let long = length();
        assert!(long > 20 << 20, "{long}");
        write(1).await;
        assert!(length() > long);
        reader.rollback().await.unwrap();
        checkpoint(checkpointer).await.unwrap();
        let long = length();
        write(10).await;
        assert_eq!(length(), long);
    }
}
