//! JSON Schemas of every kind of file in a fleet repo, and of the controller's own configuration, for editors.
//!
//! The shapes here are only ever made into schemas: files are read by [`crate::domain::manifest`], which says more than a schema
//! can. A test holds both to the same answers. Doc comments of the shapes become descriptions in the editor.

mod compose;
#[allow(dead_code, reason = "shapes are only made into schemas")]
mod release;
#[allow(dead_code, reason = "shapes are only made into schemas")]
mod rollouts;
#[cfg(test)]
mod tests;
mod text;
#[allow(dead_code, reason = "shapes are only made into schemas")]
mod vars;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Every schema with its name: the one for `fleet` belongs into `schemas/fleet.json`.
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("bellwether", crate::config::schema()),
        ("compose", compose::schema()),
        ("fleet", schema::<vars::Fleet>()),
        ("inventory", schema::<vars::Inventory>()),
        ("os", schema::<release::OsImage>()),
        ("release", schema::<release::Release>()),
        ("vars", schema::<vars::Vars>()),
    ]
}

/// Every schema as a file: its path below `folder`, and its text.
pub fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    schemas().into_iter().map(|(name, schema)| (folder.join(format!("{name}.json")), text(&schema))).collect()
}

/// A schema as it is written to a file.
pub fn text(schema: &Value) -> String {
    let mut text =
        serde_json::to_string_pretty(schema).expect("a schema has only string keys, so it can be written as JSON");
    text.push('\n');
    text
}

fn schema<T: JsonSchema>() -> Value {
    // Draft 7 is what editors' YAML servers understand best.
    let schema: Schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    schema.to_value()
}
