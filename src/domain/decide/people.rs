//! What people ask for: with GitHub's Re-run, with our buttons, in comments.
//!
//! Re-run may whoever GitHub lets press it. Everything else needs write access, which is asked at
//! that moment: that a button is shown, or a comment can be written, says nothing.
use crate::domain::Timestamp;
use crate::domain::build::{Build, BuildState, Rebuild};
use crate::domain::button::Button;
use crate::domain::decide::{Decision, Facts, Question, TrustFacts, unwanted_owner};
use crate::domain::id::{BuildId, Login, RunId};
use crate::domain::incoming::{Command, Comment, Press, Repository, Rerun, RerunOf};
use crate::domain::policy::Forks;
use crate::domain::run::{Approval, Run, RunState};
use crate::domain::verdict::Verdict;

/// What somebody asks about, as the store knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Aim {
    #[default]
    Nothing,
    /// The check that was clicked; `None` when it is none of ours, or none any more.
    Check(Option<Clicked>),
    /// Every run of the commit.
    Commit(Vec<Tested>),
    /// The run of a pull request's newest head, and whether this very comment was acted on before.
    PullRequest { head: Option<Tested>, seen: Seen },
}

/// A run with its builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    pub run: Run,
    pub builds: Vec<Build>,
    /// The newest re-run of the whole suite that was counted, by GitHub's time.
    pub suite_at: Timestamp,
}

/// A check of ours that was clicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clicked {
    pub of: Tested,
    /// `None` of the gate.
    pub host: Option<BuildId>,
    pub age: Age,
}

/// Whether a check run is the newest of its check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Newest,
    /// Another has taken its place since: the click was made twice, or came late.
    Replaced,
}

/// Whether a comment came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    #[default]
    Never,
    Before,
}

/// Something to be done to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Again(Again),
    /// A fork's commit may be tested.
    Approve {
        run: RunId,
        by: Login,
    },
    /// Whatever is open ends.
    Cancel {
        run: RunId,
        by: Login,
    },
    /// A click was refused; its check says so.
    Note {
        run: RunId,
        host: Option<BuildId>,
        text: String,
    },
}

/// A run is tested again, with new check runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    pub run: RunId,
    /// The builds that are listed anew; the others stay as they are.
    pub builds: Vec<BuildId>,
    pub rebuild: Rebuild,
    /// Of a re-run of the whole suite.
    pub suite_at: Option<Timestamp>,
}

/// How a comment is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It was done.
    Done,
    /// Its author may not.
    Refused,
    /// It cannot be done now, or there is nothing to do.
    Confused,
}

impl Reaction {
    /// The reaction of this word.
    #[must_use]
    pub fn of(content: &str) -> Option<Self> {
        [Self::Done, Self::Refused, Self::Confused].into_iter().find(|it| it.content() == content)
    }

    /// GitHub's word.
    #[must_use]
    pub fn content(self) -> &'static str {
        match self {
            Self::Done => "+1",
            Self::Refused => "-1",
            Self::Confused => "confused",
        }
    }
}

pub(super) fn rerun(rerun: &Rerun, facts: &Facts<'_>) -> Decision {
    if let Some(why) = unwanted_owner(&rerun.repository, facts) {
        return Decision::Ignore(why);
    }
    let acts = match (&rerun.of, &facts.aim) {
        (RerunOf::Check(_), Aim::Check(Some(clicked))) => check_again(clicked).map(|it| vec![it]),
        (RerunOf::Suite { at }, Aim::Commit(runs)) => suite_again(runs, *at),
        (RerunOf::Check(_) | RerunOf::Suite { .. }, _) => {
            Err("no run here has this check".to_owned())
        }
    };
    match acts {
        Ok(acts) => act(acts),
        Err(why) => Decision::Ignore(why),
    }
}

fn act(acts: Vec<Act>) -> Decision {
    Decision::Act { acts, reaction: None }
}

fn check_again(clicked: &Clicked) -> Result<Act, String> {
    if clicked.age == Age::Replaced {
        return Err("a newer check run has taken the place of this one".to_owned());
    }
    match &clicked.host {
        None => again(&clicked.of),
        Some(host) => host_again(&clicked.of, host, Rebuild::IfMissing),
    }
}

fn suite_again(runs: &[Tested], at: Timestamp) -> Result<Vec<Act>, String> {
    let newer: Vec<&Tested> = runs.iter().filter(|it| it.suite_at < at).collect();
    if newer.is_empty() {
        let none = runs.is_empty();
        let why = if none { "no run here tests this commit" } else { "this re-run was counted" };
        return Err(why.to_owned());
    }
    let mut acts = Vec::new();
    let mut why = String::new();
    for tested in newer {
        match again(tested) {
            Ok(Act::Again(it)) => acts.push(Act::Again(Again { suite_at: Some(at), ..it })),
            Ok(other) => acts.push(other),
            Err(reason) => why = reason,
        }
    }
    if acts.is_empty() { Err(why) } else { Ok(acts) }
}

/// The whole run: what is not good is built again, and what is good is confirmed once the run is
/// over. Nothing is done about what is open.
fn again(tested: &Tested) -> Result<Act, String> {
    let Tested { run, builds, .. } = tested;
    let over = !run.state.is_open();
    let wanted = |it: &&Build| match &it.state {
        BuildState::Ended { ending, .. } => over || !ending.is_good(),
        BuildState::Listed { .. } | BuildState::Waiting { .. } | BuildState::Building { .. } => {
            false
        }
    };
    let builds: Vec<BuildId> = builds.iter().filter(wanted).map(|it| it.id.clone()).collect();
    let parked = run.state == RunState::AwaitingApproval;
    if builds.is_empty() && !over && !parked {
        return Err(format!("run {} is under way", run.id));
    }
    Ok(anew(run, builds, Rebuild::IfMissing))
}

/// One host, whatever became of the others.
fn host_again(tested: &Tested, host: &BuildId, rebuild: Rebuild) -> Result<Act, String> {
    if matches!(tested.run.state, RunState::Ended { verdict: Verdict::Skipped { .. }, .. }) {
        // Nobody would know what to make of one host that is built among others that are not.
        return again(tested);
    }
    let found = tested.builds.iter().find(|it| it.id == *host);
    match found.map(|it| &it.state) {
        Some(BuildState::Ended { .. }) => Ok(anew(&tested.run, vec![host.clone()], rebuild)),
        Some(
            BuildState::Listed { .. } | BuildState::Waiting { .. } | BuildState::Building { .. },
        ) => Err(format!("build {host} is under way")),
        None => Err(format!("there is no build {host}")),
    }
}

/// What was never approved is only shown again.
fn anew(run: &Run, builds: Vec<BuildId>, rebuild: Rebuild) -> Act {
    let builds = match run.approval {
        Approval::Needed => vec![],
        Approval::NotNeeded | Approval::Given { .. } => builds,
    };
    Act::Again(Again { run: run.id.clone(), builds, rebuild, suite_at: None })
}

pub(super) fn press(press: &Press, facts: &Facts<'_>) -> Decision {
    if let Some(why) = unwanted_owner(&press.repository, facts) {
        return Decision::Ignore(why);
    }
    let Aim::Check(Some(clicked)) = &facts.aim else {
        return Decision::Ignore("no run here has this check".to_owned());
    };
    let done = match press.button {
        Button::Approve => approve(&clicked.of, &press.by, facts.trust),
        Button::Rebuild => match (&clicked.host, clicked.age) {
            (Some(host), Age::Newest) => host_again(&clicked.of, host, Rebuild::FromScratch),
            (Some(_), Age::Replaced) => Err("a newer check run has taken its place".to_owned()),
            (None, _) => Err("it is not a host's check".to_owned()),
        },
        Button::Cancel => cancel(&clicked.of, &press.by),
    };
    let what = match press.button {
        Button::Approve => "approve",
        Button::Rebuild => "rebuild",
        Button::Cancel => "cancel",
    };
    let refused = |text: String| {
        act(vec![Act::Note { run: clicked.of.run.id.clone(), host: clicked.host.clone(), text }])
    };
    match (done, facts.trust) {
        // Nothing that anybody could do: nobody need be asked.
        (Err(why), None) => Decision::Ignore(why),
        (Ok(_), None) => ask(&press.repository, &press.by),
        (_, Some(trust)) if !trust.permission.may_write() => {
            refused(format!("@{} may not {what}: write access is needed", press.by))
        }
        (Err(why), Some(_)) => refused(why),
        (Ok(done), Some(_)) => act(vec![done]),
    }
}

fn ask(repository: &Repository, account: &Login) -> Decision {
    let (repository, account) = (repository.clone(), Some(account.clone()));
    Decision::Ask(Question::Trust { repository, account })
}

fn approve(tested: &Tested, by: &Login, trust: Option<&TrustFacts>) -> Result<Act, String> {
    if tested.run.state != RunState::AwaitingApproval {
        return Err(format!("{} does not wait for approval", tested.run.sha.short()));
    }
    if trust.is_some_and(|it| it.policy.forks == Forks::Never) {
        return Err("forks are not built here: [trust] forks is \"never\"".to_owned());
    }
    Ok(Act::Approve { run: tested.run.id.clone(), by: by.clone() })
}

fn cancel(tested: &Tested, by: &Login) -> Result<Act, String> {
    let open = |it: &Build| !matches!(it.state, BuildState::Ended { .. });
    if !tested.run.state.is_open() && !tested.builds.iter().any(open) {
        return Err("nothing of it runs any more".to_owned());
    }
    Ok(Act::Cancel { run: tested.run.id.clone(), by: by.clone() })
}

pub(super) fn comment(comment: &Comment, facts: &Facts<'_>) -> Decision {
    if let Some(why) = unwanted_owner(&comment.repository, facts) {
        return Decision::Ignore(why);
    }
    let Aim::PullRequest { head, seen } = &facts.aim else {
        return Decision::Ignore("nothing is known of this pull request".to_owned());
    };
    if *seen == Seen::Before {
        return Decision::Ignore("this comment was acted on".to_owned());
    }
    let Some(trust) = facts.trust else { return ask(&comment.repository, &comment.by) };
    if !trust.policy.comments {
        return Decision::Ignore(
            "comments are not acted on: [trust] comments is not true on the default branch"
                .to_owned(),
        );
    }
    let answer = |acts, reaction| Decision::Act { acts, reaction: Some(reaction) };
    if !trust.permission.may_write() {
        return answer(vec![], Reaction::Refused);
    }
    if comment.command == Command::Update {
        let (repository, by) = (comment.repository.clone(), comment.by.clone());
        return Decision::Update { repository, by };
    }
    let done = head.as_ref().ok_or_else(|| "it has no run".to_owned()).and_then(|head| {
        match &comment.command {
            Command::Rerun { .. } if head.run.approval == Approval::Needed => {
                Err("nobody has approved it".to_owned())
            }
            Command::Rerun { host: None } => again(head),
            Command::Rerun { host: Some(name) } => {
                let named = |it: &&Build| it.attr.label().is_ok_and(|label| label == *name);
                let host = head.builds.iter().find(named).ok_or("it has no such host")?;
                host_again(head, &host.id, Rebuild::IfMissing)
            }
            Command::Cancel => cancel(head, &comment.by),
            Command::Approve { sha } if head.run.sha.as_str().starts_with(sha.as_str()) => {
                approve(head, &comment.by, Some(trust))
            }
            Command::Approve { .. } => Err("another commit is its head".to_owned()),
            Command::Update => Err("it is not about this pull request".to_owned()),
        }
    });
    match done {
        Ok(done) => answer(vec![done], Reaction::Done),
        Err(_) => answer(vec![], Reaction::Confused),
    }
}

#[cfg(test)]
mod tests;
