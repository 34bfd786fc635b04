//! Everything moves, or nothing.
use super::*;

/// Answers every trial by `comes`, and gives what was found and tried.
fn whole(hosts: &str, comes: impl Fn(&Inputs, char) -> Outcome) -> (Found<u8, char>, usize) {
    let all: BTreeSet<char> = hosts.chars().collect();
    let mut search = Search::new(Inputs::from(*b"ab"), Aim::Whole);
    for tried in 0.. {
        match search.next() {
            Step::Done(found) => return (found, tried),
            Step::Try(trial) => {
                assert!(tried < 3, "{trial:?}");
                let asked = match &trial.hosts {
                    Hosts::All => all.clone(),
                    Hosts::These(hosts) => hosts.clone(),
                };
                let answers =
                    asked.into_iter().map(|host| (host, comes(&trial.moved, host))).collect();
                search.learn(trial, answers);
            }
        }
    }
    unreachable!("a search ends")
}

#[test]
fn everything_moves_where_nothing_breaks() {
    let (found, tried) = whole("XY", |_, _| Outcome::Passed);
    assert_eq!((found.moved, found.held_back.len(), tried), (Inputs::from(*b"ab"), 0, 1));
}

#[test]
fn nothing_moves_where_a_host_breaks_and_all_of_it_is_told() {
    let breaks = |moved: &Inputs, host| {
        if host == 'X' && moved.contains(&b'a') { Outcome::Failed } else { Outcome::Passed }
    };
    let (found, tried) = whole("XY", breaks);
    assert_eq!((found.moved, tried), (Inputs::new(), 2), "as it was, for the host that failed");
    let why = |with: &[u8]| Why::Breaks {
        with: with.iter().copied().collect(),
        hosts: BTreeSet::from(['X']),
    };
    let held: Vec<_> = found.held_back.into_iter().map(|it| (it.input, it.why)).collect();
    assert_eq!(held, [(b'a', why(b"b")), (b'b', why(b"a"))]);
}

#[test]
fn a_host_that_was_broken_before_keeps_nothing_back_and_the_weather_does() {
    let broken = |_: &Inputs, host| if host == 'X' { Outcome::Failed } else { Outcome::Passed };
    let (found, _) = whole("XY", broken);
    assert_eq!(found.moved, Inputs::from(*b"ab"));
    assert_eq!(found.broken_before, BTreeSet::from(['X']));
    let (found, _) =
        whole("XY", |_, host| if host == 'Y' { Outcome::Unknown } else { Outcome::Passed });
    assert_eq!((found.moved, found.unknown), (Inputs::new(), BTreeSet::from(['Y'])));
}
