//! Updates of a lock: when they are due ([`schedule`]), which inputs may move ([`search`], from what
//! runs say, [`answer`]), which commit of an input is to blame ([`bisect`]), what came of it
//! ([`outcome`]), how the service comes to a pull request ([`life`]), what that says ([`proposal`]),
//! and the issue that tells what does not land ([`tracking`]).
pub mod answer;
pub mod bisect;
pub mod life;
pub mod outcome;
pub mod proposal;
pub mod schedule;
pub mod search;
pub mod tracking;
