//! Makes everything, owns every task, ends in order. Whoever is spawned here is waited for here.
mod fleet;
mod own;
mod parts;
pub mod roles;
mod stages;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::parts::Parts;
pub use crate::app::parts::system_clock;
use crate::app::roles::{Role, Roles, Unfit};
use crate::app::stages::{Spawner, spawn_stages};
use crate::config::Config;
use crate::domain::incoming::Visibility;
use crate::flow::build;
use crate::flow::look;
use crate::github::client::GithubError;
use crate::github::webhook::Secrets;
use crate::http::health::Readiness;
use crate::http::{self, Front};
use crate::nix::log::archive::ArchiveError;
use crate::store::intake::{Committer, Writer};
use crate::store::{Event, StoreError};
use crate::telemetry;

/// How the service ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Asked to stop, and every task ended in time.
    Clean,
    /// A stage ended that should have run for ever; the supervisor above restarts the process.
    LostStage(String),
    /// A task was still busy when the grace ran out; the next start picks its work up.
    Late,
}

/// Runs until asked to stop or until any task ends, then waits for the others.
pub async fn keep(
    mut tasks: JoinSet<&'static str>,
    stop: CancellationToken,
    asked: impl Future<Output = ()>,
    grace: Duration,
) -> Shutdown {
    let lost = tokio::select! {
        () = asked => None,
        Some(ended) = tasks.join_next() => Some(match ended {
            Ok(name) => format!("{name} returned"),
            Err(error) => error.to_string(),
        }),
    };
    stop.cancel();
    let all_ended = timeout(grace, async { while tasks.join_next().await.is_some() {} }).await;
    match (lost, all_ended) {
        (Some(what), _) => Shutdown::LostStage(what),
        (None, Ok(())) => Shutdown::Clean,
        (None, Err(_)) => Shutdown::Late,
    }
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Roles(#[from] Unfit),
    #[error("store.directory {}: {source}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("store.directory {}: another fleetcheck is running on it; stop that one, or give this one a directory of its own", .path.display())]
    InUse { path: PathBuf },
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
    #[error("logs.url: {0}")]
    Logs(#[from] ArchiveError),
    #[error("github: {0}")]
    Github(#[from] GithubError),
    #[error("http.listen {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}

/// How long a service that was asked to stop waits for its stages.
const GRACE: Duration = Duration::from_secs(8);

/// Runs the service until SIGTERM or SIGINT.
pub async fn run(
    mut config: Config,
    roles: Roles,
    metrics: PrometheusHandle,
) -> Result<Shutdown, StartError> {
    roles.fit(&config)?;
    let asked = signals()?;
    let lock = own::lock(&config.store.directory)?;
    own::scratch(&config.store.directory)?;
    let address = config.http.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })?;
    let parts = Parts::make(&config).await?;
    if !roles.has(Role::Build) {
        // Those that it had when it had other roles are its own no longer.
        config.builders.clear();
    }
    look::know(&parts.shared, &mut config.builders).await?;
    parts.tools.builders.set(&config.builders);
    if roles.has(Role::Evaluate) {
        parts.shared.store.adopt().await?;
    }
    build::place_again(&parts.shared).await?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    spawn_upkeep(metrics.clone(), &mut tasks, &stop);
    let readiness = Arc::new(Readiness::default());
    let writer = roles.has(Role::Intake).then(|| {
        let (writer, committer) = parts.shared.store.intake();
        spawn_committer(committer, &mut tasks, &stop);
        writer
    });
    spawn_store(&parts, &mut tasks, &stop);
    let mut spawner = Spawner {
        tasks: &mut tasks,
        shared: parts.shared.clone(),
        readiness: readiness.clone(),
        stop: stop.clone(),
    };
    spawn_stages(&config, &roles, &parts, &mut spawner);
    let links = parts.links.clone();
    spawn_http(front(&config, &parts, writer, readiness, metrics), listener, &mut tasks, &stop);
    tracing::info!(http.listen = %address, %roles, "listening on {address}, for {roles}");
    let deliveries = links.path("/deliveries", Visibility::Private);
    tracing::info!(
        "what GitHub sent, of private repositories too, is shown at {}{deliveries}",
        config.http.public_url
    );
    let builders = links.path("/builders", Visibility::Private);
    tracing::info!("and what runs on the builders at {}{builders}", config.http.public_url);
    let ended = keep(tasks, stop, asked, GRACE).await;
    if let Err(error) = parts.shared.store.release_leases().await {
        tracing::warn!("other instances go on when the leases of this one run out: {error}");
    }
    drop(lock);
    Ok(ended)
}

fn spawn_store(parts: &Parts, tasks: &mut JoinSet<&'static str>, stop: &CancellationToken) {
    let (store, stopped) = (parts.shared.store.clone(), stop.clone());
    tasks.spawn(async move {
        store.keep(stopped).await;
        "checkpoints"
    });
    let (shared, stopped) = (parts.shared.clone(), stop.clone());
    tasks.spawn(async move {
        shared.exchange(stopped).await;
        "notices"
    });
}

fn spawn_committer(
    committer: Committer,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) {
    let stopped = stop.clone();
    tasks.spawn(async move {
        committer.run(stopped).await;
        "deliveries"
    });
}

/// Histograms are made smaller now and then, even when nobody asks for `/metrics`.
fn spawn_upkeep(
    metrics: PrometheusHandle,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) {
    let stopped = stop.clone();
    tasks.spawn(async move {
        while !stopped.is_cancelled() {
            metrics.run_upkeep();
            tokio::select! {
                () = stopped.cancelled() => {}
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
        }
        "metrics"
    });
}

fn front(
    config: &Config,
    parts: &Parts,
    writer: Option<Writer>,
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
) -> Front {
    let clock = parts.shared.clock.clone();
    let shared = parts.shared.clone();
    Front {
        secrets: Secrets::new(&config.github.webhook_secrets),
        app_id: config.github.app_id,
        owners: config.github.owners.clone(),
        writer,
        arrived: Arc::new(move || shared.wakeups.say(Event::DeliveryWaiting)),
        store: parts.shared.store.clone(),
        logs: parts.shared.logs.clone(),
        archive: parts.archive.clone(),
        progress: parts.shared.progress.clone(),
        links: parts.links.clone(),
        readiness,
        metrics,
        clock: Arc::new(move || clock.now()),
    }
}

fn spawn_http(
    front: Front,
    listener: TcpListener,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) {
    let service = http::router(Arc::new(front)).into_make_service_with_connect_info::<SocketAddr>();
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the HTTP server ended: {error}");
        }
        "http"
    });
}

/// Runs the service with these settings; the exit status says how it ended.
pub async fn serve(config: Config, roles: Roles) -> ExitCode {
    let metrics = match telemetry::install_metrics() {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::error!("metrics cannot be collected: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(config, roles, metrics).await {
        Ok(Shutdown::Clean | Shutdown::Late) => ExitCode::SUCCESS,
        Ok(Shutdown::LostStage(what)) => {
            tracing::error!("a stage was lost, so the service ends: {what}");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!("cannot start: {error}");
            ExitCode::from(2)
        }
    }
}

fn signals() -> Result<impl Future<Output = ()>, StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop: ending in order");
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    fn two_stages(stop: &CancellationToken) -> JoinSet<&'static str> {
        let mut tasks = JoinSet::new();
        for name in ["evaluate", "report"] {
            let stop = stop.clone();
            tasks.spawn(async move {
                stop.cancelled().await;
                name
            });
        }
        tasks
    }

    #[tokio::test]
    async fn a_stage_that_dies_takes_the_service_down() {
        let stop = CancellationToken::new();
        let mut tasks = two_stages(&stop);
        tasks.spawn(async { panic!("out of luck") });
        let end = keep(tasks, stop, pending(), Duration::from_secs(5)).await;
        assert!(matches!(end, Shutdown::LostStage(_)));
    }

    #[tokio::test]
    async fn a_service_asked_to_stop_waits_for_its_stages() {
        let stop = CancellationToken::new();
        let tasks = two_stages(&stop);
        assert_eq!(keep(tasks, stop, async {}, Duration::from_secs(5)).await, Shutdown::Clean);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end() {
        let stop = CancellationToken::new();
        let mut tasks = two_stages(&stop);
        tasks.spawn(pending());
        assert_eq!(keep(tasks, stop, async {}, Duration::from_secs(5)).await, Shutdown::Late);
    }
}
