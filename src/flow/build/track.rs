//! How far an attempt is, from what Nix says meanwhile.
use crate::domain::id::DrvPath;
use crate::domain::page::Counts;
use crate::nix::realise::Progress;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Track {
    done: u64,
    expected: u64,
    /// What is being built, in the order in which it began.
    running: Vec<DrvPath>,
}

impl Track {
    /// How far it is now, when that has moved.
    pub(super) fn observe(&mut self, progress: Progress<'_>) -> Option<Counts> {
        match progress {
            Progress::Counts { done, expected, .. } => {
                (self.done, self.expected) = (done, expected);
            }
            Progress::Started { drv } => self.running.push(drv.clone()),
            Progress::Stopped { drv } => self.running.retain(|it| it != drv),
            Progress::Line { .. } | Progress::Substituting { .. } => return None,
        }
        let at = self.running.last().cloned();
        Some(Counts { done: self.done, expected: self.expected, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_at_what_began_last_and_runs() {
        let drv = |name: &str| -> DrvPath {
            format!("/nix/store/783yqpnsx5xvpayk2bnrb6cmk0a7blys-{name}.drv").parse().unwrap()
        };
        let (gcc, linux) = (drv("gcc"), drv("linux"));
        let mut track = Track::default();
        let mut at = |it| track.observe(it).and_then(|it| it.at);
        assert_eq!(at(Progress::Counts { done: 0, expected: 2, running: 0, failed: 0 }), None);
        assert_eq!(at(Progress::Started { drv: &gcc }).as_ref(), Some(&gcc));
        assert_eq!(at(Progress::Started { drv: &linux }).as_ref(), Some(&linux));
        assert_eq!(at(Progress::Stopped { drv: &linux }).as_ref(), Some(&gcc));
        assert_eq!(at(Progress::Stopped { drv: &gcc }), None);
        let counts =
            track.observe(Progress::Counts { done: 2, expected: 2, running: 0, failed: 0 });
        assert_eq!(counts, Some(Counts { done: 2, expected: 2, at: None }));
        assert_eq!(track.observe(Progress::Substituting { path: "/nix/store/x" }), None);
    }
}
