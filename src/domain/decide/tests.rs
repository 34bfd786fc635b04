mod late;

use super::*;
use crate::domain::id::{InstallationId, RepositoryId};
use crate::domain::incoming::{GroupChange, MergeGroup, Origin, PullRequest, Visibility};
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
        lock: None,
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
            rebase: None,
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
    let wanted =
        Decision::Return { run: same.id, occurred_at: seconds(12), rebase: None, supersede };
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
    let Decision::Rejudge { rebase, .. } = decision else { panic!("{decision:?}") };
    assert_eq!(rebase.base, sha('a'));
}

/// While another commit was its head, a pull request may have got another base.
#[test]
fn a_pull_request_s_head_that_is_back_is_judged_by_the_base_of_now() {
    let owners = acme();
    let superseded =
        RunState::Ended { verdict: Verdict::Superseded { by: sha('c') }, at: seconds(9) };
    let passed = RunState::Ended { verdict: Verdict::Passed, at: seconds(9) };
    for state in [superseded, passed] {
        let mut same = standing_run('d', 'b', 8, state);
        same.base_branch = Some("release".parse().unwrap());
        let mut newest = standing_run('c', 'a', 9, RunState::Requested);
        newest.id = "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap();
        let standing = Standing { same: Some(same), newest: Some(newest), ..Standing::default() };
        let decision = decide(&fork(), &facts(&owners, standing));
        let (Decision::Revive { rebase, .. } | Decision::Return { rebase, .. }) = decision else {
            panic!("{decision:?}")
        };
        let branch = Some("main".parse().unwrap());
        assert_eq!(rebase, Some(Rebase { base: sha('a'), branch }));
    }
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
