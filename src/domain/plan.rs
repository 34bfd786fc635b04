//! What a flake lists, and what is known of it, become builds and batches of evaluations.
use std::collections::BTreeSet;

use crate::domain::build::{Derivation, Required, Waiting};
use crate::domain::id::AttrPath;
use crate::domain::policy::Policy;
use crate::domain::verdict::Problem;

/// One attribute that a run is going to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub attr: AttrPath,
    /// `None` when its name cannot be the name of a check; it is shown in the gate alone.
    pub label: Option<String>,
    pub required: Required,
}

/// The builds of a run, and what is wrong with their list as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub builds: Vec<Planned>,
    /// Fails the gate whatever the builds do: no host, a required name that does not exist, a
    /// required host that vanished. The builds are built and shown all the same.
    pub problem: Option<Problem>,
}

/// Makes the plan from what the flake lists.
///
/// `required_from` is the list that `gate.required_from` names, when the policy has it; `base` the
/// labels that were required on the commit before.
pub fn make(
    listed: &[AttrPath],
    policy: &Policy,
    required_from: Option<&[String]>,
    base: &[String],
) -> Plan {
    let builds: Vec<Planned> = listed
        .iter()
        .map(|attr| {
            let label = attr.label().ok();
            let shown = label.clone().unwrap_or_else(|| attr.to_string());
            let required = policy.gate.requires(&shown, required_from);
            Planned { attr: attr.clone(), label, required }
        })
        .collect();
    let problem = nothing_to_build(&builds, policy)
        .or_else(|| unknown_names(&builds, policy, required_from))
        .or_else(|| vanished(&builds, policy, base))
        .or_else(|| nothing_required(&builds));
    Plan { builds, problem }
}

fn nothing_to_build(builds: &[Planned], policy: &Policy) -> Option<Problem> {
    let wanted = policy.build.outputs.iter().map(ToString::to_string).collect::<Vec<_>>();
    builds.is_empty().then(|| Problem {
        headline: "no host found: nothing was built".to_owned(),
        detail: format!(
            "The flake has nothing under {}. A flake without hosts never passes: define them, or \
             name other outputs in build.outputs of fleetcheck.toml.",
            wanted.join(", ")
        ),
        place: None,
    })
}

fn nothing_required(builds: &[Planned]) -> Option<Problem> {
    let any = builds.iter().any(|it| it.required == Required::Required);
    (!any).then(|| Problem {
        headline: "no required host found".to_owned(),
        detail: "Hosts were found, but gate.required matches none of them, and a gate that \
                 requires nothing would always pass. Correct gate.required in fleetcheck.toml."
            .to_owned(),
        place: None,
    })
}

fn unknown_names(
    builds: &[Planned],
    policy: &Policy,
    required_from: Option<&[String]>,
) -> Option<Problem> {
    let (names, key) = match required_from {
        Some(names) => (names, "gate.required_from"),
        None => (policy.gate.required.as_slice(), "gate.required"),
    };
    let known: BTreeSet<&str> = builds.iter().filter_map(|it| it.label.as_deref()).collect();
    let is_glob = |name: &str| name.contains(['*', '?', '[', '{']);
    let missing: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| (required_from.is_some() || !is_glob(name)) && !known.contains(name))
        .collect();
    (!missing.is_empty()).then(|| Problem {
        headline: format!("required but not in the flake: {}", missing.join(", ")),
        detail: format!(
            "{key} names hosts that this commit does not have. Add them to the flake or take them \
             out of the list."
        ),
        place: None,
    })
}

/// A required host of the base commit that this one lacks and does not exclude.
fn vanished(builds: &[Planned], policy: &Policy, base: &[String]) -> Option<Problem> {
    let known: BTreeSet<&str> = builds.iter().filter_map(|it| it.label.as_deref()).collect();
    let gone: Vec<&str> = base
        .iter()
        .map(String::as_str)
        .filter(|name| !known.contains(name))
        .filter(|name| {
            let attr = AttrPath::host(name);
            !policy.build.exclude.iter().any(|pattern| pattern.matches(&attr))
        })
        .collect();
    (!gone.is_empty()).then(|| Problem {
        headline: format!("required hosts that vanished: {}", gone.join(", ")),
        detail: "The base commit had them and required them. If they are gone on \
                 purpose, add them to build.exclude in the same change."
            .to_owned(),
        place: None,
    })
}

/// What was seen of an attribute's earlier evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub evaluation_ms: i64,
    /// Bytes.
    pub peak_memory: i64,
}

/// How many evaluations may run at once, and what one may use.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationLimits {
    pub at_once: usize,
    /// Bytes.
    pub memory: u64,
}

/// More than this at once makes a batch's failure expensive to split, and its first result late.
const LARGEST_BATCH: usize = 64;
/// An attribute that took longer is evaluated alone.
const CHEAP_MS: i64 = 1_500;
/// A batch is filled up to this expected time.
const BATCH_MS: i64 = 5_000;

/// Splits what must be evaluated into processes: alone what is new or known to be heavy, many to a
/// process what is known to be cheap. The known go first: their builds can start soonest.
pub fn batches(
    attrs: impl IntoIterator<Item = (AttrPath, Option<Known>)>,
    limits: EvaluationLimits,
) -> Vec<Vec<AttrPath>> {
    let memory = i64::try_from(limits.memory).unwrap_or(i64::MAX);
    let is_cheap = |it: &Known| it.evaluation_ms <= CHEAP_MS && it.peak_memory <= memory / 4;
    let mut cheap: Vec<(AttrPath, Known)> = Vec::new();
    let mut alone: Vec<Vec<AttrPath>> = Vec::new();
    for (attr, known) in attrs {
        match known.filter(is_cheap) {
            Some(known) => cheap.push((attr, known)),
            None => alone.push(vec![attr]),
        }
    }
    // Outputs do not share a process: a batch is one attribute set of the flake.
    cheap.sort_by(|a, b| a.0.output().cmp(b.0.output()));
    let share = cheap.len().div_ceil(limits.at_once.max(1)).clamp(1, LARGEST_BATCH);
    let mut batches: Vec<Vec<AttrPath>> = Vec::new();
    let mut used = Known { evaluation_ms: 0, peak_memory: 0 };
    for (attr, known) in cheap {
        let fits = batches.last().is_some_and(|batch| {
            batch.len() < share
                && batch[0].output() == attr.output()
                && used.evaluation_ms + known.evaluation_ms <= BATCH_MS
                && used.peak_memory + known.peak_memory <= memory / 2
        });
        if let Some(batch) = batches.last_mut().filter(|_| fits) {
            batch.push(attr);
            used.evaluation_ms += known.evaluation_ms;
            used.peak_memory += known.peak_memory;
        } else {
            batches.push(vec![attr]);
            used = known;
        }
    }
    batches.extend(alone);
    batches
}

/// A batch in which something failed, as smaller ones: quarters while large, then each alone, so
/// that the guilty host stands alone soon and the others are not evaluated often.
pub fn split(batch: &[AttrPath]) -> Vec<Vec<AttrPath>> {
    let size = if batch.len() > 8 { batch.len().div_ceil(4) } else { 1 };
    batch.chunks(size).map(<[AttrPath]>::to_vec).collect()
}

/// A builder, as far as placing a derivation goes.
#[derive(Clone, Debug)]
pub struct Capability {
    pub systems: Vec<String>,
    pub features: Vec<String>,
}

/// What a derivation waits for, given the builders of the settings.
pub fn placement(derivation: &Derivation, builders: &[Capability]) -> Waiting {
    let system = &derivation.system;
    // `builtin` derivations (fetchers) run on any machine.
    let able: Vec<&Capability> =
        builders.iter().filter(|it| system == "builtin" || it.systems.contains(system)).collect();
    if able.is_empty() {
        return Waiting::NoBuilder { system: system.clone() };
    }
    if able.iter().any(|it| derivation.features.iter().all(|one| it.features.contains(one))) {
        return Waiting::Slot;
    }
    Waiting::NoFeatures { system: system.clone(), features: derivation.features.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<AttrPath> {
        names.iter().map(|name| AttrPath::host(name)).collect()
    }

    fn headline(plan: &Plan) -> &str {
        plan.problem.as_ref().map_or("", |it| &it.headline)
    }

    #[test]
    fn no_host_is_a_failed_gate() {
        let plan = make(&[], &Policy::default(), None, &[]);
        assert_eq!(headline(&plan), "no host found: nothing was built");
    }

    #[test]
    fn a_required_name_that_does_not_exist_fails_the_gate_and_the_others_are_built() {
        let mut policy = Policy::default();
        policy.gate.required = vec!["orion".into(), "apollo".into()];
        let plan = make(&hosts(&["orion"]), &policy, None, &[]);
        assert_eq!(headline(&plan), "required but not in the flake: apollo");
        assert_eq!(plan.builds.len(), 1);
    }

    #[test]
    fn a_renamed_tier_that_is_empty_fails_the_gate() {
        let mut policy = Policy::default();
        policy.gate.required_from = AttrPath::new(vec!["tiers".into(), "tier1".into()]);
        let plan = make(&hosts(&["orion"]), &policy, Some(&[]), &[]);
        assert_eq!(headline(&plan), "no required host found");
    }

    #[test]
    fn a_required_host_that_the_base_had_and_this_lacks_fails_the_gate_unless_excluded() {
        let base = ["orion".to_owned(), "raider".to_owned()];
        let plan = make(&hosts(&["orion"]), &Policy::default(), None, &base);
        assert_eq!(headline(&plan), "required hosts that vanished: raider");
        let mut policy = Policy::default();
        policy.build.exclude = vec!["nixosConfigurations.raider".parse().unwrap()];
        assert_eq!(make(&hosts(&["orion"]), &policy, None, &base).problem, None);
    }

    #[test]
    fn new_and_heavy_hosts_are_evaluated_alone_and_cheap_ones_together() {
        let limits = EvaluationLimits { at_once: 2, memory: 4 << 30 };
        let cheap = Known { evaluation_ms: 20, peak_memory: 1 << 20 };
        let heavy = Known { evaluation_ms: 20, peak_memory: 3 << 30 };
        let mut attrs: Vec<(AttrPath, Option<Known>)> =
            (0..500).map(|n| (AttrPath::host(&format!("h{n}")), Some(cheap))).collect();
        attrs.push((AttrPath::host("heavy"), Some(heavy)));
        attrs.push((AttrPath::host("new"), None));
        let made = batches(attrs, limits);
        assert_eq!(made.iter().map(Vec::len).sum::<usize>(), 502);
        assert!(made.iter().all(|it| it.len() <= LARGEST_BATCH));
        assert_eq!(made[made.len() - 2..], [hosts(&["heavy"]), hosts(&["new"])]);
    }

    #[test]
    fn splitting_ends_with_each_host_alone() {
        let mut todo = vec![hosts(&(0..50).map(|_| "x").collect::<Vec<_>>())];
        let mut alone = 0;
        while let Some(batch) = todo.pop() {
            if batch.len() == 1 {
                alone += 1;
            } else {
                todo.extend(split(&batch));
            }
        }
        assert_eq!(alone, 50);
    }

    #[test]
    fn a_derivation_waits_for_what_no_builder_has() {
        let builders = [Capability { systems: vec!["x86_64-linux".into()], features: vec![] }];
        let mut derivation = Derivation {
            path: "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-a.drv".parse().unwrap(),
            outputs: std::collections::BTreeMap::new(),
            system: "aarch64-linux".into(),
            features: vec![],
        };
        let system = "aarch64-linux".to_owned();
        assert_eq!(placement(&derivation, &builders), Waiting::NoBuilder { system });
        derivation.system = "x86_64-linux".into();
        assert_eq!(placement(&derivation, &builders), Waiting::Slot);
        derivation.features = vec!["kvm".into()];
        assert!(matches!(placement(&derivation, &builders), Waiting::NoFeatures { .. }));
    }
}
