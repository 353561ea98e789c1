//! What people and devices ask of the controller: each request a pure function from the state to changes or a refusal.

pub mod actions;
pub mod enroll;
pub mod operator;
pub mod report;
#[cfg(feature = "repo")]
pub mod retry;
pub mod several;

#[cfg(all(test, feature = "repo"))]
mod actions_tests;
#[cfg(test)]
mod tests;
