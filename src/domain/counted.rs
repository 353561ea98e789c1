//! Numbers of things in sentences.

/// `1 device`, `2 devices`.
pub fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `1 more person`, `2 more people`.
pub fn more_people(number: u8) -> String {
    if number == 1 { "1 more person".to_owned() } else { format!("{number} more people") }
}
