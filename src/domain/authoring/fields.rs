//! A mapping that is written key by key, without what has its default.

use serde_json::{Map, Value};

#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    pub(super) fn list(&mut self, name: &str, items: impl IntoIterator<Item = Value>) {
        let mut items: Vec<Value> = items.into_iter().collect();
        // Two keys may feed one list.
        if let Some(Value::Array(before)) = self.0.get_mut(name) {
            before.append(&mut items);
        } else if !items.is_empty() {
            self.0.insert(name.to_owned(), Value::Array(items));
        }
    }

    pub(super) fn map(&mut self, name: &str, entries: impl IntoIterator<Item = (String, Value)>) {
        let entries: Map<String, Value> = entries.into_iter().collect();
        if !entries.is_empty() {
            self.0.insert(name.to_owned(), Value::Object(entries));
        }
    }

    pub(super) fn nested(&mut self, name: &str, fields: Self) {
        self.map(name, fields.0);
    }

    /// Nothing at all where nothing is said.
    pub(super) fn or_null(self) -> Value {
        if self.0.is_empty() { Value::Null } else { Value::Object(self.0) }
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Object(fields.0)
    }
}
