//! How one derivation ended, as the protocol says it.

/// How one derivation ended, in Nix's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Built,
    Substituted,
    AlreadyValid,
    PermanentFailure,
    InputRejected,
    OutputRejected,
    TransientFailure,
    CachedFailure,
    TimedOut,
    MiscFailure,
    DependencyFailed,
    LogLimitExceeded,
    NotDeterministic,
    ResolvesToAlreadyValid,
    NoSubstituters,
    HashMismatch,
    Cancelled,
    /// A number that came after us.
    Unknown(u64),
}

impl Status {
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Built,
            1 => Self::Substituted,
            2 => Self::AlreadyValid,
            3 => Self::PermanentFailure,
            4 => Self::InputRejected,
            5 => Self::OutputRejected,
            6 => Self::TransientFailure,
            7 => Self::CachedFailure,
            8 => Self::TimedOut,
            9 => Self::MiscFailure,
            10 => Self::DependencyFailed,
            11 => Self::LogLimitExceeded,
            12 => Self::NotDeterministic,
            13 => Self::ResolvesToAlreadyValid,
            14 => Self::NoSubstituters,
            15 => Self::HashMismatch,
            16 => Self::Cancelled,
            other => Self::Unknown(other),
        }
    }
}

/// The answer for one derivation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildResult {
    pub status: Status,
    /// Nix's words without colours; empty when all went well.
    pub message: String,
    /// How long it was built, as the builder's clock says.
    pub seconds: u64,
}
