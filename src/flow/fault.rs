//! Faults of our own: logged once in full under a number; people are shown the number alone.
use std::error::Error;

use uuid::Uuid;

/// Logs a fault that a person must look at, and gives the number under which it stands in the log.
pub fn number(what: &'static str, error: &(dyn Error + 'static)) -> String {
    let id = Uuid::now_v7().simple().to_string();
    let number = id[id.len() - 8..].to_owned();
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push_str(": ");
        causes.push_str(&inner.to_string());
        cause = inner.source();
    }
    tracing::error!(fault.number = %number, fault.stage = what, "fault {number} in {what}: {error}{causes}");
    number
}
