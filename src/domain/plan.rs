//! What a flake lists becomes builds, and each derivation a place to be built in.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

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

/// A builder, as far as placing a derivation goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Nix's `system`s.
    pub systems: Vec<String>,
    /// What derivations may ask for by `requiredSystemFeatures`.
    pub features: Vec<String>,
    /// What a derivation must ask for to be built there: Nix's `mandatoryFeatures` of a machine.
    pub mandatory: Vec<String>,
}

impl Capability {
    /// Whether it builds derivations of this system that require these features. `builtin`
    /// derivations (fetchers) are built on any machine.
    #[must_use]
    pub fn fits(&self, system: &str, features: &[String]) -> bool {
        self.does(system) && self.has(features)
    }

    /// The systems of what it builds.
    pub fn systems(&self) -> impl Iterator<Item = &str> {
        self.systems.iter().map(String::as_str).chain(["builtin"])
    }

    fn does(&self, system: &str) -> bool {
        system == "builtin" || self.systems.iter().any(|it| it == system)
    }

    /// Whether it builds what requires these features.
    #[must_use]
    pub fn has(&self, features: &[String]) -> bool {
        features.iter().all(|it| self.features.contains(it) || self.mandatory.contains(it))
            && self.mandatory.iter().all(|it| features.contains(it))
    }
}

/// What a derivation waits for, given the builders of the settings.
pub fn placement(derivation: &Derivation, builders: &[Capability]) -> Waiting {
    let system = &derivation.system;
    let able: Vec<&Capability> = builders.iter().filter(|it| it.does(system)).collect();
    if able.is_empty() {
        return Waiting::NoBuilder { system: system.clone() };
    }
    if able.iter().any(|it| it.has(&derivation.features)) {
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
    fn a_derivation_waits_for_what_no_builder_has() {
        let builders = [Capability {
            systems: vec!["x86_64-linux".into()],
            features: vec![],
            mandatory: vec!["benchmark".into()],
        }];
        let mut derivation = Derivation {
            path: "/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-a.drv".parse().unwrap(),
            outputs: std::collections::BTreeMap::new(),
            system: "aarch64-linux".into(),
            features: vec![],
        };
        let system = "aarch64-linux".to_owned();
        assert_eq!(placement(&derivation, &builders), Waiting::NoBuilder { system });
        derivation.system = "x86_64-linux".into();
        assert!(matches!(placement(&derivation, &builders), Waiting::NoFeatures { .. }));
        derivation.features = vec!["benchmark".into()];
        assert_eq!(placement(&derivation, &builders), Waiting::Slot);
        derivation.features = vec!["kvm".into()];
        assert!(matches!(placement(&derivation, &builders), Waiting::NoFeatures { .. }));
    }
}
