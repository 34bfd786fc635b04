//! The queue and the placement, played through: builders that come and go, draws of builds and of
//! their endings. What holds after every event is what the slots of a service hold together.
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Strategy as _, any};
use proptest::{prop_assert, prop_assert_eq};

use super::place::share;
use super::{Candidate, take, turn, within_run};
use crate::domain::Timestamp;
use crate::domain::build::Required;
use crate::domain::builder::tests::{away, builder};
use crate::domain::builder::{Builder, Condition, Speed, leaves_to_others};
use crate::domain::id::DrvPath;
use crate::domain::plan::Capability;
use crate::domain::run::Reason;

const SYSTEMS: [&str; 3] = ["x86_64-linux", "aarch64-linux", "riscv64-linux"];

/// A build as it is drawn.
#[derive(Clone, Debug)]
struct Drawn {
    arrives: i64,
    system: usize,
    /// Asks for `kvm`.
    picky: bool,
    /// Builds of one number are of one derivation, whatever their runs.
    number: usize,
    run: usize,
    required: Required,
    reason: Reason,
    expected_ms: Option<i64>,
    takes: i64,
    /// Its first attempt ends as weather.
    unlucky: bool,
}

fn drawn() -> impl proptest::strategy::Strategy<Value = Drawn> {
    let known = [None, Some(10), Some(400), Some(60_000)];
    let reasons = [Reason::Push("main".parse().unwrap()), Reason::PullRequest(7)];
    let whose = (0..6_usize, any::<bool>(), 0..reasons.len());
    let what = (0..3_usize, any::<bool>(), 0..40_usize, 0..known.len());
    ((0..100_000_i64, 1..60_000_i64, any::<bool>()), whose, what).prop_map(
        move |((arrives, takes, unlucky), (run, required, reason), (system, picky, number, of))| {
            let required = if required { Required::Required } else { Required::Optional };
            let (reason, expected_ms) = (reasons[reason].clone(), known[of]);
            Drawn {
                arrives,
                system,
                picky,
                number,
                run,
                required,
                reason,
                expected_ms,
                takes,
                unlucky,
            }
        },
    )
}

fn machine() -> impl proptest::strategy::Strategy<Value = Builder> {
    (1..8_u32, any::<bool>(), 1..4_u32, 1..3_u32).prop_map(|(mask, kvm, slots, speed)| {
        let systems = SYSTEMS.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0);
        Builder {
            capability: Capability {
                systems: systems.map(|(_, it)| (*it).to_owned()).collect(),
                features: if kvm { vec!["kvm".to_owned()] } else { vec![] },
                mandatory: vec![],
            },
            slots,
            speed: Speed::of(speed * 1_000).unwrap(),
            ..builder("", Condition::Ready)
        }
    })
}

/// A build that waits: its turn, and when it came.
type Waits = (i64, usize, Candidate, i64);

struct Operation {
    builder: usize,
    until: i64,
    /// With every build that wanted what it realises.
    builds: Vec<Waits>,
}

struct Play {
    builders: Vec<Builder>,
    waiting: Vec<Waits>,
    operations: Vec<Operation>,
    /// Who built a host last.
    warm: BTreeMap<DrvPath, String>,
    unlucky: BTreeSet<usize>,
    looks: usize,
}

impl Play {
    fn is_running(&self, drv: &DrvPath) -> bool {
        let mut all = self.operations.iter().flat_map(|it| &it.builds);
        all.any(|(_, _, it, _)| it.derivation == *drv)
    }

    /// What the store offers.
    fn offered(&self) -> Vec<Candidate> {
        let mut all: Vec<&Waits> =
            self.waiting.iter().filter(|(_, _, it, _)| !self.is_running(&it.derivation)).collect();
        all.sort_by_key(|(rank, order, ..)| (*rank, *order));
        let warm = |it: &Candidate| Candidate {
            built_on: self.warm.get(&it.derivation).cloned(),
            ..it.clone()
        };
        all.into_iter().map(|(_, _, it, _)| warm(it)).collect()
    }

    /// One free slot of a builder looks.
    fn look(&mut self, at: usize, now: i64) {
        self.looks += 1;
        let own = &self.builders[at];
        if own.free() == 0 {
            return;
        }
        let share = share(self.offered(), &own.name, &self.builders, |_| true);
        let taken = take(&share.kept, own.slots as usize);
        if taken.is_empty() {
            return;
        }
        assert!(taken.iter().all(|it| !self.is_running(it)), "one derivation twice at once");
        let (builds, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(_, _, it, _)| taken.contains(&it.derivation));
        self.waiting = rest;
        let builds: Vec<Waits> = builds;
        let until = now + builds.iter().map(|(.., takes)| *takes).max().unwrap();
        self.operations.push(Operation { builder: at, until, builds });
        let own = &mut self.builders[at];
        own.busy += 1;
        assert!(own.busy <= own.slots && own.takes_work(), "more than its slots");
    }

    /// All idle slots look until none finds anything, as they are woken.
    fn settle(&mut self, now: i64, first: usize) {
        let count = self.builders.len();
        loop {
            let before = self.operations.len();
            for at in 0..count {
                self.look((first + at) % count, now);
            }
            if self.operations.len() == before {
                break;
            }
        }
        for candidate in self.offered() {
            let what = (candidate.system.as_str(), candidate.features.as_slice());
            let idle = self.builders.iter().find(|it| {
                it.takes_work()
                    && it.free() > 0
                    && it.capability.fits(what.0, what.1)
                    && !leaves_to_others(
                        &it.name,
                        what,
                        candidate.failed_on.as_deref(),
                        &self.builders,
                    )
            });
            assert!(idle.is_none(), "{idle:?} is idle while {candidate:?} waits");
        }
    }

    /// What runs there ends; as weather when the builder is away, or by bad luck.
    fn end(&mut self, operation: Operation) {
        let name = self.builders[operation.builder].name.clone();
        let is_away = !self.builders[operation.builder].takes_work();
        self.builders[operation.builder].busy -= 1;
        for (rank, order, candidate, takes) in operation.builds {
            if is_away || self.unlucky.remove(&order) {
                let failed_on = Some(name.clone());
                self.waiting.push((rank, order, Candidate { failed_on, ..candidate }, takes));
            } else {
                self.warm.insert(candidate.derivation, name.clone());
            }
        }
    }

    /// A builder goes away, with all that runs there, or comes back.
    fn turn_over(&mut self, at: usize) {
        let is_there = self.builders[at].takes_work();
        self.builders[at].condition = if is_there { away() } else { Condition::Ready };
        let (lost, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.operations)
            .into_iter()
            .partition(|it| is_there && it.builder == at);
        self.operations = rest;
        for operation in lost {
            self.end(operation);
        }
    }
}

fn candidate(number: usize, it: &Drawn) -> Candidate {
    let drv = format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{number}.drv");
    Candidate {
        derivation: drv.parse().unwrap(),
        home: None,
        run: format!("01890a5d-ac96-774b-bcce-{:012}", it.run).parse().unwrap(),
        system: SYSTEMS[it.system].to_owned(),
        features: if it.picky { vec!["kvm".to_owned()] } else { vec![] },
        expected_ms: it.expected_ms,
        built_on: None,
        failed_on: None,
    }
}

/// What waits, with its turn: runs are made when the first of their builds comes.
fn line_up(mut all: Vec<Drawn>) -> Vec<(i64, Waits)> {
    all.sort_by_key(|it| it.arrives);
    let mut kinds: BTreeMap<usize, Drawn> = BTreeMap::new();
    let mut runs: BTreeMap<usize, Vec<Drawn>> = BTreeMap::new();
    for it in all {
        // One derivation is of one kind.
        let kind = kinds.entry(it.number).or_insert_with(|| it.clone()).clone();
        runs.entry(it.run).or_default().push(Drawn {
            system: kind.system,
            picky: kind.picky,
            ..it
        });
    }
    let mut lined = Vec::new();
    let main = "main".parse().unwrap();
    for run in runs.values_mut() {
        run.sort_by_key(|it| within_run(it.required, it.expected_ms));
        let made = run.iter().map(|it| it.arrives).min().unwrap();
        let reason = run[0].reason.clone();
        for (nth, it) in run.iter().enumerate() {
            let rank = turn((Timestamp(made), &reason), &main, it.required, nth);
            let order = lined.len() * 2 + usize::from(it.unlucky);
            lined.push((it.arrives, (rank, order, candidate(it.number, it), it.takes)));
        }
    }
    lined.sort_by_key(|(arrives, _)| *arrives);
    lined
}

proptest::proptest! {
    #[test]
    fn no_slot_is_idle_for_nothing_and_none_builds_too_much_and_everything_is_built(
        builds in proptest::collection::vec(drawn(), 1..60),
        machines in proptest::collection::vec(machine(), 1..6),
        flips in proptest::collection::vec((0..150_000_i64, 0..6_usize), 0..8),
    ) {
        let builders: Vec<Builder> = machines
            .into_iter()
            .enumerate()
            .map(|(at, it)| Builder { name: format!("m{at}"), ..it })
            .collect();
        let mut coming = line_up(builds);
        let unlucky = coming.iter().map(|(_, it)| it.1).filter(|it| it % 2 == 1).collect();
        let mut flips: Vec<_> = flips.iter().map(|(at, who)| (*at, who % builders.len())).collect();
        flips.sort_unstable();
        let mut play = Play {
            builders,
            waiting: vec![],
            operations: vec![],
            warm: BTreeMap::new(),
            unlucky,
            looks: 0,
        };
        loop {
            let ends = play.operations.iter().map(|it| it.until).min();
            let next = [coming.first().map(|it| it.0), flips.first().map(|it| it.0), ends];
            let Some(now) = next.into_iter().flatten().min() else {
                // In the end all builders are back, and stay.
                let Some(gone) = play.builders.iter().position(|it| !it.takes_work()) else { break };
                play.turn_over(gone);
                play.settle(200_000, 0);
                continue;
            };
            while coming.first().is_some_and(|it| it.0 <= now) {
                play.waiting.push(coming.remove(0).1);
            }
            while flips.first().is_some_and(|it| it.0 <= now) {
                play.turn_over(flips.remove(0).1);
            }
            while let Some(at) = play.operations.iter().position(|it| it.until <= now) {
                let operation = play.operations.remove(at);
                play.end(operation);
            }
            let first = play.looks % play.builders.len();
            play.settle(now, first);
        }
        let mut left = play.waiting.iter().map(|(_, _, it, _)| it);
        let fits = |it: &Candidate| {
            play.builders.iter().any(|machine| machine.capability.fits(&it.system, &it.features))
        };
        prop_assert!(!left.any(fits), "something waits for ever");
        prop_assert_eq!(play.builders.iter().map(|it| it.busy).sum::<u32>(), 0);
    }
}

#[test]
fn the_least_urgent_build_is_begun_although_more_urgent_ones_never_end_to_come() {
    let main = "main".parse().unwrap();
    let minute = 60_000;
    let late = turn((Timestamp(0), &Reason::PullRequest(7)), &main, Required::Optional, 0);
    let push = Reason::Push("main".parse().unwrap());
    let mut waiting = vec![late];
    // One slot, a minute for each build, and two new ones in every minute.
    let begun = (0..600).find(|now| {
        let at = Timestamp(now * minute);
        waiting.extend([0, 1].map(|nth| turn((at, &push), &main, Required::Required, nth)));
        waiting.sort_unstable();
        waiting.remove(0) == late
    });
    assert!(begun.unwrap() <= 60, "in an hour: {begun:?}");
}
