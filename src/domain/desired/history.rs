//! Which lines an explanation rests on, and what is known of their history.

use super::Explanation;
use crate::domain::finding::Place;
use crate::domain::history::{LastChanges, Lines};

impl Explanation {
    /// The lines that its values stand in.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::new();
        let mut add = |place: &Place| lines.entry(place.file.clone()).or_default().insert(place.line);
        for value in &self.values {
            add(&value.place);
            for overridden in &value.overridden {
                add(&overridden.place);
            }
        }
        lines
    }

    /// The same with the last change of each line.
    pub fn with_changes(mut self, changes: &LastChanges) -> Self {
        let change = |place: &Place| changes.get(&(place.file.clone(), place.line)).cloned();
        for value in &mut self.values {
            value.changed = change(&value.place);
            for overridden in &mut value.overridden {
                overridden.changed = change(&overridden.place);
            }
        }
        self
    }
}
