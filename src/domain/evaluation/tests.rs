use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const LIMITS: EvaluationLimits = EvaluationLimits { at_once: 2, each: 6 << 30, together: 8 << 30 };

fn hosts(names: &[&str]) -> Vec<AttrPath> {
    names.iter().map(|name| AttrPath::host(name)).collect()
}

#[test]
fn new_and_heavy_hosts_are_evaluated_alone_and_cheap_ones_together() {
    let cheap = Known { evaluation_ms: 2, peak_memory: 76 << 20 };
    let heavy = Known { evaluation_ms: 20, peak_memory: 5 << 30 };
    let mut attrs: Vec<(AttrPath, Option<Known>)> =
        (0..501).map(|n| (AttrPath::host(&format!("h{n}")), Some(cheap))).collect();
    attrs.push((AttrPath::host("new"), None));
    attrs.push((AttrPath::host("heavy"), Some(heavy)));
    let made = batches(attrs, LIMITS);
    assert_eq!(made.iter().map(|it| it.attrs.len()).sum::<usize>(), 503);
    assert!(made.iter().all(|it| it.attrs.len() <= LARGEST_BATCH));
    let alone = |name, memory, size| Batch { attrs: hosts(&[name]), memory, size };
    let heavy = alone("heavy", (25 << 30) / 4, Size::Known);
    assert_eq!(made[..2], [heavy, alone("new", 4 << 30, Size::New)]);
    // 250 times 12 MiB and what a process needs by itself, and a quarter.
    let (many, one) = (((250 * 12 + 64) * 5 / 4) << 20, 256 << 20);
    let shares = made[2..].iter().map(|it| (it.attrs.len(), it.memory)).collect::<Vec<_>>();
    assert_eq!(shares, [(250, many), (250, many), (1, one)]);
}

#[test]
fn a_host_that_takes_a_second_is_not_waited_for_by_another_s_build() {
    let known = Some(Known { evaluation_ms: 1_000, peak_memory: 60 << 20 });
    let made = batches(hosts(&["a", "b", "c"]).into_iter().map(|it| (it, known)), LIMITS);
    assert_eq!(made.len(), 3);
}

#[test]
fn nothing_expects_more_than_there_is_nor_too_little_to_run() {
    let limits = EvaluationLimits { together: 1 << 30, ..LIMITS };
    let known = |peak_memory| Some(Known { evaluation_ms: 9_000, peak_memory });
    let attrs = hosts(&["huge", "new", "tiny"]);
    let attrs = attrs.into_iter().zip([known(i64::MAX), None, known(1)]);
    let shares: Vec<u64> = batches(attrs, limits).iter().map(|it| it.memory >> 20).collect();
    assert_eq!(shares, [1024, 512, 256]);
    let tiny = EvaluationLimits { together: 64 << 20, ..LIMITS };
    assert_eq!(tiny.careful() >> 20, 64);
}

#[test]
fn what_hosts_hold_together_is_theirs_without_the_process_that_they_share() {
    assert_eq!(alone(300 << 20, 1), 300 << 20);
    assert_eq!(alone((64 + 50 * 10) << 20, 50), (64 + 10) << 20);
    assert_eq!(alone(1, 50), 64 << 20);
}

#[test]
fn splitting_ends_with_each_host_alone() {
    let mut todo = vec![Batch { attrs: hosts(&["x"; 50]), memory: 7, size: Size::New }];
    let mut alone = 0;
    while let Some(batch) = todo.pop() {
        assert_eq!(batch.memory, 7);
        if batch.attrs.len() == 1 {
            alone += 1;
        } else {
            todo.extend(split(&batch));
        }
    }
    assert_eq!(alone, 50);
}

/// A host that is new, or known in any way.
fn known() -> impl Strategy<Value = Option<Known>> {
    let known = (0..3_000_i64, 0..(12_i64 << 30));
    let small = (0..300_i64, (48_i64 << 20)..(96_i64 << 20));
    proptest::option::of(prop_oneof![known, small])
        .prop_map(|it| it.map(|(evaluation_ms, peak_memory)| Known { evaluation_ms, peak_memory }))
}

/// Evaluates batches as they are: each in its turn when it finds room, the processes that run
/// ending by this choice. Gives in which order they began.
fn run(mut todo: VecDeque<Batch>, limits: EvaluationLimits, ends: &[usize]) -> Vec<Batch> {
    let (mut running, mut waiting, mut begun) = (Vec::<Batch>::new(), None::<Batch>, Vec::new());
    let mut ends = ends.iter().cycle();
    loop {
        let free = limits.together - running.iter().map(|it| it.memory).sum::<u64>();
        if let Some(it) = waiting.take_if(|it| it.memory <= free) {
            begun.push(it.clone());
            running.push(it);
        } else if waiting.is_none() && running.len() < limits.at_once && !todo.is_empty() {
            let at = next(todo.iter().map(|it| it.memory), free);
            waiting = todo.remove(at);
        } else if running.is_empty() {
            assert!(waiting.is_none(), "it waits for ever: {waiting:?}");
            return begun;
        } else {
            let end = ends.next().map_or(0, |it| it % running.len());
            running.swap_remove(end);
        }
    }
}

proptest! {
    #[test]
    fn every_host_is_evaluated_once_within_the_budget_and_nothing_waits_for_ever(
        fleet in proptest::collection::vec(known(), 0..40),
        at_once in 1..5_usize,
        together in (64_u64..20_000).prop_map(|it| it << 20),
        ends in proptest::collection::vec(0..4_usize, 1..9),
    ) {
        let limits = EvaluationLimits { at_once, each: 6 << 30, together };
        let attrs: Vec<AttrPath> =
            (0..fleet.len()).map(|n| AttrPath::host(&n.to_string())).collect();
        let made = batches(attrs.iter().cloned().zip(fleet), limits);
        prop_assert!(made.is_sorted_by(|a, b| a.memory >= b.memory), "the largest first");
        prop_assert!(made.iter().all(|it| (1..=together).contains(&it.memory)));
        let begun = run(made.clone().into(), limits, &ends);
        let evaluated: Vec<&AttrPath> = begun.iter().flat_map(|it| &it.attrs).collect();
        prop_assert_eq!(evaluated.len(), attrs.len());
        let evaluated: BTreeSet<&AttrPath> = evaluated.into_iter().collect();
        prop_assert_eq!(evaluated, attrs.iter().collect::<BTreeSet<_>>());
    }
}
