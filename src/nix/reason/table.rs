//! Every way an attempt can end, read from top to bottom: by which words of Nix's, and whose it is.
//!
//! `fixtures/weather/ROW` holds what Nix, or ssh, really says in each case.
use crate::nix::status::Status;

/// What kind of end it is, and so whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The author's: the derivation itself cannot be built.
    Failed,
    /// The author's, unless it is a download that did not come: the builder ended by itself, and
    /// of a fixed-output derivation only its log tells the one from the other.
    Exited,
    /// The author's, or the settings': a limit ended it.
    TimedOut,
    /// Whoever's the failure of the derivation is that it needs.
    Dependency,
    /// Nobody's: it is tried again.
    Weather,
    /// None of the rows: transient and miscellaneous failures in words that nobody has seen. As
    /// good as the weather.
    Other,
}

/// A way to end.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name, and that of the folder of its fixtures.
    pub(crate) name: &'static str,
    /// Any of them is enough.
    signs: &'static [Sign],
    pub(crate) kind: Kind,
}

/// What Nix remarks behind the lines that it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// The disk was full when the builder had failed.
    DiskFull,
}

/// By what a row is told.
#[derive(Debug)]
enum Sign {
    Is(Status),
    /// In Nix's own words, the log lines that it quotes left out.
    Says(&'static str),
    Remarks(Remark),
}

use Kind::{Dependency, Exited, Failed, TimedOut, Weather};
use Sign::{Is, Remarks, Says};

/// What Nix answers for a derivation, or says of it.
pub(crate) const TABLE: &[Row] = &[
    Row {
        // Between its evaluation and its turn the garbage collector took it.
        name: "missing",
        signs: &[Says("failed to obtain derivation of"), Says("cannot build missing derivation")],
        kind: Weather,
    },
    Row {
        name: "dependency",
        signs: &[
            Is(Status::DependencyFailed),
            Says("dependency failed"),
            Says("dependencies failed"),
            Says("dependencies of derivation"),
        ],
        kind: Dependency,
    },
    Row {
        name: "disk-full",
        signs: &[Remarks(Remark::DiskFull), Says("No space left on device")],
        kind: Weather,
    },
    Row {
        // The kernel's answer to a machine without memory, and the usual one of an operator.
        name: "killed",
        signs: &[
            Says("failed due to signal 9 (Killed)"),
            Says("Cannot allocate memory"),
            Says("disconnected unexpectedly"),
            Says("database is busy"),
        ],
        kind: Weather,
    },
    Row {
        name: "substituter",
        signs: &[Says("substitutes for the outputs of derivation"), Says("unable to download")],
        kind: Weather,
    },
    Row {
        name: "time-out",
        signs: &[Is(Status::TimedOut), Says("timed out after")],
        kind: TimedOut,
    },
    Row {
        name: "hash-mismatch",
        signs: &[Is(Status::HashMismatch), Says("hash mismatch in fixed-output derivation")],
        kind: Failed,
    },
    Row {
        // The operator's `post-build-hook`; what it was run for is built and valid by then.
        name: "hook",
        signs: &[Says("program '"), Says("program \"")],
        kind: Weather,
    },
    Row {
        // Nix calls it transient where the derivation is a fixed-output one, whatever happened.
        name: "exit-code",
        signs: &[Says("failed with exit code")],
        kind: Exited,
    },
    Row { name: "signal", signs: &[Says("failed due to signal")], kind: Failed },
    Row { name: "no-output", signs: &[Says("failed to produce output")], kind: Failed },
    Row {
        name: "system",
        signs: &[
            Says("platform mismatch"),
            Says("missing system features"),
            Says("is required to build"),
        ],
        kind: Failed,
    },
    Row {
        name: "not-deterministic",
        signs: &[Is(Status::NotDeterministic), Says("may not be deterministic")],
        kind: Failed,
    },
    Row {
        name: "references",
        signs: &[
            Says("is not allowed to refer to"),
            Says("is not allowed to have"),
            Says("illegal reference specifier"),
            Says("not a valid output of this derivation"),
        ],
        kind: Failed,
    },
    Row { name: "cycle", signs: &[Says("cycle detected in build")], kind: Failed },
    Row {
        name: "log-limit",
        signs: &[Is(Status::LogLimitExceeded), Says("of log output")],
        kind: Failed,
    },
    Row {
        name: "rejected",
        signs: &[
            Says("suspicious ownership or permission"),
            Says("impurity detected"),
            Says("failed previously"),
            Is(Status::PermanentFailure),
            Is(Status::InputRejected),
            Is(Status::OutputRejected),
            Is(Status::CachedFailure),
        ],
        kind: Failed,
    },
];

/// What is known of a connection that there is none of, or none any more: the program's last
/// words. All of it is the weather.
pub(crate) const CONNECTION: &[Row] = &[
    Row {
        name: "unreachable",
        signs: &[
            Says("Could not resolve hostname"),
            Says("Connection refused"),
            Says("No route to host"),
            Says("Network is unreachable"),
            Says("Connection timed out"),
            Says("Operation timed out"),
        ],
        kind: Weather,
    },
    // Whatever else it said, or did not.
    Row { name: "lost", signs: &[Says("")], kind: Weather },
];

/// What a fixed-output derivation prints when the other side did not answer, or broke off.
pub(crate) const DOWNLOAD: Row = Row {
    name: "download",
    signs: &[
        // curl's exit codes: no proxy, no such name now, no connection, a cut transfer, too late,
        // no TLS, no answer, and broken off.
        Says("curl: (5)"),
        Says("curl: (6)"),
        Says("curl: (7)"),
        Says("curl: (18)"),
        Says("curl: (28)"),
        Says("curl: (35)"),
        Says("curl: (52)"),
        Says("curl: (55)"),
        Says("curl: (56)"),
        Says("curl: (92)"),
        // curl's and git's words for a status; 408 and 429 ask to come again later.
        Says("The requested URL returned error: 5"),
        Says("The requested URL returned error: 408"),
        Says("The requested URL returned error: 429"),
        // git's.
        Says("Could not resolve host"),
        Says("Failed to connect to"),
        // Nix's own.
        Says("unable to download"),
        // That of Nixpkgs' `fetchurl`, at the end.
        Says("from any mirror"),
    ],
    kind: Weather,
};

impl Row {
    /// Whether a line, or words, are this row's.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.signs.iter().any(|it| match it {
            Sign::Says(sign) => words.contains(sign),
            Sign::Is(_) | Sign::Remarks(_) => false,
        })
    }
}

/// The first row that fits.
pub(crate) fn row(
    status: Option<Status>,
    words: &str,
    remark: Option<Remark>,
) -> Option<&'static Row> {
    TABLE.iter().find(|row| {
        row.says(words)
            || row.signs.iter().any(|it| match it {
                Sign::Is(sign) => status == Some(*sign),
                Sign::Remarks(sign) => remark == Some(*sign),
                Sign::Says(_) => false,
            })
    })
}

/// The row of a connection's last words.
pub(crate) fn connection(words: &str) -> &'static Row {
    CONNECTION.iter().find(|row| row.says(words)).unwrap_or(&CONNECTION[CONNECTION.len() - 1])
}
