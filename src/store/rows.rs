//! The only mapping between rows and domain values.
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::domain::Timestamp;
use crate::domain::build::{Build, BuildState, Rebuild, Required, Waiting};
use crate::domain::id::{AttrPath, InstallationId, Login, RepositoryId};
use crate::domain::incoming::{InstallationStanding, Repository, RepositoryStanding, Visibility};
use crate::domain::lock::stale::LastMove;
use crate::domain::run::{Approval, Run, RunState, Skip, Trust};
use crate::store::error::{Result, StoreError};

/// The columns of a run, of `run r`.
macro_rules! run_columns {
    () => {
        "r.id AS r_id, r.repository_id AS r_repository, r.sha AS r_sha, r.reason AS r_reason, \
         r.base AS r_base, r.occurred_at AS r_occurred_at, r.created_at AS r_created_at, \
         r.state AS r_state, r.state_at AS r_state_at, r.verdict AS r_verdict, \
         r.problem AS r_problem, r.waits AS r_waits, r.approval AS r_approval, \
         r.approved_by AS r_approved_by, r.note AS r_note, r.trust AS r_trust, \
         r.base_branch AS r_base_branch, r.merged AS r_merged, \
         r.skip_overruled AS r_skip_overruled, \
         r.lock_moved_at AS r_lock_moved_at, r.lock_stale_at AS r_lock_stale_at"
    };
}

/// The columns of a build, of `build b`.
macro_rules! build_columns {
    () => {
        "b.id AS b_id, b.run_id AS b_run, b.attr AS b_attr, b.label AS b_label, \
         b.required AS b_required, b.state AS b_state, b.since AS b_since, \
         b.derivation AS b_derivation, b.waiting AS b_waiting, b.attempts AS b_attempts, \
         b.weathers AS b_weathers, b.attempt_id AS b_attempt, b.ending AS b_ending, \
         b.ended_at AS b_ended_at, b.evaluation_ms AS b_evaluation_ms, \
         b.evaluation_peak AS b_evaluation_peak, b.rebuild AS b_rebuild, b.note AS b_note"
    };
}

/// The columns of a repository, of `repository p`.
macro_rules! repository_columns {
    () => {
        "p.id AS p_id, p.node_id AS p_node_id, p.owner AS p_owner, p.name AS p_name, \
         p.default_branch AS p_default_branch, p.visibility AS p_visibility, \
         p.installation_id AS p_installation"
    };
}

/// True of a `repository p` through which GitHub lets us act.
macro_rules! active {
    () => {
        "p.standing = 'active' AND NOT EXISTS (SELECT 1 FROM installation i \
          WHERE i.id = p.installation_id AND i.standing <> 'active')"
    };
}

pub(super) use {active, build_columns, repository_columns, run_columns};

/// A column as text that parses into a domain value.
pub(super) fn parsed<T>(row: &AnyRow, column: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|error| StoreError::corrupt(format_args!("column {column}: {error}")))
}

/// As [`parsed`], of a column that may be NULL.
pub(super) fn maybe_parsed<T>(row: &AnyRow, column: &str) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| {
        text.parse().map_err(|error| StoreError::corrupt(format_args!("column {column}: {error}")))
    })
    .transpose()
}

/// A column of JSON.
pub(super) fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text)
        .map_err(|error| StoreError::corrupt(format_args!("column {column}: {error}")))
}

/// A column of JSON, or NULL.
pub(super) fn maybe_json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<Option<T>> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| {
        serde_json::from_str(&text)
            .map_err(|error| StoreError::corrupt(format_args!("column {column}: {error}")))
    })
    .transpose()
}

/// A value as JSON, for a column.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(StoreError::corrupt)
}

/// A column of milliseconds.
pub(super) fn time(row: &AnyRow, column: &str) -> Result<Timestamp> {
    Ok(Timestamp(row.try_get(column)?))
}

/// Text from outside; `PostgreSQL` has no place for NUL in it.
pub(super) fn text(mut text: String) -> String {
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}");
    }
    text
}

/// `attr` in a form short enough for an index; `PostgreSQL`'s end at 2,704 bytes.
pub(super) fn attr_key(attr: &AttrPath) -> Result<String> {
    let key = to_json(attr)?;
    if key.len() <= 400 {
        return Ok(key);
    }
    Ok(format!("sha256:{}", hex::encode(Sha256::digest(key.as_bytes()))))
}

pub(super) fn required_name(required: Required) -> &'static str {
    match required {
        Required::Required => "required",
        Required::Optional => "optional",
    }
}

pub(super) fn required(row: &AnyRow, column: &str) -> Result<Required> {
    match row.try_get::<&str, _>(column)? {
        "required" => Ok(Required::Required),
        "optional" => Ok(Required::Optional),
        other => Err(unknown(column, other)),
    }
}

pub(super) fn visibility_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Private => "private",
    }
}

pub(super) fn visibility(row: &AnyRow, column: &str) -> Result<Visibility> {
    match row.try_get::<&str, _>(column)? {
        "public" => Ok(Visibility::Public),
        "private" => Ok(Visibility::Private),
        other => Err(unknown(column, other)),
    }
}

pub(super) fn standing_name(standing: InstallationStanding) -> &'static str {
    match standing {
        InstallationStanding::Active => "active",
        InstallationStanding::Suspended => "suspended",
        InstallationStanding::Deleted => "deleted",
    }
}

pub(super) fn installation_standing(text: &str) -> Result<InstallationStanding> {
    match text {
        "active" => Ok(InstallationStanding::Active),
        "suspended" => Ok(InstallationStanding::Suspended),
        "deleted" => Ok(InstallationStanding::Deleted),
        other => Err(unknown("installation.standing", other)),
    }
}

pub(super) fn repository_standing_name(standing: RepositoryStanding) -> &'static str {
    match standing {
        RepositoryStanding::Active => "active",
        RepositoryStanding::Archived => "archived",
        RepositoryStanding::Gone => "gone",
    }
}

pub(super) fn repository_standing(text: &str) -> Result<RepositoryStanding> {
    match text {
        "active" => Ok(RepositoryStanding::Active),
        "archived" => Ok(RepositoryStanding::Archived),
        "gone" => Ok(RepositoryStanding::Gone),
        other => Err(unknown("repository.standing", other)),
    }
}

pub(super) fn unknown(column: &str, found: &str) -> StoreError {
    StoreError::corrupt(format_args!("column {column}: `{found}` is not known"))
}

/// A repository, from [`repository_columns`].
pub(super) fn repository(row: &AnyRow) -> Result<Repository> {
    Ok(Repository {
        id: RepositoryId(row.try_get("p_id")?),
        node_id: maybe_parsed(row, "p_node_id")?,
        owner: parsed(row, "p_owner")?,
        name: parsed(row, "p_name")?,
        default_branch: parsed(row, "p_default_branch")?,
        visibility: visibility(row, "p_visibility")?,
        installation: InstallationId(row.try_get("p_installation")?),
    })
}

/// A run, from [`run_columns`].
pub(super) fn run(row: &AnyRow) -> Result<Run> {
    let since = time(row, "r_state_at")?;
    let state = match row.try_get::<&str, _>("r_state")? {
        "awaiting_approval" => RunState::AwaitingApproval,
        "requested" => RunState::Requested,
        "evaluating" => RunState::Evaluating { since },
        "building" => RunState::Building { since },
        "ended" => RunState::Ended { verdict: json(row, "r_verdict")?, at: since },
        other => return Err(unknown("r_state", other)),
    };
    Ok(Run {
        id: parsed(row, "r_id")?,
        repository: RepositoryId(row.try_get("r_repository")?),
        sha: parsed(row, "r_sha")?,
        reason: parsed(row, "r_reason")?,
        base: maybe_parsed(row, "r_base")?,
        occurred_at: time(row, "r_occurred_at")?,
        created_at: time(row, "r_created_at")?,
        problem: maybe_json(row, "r_problem")?,
        waits: row.try_get("r_waits")?,
        trust: trust(row)?,
        approval: approval(row)?,
        base_branch: maybe_parsed(row, "r_base_branch")?,
        merge: maybe_json(row, "r_merged")?,
        skip: match row.try_get::<i64, _>("r_skip_overruled")? {
            0 => Skip::Heeded,
            _ => Skip::Overruled,
        },
        lock: last_move(row, ("r_lock_moved_at", "r_lock_stale_at"))?,
        note: row.try_get("r_note")?,
        state,
    })
}

/// When a lock file last moved, from these two columns.
pub(super) fn last_move(row: &AnyRow, (moved, stale): (&str, &str)) -> Result<Option<LastMove>> {
    let at: Option<i64> = row.try_get(moved)?;
    let stale_at: Option<i64> = row.try_get(stale)?;
    Ok(at.map(|at| LastMove { at: Timestamp(at), stale_at: stale_at.map(Timestamp) }))
}

/// A build, from [`build_columns`].
pub(super) fn build(row: &AnyRow) -> Result<Build> {
    let since = time(row, "b_since")?;
    let state = match row.try_get::<&str, _>("b_state")? {
        "listed" => BuildState::Listed { known: maybe_json(row, "b_derivation")? },
        "waiting" => BuildState::Waiting {
            derivation: json(row, "b_derivation")?,
            since,
            for_what: json(row, "b_waiting")?,
        },
        "building" => BuildState::Building {
            derivation: json(row, "b_derivation")?,
            attempt: parsed(row, "b_attempt")?,
            since,
        },
        "ended" => BuildState::Ended {
            derivation: maybe_json(row, "b_derivation")?,
            ending: json(row, "b_ending")?,
            at: time(row, "b_ended_at")?,
        },
        other => return Err(unknown("b_state", other)),
    };
    Ok(Build {
        id: parsed(row, "b_id")?,
        run: parsed(row, "b_run")?,
        attr: json(row, "b_attr")?,
        required: required(row, "b_required")?,
        attempts: count(row, "b_attempts")?,
        rebuild: rebuild(row, "b_rebuild")?,
        state,
    })
}

fn trust(row: &AnyRow) -> Result<Trust> {
    match row.try_get::<&str, _>("r_trust")? {
        "trusted" => Ok(Trust::Trusted),
        "untrusted" => Ok(Trust::Untrusted),
        other => Err(unknown("r_trust", other)),
    }
}

pub(super) fn trust_name(trust: Trust) -> &'static str {
    match trust {
        Trust::Trusted => "trusted",
        Trust::Untrusted => "untrusted",
    }
}

fn approval(row: &AnyRow) -> Result<Approval> {
    let by: Option<Login> = maybe_parsed(row, "r_approved_by")?;
    match (row.try_get::<&str, _>("r_approval")?, by) {
        ("not_needed", _) => Ok(Approval::NotNeeded),
        ("needed", _) => Ok(Approval::Needed),
        ("given", Some(by)) => Ok(Approval::Given { by }),
        (other, _) => Err(unknown("r_approval", other)),
    }
}

/// As the store keeps it, and by whom it was given.
pub(super) fn approval_name(approval: &Approval) -> (&'static str, Option<&str>) {
    match approval {
        Approval::NotNeeded => ("not_needed", None),
        Approval::Needed => ("needed", None),
        Approval::Given { by } => ("given", Some(by.as_str())),
    }
}

pub(super) fn rebuild_name(rebuild: Rebuild) -> &'static str {
    match rebuild {
        Rebuild::IfMissing => "if_missing",
        Rebuild::FromScratch => "from_scratch",
    }
}

pub(super) fn rebuild(row: &AnyRow, column: &str) -> Result<Rebuild> {
    match row.try_get::<&str, _>(column)? {
        "if_missing" => Ok(Rebuild::IfMissing),
        "from_scratch" => Ok(Rebuild::FromScratch),
        other => Err(unknown(column, other)),
    }
}

/// A column that counts something.
pub(super) fn count(row: &AnyRow, column: &str) -> Result<u32> {
    let number: i64 = row.try_get(column)?;
    u32::try_from(number).map_err(|_| unknown(column, &number.to_string()))
}

/// What a derivation asks of a builder besides the system, as one text for all with the same wishes.
pub(super) fn features_key(features: &[String]) -> String {
    let sorted: BTreeSet<&str> = features.iter().map(String::as_str).collect();
    sorted.into_iter().fold(String::new(), |key, it| key + it + " ")
}

/// Whether no builder of the settings can take a build that waits so, and from when on one may.
pub(super) fn held_until(waiting: &Waiting) -> (i64, Timestamp) {
    match waiting {
        Waiting::Slot => (0, Timestamp(0)),
        Waiting::Retry { not_before, .. } => (0, *not_before),
        Waiting::NoBuilder { .. } | Waiting::NoFeatures { .. } => (1, Timestamp(0)),
    }
}
