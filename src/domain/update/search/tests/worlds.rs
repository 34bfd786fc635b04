//! Searches in drawn worlds: what is found is right in each, after few trials.
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::{prop_assert, prop_assert_eq};

use super::*;

const HOSTS: &str = "XYZ";

/// A host fails where all of `with` moved and none of `without` did.
#[derive(Clone, Debug)]
struct Rule {
    host: char,
    with: Inputs,
    without: Inputs,
}

/// What comes of every host with every set of inputs.
#[derive(Clone, Debug)]
struct World {
    count: u8,
    rules: Vec<Rule>,
    /// Of these nothing can be known.
    weather: Vec<(Inputs, char)>,
}

impl World {
    fn comes(&self, moved: &Inputs, host: char) -> Outcome {
        if self.weather.iter().any(|(set, it)| set == moved && *it == host) {
            return Outcome::Unknown;
        }
        failed_if(self.rules.iter().any(|rule| {
            rule.host == host && rule.with.is_subset(moved) && rule.without.is_disjoint(moved)
        }))
    }

    fn search(&self) -> Told {
        search(self.count, HOSTS, |moved, host| self.comes(moved, host))
    }
}

fn some_inputs(most: usize) -> impl Strategy<Value = Inputs> {
    vec(b'a'..b'n', 0..=most).prop_map(Inputs::from_iter)
}

fn host() -> impl Strategy<Value = char> {
    (0..HOSTS.len()).prop_map(|at| char::from(HOSTS.as_bytes()[at]))
}

/// Rules of which more inputs only break more.
fn monotone() -> impl Strategy<Value = World> {
    let rule = (host(), some_inputs(3)).prop_map(|(host, with)| {
        let without = Inputs::new();
        Rule { host, with, without }
    });
    let parts = (0..13_u8, vec(rule, 0..5));
    parts.prop_map(|(count, rules)| World { count, rules, weather: vec![] })
}

/// Rules of any kind: inputs that need others, hosts that the update mends.
fn any_rules() -> impl Strategy<Value = World> {
    let rule = (host(), some_inputs(3), some_inputs(2)).prop_map(|(host, with, without)| Rule {
        host,
        with,
        without,
    });
    let parts = (0..13_u8, vec(rule, 0..7));
    parts.prop_map(|(count, rules)| World { count, rules, weather: vec![] })
}

/// No rules at all: every set has an ending of its own.
fn chaos(seed: u64, moved: &Inputs, host: char, unknown: u64) -> Outcome {
    let bytes = moved.iter().copied().chain([u8::try_from(host).unwrap()]);
    let mixed = bytes.fold(seed, |hash, byte| {
        let hash = (hash ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    });
    match mixed % 10 {
        it if it < unknown => Outcome::Unknown,
        it if it < 5 => Outcome::Failed,
        _ => Outcome::Passed,
    }
}

/// What every search promises, whatever the world.
fn check(told: &Told, count: u8, comes: impl Fn(&Inputs, char) -> Outcome) {
    let Found { moved, held_back, broken_before, unknown } = &told.found;
    let inputs: Inputs = (b'a'..b'a' + count).collect();
    let held: Vec<u8> = held_back.iter().map(|it| it.input).collect();
    let stays: Vec<u8> = (&inputs - moved).into_iter().collect();
    assert_eq!(held, stays, "each input moves or is held back, once");
    for host in broken_before {
        assert_eq!(comes(&Inputs::new(), *host), Outcome::Failed);
    }
    for host in unknown {
        let before = comes(&Inputs::new(), *host);
        assert!(before == Outcome::Unknown || comes(moved, *host) == Outcome::Unknown);
    }
    let is_sound = |host: &char| !broken_before.contains(host) && !unknown.contains(host);
    let passes = |set: &Inputs| {
        HOSTS.chars().filter(is_sound).all(|host| comes(set, host) == Outcome::Passed)
    };
    assert!(moved.is_empty() || passes(moved), "what moves is green");
    for HeldBack { input, why } in held_back {
        let more = with(moved, *input);
        assert!(!passes(&more), "{} could go", char::from(*input));
        match why {
            Why::Breaks { with: others, hosts } => {
                assert!(others.is_subset(moved) && !hosts.is_empty());
                let seen = with(others, *input);
                for host in hosts {
                    assert!(is_sound(host));
                    assert_eq!(comes(&seen, *host), Outcome::Failed);
                    assert_eq!(comes(&more, *host), Outcome::Failed);
                    let tried = told.tried.iter().filter(|(set, _)| *set == seen);
                    assert!(tried.filter_map(|(_, it)| it.get(host)).count() == 1, "it was seen");
                }
            }
            Why::Unknown { hosts } => {
                let seen = told.tried.iter().filter(|(set, _)| *set == more);
                let mut seen = seen.flat_map(|(_, it)| it).filter(|(host, _)| is_sound(host));
                assert!(seen.all(|(_, it)| *it != Outcome::Failed), "it was seen to break");
                assert!(hosts.iter().all(|host| comes(&more, *host) == Outcome::Unknown));
                assert!(!hosts.is_empty());
            }
        }
    }
    assert!(told.tried.len() <= bound(count), "{} trials", told.tried.len());
}

fn with(set: &Inputs, input: u8) -> Inputs {
    set.iter().copied().chain([input]).collect()
}

/// No search takes longer. One passage of the course tries no more sets than: everything, nothing,
/// what is free and what is found (4, less one that they share); each alone (n); the halves (2n);
/// what is given back, n for each that is taken and n in vain (n² + n); all but one (n); and twice
/// for each that is held back (2n) it alone and halving for each other that breaks with it
/// (n · ⌈log n + 1⌉ + 1). Answers stay, so a passage that begins anew asks again only about other
/// hosts: each can be one that fails for the first time, and then one that is left out.
fn bound(count: u8) -> usize {
    let n = usize::from(count);
    let halvings = n.max(1).ilog2() as usize + 2;
    let passage = 3 + 5 * n + n * n + 2 * n * (n * halvings + 1);
    passage * (2 * HOSTS.len() + 1)
}

proptest::proptest! {
    #[test]
    fn what_more_inputs_only_break_more_is_searched_through(world in monotone()) {
        let told = world.search();
        check(&told, world.count, |moved, host| world.comes(moved, host));
        let inputs: Inputs = (b'a'..b'a' + world.count).collect();
        let goes = inputs.iter().map(|it| &inputs - &Inputs::from([*it])).any(|moved| {
            let mut hosts = HOSTS.chars().filter(|it| !told.found.broken_before.contains(it));
            hosts.all(|host| world.comes(&moved, host) == Outcome::Passed)
        });
        prop_assert!(!goes || told.found.held_back.len() <= 1, "all but one could go");
        // None of those that it breaks something with could be left out.
        for HeldBack { input, why } in &told.found.held_back {
            let Why::Breaks { with: others, hosts } = why else { panic!("there is no weather") };
            for other in others {
                let fewer = with(&(others - &Inputs::from([*other])), *input);
                prop_assert!(hosts.iter().any(|it| world.comes(&fewer, *it) == Outcome::Passed));
            }
        }
    }

    #[test]
    fn what_needs_others_is_searched_through(world in any_rules()) {
        check(&world.search(), world.count, |moved, host| world.comes(moved, host));
    }

    #[test]
    fn weather_is_searched_through(
        world in any_rules(),
        weather in vec((some_inputs(12), host()), 0..20),
    ) {
        let count = world.count.min(5);
        let inputs: Inputs = (b'a'..b'a' + count).collect();
        let weather = weather.into_iter().map(|(set, host)| (&set & &inputs, host)).collect();
        let world = World { count, weather, ..world };
        check(&world.search(), world.count, |moved, host| world.comes(moved, host));
    }

    #[test]
    fn a_world_without_rules_is_searched_through(
        seed in any::<u64>(),
        count in 0..10_u8,
        unknown in 0..3_u64,
    ) {
        let comes = |moved: &Inputs, host| chaos(seed, moved, host, unknown);
        check(&search(count, HOSTS, comes), count, comes);
    }

    #[test]
    fn one_guilty_input_costs_one_trial_for_each_and_four_more(
        count in 1..20_u8,
        at in any::<proptest::sample::Index>(),
    ) {
        let guilty = b'a' + u8::try_from(at.index(usize::from(count))).unwrap();
        let told = search(count, HOSTS, |moved, host| {
            failed_if(host != 'Z' && moved.contains(&guilty))
        });
        prop_assert!(told.tried.len() <= usize::from(count) + 4, "{} trials", told.tried.len());
        prop_assert_eq!(told.found.moved.len() + 1, usize::from(count));
        let hosts = Names::from(['X', 'Y']);
        let why = Why::Breaks { with: Inputs::new(), hosts };
        prop_assert_eq!(&told.found.held_back, &[HeldBack { input: guilty, why }]);
        // What never failed is tried with everything, and with what is found.
        let all = told.tried.iter().filter(|(_, it)| it.contains_key(&'Z')).count();
        prop_assert_eq!(all, if count == 1 { 1 } else { 2 });
    }
}

#[test]
fn one_guilty_input_of_many_is_found_by_halving() {
    for guilty in 0..100 {
        let told = search(100, HOSTS, |moved, _| failed_if(moved.contains(&(b'a' + guilty))));
        assert_eq!(told.found.moved.len(), 99);
        assert!(told.tried.len() <= 17, "{} trials", told.tried.len());
    }
}
