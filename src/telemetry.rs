//! What operators watch: the log's form and the names of the metrics. Only `main` installs them.
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Counter of deliveries, by `outcome`: accepted, duplicate, ignored, unsigned,
/// `too_large`, `not_json`, unavailable.
pub const DELIVERIES: &str = "fleetcheck_deliveries_total";
/// Gauge of rows that wait, by `queue`: deliveries, runs, builds, reports.
pub const QUEUE: &str = "fleetcheck_queue_length";
/// Histogram of the seconds that one host's evaluation took, by `result`: good, failed.
pub const EVALUATION_SECONDS: &str = "fleetcheck_evaluation_seconds";
/// Histogram of the most memory that one evaluation held.
pub const EVALUATION_BYTES: &str = "fleetcheck_evaluation_peak_bytes";
/// Histogram of the seconds from a build's first start to its ending, by `result`.
pub const BUILD_SECONDS: &str = "fleetcheck_build_seconds";
/// Counter of hosts that passed with a derivation that had failed before.
pub const FLAKY: &str = "fleetcheck_flaky_builds_total";
/// Gauge of slots in which something is built, by `builder`.
pub const BUSY_SLOTS: &str = "fleetcheck_busy_slots";
/// Gauge, 1 while a builder takes work by itself, by `builder`.
pub const BUILDER_READY: &str = "fleetcheck_builder_ready";
/// Gauge of the bytes that are free on the disk of a builder's store, by `builder`.
pub const BUILDER_FREE: &str = "fleetcheck_builder_free_bytes";
/// Counter of calls to GitHub, by `call` and `result`.
pub const GITHUB_CALLS: &str = "fleetcheck_github_calls_total";
/// Gauge of the calls that GitHub still allows this hour, by `installation`.
pub const GITHUB_CALLS_LEFT: &str = "fleetcheck_github_calls_left";
/// Counter of steps that failed and are tried again, by `stage`.
pub const STAGE_ERRORS: &str = "fleetcheck_stage_errors_total";
/// Counter of logs that were put into the bucket.
pub const LOGS_ARCHIVED: &str = "fleetcheck_logs_archived_total";
/// Counter of logs that were fetched from there, to be read.
pub const LOGS_FETCHED: &str = "fleetcheck_logs_fetched_total";
/// Gauge of repositories whose lock file has not moved for `update.stale_after`.
pub const STALE_LOCKS: &str = "fleetcheck_stale_locks";
/// Gauge of updates of lock files that are on their way, by `state`: requested, searching,
/// proposing, merging.
pub const UPDATES: &str = "fleetcheck_updates";
/// Gauge of what should have happened and did not, by `kind`: `stale_lock`, `not_ended`,
/// `not_fired`, waiting.
pub const UPDATE_SILENCES: &str = "fleetcheck_update_silences";

/// Counter of deliveries that did not reach us.
pub const MISSED: &str = "fleetcheck_missed_deliveries_total";
/// Counter of requests to send a delivery again, by `outcome`: asked, `given_up`.
pub const ASKED_AGAIN: &str = "fleetcheck_deliveries_asked_again_total";
/// Counter of what was found by looking at GitHub instead of hearing from it, by `what`: push,
/// `pull_request`, repository, `installation_repositories`, installation.
pub const RECOVERED: &str = "fleetcheck_recovered_total";
/// Gauge of the time of the last complete look, in seconds since 1970, by `kind`: deliveries,
/// heads.
pub const LAST_LOOK: &str = "fleetcheck_last_look_timestamp_seconds";

/// How log lines are written. They go to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: a terminal, the journal.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl LogFormat {
    /// What `FLEETCHECK_LOG` asks for: `json`, or anything else for text.
    #[must_use]
    pub fn named(name: Option<&str>) -> Self {
        if name.is_some_and(|name| name.eq_ignore_ascii_case("json")) {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// What others tell of each try is told once by whoever asked them.
const QUIET: &str = "object_store=warn";

/// Starts the log: what `RUST_LOG` lets through, else everything from `level` upward.
///
/// A second call changes nothing.
pub fn start_log(format: LogFormat, level: tracing::Level) {
    let filter = filter(std::env::var(EnvFilter::DEFAULT_ENV).ok(), level);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => {
            use std::io::IsTerminal;
            log.with_ansi(std::io::stderr().is_terminal()).try_init()
        }
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("the log is started already");
    }
}

fn filter(asked: Option<String>, level: tracing::Level) -> EnvFilter {
    let asked = asked.unwrap_or_else(|| format!("{level},{QUIET}"));
    EnvFilter::builder().with_default_directive(level.into()).parse_lossy(asked)
}

/// Installs the recorder of this process's metrics. `/metrics` renders the handle; whoever holds
/// it calls `run_upkeep` every few seconds, or histograms grow without end.
///
/// # Errors
/// When a recorder is installed already.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    const SECONDS: &[f64] =
        &[0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0];
    const BYTES: &[f64] = &[64e6, 128e6, 256e6, 512e6, 1e9, 2e9, 4e9, 8e9, 16e9];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!(DELIVERIES, "Webhook deliveries, by what became of them.");
    describe_gauge!(QUEUE, "Rows that wait to be worked on.");
    describe_histogram!(EVALUATION_SECONDS, Unit::Seconds, "Time to evaluate one host.");
    describe_histogram!(EVALUATION_BYTES, Unit::Bytes, "Most memory held to evaluate one host.");
    describe_histogram!(BUILD_SECONDS, Unit::Seconds, "Time to build one host.");
    describe_gauge!(BUSY_SLOTS, "Slots in which something is built.");
    describe_gauge!(BUILDER_READY, "Whether a builder is there and takes work.");
    describe_gauge!(BUILDER_FREE, Unit::Bytes, "Free on the disk of a builder's store.");
    describe_counter!(GITHUB_CALLS, "Calls to GitHub.");
    describe_gauge!(GITHUB_CALLS_LEFT, "Calls that GitHub still allows this hour.");
    describe_counter!(LOGS_ARCHIVED, "Logs put into the bucket.");
    describe_counter!(LOGS_FETCHED, "Logs fetched from the bucket.");
    describe_gauge!(STALE_LOCKS, "Repositories whose lock file has not moved for long.");
    describe_gauge!(UPDATES, "Updates of lock files that are on their way.");
    describe_gauge!(UPDATE_SILENCES, "What should have happened to lock files and did not.");
    describe_counter!(MISSED, "Deliveries that did not reach us.");
    describe_counter!(ASKED_AGAIN, "Deliveries that GitHub was asked for again.");
    describe_counter!(RECOVERED, "What was found by looking at GitHub.");
    describe_gauge!(LAST_LOOK, Unit::Seconds, "When GitHub was last looked at.");
    describe_counter!(STAGE_ERRORS, "Steps that failed and are tried again.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_a_level_whatever_is_told_once_only() {
        let level = |asked: Option<&str>| {
            let filter = filter(asked.map(str::to_owned), tracing::Level::INFO);
            filter.max_level_hint().map(|it| it.to_string())
        };
        assert_eq!(level(None).as_deref(), Some("info"));
        assert_eq!(level(Some("")).as_deref(), Some("info"));
        assert_eq!(level(Some("warn")).as_deref(), Some("warn"));
        assert!(filter(None, tracing::Level::INFO).to_string().contains(QUIET));
    }
}
