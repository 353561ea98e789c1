//! An inventory file in YAML or JSON, read into a [`Builder`].

use super::address;
use super::builder::{Builder, Entity, GroupIndex};
use super::range;
use crate::domain::finding::codes;
use crate::domain::manifest::near::nearest;
use crate::domain::manifest::problems::{Draft, Problems, show};
use crate::domain::manifest::scalar::{Typed, integer_of, typed};
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::yaml::{Field, Key, Kind, Map, Node, Scalar, Span, Style, parse};
use std::sync::Arc;

/// What becomes of slips that Ansible passes over with a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slips {
    /// Errors: of a fleet nothing may be lost without a word.
    Errors,
    /// Warnings, and the same answer as Ansible's.
    Warnings,
}

/// Turns inline variables into [`Vars`]; callers may answer with a value that they have kept.
pub type Inline<'a> = &'a mut dyn FnMut(&Node) -> Arc<Vars>;

/// What was found on the way, beside what went into the builder.
#[derive(Debug)]
pub struct Found {
    /// What makes the file useless.
    pub structure: Problems,
    /// What concerns no host in particular.
    pub loose: Problems,
}

/// Reads one file into a builder, over what other files put there.
pub fn read(file: &Arc<str>, bytes: &[u8], slips: Slips, builder: &mut Builder, inline: Inline<'_>) -> Found {
    let found = Found { structure: Problems::new(file), loose: Problems::new(file) };
    let mut reader = Reader { inline, slips, builder, found };
    match parse(bytes) {
        Ok(Some(node)) if !node.is_null() => reader.top(&node),
        Ok(_) => {
            reader.found.structure.error(Span::default(), codes::EMPTY_INVENTORY, "the inventory is empty");
        }
        Err(error) => reader.found.structure.yaml(error),
    }
    reader.found
}

struct Reader<'a> {
    inline: Inline<'a>,
    slips: Slips,
    builder: &'a mut Builder,
    found: Found,
}

impl Reader<'_> {
    fn top(&mut self, node: &Node) {
        let Kind::Map(map) = &node.kind else {
            let message = format!("the inventory must be a mapping of groups, not {}", node.describe());
            return self.found.structure.error(node.span, codes::WRONG_TYPE, message);
        };
        if let Some(field) = map.entries.iter().find(|field| &*field.key.text == "plugin" && !field.value.is_null()) {
            let message = "this configures an inventory plugin, which only Ansible can run";
            let hint = "write down what it finds: ansible-inventory --list --export --yaml";
            return self.found.structure.error_hint(field.key.span, codes::NOT_AN_INVENTORY, message, hint);
        }
        self.duplicates(map);
        let mut groups = 0;
        for field in &map.entries {
            groups += usize::from(self.group(field).is_some());
        }
        // Ansible would go on with a fleet that has no devices.
        if groups == 0 && !map.entries.is_empty() && self.found.structure.errors() == 0 {
            let message = "nothing in this inventory is a group";
            let hint = "a group is a mapping with `hosts`, `children` or `vars`";
            self.found.structure.error_hint(node.span, codes::EMPTY_INVENTORY, message, hint);
        }
    }

    /// Of equal keys the last counts; Ansible says so in a warning.
    fn duplicates(&mut self, map: &Map) {
        for key in &map.duplicates {
            let message = format!("the key `{}` stands here and again further down", show(&key.text));
            self.slip(key.span, codes::DUPLICATE_KEY, message, "keep one of them".to_owned());
        }
    }

    fn slip(&mut self, span: Span, code: crate::domain::finding::Code, message: String, hint: String) {
        match self.slips {
            Slips::Errors => self.found.structure.error_hint(span, code, message, hint),
            Slips::Warnings => self.found.loose.warning(span, code, message, Some(hint)),
        }
    }

    /// A key that must be text by the rules of YAML 1.1, as names must.
    fn is_text(&mut self, key: &Key, what: &str) -> bool {
        let scalar = Scalar { text: key.text.clone(), style: key.style };
        if matches!(typed(&scalar), Typed::Text(_)) {
            return true;
        }
        let message = format!("`{}` is not text in YAML, so it cannot name a {what}", show(&key.text));
        self.found.structure.error_hint(key.span, codes::BAD_NAME, message, "put it in quotes");
        false
    }

    /// Reads a group and gives its index. Recursion is bounded by the depth of the document.
    fn group(&mut self, field: &Field) -> Option<GroupIndex> {
        let name = &*field.key.text;
        let span = field.key.span;
        let body = match &field.value.kind {
            _ if field.value.is_null() => None,
            Kind::Map(map) => Some(map),
            Kind::Scalar(_) | Kind::List(_) => {
                let message = format!("the group `{}` must be a mapping, not {}", show(name), field.value.describe());
                self.slip(field.value.span, codes::WRONG_TYPE, message, "Ansible leaves it out".to_owned());
                return None;
            }
        };
        if !self.is_text(&field.key, "group") {
            return None;
        }
        let unfit = name.len() > 128 || name.contains('/') || name.chars().any(char::is_control);
        if name.is_empty() || (unfit && self.slips == Slips::Errors) {
            let message = format!("`{}` is not a group name", show(name));
            self.found.structure.error(span, codes::BAD_NAME, message);
            return None;
        }
        match self.builder.group(name, span) {
            Ok(group) => {
                body.into_iter().for_each(|map| self.body(group, map));
                Some(group)
            }
            Err(error) => {
                self.found.structure.error(span, codes::TOO_LARGE, error.to_string());
                None
            }
        }
    }

    fn body(&mut self, group: GroupIndex, map: &Map) {
        self.duplicates(map);
        for field in &map.entries {
            match &*field.key.text {
                "vars" | "children" | "hosts" if field.value.is_null() => {}
                "vars" => self.group_vars(group, &field.value),
                "children" => self.children(group, &field.value),
                "hosts" => self.hosts(group, &field.value),
                _ => self.other(field),
            }
        }
    }

    fn other(&mut self, field: &Field) {
        let key = &*field.key.text;
        let message = format!("a group has no key `{}`", show(key));
        match nearest(key, ["vars", "children", "hosts"]) {
            // Devices would be lost without a word.
            Some(near) => self.slip(field.key.span, codes::UNKNOWN_KEY, message, format!("did you mean `{near}`?")),
            None => {
                let hint = Some("Ansible ignores it; known keys: vars, children, hosts".to_owned());
                self.found.loose.warning(field.key.span, codes::UNKNOWN_KEY, message, hint);
            }
        }
    }

    fn group_vars(&mut self, group: GroupIndex, node: &Node) {
        self.vars(Entity::Group(group), node);
    }

    fn vars(&mut self, entity: Entity, node: &Node) {
        if let (Entity::Group(group), Kind::Map(map)) = (entity, &node.kind)
            && let Some(priority) = map.value(PRIORITY)
        {
            match whole_number(priority) {
                Some(number) => self.builder.priority(group, number),
                None => {
                    let message = "`ansible_group_priority` must be a whole number";
                    self.found.structure.error(priority.span, codes::BAD_NUMBER, message);
                }
            }
        }
        let vars = (self.inline)(node);
        self.builder.vars(entity, vars);
    }

    fn children(&mut self, group: GroupIndex, node: &Node) {
        let single;
        let map = match &node.kind {
            Kind::Map(map) => map,
            Kind::Scalar(scalar) if matches!(typed(scalar), Typed::Text(_)) => {
                single = one_entry(scalar, node.span);
                &single
            }
            Kind::Scalar(_) | Kind::List(_) => {
                let message = format!("`children` must be a mapping, not {}", node.describe());
                return self.found.structure.error(node.span, codes::WRONG_TYPE, message);
            }
        };
        self.duplicates(map);
        for field in &map.entries {
            let is_body = field.value.is_null() || matches!(field.value.kind, Kind::Map(_));
            let child = if is_body { self.group(field) } else { self.mentioned(field) };
            if let Some(child) = child {
                self.builder.child(group, child);
            }
        }
    }

    /// A child whose body is no mapping: Ansible takes the group where it was mentioned before, and else nothing of the file.
    fn mentioned(&mut self, field: &Field) -> Option<GroupIndex> {
        let known = self.builder.known_group(&field.key.text);
        let name = show(&field.key.text);
        let message = format!("the group `{name}` must be a mapping, not {}", field.value.describe());
        let (span, code) = (field.value.span, codes::WRONG_TYPE);
        match known {
            Some(_) => self.slip(span, code, message, "Ansible takes it as it was mentioned before".to_owned()),
            None => self.found.structure.error_hint(span, code, message, "write a mapping, or nothing"),
        }
        known
    }

    fn hosts(&mut self, group: GroupIndex, node: &Node) {
        match &node.kind {
            Kind::Map(map) => {
                for field in &map.entries {
                    let twice = map.duplicates.iter().any(|key| key.text == field.key.text);
                    self.host_pattern(group, &field.key, Some(&field.value), twice);
                }
            }
            Kind::Scalar(Scalar { text, style }) => {
                let key = Key { span: node.span, text: text.clone(), style: *style };
                self.host_pattern(group, &key, None, false);
            }
            Kind::List(_) => {
                let message = "`hosts` must be a mapping, not a list";
                let hint = "write `name:` with a colon for each host";
                self.found.structure.error_hint(node.span, codes::WRONG_TYPE, message, hint);
            }
        }
    }

    fn host_pattern(&mut self, group: GroupIndex, key: &Key, vars: Option<&Node>, twice: bool) {
        if !self.is_text(key, "host") {
            return;
        }
        let address::Target { pattern, port } = address::target(&key.text);
        let names = match range::expand(pattern) {
            Ok(names) => names,
            Err(error) => return self.found.structure.error(key.span, codes::BAD_NAME, error.to_string()),
        };
        if names.iter().any(String::is_empty) {
            return self.found.structure.error(key.span, codes::BAD_NAME, "a host must have a name");
        }
        let problem = self.host_problem(key, vars, twice);
        for name in names {
            self.host(group, &name, key, port, vars, problem.as_ref());
        }
    }

    /// Why the line of a host cannot be relied on. Only this host is touched, where Ansible would drop the whole file.
    fn host_problem(&mut self, key: &Key, vars: Option<&Node>, twice: bool) -> Option<Draft> {
        let file = self.found.structure.file().clone();
        if twice {
            let message = format!("the host `{}` stands twice in this mapping", show(&key.text));
            match self.slips {
                Slips::Errors => {
                    let draft = Draft::error(&file, key.span, codes::DUPLICATE_KEY, message);
                    return Some(draft.hint("keep one of them"));
                }
                Slips::Warnings => {
                    let hint = Some("Ansible takes the last one".to_owned());
                    self.found.loose.warning(key.span, codes::DUPLICATE_KEY, message, hint);
                }
            }
        }
        let node = vars.filter(|node| !is_falsy(node) && !matches!(node.kind, Kind::Map(_)))?;
        let message = format!("the variables of `{}` must be a mapping, not {}", show(&key.text), node.describe());
        Some(Draft::error(&file, node.span, codes::WRONG_TYPE, message))
    }

    fn host(
        &mut self,
        group: GroupIndex,
        name: &str,
        key: &Key,
        port: Option<&str>,
        vars: Option<&Node>,
        problem: Option<&Draft>,
    ) {
        let is_new = self.builder.known_host(name).is_none();
        let host = self.builder.host(group, name, key.span);
        if let Some(port) = port.filter(|_| is_new) {
            let vars = (self.inline)(&port_node(port, key.span));
            self.builder.host_vars(host, vars);
        }
        if let Some(node) = vars.filter(|node| matches!(node.kind, Kind::Map(_))) {
            self.vars(self.builder.entity(host), node);
        }
        if let Some(problem) = problem {
            self.builder.problem(host, problem.clone());
        }
    }
}

/// The inline variable of a group that sets its priority, and is none of the variables of its hosts.
pub const PRIORITY: &str = "ansible_group_priority";

/// `hosts: name` and `children: name` are short for a mapping with one key.
fn one_entry(scalar: &Scalar, span: Span) -> Map {
    let nothing = Node { span, tag: None, kind: Kind::Scalar(Scalar { text: "".into(), style: Style::Plain }) };
    let key = Key { span, text: scalar.text.clone(), style: scalar.style };
    Map { entries: vec![Field { key, value: nothing }], duplicates: Vec::new() }
}

/// `{ansible_port: …}`, which is what `name:2222` means.
pub(super) fn port_node(port: &str, span: Span) -> Node {
    let text: Box<str> = match port.trim_start_matches('0') {
        "" => "0".into(),
        digits => digits.into(),
    };
    let value = Node { span, tag: None, kind: Kind::Scalar(Scalar { text, style: Style::Plain }) };
    let key = Key { span, text: "ansible_port".into(), style: Style::Plain };
    Node { span, tag: None, kind: Kind::Map(Map { entries: vec![Field { key, value }], duplicates: Vec::new() }) }
}

/// What Python takes for nothing: `hosts: {a: false}` is the same as `hosts: {a: }`.
fn is_falsy(node: &Node) -> bool {
    match &node.kind {
        Kind::List(items) => items.is_empty(),
        Kind::Map(map) => map.entries.is_empty(),
        Kind::Scalar(scalar) => match typed(scalar) {
            Typed::Null | Typed::Bool(false) | Typed::Int(0) => true,
            Typed::Text(text) => text.is_empty(),
            Typed::Float(number) => number == 0.0,
            Typed::Bool(true) | Typed::Int(_) | Typed::BigInt(_) | Typed::Date(_) => false,
        },
    }
}

/// A whole number by the rules of Python's `int()`: also in quotes, and cut off where it has a fraction.
fn whole_number(node: &Node) -> Option<i64> {
    let Kind::Scalar(scalar) = &node.kind else { return None };
    match typed(scalar) {
        Typed::Int(number) => i64::try_from(number).ok(),
        Typed::Bool(truth) => Some(i64::from(truth)),
        Typed::Float(number) if number.abs() < 1e15 => Some(number as i64),
        Typed::Text(text) => integer_of(text.trim()),
        Typed::Float(_) | Typed::Null | Typed::BigInt(_) | Typed::Date(_) => None,
    }
}
