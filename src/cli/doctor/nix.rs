//! Whether this machine's Nix can do what the service asks of it.
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::cli::doctor::Finding;
use crate::config;
use crate::domain;
use crate::domain::builder::{Builder, Condition, OLDEST_NIX, is_older};
use crate::flow::look::capability;
use crate::nix::Nix;
use crate::nix::eval_jobs::EvalJobs;
use crate::nix::machine::Machine;
use crate::nix::worker::Worker;

/// How long another machine may take; less than a look at everything may.
const CONNECT: Duration = Duration::from_secs(12);

/// The version, whether it evaluates, and whether `nix-eval-jobs` helps.
pub(super) async fn look(settings: &config::Nix) -> Vec<Finding> {
    let nix = Nix::new(settings);
    let program = nix.program().display().to_string();
    let version = match nix.version().await {
        Ok(version) => version,
        Err(error) => {
            return vec![Finding::Mend(format!(
                "{error}; install Nix, or let `nix.program` name it"
            ))];
        }
    };
    if is_older(&version, OLDEST_NIX) {
        let (major, minor) = OLDEST_NIX;
        return vec![Finding::Mend(format!(
            "{program} is {version}; install Nix {major}.{minor} or newer"
        ))];
    }
    // The experimental features are switched on by the service itself; this is a flake's command.
    match nix.system().await {
        Ok(system) => vec![
            Finding::Good(format!("{program} is {version} and evaluates, {system}")),
            of_eval_jobs(&nix.eval_jobs(&version).await),
        ],
        Err(error) => vec![Finding::Mend(format!(
            "{program} is {version} and does not evaluate: {error}; run it as the service's user"
        ))],
    }
}

/// Nothing needs it; who has it wants it to be used.
fn of_eval_jobs(found: &EvalJobs) -> Finding {
    match found {
        EvalJobs::Used { .. } | EvalJobs::Absent => Finding::Good(found.to_string()),
        EvalJobs::OfAnother { .. } | EvalJobs::Silent { .. } => Finding::Note(found.to_string()),
    }
}

/// Whether `nix-daemon --stdio` speaks with us as it will in each slot.
pub(super) async fn look_at_daemon(settings: &config::Nix) -> Vec<Finding> {
    let nix = Nix::new(settings);
    let daemon = nix.daemon().display().to_string();
    match Worker::start(&nix).await {
        Ok(worker) => {
            let version = worker.version().to_owned();
            worker.stop().await;
            vec![Finding::Good(format!("{daemon} --stdio answers, {version}"))]
        }
        Err(error) => vec![Finding::Mend(format!(
            "{daemon} --stdio: {error}; it stands beside nix in every installation, and \
             the service's user must be able to reach the store"
        ))],
    }
}

/// Whether the builders answer, and can do what the settings say.
pub(super) async fn look_at_builders(
    settings: &config::Nix,
    builders: &[config::Builder],
) -> Vec<Finding> {
    let nix = Nix::new(settings);
    let system = nix.system().await;
    let looks = builders.iter().map(|builder| async {
        match (&builder.store, &system) {
            (Some(_), _) => there(&nix, builder).await,
            (None, Ok(system)) => judge(builder, system),
            (None, Err(_)) => {
                Finding::Note(format!("{}: not looked at: Nix does not answer", builder.name))
            }
        }
    });
    join_all(looks).await
}

/// Another machine, looked at as the service does.
async fn there(nix: &Nix, builder: &config::Builder) -> Finding {
    let (name, now) = (&builder.name, app::system_clock().now());
    let store = builder.store.as_ref().map(|it| it.uri.as_str()).unwrap_or_default();
    let stop = CancellationToken::new();
    let seen = timeout(CONNECT, Machine::new(nix, builder).look(now, &stop)).await;
    let silent = |_| Err(format!("no answer within {} s", CONNECT.as_secs()));
    let facts = match seen.unwrap_or_else(silent) {
        Ok(facts) => facts,
        Err(why) => {
            return Finding::Mend(format!(
                "{name}: {store} is not reached: {why}; try `nix store ping --store {store}` as \
                 the service's user"
            ));
        }
    };
    let found = Builder {
        name: name.clone(),
        capability: capability(builder),
        slots: u32::try_from(builder.slots).unwrap_or(u32::MAX),
        speed: builder.speed,
        busy: 0,
        condition: domain::builder::judge(Ok(&facts), builder.min_free),
        since: now,
        looked_at: now,
        suspect_at: None,
        drained_at: None,
        facts,
    };
    let version = found.facts.version.clone().unwrap_or_default();
    let about = format!("{name}: {store} answers, Nix {version}");
    let remarks = found.remarks();
    match &found.condition {
        Condition::Ready if remarks.is_empty() => Finding::Good(about),
        Condition::Ready | Condition::NotLookedAt => {
            Finding::Note(format!("{about}; {}", remarks.join("; ")))
        }
        Condition::Unreachable { .. } | Condition::TooOld { .. } | Condition::DiskLow { .. } => {
            Finding::Mend(format!("{about}; {}", found.sentence()))
        }
    }
}

fn judge(builder: &config::Builder, system: &str) -> Finding {
    let config::Builder { name, systems, features, slots, .. } = builder;
    let foreign: Vec<&str> =
        systems.iter().map(String::as_str).filter(|it| !does(system, it)).collect();
    if foreign.is_empty() {
        let features =
            if features.is_empty() { "no features".to_owned() } else { features.join(", ") };
        return Finding::Good(format!("{name}: {}; {features}; {slots} slots", systems.join(", ")));
    }
    Finding::Note(format!(
        "{name}: this machine is {system}; {} is built here only if `extra-platforms` of nix.conf \
         has it and the kernel can run it",
        foreign.join(", ")
    ))
}

/// What a machine of a system builds without being told to.
fn does(machine: &str, system: &str) -> bool {
    machine == system || (machine, system) == ("x86_64-linux", "i686-linux")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builder_of_another_system_is_pointed_out() {
        let builder = |system: &str| config::Builder {
            name: "local".into(),
            store: None,
            systems: vec![system.into()],
            features: vec![],
            mandatory_features: vec![],
            slots: 2,
            speed: domain::builder::Speed::default(),
            min_free: 5,
            collect: false,
            copy_back: config::CopyBack::Never,
        };
        assert!(matches!(judge(&builder("i686-linux"), "x86_64-linux"), Finding::Good(_)));
        assert!(matches!(judge(&builder("aarch64-linux"), "x86_64-linux"), Finding::Note(_)));
    }
}
