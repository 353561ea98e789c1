//! What people and devices ask of the controller: each request a pure function from the state to changes or a refusal.

pub mod enroll;
pub mod operator;
pub mod report;

#[cfg(test)]
mod tests;
