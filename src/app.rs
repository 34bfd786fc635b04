//! Makes everything, owns every task, ends in order. Whoever is spawned here is waited for here.
mod parts;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::parts::Parts;
use crate::config::Config;
use crate::domain::incoming::Visibility;
use crate::flow::ask::Ask;
use crate::flow::build::{self, Slot};
use crate::flow::evaluate::Evaluate;
use crate::flow::insight::Compare;
use crate::flow::intake::Intake;
use crate::flow::react::React;
use crate::flow::recover::Recover;
use crate::flow::report::{Report, Settings};
use crate::flow::shared::{Shared, Wakeups};
use crate::flow::sweep::{self, Sweep};
use crate::flow::{Stage, drive};
use crate::github::client::GithubError;
use crate::github::webhook::Secrets;
use crate::http::health::Readiness;
use crate::http::{self, Front};
use crate::nix::tree;
use crate::nix::worker::BuildLimits;
use crate::store::StoreError;
use crate::store::intake::{Committer, Writer};
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
    #[error("store.directory {}: {source}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("store.directory {}: another fleetcheck is running on it; stop that one, or give this one a directory of its own", .path.display())]
    InUse { path: PathBuf },
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
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
pub async fn run(config: Config, metrics: PrometheusHandle) -> Result<Shutdown, StartError> {
    let asked = signals()?;
    let lock = lock(&config.store.directory)?;
    let address = config.http.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })?;
    let parts = Parts::make(&config).await?;
    build::place_again(&parts.shared, &parts.tools.builders).await?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    spawn_upkeep(metrics.clone(), &mut tasks, &stop);
    let readiness = Arc::new(Readiness::default());
    let (writer, committer) = parts.shared.store.intake();
    spawn_store(&parts, committer, &mut tasks, &stop);
    let mut spawner = Spawner {
        tasks: &mut tasks,
        shared: parts.shared.clone(),
        readiness: readiness.clone(),
        stop: stop.clone(),
    };
    spawn_stages(&config, &parts, &mut spawner);
    let links = parts.links.clone();
    spawn_http(front(&config, &parts, writer, readiness, metrics), listener, &mut tasks, &stop);
    tracing::info!(http.listen = %address, "listening on {address}");
    let deliveries = links.path("/deliveries", Visibility::Private);
    tracing::info!(
        "what GitHub sent, of private repositories too, is shown at {}{deliveries}",
        config.http.public_url
    );
    let ended = keep(tasks, stop, asked, GRACE).await;
    drop(lock);
    Ok(ended)
}

fn spawn_store(
    parts: &Parts,
    committer: Committer,
    tasks: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) {
    let (store, stopped) = (parts.shared.store.clone(), stop.clone());
    tasks.spawn(async move {
        store.keep(stopped).await;
        "checkpoints"
    });
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
    writer: Writer,
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
) -> Front {
    let clock = parts.shared.clock.clone();
    Front {
        secrets: Secrets::new(&config.github.webhook_secrets),
        app_id: config.github.app_id,
        owners: config.github.owners.clone(),
        writer,
        arrived: parts.shared.wakeups.intake.clone(),
        store: parts.shared.store.clone(),
        logs: parts.shared.logs.clone(),
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
pub async fn serve(config: Config) -> ExitCode {
    let metrics = match telemetry::install_metrics() {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::error!("metrics cannot be collected: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(config, metrics).await {
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

/// One process to a directory: its mirrors, logs and claims have one owner. Its number stands in
/// the file, for the next one to end what a sudden death leaves running.
fn lock(directory: &Path) -> Result<File, StartError> {
    let unusable = |source| StartError::Directory { path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(directory.join("lock")).map_err(unusable)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| StartError::InUse { path: directory.to_owned() })?;
    let mut last = String::new();
    file.read_to_string(&mut last).map_err(unusable)?;
    if let Ok(last) = last.trim().parse() {
        let left = tree::end_left_by(last);
        if left > 0 {
            tracing::info!(process = last, "ended {left} processes that the last process left");
        }
    }
    file.rewind().and_then(|()| file.set_len(0)).map_err(unusable)?;
    writeln!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(file)
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

/// Spawns stages into the one set of tasks.
struct Spawner<'a> {
    tasks: &'a mut JoinSet<&'static str>,
    shared: Arc<Shared>,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
}

/// A stage looks so often without a wakeup: what fell due by time alone is found then.
const PERIOD: Duration = Duration::from_secs(2);

impl Spawner<'_> {
    fn stage<S: Stage>(&mut self, stage: S, wakeup: fn(&Wakeups) -> &Notify, period: Duration) {
        let (shared, readiness, stop) =
            (self.shared.clone(), self.readiness.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let beat = |name| readiness.beat(name, shared.clock.now());
            drive(&stage, wakeup(&shared.wakeups), period, beat, &stop).await;
            S::NAME
        });
    }
}

fn spawn_stages(config: &Config, parts: &Parts, spawner: &mut Spawner<'_>) {
    let Parts { shared, github, commits, mirrors, tools, roots, links } = parts;
    let owners = &config.github.owners;
    spawner.stage(Intake::new(shared.clone(), owners.clone()), |it| &it.intake, PERIOD);
    let ask = Ask::new(shared.clone(), owners.clone(), commits.clone(), github.clone());
    spawner.stage(ask, |it| &it.ask, PERIOD);
    spawner.stage(React::new(shared.clone(), github.clone()), |it| &it.react, PERIOD);
    // More lanes than processes: a lane also waits for git and for the store.
    for _ in 0..config.nix.evaluations + 2 {
        let lane = Evaluate::new(shared.clone(), tools.clone(), commits.clone(), roots.clone());
        spawner.stage(lane, |it| &it.evaluate, PERIOD);
    }
    for builder in &config.builders {
        for _ in 0..builder.slots {
            let limits = BuildLimits::from(&config.nix);
            let slot = Slot::new(shared.clone(), tools.nix.clone(), builder.clone(), limits);
            spawner.stage(slot, |it| &it.build, PERIOD);
        }
    }
    let compare = Compare::new(shared.clone(), tools.nix.clone(), commits.clone());
    spawner.stage(compare, |it| &it.insight, PERIOD);
    let report = Report::new(
        shared.clone(),
        github.clone(),
        links.clone(),
        Settings {
            check_name: config.github.check_name.clone(),
            checks_limit: config.github.checks_limit,
        },
    );
    spawner.stage(report, |it| &it.report, Duration::from_millis(500));
    let recover = Recover::new(
        shared.clone(),
        github.clone(),
        commits.clone(),
        (owners.clone(), config.github.recover_interval),
    );
    let look = config.github.recover_interval.min(PERIOD);
    spawner.stage(recover, |it| &it.recover, look);
    let sweep = Sweep::new(shared.clone(), tools.nix.clone(), roots.clone(), mirrors.clone());
    spawner.stage(sweep, |it| &it.sweep, sweep::PERIOD);
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
