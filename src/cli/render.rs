//! What people read, made by pure functions from values.
//!
//! Texts carry styles; the streams of [`super::console`] drop them where they are not wanted. Whatever comes from a device or a
//! repo goes through [`text::plain`] first, so that nobody else can write on a person's terminal.

pub mod detail;
pub mod devices;
pub mod drift;
pub mod findings;
pub mod plan;
pub mod promotion;
pub mod report;
pub mod rollouts;
pub mod simulation;
pub mod status;
pub mod table;
pub mod text;
pub mod udiff;
pub mod why;

/// Removes styles and the line breaks at the end, for snapshots.
#[cfg(test)]
pub fn bare(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string().trim_end().to_owned()
}
