//! What a request says: pages from the store, each to a check run that is there or to a new one.
use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::domain::Timestamp;
use crate::domain::id::RunId;
use crate::domain::page::{self, CheckPage, CheckStatus, RunView};
use crate::flow::report::Report;
use crate::github::checks::{Check, Found, Target};
use crate::store::StoreError;
use crate::store::reports::{Behind, ReportKind, Shown};

/// One check to be written.
pub(super) struct Writing {
    pub(super) row: Behind,
    pub(super) page: CheckPage,
    pub(super) target: Target,
    pub(super) status: String,
    pub(super) digest: String,
    /// Of the check run that is written to, or made.
    pub(super) serial: i64,
    /// The check run that is there.
    pub(super) there: Option<Check>,
    /// Annotations that it has; `None` when GitHub has to be asked.
    pub(super) annotations: Option<usize>,
    pub(super) lookup: Lookup,
}

/// Whether GitHub may have what we know nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Needless,
    /// A try before this one, or a process before this one, may have made it unanswered; or we
    /// lack what only a list tells.
    Needed,
}

impl Writing {
    pub(super) fn external_id(&self) -> String {
        format!("{}:{}", self.row.report, self.serial)
    }

    /// What is there says all this already.
    pub(super) fn is_shown(&self) -> bool {
        self.there.is_some() && self.row.shown_digest.as_deref() == Some(&self.digest)
    }

    pub(super) fn shown(&self, check: Check) -> Shown {
        Shown {
            revision: self.row.revision,
            serial: self.serial,
            github_id: check.id,
            node_id: check.node_id,
            annotations: self.page.annotations.len(),
            status: self.status.clone(),
            digest: self.digest.clone(),
        }
    }

    /// GitHub has this check run. A completed one that says something else gets a successor.
    pub(super) fn found(&mut self, found: Found) {
        self.lookup = Lookup::Needless;
        if is_over(&found.status) && found.status != self.status {
            self.serial += 1;
            self.there = None;
            self.annotations = Some(0);
            return;
        }
        self.annotations = Some(found.annotations);
        self.there = Some(found.check);
    }
}

pub(super) fn is_over(status: &str) -> bool {
    status.starts_with("completed")
}

impl Report {
    /// Everything that these rows have to say; a row whose page there is none of is settled here.
    pub(super) async fn writings(
        &self,
        rows: Vec<Behind>,
        since: Timestamp,
    ) -> Result<Vec<Writing>, StoreError> {
        let store = &self.shared.store;
        // A gate speaks of every host and of the base commit, a host's check of that host alone.
        let mut views: HashMap<RunId, Option<RunView>> = HashMap::new();
        for row in rows.iter().filter(|it| it.kind == ReportKind::Gate) {
            let mut view = store.run_view(&row.run).await?;
            if let Some(view) = &mut view {
                self.shared.tell_counts(view);
            }
            views.insert(row.run.clone(), view);
        }
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let mut alone = match (&row.build, views.get(&row.run)) {
                (Some(build), None) => store.build_view(build).await?,
                (Some(_) | None, _) => None,
            };
            if let Some(view) = &mut alone {
                self.shared.tell_counts(view);
            }
            let view = alone.as_ref().or_else(|| views.get(&row.run).and_then(Option::as_ref));
            let page = view.and_then(|view| self.page(&row, view).map(|page| (view, page)));
            match page {
                Some((view, page)) => all.push(Self::writing(row, view, page, since)),
                None => {
                    store.give_up_report(&row.report, row.revision, "there is no page").await?;
                }
            }
        }
        Ok(all)
    }

    fn page(&self, row: &Behind, view: &RunView) -> Option<CheckPage> {
        let name = &self.settings.check_name;
        match row.kind {
            ReportKind::Gate => {
                let page = page::gate_page(view, name, &self.links);
                Some(page::with_limit(page, view.builds.len(), self.settings.checks_limit))
            }
            ReportKind::Host => {
                let id = row.build.as_ref()?;
                let build = view.builds.iter().find(|it| it.build.id == *id)?;
                page::host_page(view, build, name, &self.links)
            }
            ReportKind::Status => None,
        }
    }

    fn writing(row: Behind, view: &RunView, page: CheckPage, since: Timestamp) -> Writing {
        let status = status_word(page.status);
        let digest = digest(&format!("{page:?}"));
        let mut serial = row.serial;
        let mut there =
            row.has_check().then(|| Check { id: row.github_id, node_id: row.node_id.clone() });
        // A completed check run cannot be reopened or change its conclusion: it gets a successor.
        let replaced = there.is_some()
            && row.shown_status.as_deref().is_some_and(|it| is_over(it) && it != status);
        if replaced {
            serial += 1;
            there = None;
        }
        let is_ours = row.shown_at >= since;
        let annotations = match &there {
            Some(_) if !page.annotations.is_empty() => row.annotations.filter(|_| is_ours),
            Some(_) | None => Some(0),
        };
        let may_exist = there.is_none()
            && !replaced
            && row.is_begun()
            && (row.tries > 0 || view.run.created_at < since);
        // Noted before it is made, as every successor is.
        if there.is_none() && serial == 0 {
            serial = 1;
        }
        // GraphQL alone does not tell how many annotations there are: the list does.
        let unnumbered = there.as_ref().is_some_and(|it| it.id.is_none());
        let lookup = if may_exist || (unnumbered && annotations.is_none()) {
            Lookup::Needed
        } else {
            Lookup::Needless
        };
        Writing {
            target: target(view),
            row,
            page,
            status,
            digest,
            serial,
            there,
            annotations,
            lookup,
        }
    }
}

pub(super) fn target(view: &RunView) -> Target {
    Target {
        installation: view.repository.installation,
        repository: view.repository.id,
        node_id: view.repository.node_id.clone(),
        owner: view.repository.owner.clone(),
        name: view.repository.name.clone(),
        sha: view.run.sha.clone(),
    }
}

/// The status that decides whether a check run can be updated or needs a successor.
fn status_word(status: CheckStatus) -> String {
    match status {
        CheckStatus::Queued => "queued".to_owned(),
        CheckStatus::InProgress { .. } => "in_progress".to_owned(),
        CheckStatus::Completed { conclusion, .. } => format!("completed:{}", conclusion.as_str()),
    }
}

pub(super) fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
