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

/// A point on the monotonic clock, for waiting.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(std::time::Instant);

/// The point that is this far from now.
#[allow(clippy::disallowed_methods, reason = "this is the fence's gate: for waiting, never for deciding")]
pub fn deadline(from_now: std::time::Duration) -> Deadline {
    Deadline(std::time::Instant::now() + from_now)
}

impl Deadline {
    /// How long it is until then; zero afterwards.
    #[allow(clippy::disallowed_methods, reason = "this is the fence's gate: for waiting, never for deciding")]
    pub fn left(self) -> std::time::Duration {
        self.0.saturating_duration_since(std::time::Instant::now())
    }
}
