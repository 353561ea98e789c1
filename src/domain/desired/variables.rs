//! The free variables of one device, as filters read them: where they stand, typed as YAML 1.1 has it, and never rendered.
//!
//! Nothing is copied. The values stay in the files of the commit that counts, which are kept anyway, and are shared by all
//! devices whose groups say the same; a filter looks for the one name that it asks for.

use super::device::Inputs;
use super::layers::{Layer, Stack};
use crate::domain::filter::facts::Found;
use crate::domain::filter::{STEP, Value};
use crate::domain::manifest::ansible_value::{Resolved, resolved};
use crate::domain::manifest::scalar::{Typed, iso_format};
use crate::domain::manifest::template::is_template;
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::yaml::{Kind, Node};
use std::sync::Arc;

/// What a device's vars files and its groups say under keys that have no meaning to Bellwether.
#[derive(Clone, Debug, Default)]
pub struct FreeVariables {
    stack: Arc<Stack>,
    /// What is said of the device alone, from low to high.
    own: Box<[Arc<Vars>]>,
}

impl FreeVariables {
    /// Those of a device that these files feed.
    pub fn of(inputs: &Inputs) -> Self {
        Self { stack: inputs.stack.clone(), own: inputs.inline.iter().chain(&inputs.files).cloned().collect() }
    }

    /// Those of a device of which only these files speak, from low to high.
    pub fn of_files(files: Vec<Arc<Vars>>) -> Self {
        let layers: Vec<Layer> = vec![files];
        Self { stack: Arc::new(Stack { groups: Vec::new(), layers }), own: Box::default() }
    }

    /// What its groups say, as a number that is the same for all devices with the same groups.
    pub fn shared(&self) -> usize {
        Arc::as_ptr(&self.stack).addr()
    }

    /// Looks for a variable. Steps into mappings are parted by [`STEP`].
    pub fn find(&self, path: &str) -> Found {
        self.find_own(path).unwrap_or_else(|| self.find_shared(path))
    }

    /// The same among what is said of the device alone. `None` if that does not mention it.
    pub fn find_own(&self, path: &str) -> Option<Found> {
        let (name, rest) = parted(path);
        self.own.iter().rev().find_map(|vars| written(vars, name)).map(|node| below(node, rest))
    }

    /// The same among what its groups say.
    pub fn find_shared(&self, path: &str) -> Found {
        let (name, rest) = parted(path);
        let sources = self.stack.layers.iter().rev().flat_map(|layer| layer.iter().rev());
        sources.into_iter().find_map(|vars| written(vars, name)).map_or(Found::Absent, |node| below(node, rest))
    }

    /// The names of those that are said of the device alone, some perhaps several times.
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        self.own.iter().flat_map(|vars| &vars.free).map(|field| &*field.key.text)
    }

    /// The names of all variables, some perhaps several times.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let sources = self.stack.layers.iter().flatten().chain(&self.own);
        sources.flat_map(|vars| &vars.free).map(|field| &*field.key.text)
    }
}

/// Two are equal if the same is written in the same places.
impl PartialEq for FreeVariables {
    fn eq(&self, other: &Self) -> bool {
        let free = |all: &Self| -> Vec<Arc<Vars>> {
            all.stack.layers.iter().flatten().chain(&all.own).filter(|vars| !vars.free.is_empty()).cloned().collect()
        };
        let (ours, theirs) = (free(self), free(other));
        ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs) || ours.free == theirs.free)
    }
}

fn parted(path: &str) -> (&str, Option<&str>) {
    path.split_once(STEP).map_or((path, None), |(name, rest)| (name, Some(rest)))
}

fn written<'a>(vars: &'a Vars, name: &str) -> Option<&'a Node> {
    vars.free.iter().rev().find(|field| &*field.key.text == name).map(|field| &field.value)
}

/// What stands at the end of the steps.
fn below(node: &Node, rest: Option<&str>) -> Found {
    let mut node = node;
    for step in rest.into_iter().flat_map(|rest| rest.split(STEP)) {
        match &node.kind {
            Kind::Map(map) => match map.value(step) {
                Some(value) => node = value,
                None => return Found::Absent,
            },
            // What is in there cannot be read.
            Kind::Scalar(_) if value(node) == Found::Closed => return Found::Closed,
            Kind::Scalar(_) | Kind::List(_) => return Found::Absent,
        }
    }
    value(node)
}

/// The value of a node, unless it is encrypted or would have to be rendered first, which may take a secret.
fn value(node: &Node) -> Found {
    let Kind::Scalar(scalar) = &node.kind else { return Found::Value(Value::Other) };
    let typed = match resolved(node.tag.as_deref(), scalar) {
        Resolved::Vault(_) => return Found::Closed,
        Resolved::Plain(_) if is_template(&scalar.text) => return Found::Closed,
        Resolved::Plain(typed) | Resolved::Unsafe(typed) => typed,
    };
    Found::Value(match typed {
        Typed::Null => Value::Other,
        Typed::Bool(value) => Value::Bool(value),
        Typed::Int(value) => i64::try_from(value).map_or(Value::Double(value as f64), Value::Int),
        // A text of digits is always a number, if perhaps an infinite one.
        Typed::BigInt(digits) => digits.parse().map_or(Value::Other, Value::Double),
        Typed::Float(value) => Value::Double(value),
        Typed::Date(text) => Value::Text(iso_format(&text).into()),
        Typed::Text(text) => Value::Text(text.into()),
    })
}
