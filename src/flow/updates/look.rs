//! The newest revisions of a repository's inputs, once: from then on any set of them can be tried.
use std::collections::BTreeSet;
use std::io;

use tokio_util::sync::CancellationToken;

use crate::domain::build::Required;
use crate::domain::id::{AttrPath, Branch, StorePath};
use crate::domain::incoming::Repository;
use crate::domain::lock::moved::InputPath;
use crate::domain::update::life::{Outcome, Plan, Update};
use crate::flow::new_id;
use crate::flow::source::{self, SourceError};
use crate::flow::update::copy::{Copy, CopyError};
use crate::flow::update::newest;
use crate::flow::updates::{Halted, Next, Updates};

/// What keeps every input from being looked up is most often the weather: for some minutes, that is so
/// many tries, each after twice as long.
const PATIENT: u32 = 6;

impl Updates {
    /// Looks up the newest revisions of what the policy chooses at the default branch's tip, and
    /// makes an update of each group of inputs that has any.
    pub(super) async fn look(
        &self,
        update: Update,
        repository: &Repository,
        stop: &CancellationToken,
    ) -> Result<Next, Halted> {
        let tip = self.commits.tip(repository, &repository.default_branch, stop).await?;
        let mirror = self.commits.fetch(repository, &tip, stop).await?;
        let policy = source::policy(&mirror, &tip).await?;
        let dir = &policy.build.flake;
        let evaluator = &self.tools.evaluator;
        let pinned = evaluator.pin(&mirror.flake(&tip, dir), Some(&tip), stop).await?;
        let Some(files) = pinned.source.clone() else {
            return Err(Halted::Cannot("Nix does not say where the flake's files are".to_owned()));
        };
        let plan = self.tools.plan((&pinned, None), &policy, &[], stop).await?;
        if let Some(problem) = plan.problem {
            let why = format!("the gate would fail whatever moves: {}", problem.headline);
            return Err(Halted::Cannot(why));
        }
        let required = plan.builds.into_iter().filter(|it| it.required == Required::Required);
        let required: BTreeSet<AttrPath> = required.map(|it| it.attr).collect();

        let copy = self.copy(files, dir.clone()).await?;
        evaluator.lock(copy.flake(), &[], stop).await?;
        let old = copy.lock()?;
        let wishes = &policy.update;
        let (chosen, others): (Vec<InputPath>, Vec<InputPath>) =
            old.inputs().into_iter().partition(|it| wishes.chooses(it));
        let not_found = newest(evaluator, (&copy, &chosen), &mut |_, _| {}, stop).await?;
        let new = copy.lock()?;
        if let Some((_, why)) = not_found.first()
            && not_found.len() == chosen.len()
        {
            let what = format!("no input can be looked up: {why}");
            return Err(if update.tries < PATIENT {
                SourceError::Weather { what, retry_after: None }.into()
            } else {
                Halted::Cannot(what)
            });
        }
        let moving: BTreeSet<InputPath> =
            chosen.into_iter().filter(|it| old.moves(&new, it)).collect();
        let path = source::lock_file(dir);
        let left: Vec<InputPath> = others.into_iter().filter(InputPath::is_own).collect();
        let plan = |(group, branch, moving): (String, Branch, BTreeSet<InputPath>)| Plan {
            group,
            branch,
            base: tip.clone(),
            path: path.clone(),
            old: old.clone(),
            new: new.clone(),
            moving,
            required: required.clone(),
            not_found: not_found.clone(),
            histories: vec![],
            left: left.clone(),
        };
        // One that begins anew is of its group alone: the others are on their way.
        let mut groups = wishes.groups(&moving);
        groups.retain(|(group, ..)| update.group.as_ref().is_none_or(|it| it == group));
        let mut plans = groups.into_iter().map(plan);
        let Some(first) = plans.next() else {
            let names: Vec<String> = not_found.iter().map(|(it, _)| it.to_string()).collect();
            let note = format!("could not be looked up: {}", names.join(", "));
            let note = Some(note).filter(|_| !names.is_empty());
            let ended = Update { note, ..update }.end(Outcome::UpToDate, self.now())?;
            return Ok(Next::with(ended));
        };
        let sibling = |plan| {
            let (repository, cause) = (update.repository, update.cause.clone());
            Update::new(new_id(), repository, cause, self.now()).search(plan)
        };
        let siblings = plans.map(sibling).collect::<Result<_, _>>()?;
        Ok(Next { siblings, ..Next::with(update.search(first)?) })
    }

    /// The files of a commit, of which there may be many, where Nix may write its lock file.
    pub(super) async fn copy(&self, files: StorePath, dir: String) -> Result<Copy, Halted> {
        let scratch = self.scratch.clone();
        let copied = tokio::task::spawn_blocking(move || Copy::of(files.as_str(), &dir, &scratch));
        let io =
            |error| CopyError::Io { path: self.scratch.clone(), source: io::Error::other(error) };
        Ok(copied.await.map_err(io)??)
    }
}
