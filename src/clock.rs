//! The one place where the wall clock is read.

use crate::domain::time::Timestamp;

/// Now, by this machine's wall clock.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the fence's gate: shells call it once per pass and hand the value on"
)]
pub fn now() -> Timestamp {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}
