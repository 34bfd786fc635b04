use super::*;
use crate::domain::decide::Admission;
use crate::domain::id::RepositoryId;
use crate::domain::run::{Approval, RunState, Skip, Trust};

const SECOND: Timestamp = Timestamp(10_000);

fn sha(digit: char) -> CommitSha {
    digit.to_string().repeat(40).parse().unwrap()
}

/// A run of a pull request: its base tells nothing of the order.
fn run(head: char, at: Timestamp) -> Run {
    Run {
        id: format!("01890a5d-ac96-774b-bcce-b302099a805{head}").parse().unwrap(),
        repository: RepositoryId(1),
        sha: sha(head),
        reason: Reason::PullRequest(7),
        base: None,
        occurred_at: at,
        created_at: at,
        problem: None,
        waits: None,
        trust: Trust::Trusted,
        approval: Approval::NotNeeded,
        base_branch: None,
        merge: None,
        skip: Skip::Heeded,
        lock: None,
        note: None,
        state: RunState::Requested,
    }
}

fn new(head: char, at: Timestamp) -> NewRun {
    NewRun {
        sha: sha(head),
        reason: Reason::PullRequest(7),
        base: None,
        occurred_at: at,
        base_branch: None,
        trust: Trust::Trusted,
        admission: Admission::Admitted(Approval::NotNeeded),
    }
}

/// `ab` is a push of b onto a.
fn steps(all: &str) -> Vec<Step> {
    all.split_whitespace()
        .map(|it| {
            let ends: Vec<char> = it.chars().collect();
            let (before, after) = (sha(ends[0]), sha(ends[1]));
            Step { delivery: it.parse().unwrap(), before, after, occurred_at: SECOND }
        })
        .collect()
}

fn standing(newest: char, at: Timestamp, told: &str) -> Standing {
    Standing { newest: Some(run(newest, at)), steps: steps(told), ..Standing::default() }
}

fn placed(head: char, standing: &Standing, source: Source) -> String {
    match place(&new(head, SECOND), standing, source) {
        Place::Head => "head".to_owned(),
        Place::Older => "older".to_owned(),
        Place::Before(step) => format!("before {}", step.delivery),
    }
}

#[test]
fn within_a_second_the_links_between_commits_tell_which_is_the_head() {
    for (newest, told, head, wanted, why) in [
        ('b', "ab bc", 'c', "head", "it follows"),
        ('c', "ab bc", 'b', "older", "it is followed"),
        ('d', "ab bc cd", 'b', "older", "over more than one link"),
        ('b', "ab bc cd", 'd', "head", "over more than one link"),
        ('b', "ab bc cd", 'c', "before cd", "the last is not decided yet"),
        ('b', "ab cd", 'd', "head", "nothing links them: what comes later counts"),
        ('d', "ab cd", 'b', "head", "nothing links them: what comes later counts"),
        ('b', "ab cd bc", 'c', "before cd", "the missing link comes last"),
        ('b', "ab ba", 'a', "head", "there and back: what comes later counts"),
        ('a', "ab ba", 'b', "head", "there and back: what comes later counts"),
        ('b', "ab ba ac", 'c', "head", "there and back, and on"),
        ('c', "ab ba ac", 'b', "older", "there and back, and on"),
        ('c', "ab ac", 'b', "head", "something between them has not come"),
    ] {
        let found = placed(head, &standing(newest, SECOND, told), Source::Webhook);
        assert_eq!(found, wanted, "{head} where {newest} stands and {told} was told: {why}");
    }
}

#[test]
fn a_step_of_another_second_is_ordered_by_its_time() {
    let (early, late) = (Timestamp(9_000), Timestamp(11_000));
    assert_eq!(placed('b', &standing('c', late, "cb"), Source::Webhook), "older");
    assert_eq!(placed('b', &standing('c', early, "bc"), Source::Webhook), "head");
    assert_eq!(placed('b', &Standing::default(), Source::Webhook), "head");
}

#[test]
fn what_is_known_to_be_the_newer_one_yields_to_links_alone() {
    let known = SECOND.plus(1);
    assert_eq!(placed('d', &standing('b', known, "ab cd"), Source::Webhook), "older");
    assert_eq!(placed('d', &standing('b', known, "ab bc cd"), Source::Webhook), "head");
    assert_eq!(placed('d', &standing('b', SECOND, "ab"), Source::Recovered), "older");
    assert_eq!(placed('d', &standing('b', SECOND, "ab bd"), Source::Recovered), "head");
}

#[test]
fn a_commit_that_is_the_head_again_stands_before_what_came_in_between() {
    let mut stands = standing('c', SECOND, "");
    assert_eq!(moment(&new('b', SECOND), &stands), SECOND, "a new one is made later");
    stands.same = Some(run('b', SECOND));
    assert_eq!(moment(&new('b', SECOND), &stands), SECOND.plus(1));
    stands.newest = stands.same.clone();
    assert_eq!(moment(&new('b', SECOND), &stands), SECOND);
    assert_eq!(moment(&new('b', Timestamp(12_000)), &stands), Timestamp(12_000));
}

/// Whatever order the pushes of one second come in, the last one is the head in the end, and an
/// order in which each is known needs nothing to be decided twice.
#[test]
fn five_pushes_of_one_second_end_at_the_last_whatever_their_order() {
    let all = ["ab", "bc", "cd", "de", "ef"];
    for order in permutations(&all) {
        let mut told: Vec<&str> = Vec::new();
        let mut runs: Vec<Run> = Vec::new();
        let mut left: Vec<&str> = order.iter().rev().copied().collect();
        let mut decided = 0;
        while let Some(next) = left.pop() {
            decided += 1;
            if !told.contains(&next) {
                told.push(next);
            }
            let head = next.chars().last().unwrap();
            // As the store has it: of the latest moment the one that was made last.
            let newest = runs.iter().max_by_key(|it| it.occurred_at).cloned();
            let same = runs.iter().find(|it| it.sha == sha(head)).cloned();
            let steps = steps(&told.join(" "));
            let stands = Standing { newest, same: same.clone(), steps, ..Standing::default() };
            match place(&new(head, SECOND), &stands, Source::Webhook) {
                Place::Head => {
                    let at = moment(&new(head, SECOND), &stands);
                    runs.retain(|it| it.sha != sha(head));
                    runs.push(run(head, at));
                }
                Place::Older => {}
                Place::Before(step) => {
                    left.push(
                        all.iter().copied().find(|it| *it == step.delivery.as_str()).unwrap(),
                    );
                }
            }
        }
        let newest = runs.iter().max_by_key(|it| it.occurred_at).unwrap();
        assert_eq!(newest.sha, sha('f'), "{order:?}");
        assert!(decided <= 2 * all.len(), "{order:?}: {decided}");
    }
}

fn permutations<'a>(all: &[&'a str]) -> Vec<Vec<&'a str>> {
    if all.is_empty() {
        return vec![vec![]];
    }
    let mut found = Vec::new();
    for (at, first) in all.iter().enumerate() {
        let rest = [&all[..at], &all[at + 1..]].concat();
        for mut tail in permutations(&rest) {
            tail.insert(0, first);
            found.push(tail);
        }
    }
    found
}
