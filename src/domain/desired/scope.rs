//! What templates of one device see: its free variables, merged as Ansible merges them, and what Ansible says of a host.
//!
//! Variables are looked at only when a template names them, and may be templates themselves. They see nothing of other devices,
//! so what a device comes to depends on its own files alone.

use super::layers::Layers;
use crate::domain::finding::codes;
use crate::domain::ids::DeviceId;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::Draft;
use crate::domain::manifest::template::{
    Fault, Out, OutPiece, SecretPieces, Template, evaluate, is_template, literal, render,
};
use crate::domain::manifest::yaml::{Kind, Node, Span};
use minijinja::value::Value;
use minijinja::{Error, ErrorKind};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many variables may be looked up through each other. Inventories that people keep have two or three levels.
const MAX_DEPTH: usize = 16;
/// How many templates one value may make necessary. A value that names more than this is a program.
const MAX_RENDERED: usize = 256;

/// What a template may name besides variables.
const ABOUT: &[&str] = &["inventory_hostname", "inventory_hostname_short", "group_names"];

/// The variables of one device.
pub struct Scope<'a> {
    device: &'a DeviceId,
    groups: &'a [Arc<str>],
    layers: &'a Layers<'a>,
    free: OnceCell<BTreeMap<&'a str, (&'a Arc<str>, &'a Node)>>,
}

/// A variable that a template used, for explanations.
#[derive(Clone, Copy, Debug)]
pub struct Used<'a> {
    /// Its name.
    pub name: &'a str,
    /// The file that says what it is.
    pub file: &'a Arc<str>,
    /// Its value as written.
    pub node: &'a Node,
}

/// How far a look-up has come.
struct Walk<'a> {
    names: Vec<&'a str>,
    rendered: usize,
}

impl<'a> Scope<'a> {
    /// The variables of a device.
    pub fn new(device: &'a DeviceId, groups: &'a [Arc<str>], layers: &'a Layers<'a>) -> Self {
        Self { device, groups, layers, free: OnceCell::new() }
    }

    /// Merged as Ansible does it: what is written higher replaces what is written lower, as a whole.
    fn free(&self) -> &BTreeMap<&'a str, (&'a Arc<str>, &'a Node)> {
        self.free.get_or_init(|| {
            let fields = self.layers.sources().flat_map(|vars| vars.free.iter().map(move |field| (&vars.file, field)));
            fields.map(|(file, field)| (&*field.key.text, (file, &field.value))).collect()
        })
    }

    /// Renders a template that stands in this file.
    pub fn render(&self, file: &Arc<str>, template: &Template) -> Result<Out, Box<Draft>> {
        let mut walk = Walk { names: Vec::new(), rendered: 0 };
        let context = self.context(template, &mut walk);
        render(template, &context).map_err(|fault| Box::new(self.draft(file, template, fault)))
    }

    /// The variables that a template names, and those that they name in turn.
    pub fn used(&self, template: &Template) -> Vec<Used<'a>> {
        let mut found: BTreeMap<&'a str, Used<'a>> = BTreeMap::new();
        let mut waiting: Vec<Box<str>> = template.names.to_vec();
        while let Some(name) = waiting.pop() {
            let Some((&name, &(file, node))) = self.free().get_key_value(&*name) else { continue };
            if found.len() >= MAX_RENDERED || found.contains_key(name) {
                continue;
            }
            found.insert(name, Used { name, file, node });
            for text in texts(node).into_iter().filter(|text| is_template(text)) {
                waiting.extend(Template::new(text, Span::default()).map(|one| one.names.to_vec()).unwrap_or_default());
            }
        }
        found.into_values().collect()
    }

    /// The values that a template names. What cannot be had becomes a value that fails when it is used, not before.
    fn context(&self, template: &Template, walk: &mut Walk<'a>) -> Value {
        let values = template.names.iter().filter_map(|name| Some((name.to_string(), self.value(name, walk)?)));
        values.collect::<BTreeMap<String, Value>>().into()
    }

    fn value(&self, name: &str, walk: &mut Walk<'a>) -> Option<Value> {
        match name {
            "inventory_hostname" => return Some(Value::from(self.device.as_str())),
            "inventory_hostname_short" => return Some(Value::from(self.device.as_str().split('.').next())),
            "group_names" => {
                let mut names: Vec<String> = self.groups.iter().map(ToString::to_string).collect();
                names.sort_unstable();
                return Some(Value::from(names));
            }
            _ => {}
        }
        let (&name, &(file, node)) = self.free().get_key_value(name)?;
        if walk.names.contains(&name) {
            let circle: Vec<&str> = walk.names.iter().copied().skip_while(|one| *one != name).collect();
            let message = format!("the variables refer to each other in a circle: {} -> {name}", circle.join(" -> "));
            return Some(failed(message));
        }
        if walk.names.len() >= MAX_DEPTH {
            return Some(failed(format!("variables refer to each other more than {MAX_DEPTH} levels deep")));
        }
        walk.names.push(name);
        let value = self.node(file, node, walk);
        walk.names.pop();
        Some(value)
    }

    fn node(&self, file: &Arc<str>, node: &'a Node, walk: &mut Walk<'a>) -> Value {
        match (&node.kind, node.tag.as_deref()) {
            (_, Some("!vault" | "!vault-encrypted")) => {
                failed("the variable is encrypted with ansible-vault; Bellwether does not decrypt it".to_owned())
            }
            (Kind::Scalar(scalar), Some("!unsafe")) => Value::from(&*scalar.text),
            (Kind::Scalar(scalar), _) if is_template(&scalar.text) => self.nested(file, &scalar.text, node.span, walk),
            (Kind::Scalar(scalar), _) => literal(scalar),
            (Kind::List(items), _) => items.iter().map(|item| self.node(file, item, walk)).collect::<Vec<_>>().into(),
            (Kind::Map(map), _) => map
                .entries
                .iter()
                .map(|field| (field.key.text.to_string(), self.node(file, &field.value, walk)))
                .collect::<BTreeMap<_, _>>()
                .into(),
        }
    }

    /// A variable that is a template itself. One that is a single expression keeps the type of its value.
    fn nested(&self, file: &Arc<str>, text: &str, span: Span, walk: &mut Walk<'a>) -> Value {
        walk.rendered += 1;
        if walk.rendered > MAX_RENDERED {
            return failed(format!("the value makes more than {MAX_RENDERED} templates necessary"));
        }
        let told = |fault: Fault| {
            let name = walk.names.last().copied().unwrap_or_default();
            let undefined = fault.undefined.as_deref().and_then(|name| self.near(name));
            let hint = undefined.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            failed(format!("{} in `{name}` ({file}:{}){hint}", fault.message, span.line))
        };
        let template = match Template::new(text, span) {
            Ok(template) => template,
            Err(fault) => return told(fault),
        };
        let names = walk.names.len();
        let mut inner = Walk { names: walk.names.clone(), rendered: walk.rendered };
        let context = self.context(&template, &mut inner);
        debug_assert_eq!(inner.names.len(), names, "every look-up takes back what it pushed");
        let value = match evaluate(&template, &context) {
            Some(Ok(value)) => value,
            Some(Err(fault)) => told(fault),
            None => match render(&template, &context) {
                Ok(Out::Text(text)) => Value::from(text),
                Ok(Out::Secret(pieces)) => Value::from_object(SecretPieces(pieces)),
                Err(fault) => told(fault),
            },
        };
        walk.rendered = inner.rendered;
        value
    }

    fn near(&self, name: &str) -> Option<&str> {
        let known = self.free().keys().copied().chain(ABOUT.iter().copied());
        nearest(name, known)
    }

    fn draft(&self, file: &Arc<str>, template: &Template, fault: Fault) -> Draft {
        let near = fault.undefined.as_deref().and_then(|name| self.near(name));
        let mut hint = near.map(|near| format!("did you mean `{near}`?")).or(fault.hint.clone());
        if hint.is_none() && fault.undefined.is_some() {
            hint = Some("set it as a variable, or give a value with `default(…)`".to_owned());
        }
        let code = if fault.undefined.is_some() { codes::UNDEFINED_VARIABLE } else { codes::TEMPLATE };
        Draft::error(file, fault.place(&template.source, template.span), code, fault.message.clone()).maybe_hint(hint)
    }
}

fn failed(message: String) -> Value {
    Value::from(Error::new(ErrorKind::InvalidOperation, message))
}

/// Every text in a value.
fn texts(node: &Node) -> Vec<&str> {
    match &node.kind {
        Kind::Scalar(scalar) => vec![&scalar.text],
        Kind::List(items) => items.iter().flat_map(texts).collect(),
        Kind::Map(map) => map.entries.iter().flat_map(|field| texts(&field.value)).collect(),
    }
}

/// The text of what came out, if no secret is in it.
pub fn plain(out: Out, what: &str) -> Result<String, Fault> {
    match out {
        Out::Text(text) => Ok(text),
        Out::Secret(pieces) => {
            let named = pieces.iter().find_map(|piece| match piece {
                OutPiece::Secret(name, _) => Some(name.as_str()),
                OutPiece::Text(_) => None,
            });
            let message = format!("{what} cannot hold the secret `{}`", named.unwrap_or_default());
            let mut fault = Fault::new(message);
            fault.hint = Some("secrets can stand in `variables` and in contents of `config.files`".to_owned());
            Err(fault)
        }
    }
}
