use super::*;
use crate::domain::build::Ending;
use crate::domain::decide::{Permission, decide};
use crate::domain::id::{AttrPath, InstallationId, RepositoryId};
use crate::domain::incoming::{CheckRef, Incoming, Visibility};
use crate::domain::policy::TrustPolicy;
use crate::domain::run::{Reason, Skip, Trust};

fn repository() -> Repository {
    Repository {
        id: RepositoryId(1),
        owner: "Acme".parse().unwrap(),
        name: "fleet".parse().unwrap(),
        default_branch: "main".parse().unwrap(),
        visibility: Visibility::Private,
        installation: InstallationId(2),
        node_id: None,
    }
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(number: u8) -> T {
    format!("01890a5d-ac96-774b-bcce-b302099a80{number:02}").parse().unwrap()
}

fn build(number: u8, state: BuildState) -> Build {
    Build {
        id: id(number),
        run: id(99),
        attr: AttrPath::host(&format!("host{number}")),
        required: crate::domain::build::Required::Required,
        attempts: 1,
        rebuild: Rebuild::IfMissing,
        state,
    }
}

fn ended(number: u8, ending: Ending) -> Build {
    build(number, BuildState::Ended { derivation: None, ending, at: Timestamp(1) })
}

fn failed() -> Ending {
    Ending::Transient { what: "x".into() }
}

/// Host 1 failed, host 2 is good, host 3 is open.
fn tested(state: RunState) -> Tested {
    let run = Run {
        id: id(99),
        repository: RepositoryId(1),
        sha: "ab".repeat(20).parse().unwrap(),
        reason: Reason::PullRequest(7),
        base: None,
        occurred_at: Timestamp(1),
        created_at: Timestamp(1),
        problem: None,
        waits: None,
        trust: Trust::Trusted,
        approval: Approval::NotNeeded,
        base_branch: None,
        merge: None,
        lock: None,
        skip: Skip::default(),
        note: None,
        state,
    };
    let open = build(3, BuildState::Listed { known: None });
    let builds = vec![ended(1, failed()), ended(2, Ending::Reused), open];
    Tested { run, builds, suite_at: Timestamp(50) }
}

fn over() -> RunState {
    RunState::Ended { verdict: Verdict::Failed, at: Timestamp(1) }
}

fn builds_of(decision: &Decision) -> Vec<BuildId> {
    let Decision::Act { acts, .. } = decision else { panic!("{decision:?}") };
    acts.iter()
        .flat_map(|act| match act {
            Act::Again(it) => it.builds.clone(),
            Act::Approve { .. } | Act::Cancel { .. } | Act::Note { .. } => panic!("{act:?}"),
        })
        .collect()
}

fn ask_of(aim: Aim, incoming: &Incoming) -> Decision {
    with_trust(aim, incoming, None)
}

fn with_trust(aim: Aim, incoming: &Incoming, trust: Option<&TrustFacts>) -> Decision {
    let owners = ["acme".to_owned()];
    decide(incoming, &Facts { owners: &owners, trust, aim, ..Facts::default() })
}

fn suite(at: i64) -> Incoming {
    let (repository, of) = (repository(), RerunOf::Suite { at: Timestamp(at) });
    Incoming::Rerun(Rerun { repository, sha: "ab".repeat(20).parse().unwrap(), of })
}

fn pressed(button: Button) -> Incoming {
    Incoming::Press(Press {
        repository: repository(),
        sha: "ab".repeat(20).parse().unwrap(),
        check: CheckRef { external_id: "x".into(), name: "fleet".into() },
        button,
        by: "starbuck".parse().unwrap(),
    })
}

fn clicked(of: Tested, host: Option<u8>) -> Aim {
    Aim::Check(Some(Clicked { of, host: host.map(id), age: Age::Newest }))
}

fn ordered(command: Command) -> Incoming {
    let by = "starbuck".parse().unwrap();
    Incoming::Comment(Comment { repository: repository(), id: 9, number: 7, by, command })
}

#[test]
fn the_whole_run_again_is_what_failed_and_what_is_good_once_it_is_over() {
    let again = |state| builds_of(&ask_of(Aim::Commit(vec![tested(state)]), &suite(60)));
    assert_eq!(again(over()), [id(1), id(2)], "what is open goes on");
    assert_eq!(again(RunState::Building { since: Timestamp(1) }), [id(1)]);
    for late in [49, 50] {
        let told = ask_of(Aim::Commit(vec![tested(over())]), &suite(late));
        assert_eq!(told, Decision::Ignore("this re-run was counted".into()));
    }
}

#[test]
fn a_suite_is_every_run_of_the_commit() {
    let two = Aim::Commit(vec![tested(over()), tested(over())]);
    let Decision::Act { acts, .. } = ask_of(two, &suite(60)) else { panic!() };
    assert_eq!(acts.len(), 2);
}

#[test]
fn what_nobody_approved_is_only_shown_again() {
    let mut parked = tested(over());
    parked.run.approval = Approval::Needed;
    assert!(builds_of(&ask_of(Aim::Commit(vec![parked]), &suite(60))).is_empty());
}

#[test]
fn a_button_asks_what_its_presser_may_and_a_refusal_is_noted() {
    let aim = || clicked(tested(over()), Some(1));
    let asked = ask_of(aim(), &pressed(Button::Rebuild));
    assert!(matches!(asked, Decision::Ask(Question::Trust { account: Some(_), .. })));
    for permission in [Permission::None, Permission::Read] {
        let trust = TrustFacts { permission, ..TrustFacts::default() };
        let told = with_trust(aim(), &pressed(Button::Rebuild), Some(&trust));
        let text = "@starbuck may not rebuild: write access is needed".to_owned();
        let note = Act::Note { run: id(99), host: Some(id(1)), text };
        assert_eq!(told, Decision::Act { acts: vec![note], reaction: None });
    }
    for permission in [Permission::Write, Permission::Admin] {
        let trust = TrustFacts { permission, ..TrustFacts::default() };
        let told = with_trust(aim(), &pressed(Button::Rebuild), Some(&trust));
        assert_eq!(builds_of(&told), [id(1)]);
    }
}

#[test]
fn what_cannot_be_done_asks_nobody() {
    let mut done = tested(over());
    done.builds.pop();
    for (aim, button) in [
        (clicked(tested(over()), None), Button::Approve),
        (clicked(tested(over()), None), Button::Rebuild),
        (clicked(tested(over()), Some(3)), Button::Rebuild),
        (clicked(done, None), Button::Cancel),
        (Aim::Check(None), Button::Cancel),
    ] {
        assert!(matches!(ask_of(aim, &pressed(button)), Decision::Ignore(_)), "{button:?}");
    }
}

#[test]
fn never_is_never_whoever_approves() {
    let policy = TrustPolicy { forks: Forks::Never, ..TrustPolicy::default() };
    let trust = TrustFacts { policy, permission: Permission::Admin };
    let aim = clicked(tested(RunState::AwaitingApproval), None);
    let told = with_trust(aim, &pressed(Button::Approve), Some(&trust));
    let Decision::Act { acts, .. } = told else { panic!() };
    assert!(matches!(&acts[..], [Act::Note { text, .. }] if text.contains("forks")), "{acts:?}");
}

#[test]
fn a_comment_is_answered_where_comments_are_on() {
    let aim = |seen| Aim::PullRequest { head: Some(tested(over())), seen };
    let trust = |comments, permission| {
        let policy = TrustPolicy { comments, ..TrustPolicy::default() };
        TrustFacts { policy, permission }
    };
    let answer = |command: Command, trust: &TrustFacts| {
        let told = with_trust(aim(Seen::Never), &ordered(command), Some(trust));
        if let Decision::Act { acts, reaction: Some(reaction) } = told {
            return Some((acts.len(), reaction));
        }
        assert!(matches!(told, Decision::Ignore(_)), "{told:?}");
        None
    };
    let writer = trust(true, Permission::Write);
    let host = |name: &str| Command::Rerun { host: Some(name.into()) };
    let approve = Command::Approve { sha: "abababa".into() };
    assert_eq!(answer(Command::Cancel, &trust(false, Permission::Admin)), None);
    assert_eq!(
        answer(Command::Cancel, &trust(true, Permission::Read)),
        Some((0, Reaction::Refused))
    );
    assert_eq!(answer(Command::Cancel, &writer), Some((1, Reaction::Done)));
    assert_eq!(answer(Command::Rerun { host: None }, &writer), Some((1, Reaction::Done)));
    assert_eq!(answer(host("host1"), &writer), Some((1, Reaction::Done)));
    assert_eq!(answer(host("host3"), &writer), Some((0, Reaction::Confused)), "it is open");
    assert_eq!(answer(host("pegasus"), &writer), Some((0, Reaction::Confused)));
    assert_eq!(answer(approve, &writer), Some((0, Reaction::Confused)), "it needs none");
    let twice = with_trust(aim(Seen::Before), &ordered(Command::Cancel), Some(&writer));
    assert_eq!(twice, Decision::Ignore("this comment was acted on".into()));
}
