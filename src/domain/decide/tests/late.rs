//! What comes late, or was looked up.
use super::*;
use crate::domain::incoming::{RepositoryFacts, RepositoryNow};

fn recovered(owners: &[String], standing: Standing) -> Facts<'_> {
    Facts { owners, standing, source: Source::Recovered, ..Facts::default() }
}

#[test]
fn what_comes_late_of_what_is_gone_starts_nothing() {
    let owners = acme();
    let after = |at, head| {
        let reason = Reason::Push("main".parse().unwrap());
        let (repository, occurred_at) = (RepositoryId(1), seconds(at));
        let gone = Some(Gone { repository, reason, head: sha(head), occurred_at });
        Standing { gone, ..Standing::default() }
    };
    let created = Incoming::Push(Push {
        repository: repository(),
        target: PushTarget::Branch { branch: "main".parse().unwrap(), head: sha('b') },
        before: None,
        occurred_at: seconds(10),
    });
    let pushed = push("main", 'b', 'a', 10);
    let requested = group(GroupChange::ChecksRequested);
    for (incoming, at, head, starts) in [
        (&pushed, 11, 'b', false),
        (&pushed, 10, 'b', false),
        (&pushed, 10, 'c', false),
        (&pushed, 9, 'b', true),
        (&created, 11, 'b', false),
        (&created, 10, 'b', false),
        (&created, 10, 'c', true),
        (&requested, 10, 'd', false),
        (&requested, 9, 'd', false),
        (&requested, 10, 'e', true),
        (&requested, 11, 'e', false),
    ] {
        let decision = decide(incoming, &facts(&owners, after(at, head)));
        let what = format!("{incoming:?} after {head} ended at {at}: {decision:?}");
        assert_eq!(matches!(decision, Decision::Start { .. }), starts, "{what}");
        assert!(starts || ignored(&decision).starts_with("older than the end of the"), "{what}");
    }
    // We saw it there, within that second.
    let seen = decide(&pushed, &recovered(&owners, after(10, 'b')));
    assert!(matches!(seen, Decision::Start { .. }), "{seen:?}");
}

#[test]
fn a_recovered_head_yields_to_what_came_within_its_second() {
    let owners = acme();
    let stands = |base| {
        let newest = standing_run('b', base, 10, RunState::Requested);
        Standing { newest: Some(newest), ..Standing::default() }
    };
    let late = decide(&push("main", 'a', 'f', 10), &recovered(&owners, stands('a')));
    assert!(ignored(&late).starts_with("older than"), "{late:?}");
    let unrelated = decide(&push("main", 'c', 'f', 10), &recovered(&owners, stands('a')));
    assert!(ignored(&unrelated).starts_with("older than"), "{unrelated:?}");
    // It was looked up when that one was known already.
    let next = decide(&push("main", 'c', 'b', 10), &recovered(&owners, stands('a')));
    assert!(matches!(next, Decision::Start { .. }), "{next:?}");
    let told = decide(&push("main", 'c', 'f', 10), &facts(&owners, stands('a')));
    assert!(matches!(told, Decision::Start { .. }), "GitHub's own word counts: {told:?}");
}

#[test]
fn what_is_told_late_of_a_repository_out_of_reach_starts_nothing() {
    let owners = acme();
    for state in [RepositoryStanding::Gone, RepositoryStanding::Archived] {
        let at =
            |since| Standing { repository: Some((state, seconds(since))), ..Standing::default() };
        let late = decide(&push("main", 'b', 'a', 10), &facts(&owners, at(11)));
        assert!(ignored(&late).starts_with("older than the repository's being"), "{late:?}");
        let back = decide(&push("main", 'b', 'a', 12), &facts(&owners, at(11)));
        assert!(matches!(back, Decision::Start { .. }), "{back:?}");
    }
}

#[test]
fn a_repository_that_goes_to_a_stranger_is_lost_and_one_that_comes_to_us_is_here() {
    let owners = acme();
    let change = |owner: &str| {
        let facts = RepositoryFacts {
            owner: owner.parse().unwrap(),
            name: "fleet".parse().unwrap(),
            visibility: Visibility::Public,
            default_branch: None,
        };
        RepositoryChange {
            id: RepositoryId(1),
            installation: InstallationId(2),
            occurred_at: None,
            now: RepositoryNow::Here(facts),
        }
    };
    let all = vec![change("baltar"), change("ACME")];
    let decision = decide(&Incoming::Repositories(all), &facts(&owners, Standing::default()));
    let Decision::Repositories(changes) = decision else { panic!("{decision:?}") };
    assert_eq!(changes[0].now, RepositoryNow::Lost);
    assert_eq!(changes[1], change("ACME"));
}
