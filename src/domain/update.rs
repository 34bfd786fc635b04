//! Updates of a lock: when ([`schedule`]), which inputs may move ([`search`]), and what came of it
//! ([`outcome`]), in words for a pull request ([`proposal`]) and for the issue that tells what does
//! not land ([`tracking`]).
pub mod outcome;
pub mod proposal;
pub mod schedule;
pub mod search;
pub mod tracking;
