//! A commit that asks not to be built: its gate and its required hosts are shown as skipped, since
//! a check that never comes blocks a pull request for ever.
use crate::domain::build::{Ending, Required};
use crate::domain::plan::Plan;
use crate::domain::verdict::Verdict;
use crate::flow::evaluate::{Evaluate, Interrupted, new_build};
use crate::nix::eval::EvalError;
use crate::store::RunClaim;

impl Evaluate {
    /// Ends a run that its commit asks to be skipped. A flake that lists nothing has no hosts to
    /// show, and is skipped all the same.
    pub(super) async fn skip(
        &self,
        claim: &RunClaim,
        plan: Result<Plan, EvalError>,
        by: &str,
    ) -> Result<(), Interrupted> {
        let planned = match plan {
            Ok(plan) => plan.builds,
            Err(EvalError::Flake(_) | EvalError::Limit(_) | EvalError::Memory(_)) => vec![],
            Err(error) => return Err(error.into()),
        };
        let required = planned.into_iter().filter(|it| it.required == Required::Required);
        let store = &self.shared.store;
        let now = self.shared.clock.now();
        self.shared.wakeups.tell(&store.set_problem(claim, None, now).await?);
        let (_, moved) = store.list_builds(claim, required.map(new_build).collect(), now).await?;
        self.shared.wakeups.tell(&moved);
        let verdict = Verdict::Skipped { by: by.to_owned() };
        let left = Ending::Skipped { by: by.to_owned() };
        self.shared.wakeups.tell(&store.end_run(claim, verdict, left, now).await?);
        Ok(())
    }
}
