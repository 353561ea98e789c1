//! What travels between controller, agents and operators, by version.

pub mod v1;
