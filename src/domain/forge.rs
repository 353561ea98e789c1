//! What is said on a forge, and where: one comment that is kept up to date, and checks beside the lines that they are about.

pub mod bound;
pub mod check;
pub mod comment;
pub mod follow;
pub mod hook;
pub mod issue;
pub mod promotion;
pub mod proposal;
pub mod pushed;
pub mod words;
