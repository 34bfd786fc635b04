//! Which stages an instance runs, by its roles.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::fleet::Fleet;
use crate::app::own;
use crate::app::parts::Parts;
use crate::app::roles::{Role, Roles};
use crate::config::Config;
use crate::flow::alone::Alone;
use crate::flow::archive::{self, Carry};
use crate::flow::ask::Ask;
use crate::flow::beat::{self, Beat};
use crate::flow::evaluate::Evaluate;
use crate::flow::insight::Compare;
use crate::flow::intake::Intake;
use crate::flow::react::React;
use crate::flow::recover::Recover;
use crate::flow::report::{Report, Settings};
use crate::flow::schedule::Fire;
use crate::flow::shared::{Shared, Wakeups};
use crate::flow::sweep::{self, Evaluates, Sweep};
use crate::flow::track::{self, Track};
use crate::flow::updates::Updates;
use crate::flow::watch::{self, Watch};
use crate::flow::{Stage, drive};
use crate::http::health::Readiness;
use crate::nix::worker::BuildLimits;
use crate::store::StoreError;

/// Spawns stages into the one set of tasks.
pub(super) struct Spawner<'a> {
    pub(super) tasks: &'a mut JoinSet<&'static str>,
    pub(super) shared: Arc<Shared>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) stop: CancellationToken,
}

/// Updates that go on at a time, here: they mostly wait, for their runs or for GitHub.
const UPDATE_LANES: usize = 2;

/// A stage looks so often without a wakeup: what fell due by time alone is found then.
pub(super) const PERIOD: Duration = Duration::from_secs(2);

impl Spawner<'_> {
    /// One that a single instance does at a time.
    fn alone<S: Stage<Error = StoreError>>(
        &mut self,
        stage: S,
        wakeup: fn(&Wakeups) -> &Notify,
        period: Duration,
    ) {
        self.stage(Alone::new(self.shared.clone(), stage), wakeup, period);
    }

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

/// Spawns the stages of these roles. The sweep belongs to every instance: it looks after what is
/// in its own directory, and after the work of whoever is gone. So does the archive, where there is
/// a bucket: whoever built before its role was taken has logs, and whoever shows pages has copies.
pub(super) fn spawn_stages(
    config: &Config,
    roles: &Roles,
    parts: &Parts,
    spawner: &mut Spawner<'_>,
) {
    if roles.has(Role::Intake) {
        spawn_intake(config, parts, spawner);
    }
    if roles.has(Role::Evaluate) {
        spawn_evaluate(config, parts, spawner);
    }
    if roles.has(Role::Build) {
        spawn_build(config, parts, spawner);
    }
    if roles.has(Role::Evaluate) || roles.has(Role::Build) {
        // Of what was built here, and of what was there already when it was evaluated.
        let Parts { shared, commits, tools, .. } = parts;
        let (nix, builders) = (tools.nix.clone(), tools.builders.clone());
        let compare = Compare::new(shared.clone(), nix, builders, commits.clone());
        spawner.stage(compare, |it| &it.insight, PERIOD);
    }
    if roles.has(Role::Report) {
        spawn_report(config, parts, spawner);
    }
    if roles.has(Role::Evaluate) {
        spawn_updates(config, parts, spawner);
    }
    if roles.has(Role::Recover) {
        spawn_recover(config, parts, spawner);
    }
    if parts.shared.store.is_shared() {
        spawner.stage(Beat::new(parts.shared.clone()), |it| &it.beat, beat::PERIOD);
    }
    if let Some(archive) = &parts.archive {
        let carry = Carry::new(parts.shared.clone(), archive.clone());
        spawner.stage(carry, |it| &it.archive, archive::PERIOD);
    }
    let evaluates = if roles.has(Role::Evaluate) { Evaluates::Here } else { Evaluates::Elsewhere };
    let has_results = roles.has(Role::Evaluate) || roles.has(Role::Build);
    let kept = has_results.then(|| (parts.tools.nix.clone(), parts.roots.clone()));
    let sweep = Sweep::new(parts.shared.clone(), kept, evaluates, parts.mirrors.clone());
    spawner.stage(sweep, |it| &it.sweep, sweep::PERIOD);
}

fn spawn_intake(config: &Config, parts: &Parts, spawner: &mut Spawner<'_>) {
    let Parts { shared, github, commits, .. } = parts;
    let owners = &config.github.owners;
    spawner.alone(Intake::new(shared.clone(), owners.clone()), |it| &it.intake, PERIOD);
    let ask = Ask::new(shared.clone(), owners.clone(), commits.clone(), github.clone());
    spawner.alone(ask, |it| &it.ask, PERIOD);
}

fn spawn_evaluate(config: &Config, parts: &Parts, spawner: &mut Spawner<'_>) {
    let Parts { shared, commits, tools, roots, .. } = parts;
    // More lanes than processes: a lane also waits for git and for the store.
    for _ in 0..config.nix.evaluations + 2 {
        let lane = Evaluate::new(shared.clone(), tools.clone(), commits.clone(), roots.clone());
        spawner.stage(lane, |it| &it.evaluate, PERIOD);
    }
}

fn spawn_updates(config: &Config, parts: &Parts, spawner: &mut Spawner<'_>) {
    let Parts { shared, commits, tools, updater, links, .. } = parts;
    spawner.alone(Fire::new(shared.clone()), |it| &it.schedule, PERIOD);
    let github = (updater.clone(), links.clone());
    let scratch = config.store.directory.join(own::SCRATCH);
    let lane = Updates::new(shared.clone(), tools.clone(), commits.clone(), github, scratch);
    for _ in 1..UPDATE_LANES {
        spawner.stage(lane.beside(), |it| &it.update, PERIOD);
    }
    spawner.stage(lane, |it| &it.update, PERIOD);
}

fn spawn_build(config: &Config, parts: &Parts, spawner: &mut Spawner<'_>) {
    let Parts { shared, tools, .. } = parts;
    let fleet = Fleet {
        shared: shared.clone(),
        readiness: spawner.readiness.clone(),
        nix: tools.nix.clone(),
        limits: BuildLimits::from(&config.nix),
        builders: tools.builders.clone(),
        file: config.machines.clone(),
        stop: spawner.stop.clone(),
    };
    spawner.tasks.spawn(fleet.keep());
    spawner.stage(Watch::new(shared.clone()), |it| &it.look, watch::PERIOD);
}

fn spawn_report(config: &Config, parts: &Parts, spawner: &mut Spawner<'_>) {
    let Parts { shared, github, updater, links, .. } = parts;
    spawner.alone(React::new(shared.clone(), github.clone()), |it| &it.react, PERIOD);
    spawner.alone(Track::new(shared.clone(), updater.clone()), |it| &it.track, track::PERIOD);
    let settings = Settings {
        check_name: config.github.check_name.clone(),
        checks_limit: config.github.checks_limit,
    };
    let report = Report::new(shared.clone(), github.clone(), links.clone(), settings);
    spawner.stage(report, |it| &it.report, Duration::from_millis(500));
}

fn spawn_recover(config: &Config, parts: &Parts, spawner: &mut Spawner<'_>) {
    let Parts { shared, github, commits, .. } = parts;
    let interval = config.github.recover_interval;
    let settings = (config.github.owners.clone(), interval);
    let recover = Recover::new(shared.clone(), github.clone(), commits.clone(), settings);
    spawner.alone(recover, |it| &it.recover, interval.min(PERIOD));
}
