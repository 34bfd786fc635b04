//! What is due of one installation, without the hosts that are not worth a check.
use std::collections::HashMap;

use crate::domain::id::{InstallationId, RunId};
use crate::domain::worth::{Base, Host, Place, place};
use crate::flow::report::Report;
use crate::flow::report::writer::RunDue;
use crate::store::StoreError;
use crate::store::reports::{Behind, ReportKind};
use crate::store::worth::RunReports;

impl Report {
    /// What is due, run by run.
    pub(super) async fn gather(
        &self,
        installation: InstallationId,
    ) -> Result<Vec<RunDue>, StoreError> {
        let store = &self.shared.store;
        let rows = store.behind_of(installation, self.shared.clock.now()).await?;
        let mut runs: Vec<RunDue> = Vec::new();
        let mut places: HashMap<RunId, usize> = HashMap::new();
        for row in rows {
            let at = *places.entry(row.run.clone()).or_insert_with(|| {
                runs.push(RunDue::new(&row));
                runs.len() - 1
            });
            match row.kind {
                ReportKind::Status => runs[at].status = Some(row),
                ReportKind::Gate | ReportKind::Host => runs[at].checks.push(row),
            }
        }
        for due in &mut runs {
            due.reports = store.run_reports(&due.run).await?;
            if due.reports.hosts > self.settings.checks_limit {
                self.pass_over(due).await?;
            }
        }
        Ok(runs)
    }

    /// Leaves those hosts to the gate's table that are not worth a check.
    async fn pass_over(&self, due: &mut RunDue) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let in_question = |it: &Behind| it.kind == ReportKind::Host && !it.is_begun();
        if !due.checks.iter().any(in_question) {
            return Ok(());
        }
        let base = store.base_derivations(&due.run).await?;
        let RunReports { begun: mut shown, .. } = due.reports;
        let mut passed = Vec::new();
        let mut kept = Vec::new();
        for row in std::mem::take(&mut due.checks) {
            let Some(build) = row.build.as_ref().filter(|_| in_question(&row)) else {
                kept.push(row);
                continue;
            };
            let view = store.build_view(build).await?;
            let Some(build) = view.and_then(|it| it.builds.into_iter().next()) else { continue };
            let build = build.build;
            let base = match base.as_ref().map(|all| all.get(&build.attr)) {
                None => Base::Unknown,
                Some(None | Some(None)) => Base::Absent,
                Some(Some(Some(drv))) => Base::Derivation(drv),
            };
            let host = Host { build: &build, base };
            match place(&host, shown, self.settings.checks_limit) {
                Place::Check => {
                    shown += 1;
                    kept.push(row);
                }
                Place::Table => passed.push((row.report, row.revision)),
            }
        }
        due.checks = kept;
        if !passed.is_empty() {
            store.pass_over(&passed).await?;
            due.reports = store.run_reports(&due.run).await?;
        }
        Ok(())
    }
}
