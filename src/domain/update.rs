//! Updates of a lock: when ([`schedule`]), which inputs may move ([`search`]), and what came of it
//! ([`outcome`]).
pub mod outcome;
pub mod schedule;
pub mod search;
