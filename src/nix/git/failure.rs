//! What git says when it fails, as an error addressed to someone.

/// Why a commit or a file of it could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// No ref leads to it any more, and the forge has dropped it.
    #[error("the commit is gone: it was force-pushed away, or its branch was deleted")]
    CommitGone,
    /// It was deleted or renamed, or the App does not see it.
    #[error("the repository is gone: it was deleted or renamed, or taken from the App")]
    RepositoryGone,
    /// The forge does not take our token.
    #[error("GitHub refuses the token: {0}")]
    Refused(String),
    /// A file is there but cannot be used; its author must mend it.
    #[error("{path} {reason}")]
    File { path: String, reason: String },
    /// Nobody's fault; trying again can mend it.
    #[error("fetching failed: {0}")]
    Weather(String),
    /// The disk under the store's directory is full.
    #[error("the disk is full: {0}")]
    Disk(String),
    #[error("fetching was cancelled")]
    Cancelled,
    /// Ours to mend.
    #[error("git failed: {0}")]
    Operator(String),
}

/// What can be done about a failed command besides telling someone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing here.
    None,
    /// A killed git left lock files behind.
    Unlock,
    /// The mirror itself is broken and must be made anew.
    Rebuild,
}

/// Sorts by git's own words (`LC_ALL=C`, 2.47). A forge's words stand in lines that begin with
/// `remote:` and count only where they are about access.
pub(super) fn classify(said: &str) -> (GitError, Remedy) {
    let text = last_words(said);
    let full = line_with(said, &FULL);
    let said = said.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|it| said.contains(it));
    let error = if let Some(line) = full {
        GitError::Disk(line)
    } else if any(&["not our ref", "couldn't find remote ref", "does not allow request for"]) {
        GitError::CommitGone
    } else if any(&["' not found", "returned error: 404", "returned error: 410"])
        || any(&["returned error: 30", "unable to update url base from redirection"])
    {
        GitError::RepositoryGone
    } else if any(&["authentication failed", "could not read username", "could not read password"])
        || any(&["returned error: 401", "returned error: 403"])
    {
        GitError::Refused(text)
    } else if any(&WEATHER) {
        GitError::Weather(text)
    } else if said.contains(".lock': file exists") {
        return (GitError::Operator(text), Remedy::Unlock);
    } else if any(&BROKEN) {
        return (GitError::Operator(text), Remedy::Rebuild);
    } else {
        GitError::Operator(text)
    };
    (error, Remedy::None)
}

const FULL: [&str; 2] = ["no space left on device", "disk quota exceeded"];

const WEATHER: [&str; 19] = [
    "returned error: 5",
    "returned error: 408",
    "returned error: 429",
    "could not resolve",
    "couldn't resolve",
    "failed to connect",
    "couldn't connect",
    "connection refused",
    "connection reset",
    "connection timed out",
    "operation timed out",
    "operation too slow",
    "timeout was reached",
    "empty reply from server",
    "unexpected disconnect",
    "the remote end hung up",
    "early eof",
    "rpc failed",
    "network is unreachable",
];

/// A mirror that a power cut or a full disk has left half written.
const BROKEN: [&str; 9] = [
    "not a git repository",
    "is corrupt",
    "is empty",
    "bad object",
    "bad config",
    "invalid sha1 pointer",
    "did not send all necessary objects",
    "unable to read tree",
    "does not match index",
];

/// The first line that has one of these words: what git says after a full disk is only its echo.
fn line_with(said: &str, words: &[&str]) -> Option<String> {
    let has = |line: &&str| words.iter().any(|it| line.to_lowercase().contains(it));
    said.lines().find(has).map(last_words)
}

/// The line that says why: the last `fatal:` or `error:`, else the last line; 300 characters.
fn last_words(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|it| !it.is_empty());
    let line = lines()
        .rev()
        .find_map(|it| it.strip_prefix("fatal: ").or_else(|| it.strip_prefix("error: ")))
        .or_else(|| lines().next_back())
        .unwrap_or("it gave no reason");
    line.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(said: &str) -> GitError {
        classify(said).0
    }

    #[test]
    fn a_commit_that_is_gone_is_not_a_repository_that_is_gone() {
        let gone = "fatal: remote error: upload-pack: not our ref 1111111111111111111111111111111111111111";
        assert_eq!(error(gone), GitError::CommitGone);
        let gone = "remote: Repository not found.\nfatal: repository 'https://github.com/a/b.git/' not found";
        assert_eq!(error(gone), GitError::RepositoryGone);
        let moved = "fatal: unable to access 'https://github.com/a/b.git/': The requested URL returned error: 301";
        assert_eq!(error(moved), GitError::RepositoryGone);
    }

    #[test]
    fn a_refused_token_is_told_from_bad_weather() {
        for said in [
            "fatal: Authentication failed for 'https://github.com/a/b.git/'",
            "fatal: could not read Username for 'https://github.com': terminal prompts disabled",
            "fatal: unable to access 'https://github.com/a/b.git/': The requested URL returned error: 403",
        ] {
            assert!(matches!(error(said), GitError::Refused(_)), "{said}");
        }
        for said in [
            "fatal: unable to access 'https://github.com/a/b.git/': The requested URL returned error: 503",
            "fatal: unable to access 'https://github.com/a/b.git/': Could not resolve host: github.com",
            "error: RPC failed; curl 56 Recv failure: Connection reset by peer\nfatal: early EOF",
            "fatal: unable to access 'https://github.com/': Operation too slow. Less than 1000 bytes/sec",
        ] {
            assert!(matches!(error(said), GitError::Weather(_)), "{said}");
        }
    }

    #[test]
    fn a_full_disk_says_so_whatever_else_broke() {
        let said = "fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output\nearly EOF";
        assert!(matches!(error(said), GitError::Disk(_)));
        let said = "fatal: write error: No space left on device\nfatal: index-pack failed";
        assert_eq!(error(said), GitError::Disk("write error: No space left on device".into()));
    }

    #[test]
    fn what_a_killed_git_left_behind_has_a_remedy() {
        let said = "error: cannot lock ref 'refs/fleetcheck/a': Unable to create '/m/1.git/refs/fleetcheck/a.lock': File exists.";
        assert_eq!(classify(said).1, Remedy::Unlock);
        let said = "fatal: not a git repository: '/m/1.git'";
        assert_eq!(classify(said).1, Remedy::Rebuild);
        assert_eq!(classify("fatal: something new").1, Remedy::None);
    }
}
