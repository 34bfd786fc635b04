//! What a daemon is told before it builds.
use crate::nix::wire::Request;
use crate::nix::worker::{BuildLimits, operation};

/// `SetOptions`.
///
/// `builders` is emptied: a machine's own remote builders answer a failed build and a lost
/// connection with the same words, so nothing could be told from them. The program that would ask
/// them is taken away too, where Nix can do without: it is started anew for each operation, for 30
/// ms of CPU. Nix's own copy of each log is not kept: it would take three times longer to pack
/// (bzip2) than ours to store. A daemon that does not trust us ignores these two; the rest anybody
/// may set.
pub(super) fn options(limits: &BuildLimits, version: &str) -> Request {
    let (keep_failed, keep_going, fallback, verbosity) = (0, 1, 1, 3);
    let (build_hook, build_verbosity, log_type, trace, cores, substitutes) = (1, 0, 0, 0, 0, 1);
    let timeout = limits.timeout.as_secs().max(1).to_string();
    let more = match hook(version) {
        Hook::Needed => &[][..],
        Hook::None => &[("build-hook", "")][..],
    };
    let overrides = [("timeout", &*timeout), ("builders", ""), ("keep-build-log", "false")];
    let overrides: Vec<_> = overrides.iter().chain(more).collect();
    let request = Request::default()
        .number(operation::SET_OPTIONS)
        .number(keep_failed)
        .number(keep_going)
        .number(fallback)
        .number(verbosity)
        .number(limits.jobs.max(1))
        .number(limits.silence.as_secs().max(1))
        .number(build_hook)
        .number(build_verbosity)
        .number(log_type)
        .number(trace)
        .number(cores)
        .number(substitutes)
        .number(overrides.len() as u64);
    overrides.into_iter().fold(request, |it, (name, value)| it.text(name).text(value))
}

/// Whether a daemon needs a program to ask for remote builders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    /// It does not build without.
    Needed,
    None,
}

/// Read in Nix's sources from 2.26 on; 2.8 fails without one.
fn hook(version: &str) -> Hook {
    let mut parts = version.split(|it: char| !it.is_ascii_digit()).map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (2, 26) => Hook::None,
        _ => Hook::Needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_builds_without_a_hook_has_none() {
        for version in ["2.26.0", "2.34.8", "2.33pre20251107_479b6b73", "3.0"] {
            assert_eq!(hook(version), Hook::None, "{version}");
        }
        for version in ["2.8.0", "2.25.5", "", "nix"] {
            assert_eq!(hook(version), Hook::Needed, "{version}");
        }
    }
}
