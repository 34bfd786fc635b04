//! What an update says to people: gathered here, worded by the domain.
use std::collections::BTreeSet;

use crate::domain::id::AttrPath;
use crate::domain::incoming::Repository;
use crate::domain::lock::Lock;
use crate::domain::lock::moved::InputPath;
use crate::domain::lock::revision::Revision;
use crate::domain::update::answer;
use crate::domain::update::life::Plan;
use crate::domain::update::outcome::{Broken, Held, HeldBack, Move};
use crate::domain::update::proposal::{Proposal, held_back_markdown};
use crate::domain::update::search::{self, Found, Why};
use crate::flow::updates::bisect::Suspect;
use crate::flow::updates::propose::{Aim, Texts};
use crate::flow::updates::search::Searched;
use crate::flow::updates::{Halted, Updates};
use crate::github::client::GithubError;
use crate::store::trials::Tried;

type Answer = Found<InputPath, AttrPath>;
type Inputs = BTreeSet<InputPath>;

impl Updates {
    /// What the pull request says, and its commit.
    pub(super) async fn texts(
        &self,
        aim: &Aim<'_>,
        (searched, found, whole): (&Searched, &Answer, &Tried),
        note: Option<&str>,
    ) -> Result<Texts, Halted> {
        let Aim { repository, plan, policy, .. } = aim;
        let mut moved = moves(plan, &whole.trial.moved);
        for it in &mut moved {
            if it.commits.is_none() {
                it.commits = self.commits_between(repository, &it.from, &it.to).await?;
            }
        }
        let view = self.shared.store.run_view(&whole.run.id).await?;
        let proposal = Proposal {
            subject: &policy.commit_message,
            moved: &moved,
            held_back: &held_back(plan, searched, found),
            not_found: &plan.not_found,
            left: &plan.left,
            broken_before: &reasons(searched, &found.broken_before, &Inputs::new()),
            view: view.as_ref(),
            notes: &note.map(str::to_owned).into_iter().collect::<Vec<_>>(),
            base: &plan.base,
        };
        Ok(Texts {
            title: proposal.title(),
            body: proposal.body(&self.links),
            message: proposal.commit_message(),
        })
    }

    /// How many commits lie between two revisions of a repository on GitHub.
    async fn commits_between(
        &self,
        via: &Repository,
        from: &Revision,
        to: &Revision,
    ) -> Result<Option<u64>, Halted> {
        let (Some(page), Some(old), Some(new)) = (&to.page, &from.commit, &to.commit) else {
            return Ok(None);
        };
        let names = page.strip_prefix("https://github.com/").and_then(|it| it.split_once('/'));
        let Some(names) = names.filter(|_| from.page == to.page) else { return Ok(None) };
        match self.updater.commits_between(via, names, old, new).await {
            Ok(count) => Ok(count),
            // The text is good without it.
            Err(error @ GithubError::Weather { .. }) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }
}

/// What is held back and why, as Markdown for the tracking issue.
pub(super) fn report(plan: &Plan, searched: &Searched, found: &Answer) -> String {
    held_back_markdown(&held_back(plan, searched, found))
}

/// The inputs on their way from the old lock file to the new one.
fn moves(plan: &Plan, inputs: &Inputs) -> Vec<Move> {
    inputs.iter().map(|it| moved(plan, it)).collect()
}

pub(super) fn moved(plan: &Plan, input: &InputPath) -> Move {
    let of = |lock: &Lock| lock.input(input).map(Revision::of).unwrap_or_default();
    Move::new(input.clone(), of(&plan.old), of(&plan.new))
}

/// What stays where it is, with what was seen of it.
fn held_back(plan: &Plan, searched: &Searched, found: &Answer) -> Vec<HeldBack> {
    let suspects = Suspect::all(plan, searched, found);
    let one = |it: &search::HeldBack<InputPath, AttrPath>| {
        let (held, with, hosts) = match &it.why {
            Why::Breaks { with, hosts } => (Held::Guilty, with.clone(), hosts),
            Why::Unknown { hosts } => (Held::Unknown, BTreeSet::new(), hosts),
        };
        let mut all = with.clone();
        all.insert(it.input.clone());
        let suspect = suspects.iter().find(|suspect| *suspect.input == it.input);
        HeldBack {
            moved: moved(plan, &it.input),
            held,
            with: with.into_iter().collect(),
            hosts: reasons(searched, hosts, &all),
            first_bad: suspect.and_then(|suspect| suspect.first_bad(plan, searched)),
        }
    };
    found.held_back.iter().map(one).collect()
}

/// Why these hosts were not whole with these inputs moved, or with whatever else it was seen with.
pub(super) fn reasons(
    searched: &Searched,
    hosts: &BTreeSet<AttrPath>,
    moved: &Inputs,
) -> Vec<(AttrPath, Broken)> {
    let seen = |host: &AttrPath, of: &Tried| {
        let is_about = of.hosts.as_ref().is_none_or(|it| it.contains(host));
        let asked = BTreeSet::from([host.clone()]);
        let answers = answer::of_run(&of.run, &of.builds, &asked, searched.wanted);
        answers.into_values().find_map(|(_, broken)| broken).filter(|_| is_about)
    };
    let why = |host: &AttrPath| {
        let exact = searched.tried.iter().filter(|it| it.trial.moved == *moved);
        exact.chain(&searched.tried).find_map(|it| seen(host, it))
    };
    let named =
        |host: &AttrPath| (host.clone(), why(host).unwrap_or_else(|| Broken::Said(String::new())));
    hosts.iter().map(named).collect()
}
