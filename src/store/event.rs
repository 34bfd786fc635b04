//! What moved in the store, and so who should look.
use std::collections::BTreeSet;

/// Something that a stage waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A delivery is to be decided anew.
    DeliveryWaiting,
    /// A run wants its evaluation.
    RunRequested,
    /// A build waits for a slot.
    BuildWaiting,
    /// What GitHub shows is no longer what is known.
    ReportBehind,
    /// A host is to be compared with the commit before.
    InsightWanted,
    /// An attempt that runs may have lost its last build.
    AttemptUnwanted,
    /// A run that may be under evaluation has ended or begins again: the evaluation is to be
    /// stopped.
    RunEnded,
    /// A comment is owed a reaction.
    ReactionOwed,
    /// What stands at GitHub is to be looked up.
    HeadsAsked,
    /// A delivery is to be decided once something is known.
    DeliveryAsks,
    /// Something failed on a builder that is perhaps the builder's.
    BuilderSuspect,
    /// An update of a lock file is to go on.
    UpdateWanted,
}

impl Event {
    const ALL: [Self; 12] = [
        Self::DeliveryWaiting,
        Self::RunRequested,
        Self::BuildWaiting,
        Self::ReportBehind,
        Self::InsightWanted,
        Self::AttemptUnwanted,
        Self::RunEnded,
        Self::ReactionOwed,
        Self::HeadsAsked,
        Self::DeliveryAsks,
        Self::BuilderSuspect,
        Self::UpdateWanted,
    ];

    /// Its name among instances.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DeliveryWaiting => "delivery_waiting",
            Self::RunRequested => "run_requested",
            Self::BuildWaiting => "build_waiting",
            Self::ReportBehind => "report_behind",
            Self::InsightWanted => "insight_wanted",
            Self::AttemptUnwanted => "attempt_unwanted",
            Self::RunEnded => "run_ended",
            Self::ReactionOwed => "reaction_owed",
            Self::HeadsAsked => "heads_asked",
            Self::DeliveryAsks => "delivery_asks",
            Self::BuilderSuspect => "builder_suspect",
            Self::UpdateWanted => "update_wanted",
        }
    }

    /// `None` of what only another version knows.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }
}

/// What a method of the store has moved, for the flow's wakeups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Moved(BTreeSet<Event>);

impl Moved {
    /// Each kind of event once.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.0.iter().copied()
    }

    /// Whether something of this kind happened.
    pub fn has(&self, event: Event) -> bool {
        self.0.contains(&event)
    }

    /// Both.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(super) fn note(&mut self, event: Event) {
        self.0.insert(event);
    }
}
