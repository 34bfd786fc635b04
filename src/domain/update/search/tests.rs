mod stories;
mod weather;
mod whole;
mod worlds;

use super::*;

type Inputs = BTreeSet<u8>;
type Names = BTreeSet<char>;

/// A search that is told what comes of each host, and what it tried.
struct Told {
    found: Found<u8, char>,
    tried: Vec<(Inputs, BTreeMap<char, Outcome>)>,
}

/// Searches among so many inputs, `a` and so on, for these hosts.
fn search(count: u8, hosts: &str, comes: impl Fn(&Inputs, char) -> Outcome) -> Told {
    let inputs: Inputs = (b'a'..b'a' + count).collect();
    let (mut search, mut tried) = (Search::new(inputs, Aim::Most), Vec::new());
    let mut known = BTreeSet::new();
    loop {
        let step = search.next();
        assert_eq!(step, search.next(), "asking changes nothing");
        let trial = match step {
            Step::Try(trial) => trial,
            Step::Done(found) => return Told { found, tried },
        };
        let about: Names = match &trial.hosts {
            Hosts::All => hosts.chars().collect(),
            Hosts::These(these) => these.clone(),
        };
        assert!(!about.is_empty(), "nothing is asked");
        let answer: BTreeMap<char, Outcome> =
            about.into_iter().map(|host| (host, comes(&trial.moved, host))).collect();
        for host in answer.keys() {
            assert!(known.insert((trial.moved.clone(), *host)), "{trial:?} is asked twice");
        }
        tried.push((trial.moved.clone(), answer.clone()));
        search.learn(trial, answer);
    }
}

/// Fails where this is so.
fn failed_if(broken: bool) -> Outcome {
    if broken { Outcome::Failed } else { Outcome::Passed }
}

fn has(moved: &Inputs, all: &str) -> bool {
    all.bytes().all(|input| moved.contains(&input))
}

fn names(inputs: &Inputs) -> String {
    let names: String = inputs.iter().map(|it| char::from(*it)).collect();
    if names.is_empty() { "-".to_owned() } else { names }
}

fn list(hosts: &Names) -> String {
    hosts.iter().collect()
}

impl Told {
    /// A line for each trial (what moved, and how its hosts fared: `+` passed, `!` failed, `?`
    /// unknown), and what was found.
    fn story(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (moved, answer) in &self.tried {
            let sign = |outcome: &Outcome| match outcome {
                Outcome::Passed => '+',
                Outcome::Failed => '!',
                Outcome::Unknown => '?',
            };
            let fared = answer.iter().map(|(host, it)| format!(" {host}{}", sign(it)));
            lines.push(format!("{}:{}", names(moved), fared.collect::<String>()));
        }
        let Found { moved, held_back, broken_before, unknown } = &self.found;
        lines.push(format!("moves {}", names(moved)));
        for HeldBack { input, why } in held_back {
            let input = char::from(*input);
            lines.push(match why {
                Why::Breaks { with, hosts } if with.is_empty() => {
                    format!("{input} breaks {}", list(hosts))
                }
                Why::Breaks { with, hosts } => {
                    format!("{input} with {} breaks {}", names(with), list(hosts))
                }
                Why::Unknown { hosts } => format!("{input} unknown on {}", list(hosts)),
            });
        }
        for (what, hosts) in [("broken before", broken_before), ("unknown", unknown)] {
            if !hosts.is_empty() {
                lines.push(format!("{what}: {}", list(hosts)));
            }
        }
        lines.join("\n")
    }
}

#[test]
fn an_answer_that_lacks_a_host_does_not_pass_for_it() {
    let inputs: Inputs = "ab".bytes().collect();
    let mut search = Search::<u8, char>::new(inputs.clone(), Aim::Most);
    let first = Trial { moved: inputs, hosts: Hosts::All };
    assert_eq!(search.next(), Step::Try(first.clone()));
    search.learn(first.clone(), BTreeMap::new());
    let Step::Done(found) = search.next() else { panic!("there is nobody to ask for") };
    assert!(found.moved.is_empty());
    let nobody = Why::Unknown { hosts: Names::new() };
    assert!(found.held_back.len() == 2 && found.held_back.iter().all(|it| it.why == nobody));

    search.learn(first.clone(), BTreeMap::from([('X', Outcome::Failed)]));
    let Step::Try(base) = search.next() else { panic!("X has failed") };
    assert_eq!(base, Trial { moved: Inputs::new(), hosts: Hosts::These(Names::from(['X'])) });
    search.learn(base, BTreeMap::from([('Y', Outcome::Failed)]));
    let Step::Done(found) = search.next() else { panic!("X is left out") };
    assert_eq!((found.broken_before, found.unknown), (Names::new(), Names::from(['X'])));
}

#[test]
fn what_is_told_ahead_is_not_asked_and_what_the_update_mends_is_not_given_up() {
    let trial = |moved: &str, hosts: &str| {
        let hosts = Hosts::These(hosts.chars().collect());
        Trial { moved: moved.bytes().collect(), hosts }
    };
    let mut search = Search::new("ab".bytes().collect(), Aim::Most);
    let (passed, failed) = (Outcome::Passed, Outcome::Failed);
    search.learn(trial("", "XY"), BTreeMap::from([('X', failed), ('Y', passed)]));
    search.learn(trial("ab", "XY"), BTreeMap::from([('X', passed), ('Y', failed)]));
    for (moved, hosts, comes) in [("a", "Y", failed), ("b", "Y", passed), ("b", "X", passed)] {
        assert_eq!(search.next(), Step::Try(trial(moved, hosts)));
        let host = hosts.chars().map(|host| (host, comes));
        search.learn(trial(moved, hosts), host.collect());
    }
    let Step::Done(found) = search.next() else { panic!("all is known") };
    assert_eq!((names(&found.moved), found.broken_before), ("b".to_owned(), Names::new()));
}

#[test]
fn what_was_learnt_first_stays_and_a_restart_goes_on_from_it() {
    let comes = |moved: &Inputs, host: char| failed_if(host == 'X' && has(moved, "bd"));
    let told = search(5, "XY", comes);
    for length in 0..told.tried.len() {
        let mut again = Search::new((b'a'..b'f').collect(), Aim::Most);
        for (moved, answer) in told.tried[..length].iter().rev() {
            let hosts = Hosts::These(answer.keys().copied().collect());
            again.learn(Trial { moved: moved.clone(), hosts: hosts.clone() }, answer.clone());
            // Later news of the same is no news.
            again.learn(Trial { moved: moved.clone(), hosts }, BTreeMap::new());
        }
        let Step::Try(trial) = again.next() else { panic!("it ended after {length} answers") };
        assert_eq!(trial.moved, told.tried[length].0);
        let asked = match trial.hosts {
            Hosts::All => "XY".chars().collect(),
            Hosts::These(hosts) => hosts,
        };
        assert!(asked.iter().eq(told.tried[length].1.keys()));
    }
}
