use super::*;
use crate::domain::id::{InstallationId, RepositoryId};
use crate::domain::incoming::{
    GroupChange, MergeGroup, Origin, PullRequest, RepositoryFacts, RepositoryNow, Visibility,
};
use crate::domain::policy::{Approvals, Forks};
use crate::domain::run::Approval;
use crate::domain::run::RunState;
use crate::domain::run::Skip;
use crate::domain::verdict::Verdict;

fn sha(digit: char) -> CommitSha {
    digit.to_string().repeat(40).parse().unwrap()
}

fn repository() -> Repository {
    Repository {
        id: RepositoryId(1),
        node_id: None,
        owner: "Acme".parse().unwrap(),
        name: "fleet".parse().unwrap(),
        default_branch: "main".parse().unwrap(),
        visibility: Visibility::Private,
        installation: InstallationId(2),
    }
}

fn push(branch: &str, head: char, before: char, at: i64) -> Incoming {
    Incoming::Push(Push {
        repository: repository(),
        target: PushTarget::Branch { branch: branch.parse().unwrap(), head: sha(head) },
        before: Some(sha(before)),
        occurred_at: seconds(at),
    })
}

/// GitHub's times have whole seconds.
fn seconds(at: i64) -> Timestamp {
    Timestamp(at * 1000)
}

fn standing_run(head: char, before: char, at: i64, state: RunState) -> Run {
    Run {
        id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
        repository: RepositoryId(1),
        sha: sha(head),
        reason: Reason::Push("main".parse().unwrap()),
        base: Some(sha(before)),
        occurred_at: seconds(at),
        created_at: seconds(at),
        problem: None,
        waits: None,
        trust: Trust::Trusted,
        approval: Approval::NotNeeded,
        base_branch: None,
        merge: None,
        skip: Skip::Heeded,
        note: None,
        state,
    }
}

fn facts(owners: &[String], standing: Standing) -> Facts<'_> {
    Facts { owners, standing, ..Facts::default() }
}

fn acme() -> Vec<String> {
    vec!["acme".to_owned()]
}

fn ignored(decision: &Decision) -> &str {
    let Decision::Ignore(why) = decision else { panic!("not ignored: {decision:?}") };
    why
}

#[test]
fn a_push_to_the_default_branch_starts_a_run() {
    let owners = acme();
    let decision = decide(&push("main", 'b', 'a', 10), &facts(&owners, Standing::default()));
    let Decision::Start { run, supersede, .. } = decision else { panic!("{decision:?}") };
    assert_eq!((run.sha, run.base, run.trust), (sha('b'), Some(sha('a')), Trust::Trusted));
    assert!(supersede.is_empty());
}

#[test]
fn a_push_to_another_branch_is_decided_by_the_policy_of_its_commit() {
    let owners = acme();
    let asked = decide(&push("topic", 'b', 'a', 10), &facts(&owners, Standing::default()));
    assert!(matches!(asked, Decision::Ask(Question::Policy { .. })));
    let policy = Policy::default();
    let told = Facts { policy: PolicyFact::Read(&policy), ..facts(&owners, Standing::default()) };
    let decision = decide(&push("topic", 'b', 'a', 10), &told);
    assert_eq!(ignored(&decision), "branch topic is not in build.branches");
}

#[test]
fn a_stranger_s_repository_is_not_built() {
    let owners = vec!["other".to_owned()];
    let decision = decide(&push("main", 'b', 'a', 10), &facts(&owners, Standing::default()));
    assert_eq!(ignored(&decision), "Acme is not in github.owners");
}

#[test]
fn a_captured_body_under_a_fresh_guid_makes_no_second_run() {
    let owners = acme();
    let told = Facts { replay: Replay::SeenBefore, ..facts(&owners, Standing::default()) };
    let decision = decide(&push("main", 'b', 'a', 10), &told);
    assert_eq!(ignored(&decision), "the same body came before under another GUID");
}

#[test]
fn a_newer_commit_supersedes_what_is_open() {
    let owners = acme();
    let open = standing_run('b', 'a', 10, RunState::Requested);
    let standing = Standing {
        same: None,
        newest: Some(open.clone()),
        open: vec![open.clone()],
        ..Standing::default()
    };
    let decision = decide(&push("main", 'c', 'b', 10), &facts(&owners, standing));
    let Decision::Start { supersede, .. } = decision else { panic!("{decision:?}") };
    assert_eq!(supersede, [open.id]);
}

#[test]
fn an_older_head_after_a_newer_one_is_not_tested() {
    let owners = acme();
    for (at, why) in [(9, "by its time"), (10, "by its parent, within one second")] {
        let newest = standing_run('c', 'b', 10, RunState::Requested);
        let standing = Standing {
            same: None,
            newest: Some(newest.clone()),
            open: vec![newest],
            ..Standing::default()
        };
        let decision = decide(&push("main", 'b', 'a', at), &facts(&owners, standing));
        assert!(ignored(&decision).starts_with("older than ccccccc"), "{why}");
    }
}

#[test]
fn a_force_push_back_to_a_superseded_commit_tests_it_anew() {
    let owners = acme();
    let gone = RunState::Ended { verdict: Verdict::Superseded { by: sha('c') }, at: Timestamp(11) };
    let same = standing_run('b', 'a', 10, gone);
    let mut open = standing_run('c', 'b', 11, RunState::Requested);
    open.id = "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap();
    let standing = Standing {
        same: Some(same.clone()),
        newest: Some(open.clone()),
        open: vec![open.clone()],
        ..Standing::default()
    };
    let decision = decide(&push("main", 'b', 'c', 12), &facts(&owners, standing));
    assert_eq!(
        decision,
        Decision::Revive {
            repository: repository(),
            run: same.id,
            occurred_at: seconds(12),
            supersede: vec![open.id]
        }
    );
}

#[test]
fn a_force_push_there_and_back_within_a_second_ends_where_it_began() {
    let owners = acme();
    let newest = standing_run('c', 'b', 10, RunState::Requested);
    let standing =
        Standing { newest: Some(newest.clone()), open: vec![newest], ..Standing::default() };
    let decision = decide(&push("main", 'b', 'c', 10), &facts(&owners, standing));
    assert!(matches!(decision, Decision::Start { .. }), "{decision:?}");
}

#[test]
fn a_force_push_back_to_a_tested_commit_supersedes_what_came_in_between() {
    let owners = acme();
    let passed = RunState::Ended { verdict: Verdict::Passed, at: Timestamp(11) };
    let same = standing_run('b', 'a', 10, passed);
    let mut open = standing_run('c', 'b', 11, RunState::Requested);
    open.id = "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap();
    let standing = Standing {
        same: Some(same.clone()),
        newest: Some(open.clone()),
        open: vec![open.clone()],
        ..Standing::default()
    };
    let decision = decide(&push("main", 'b', 'c', 12), &facts(&owners, standing));
    let supersede = vec![open.id];
    let wanted = Decision::Return { run: same.id, occurred_at: seconds(12), supersede };
    assert_eq!(decision, wanted);
}

fn fork() -> Incoming {
    Incoming::PullRequest(PullRequest {
        repository: repository(),
        number: 7,
        head: sha('d'),
        before: None,
        base: sha('a'),
        base_branch: "main".parse().unwrap(),
        origin: Origin::Fork,
        pusher: Some(login("baltar")),
        occurred_at: seconds(10),
    })
}

fn login(text: &str) -> Login {
    text.parse().unwrap()
}

#[test]
fn a_fork_is_decided_by_the_default_branch_and_by_who_pushed_it() {
    use Permission::{Read, Write};
    let owners = acme();
    let asked = decide(&fork(), &facts(&owners, Standing::default()));
    let account = Some(login("baltar"));
    let question = Question::Trust { repository: repository(), account };
    assert_eq!(asked, Decision::Ask(question));
    let (not_needed, needed) = (Some(Approval::NotNeeded), Some(Approval::Needed));
    let given = |by| Some(Approval::Given { by: login(by) });
    let of_one = Approvals::OfOneCommit;
    let table = [
        (Forks::Approve, of_one, Read, None, needed.clone()),
        (Forks::Approve, of_one, Write, None, not_needed.clone()),
        (Forks::Approve, of_one, Read, given("adama"), needed.clone()),
        (Forks::Approve, Approvals::Sticky, Read, given("adama"), given("adama")),
        (Forks::Approve, Approvals::Sticky, Read, not_needed.clone(), needed.clone()),
        (Forks::Approve, Approvals::Sticky, Read, needed.clone(), needed),
        (Forks::Build, of_one, Read, None, not_needed),
        (Forks::Never, of_one, Write, None, None),
        (Forks::Never, Approvals::Sticky, Read, given("adama"), None),
    ];
    for (forks, approvals, permission, before, wanted) in table {
        let trust =
            TrustFacts { policy: TrustPolicy { forks, approvals, comments: false }, permission };
        let newest = before
            .clone()
            .map(|approval| Run { approval, ..standing_run('c', 'a', 9, RunState::Requested) });
        let standing = Standing { newest, ..Standing::default() };
        let told = Facts { trust: Some(&trust), ..facts(&owners, standing) };
        let decision = decide(&fork(), &told);
        let Decision::Start { run, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(run.trust, Trust::Untrusted, "whoever pushed it");
        let found = match run.admission {
            Admission::Admitted(approval) => Some(approval),
            Admission::Refused(_) => None,
        };
        assert_eq!(found, wanted, "{forks:?} {approvals:?} {permission:?} after {before:?}");
    }
}

#[test]
fn nobody_is_asked_about_a_fork_whose_run_there_is() {
    let owners = acme();
    let mut same = standing_run('d', 'a', 10, RunState::Requested);
    same.base_branch = Some("main".parse().unwrap());
    let standing = |same: Run| Standing {
        same: Some(same.clone()),
        newest: Some(same),
        ..Standing::default()
    };
    ignored(&decide(&fork(), &facts(&owners, standing(same.clone()))));
    // Another base is another judgement, of whatever is there.
    same.base = Some(sha('b'));
    let decision = decide(&fork(), &facts(&owners, standing(same)));
    let Decision::Rejudge { base, .. } = decision else { panic!("{decision:?}") };
    assert_eq!(base, sha('a'));
}

#[test]
fn a_deleted_branch_is_remembered_and_its_run_goes_on() {
    let owners = acme();
    let branch = "main".parse().unwrap();
    let deleted = Incoming::Push(Push {
        repository: repository(),
        target: PushTarget::DeletedBranch { branch },
        before: Some(sha('b')),
        occurred_at: seconds(11),
    });
    let open = vec![standing_run('b', 'a', 10, RunState::Requested)];
    let decision = decide(&deleted, &facts(&owners, Standing { open, ..Standing::default() }));
    let Decision::Gone { gone, cancel, note } = decision else { panic!("{decision:?}") };
    assert_eq!((gone.head, gone.occurred_at), (sha('b'), seconds(11)));
    assert!(cancel.is_empty());
    assert_eq!(note, "branch main was deleted");
}

#[test]
fn deleted_branches_and_tags_make_no_run() {
    let owners = acme();
    for target in [PushTarget::Tag, PushTarget::DeletedBranch { branch: "main".parse().unwrap() }] {
        let push = Incoming::Push(Push {
            repository: repository(),
            target,
            before: None,
            occurred_at: seconds(1),
        });
        ignored(&decide(&push, &facts(&owners, Standing::default())));
    }
}

fn group(change: GroupChange) -> Incoming {
    Incoming::MergeGroup(MergeGroup {
        repository: repository(),
        branch: "gh-readonly-queue/main/pr-7-a".parse().unwrap(),
        head: sha('d'),
        base: sha('a'),
        change,
        occurred_at: seconds(10),
    })
}

#[test]
fn a_merge_group_is_tested_without_asking_anyone_and_supersedes_nothing() {
    let owners = acme();
    let requested = group(GroupChange::ChecksRequested);
    let decision = decide(&requested, &facts(&owners, Standing::default()));
    let Decision::Start { run, supersede, .. } = decision else { panic!("{decision:?}") };
    assert_eq!((run.sha, run.base, run.trust), (sha('d'), Some(sha('a')), Trust::Trusted));
    assert_eq!(run.reason.to_string(), "merge_group:gh-readonly-queue/main/pr-7-a");
    assert_eq!(run.reason.to_string().parse::<Reason>().unwrap(), run.reason);
    assert!(supersede.is_empty());
}

#[test]
fn a_merge_group_that_is_gone_cancels_its_run_if_it_has_one() {
    let owners = acme();
    let gone = group(GroupChange::Destroyed { reason: "invalidated".to_owned() });
    let open = standing_run('d', 'a', 10, RunState::Requested);
    let standing = Standing { open: vec![open.clone()], ..Standing::default() };
    let decision = decide(&gone, &facts(&owners, standing));
    let end = |cancel, note: &str| {
        let reason = Reason::MergeGroup("gh-readonly-queue/main/pr-7-a".parse().unwrap());
        let (repository, head) = (RepositoryId(1), sha('d'));
        let gone = Gone { repository, reason, head, occurred_at: seconds(10) };
        Decision::Gone { gone, cancel, note: note.to_owned() }
    };
    assert_eq!(decision, end(vec![open.id], "the merge queue: the group was invalidated"));
    let late = decide(&gone, &facts(&owners, Standing::default()));
    assert_eq!(late, end(vec![], "the merge group is gone (invalidated), and so is its run"));
    let strangers = vec!["other".to_owned()];
    let decision = decide(&gone, &facts(&strangers, Standing::default()));
    assert_eq!(ignored(&decision), "Acme is not in github.owners");
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

fn recovered(owners: &[String], standing: Standing) -> Facts<'_> {
    Facts { owners, standing, source: Source::Recovered, ..Facts::default() }
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
