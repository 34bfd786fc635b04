//! Updates of a lock: which inputs may move.
pub mod search;
