//! One request, or what it needs to be asked first: a batch where there are several checks, REST
//! for one.
use std::collections::HashMap;

use crate::domain::budget::{Cost, Interface, Urgency};
use crate::domain::id::CommitSha;
use crate::domain::page;
use crate::flow::report::Report;
use crate::flow::report::write::{Lookup, Writing, digest, target};
use crate::flow::report::writer::Writer;
use crate::github::batch::{Change, To};
use crate::github::checks::{Check, Found};
use crate::github::client::GithubError;
use crate::store::StoreError;
use crate::store::reports::{Behind, Shown};

/// What became of one check.
pub(super) type Outcome = (Writing, Result<Check, GithubError>);

impl Report {
    pub(super) async fn send_status(
        &self,
        writer: &mut Writer,
        row: Behind,
    ) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let Some(view) = store.run_view(&row.run).await? else {
            return store.give_up_report(&row.report, row.revision, "the run is gone").await;
        };
        let page = page::status_page(&view, &self.links);
        let digest = digest(&format!("{page:?}"));
        if row.shown_digest.as_deref() != Some(&digest) {
            writer.spend(&row, Cost::write(Interface::Rest, 1), self.shared.clock.now());
            let sent = self.github.set_status(&target(&view), "fleetcheck", &page).await;
            if let Err(error) = sent {
                return self.failed(&row, &error).await;
            }
        }
        let shown = Shown {
            revision: row.revision,
            serial: row.serial,
            github_id: None,
            node_id: None,
            annotations: 0,
            status: page.state.as_str().to_owned(),
            digest,
        };
        store.shown(&row.report, shown, self.shared.clock.now()).await
    }

    /// Brings the checks of one repository up to date and notes that they are.
    pub(super) async fn send_checks(
        &self,
        writer: &mut Writer,
        rows: Vec<Behind>,
    ) -> Result<(), StoreError> {
        let payer = rows.first().cloned();
        let writings = self.writings(rows, writer.since).await?;
        let Some(payer) = payer else { return Ok(()) };
        let (same, rest): (Vec<_>, Vec<_>) = writings.into_iter().partition(Writing::is_shown);
        let mut outcomes: Vec<Outcome> = Vec::new();
        for it in same {
            let check = it.there.clone().unwrap_or(Check { id: None, node_id: None });
            outcomes.push((it, Ok(check)));
        }
        let rest = self.look_up(writer, rest, &mut outcomes).await;
        let new = rest.iter().filter(|it| it.serial > it.row.serial);
        let new: Vec<_> = new.map(|it| (&it.row.report, it.serial)).collect();
        self.shared.store.creating(&new).await?;
        for it in rest.iter().filter(|it| it.row.urgency == Urgency::Progress) {
            writer.told_progress(&it.row.run, self.shared.clock.now());
        }
        let now = self.shared.clock.now();
        let (mut batch, mut alone): (Vec<_>, Vec<_>) = rest.into_iter().partition(|it| {
            writer.batches(now) && !writer.alone.contains(&it.row.report) && fits(it)
        });
        if batch.len() == 1 && batch[0].there.as_ref().is_none_or(|it| it.id.is_some()) {
            alone.append(&mut batch);
        }
        // One request at a time: whose turn it is goes, and the others stay behind.
        if alone.iter().any(|it| it.row.report == payer.report) || batch.is_empty() {
            batch.clear();
            alone.truncate(1);
        } else {
            alone.clear();
        }
        if !batch.is_empty() {
            self.send_batch(writer, &payer, batch, &mut outcomes).await;
        }
        for it in alone {
            let creates = u64::from(it.there.is_none());
            writer.spend(&payer, Cost::write(Interface::Rest, creates), self.shared.clock.now());
            let result = self.send_alone(&it).await;
            if result.is_ok() {
                writer.alone.remove(&it.row.report);
            }
            outcomes.push((it, result));
        }
        self.note(outcomes).await
    }

    /// Asks GitHub for what we know nothing of: with a list where there are several of a commit.
    /// Those that cannot be asked for are failures already.
    async fn look_up(
        &self,
        writer: &mut Writer,
        mut all: Vec<Writing>,
        failed: &mut Vec<Outcome>,
    ) -> Vec<Writing> {
        let mut wanted: HashMap<CommitSha, usize> = HashMap::new();
        for it in all.iter().filter(|it| it.lookup == Lookup::Needed) {
            *wanted.entry(it.target.sha.clone()).or_default() += 1;
        }
        for (sha, count) in wanted {
            let is_asked = |it: &Writing| it.target.sha == sha && it.lookup == Lookup::Needed;
            let Some(first) = all.iter().find(|it| is_asked(it)) else { continue };
            writer.spend(&first.row, Cost::question(), self.shared.clock.now());
            let answer = if count == 1 {
                let id = first.external_id();
                let found = self.github.find_check(&first.target, &first.page.name, &id).await;
                found.map(|it| it.map(|it| HashMap::from([(id, it)])).unwrap_or_default())
            } else {
                self.github.list_checks(&first.target).await
            };
            let (asked, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| is_asked(it));
            all = others;
            match answer {
                Ok(found) => all.extend(asked.into_iter().map(|it| told(it, &found))),
                Err(error) => {
                    failed.extend(asked.into_iter().map(|it| (it, Err(error.clone()))));
                }
            }
        }
        all
    }

    async fn send_alone(&self, it: &Writing) -> Result<Check, GithubError> {
        match &it.there {
            Some(there @ Check { id: Some(id), node_id: _ }) => {
                self.github.update_check(&it.target, *id, &it.page, it.annotations).await?;
                Ok(there.clone())
            }
            // GraphQL made it, and REST has another name for it.
            Some(Check { id: None, node_id: _ }) => {
                let name = &it.page.name;
                let found = self.github.find_check(&it.target, name, &it.external_id()).await?;
                let Some(Found { check: Check { id: Some(id), node_id }, .. }) = found else {
                    let what = format!("{name}: GitHub does not list the check run that it made");
                    return Err(GithubError::Gone(what));
                };
                self.github.update_check(&it.target, id, &it.page, it.annotations).await?;
                Ok(Check { id: Some(id), node_id })
            }
            None => self.github.create_check(&it.target, &it.external_id(), &it.page).await,
        }
    }

    async fn send_batch(
        &self,
        writer: &mut Writer,
        payer: &Behind,
        batch: Vec<Writing>,
        outcomes: &mut Vec<Outcome>,
    ) {
        let ids: Vec<String> = batch.iter().map(Writing::external_id).collect();
        let changes: Vec<Change<'_>> =
            batch.iter().zip(&ids).filter_map(|(it, id)| change(it, id)).collect();
        let Some((first, Some(repository))) =
            batch.first().map(|it| (&it.target, it.target.node_id.as_ref()))
        else {
            return;
        };
        let creates = batch.iter().filter(|it| it.there.is_none()).count() as u64;
        let now = self.shared.clock.now();
        writer.spend(payer, Cost::write(Interface::Graphql, creates), now);
        match self.github.write_checks(first, repository, &changes).await {
            Ok(answers) => {
                drop(changes);
                // What did not fit has no answer and stays behind.
                outcomes.extend(batch.into_iter().zip(answers));
            }
            // Nothing was done, and REST will say more: as it will where it is the repository that
            // is gone, and not the interface.
            Err(GithubError::Gone(what)) => {
                tracing::warn!("checks are written one by one for an hour: {what}");
                writer.write_alone(now);
            }
            Err(error) => {
                if matches!(error, GithubError::Rejected { .. }) {
                    writer.alone.extend(batch.iter().map(|it| it.row.report.clone()));
                }
                outcomes.extend(batch.into_iter().map(|it| (it, Err(error.clone()))));
            }
        }
    }
}

/// What the list says of one.
fn told(mut it: Writing, found: &HashMap<String, Found>) -> Writing {
    match found.get(&it.external_id()) {
        Some(found) => it.found(found.clone()),
        None => it.lookup = Lookup::Needless,
    }
    it
}

/// Whether one alias of a batch can say all that a check has to say.
fn fits(it: &Writing) -> bool {
    it.target.node_id.is_some() && change(it, "").is_some_and(|it| it.fits())
}

fn change<'a>(it: &'a Writing, external_id: &'a str) -> Option<Change<'a>> {
    let to = match &it.there {
        None => To::New { sha: &it.target.sha, external_id },
        Some(Check { id: _, node_id }) => {
            To::Existing { node_id: node_id.as_ref()?, annotations: it.annotations? }
        }
    };
    Some(Change { page: &it.page, to })
}
