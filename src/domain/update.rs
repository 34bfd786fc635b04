//! Updates of a lock: when ([`schedule`]), and which inputs may move ([`search`]).
pub mod schedule;
pub mod search;
