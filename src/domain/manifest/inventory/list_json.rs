//! A list of devices as `ansible-inventory --list` prints it, read into an [`Inventory`].
//!
//! With `--export` variables stay with their groups; without it they were laid over each other and stand with each host. Lists of
//! a million hosts are read in one go: nothing of them is held as a tree, and variables that are written alike are one value.

use super::document::PRIORITY;
use super::{Builder, Entity, GroupIndex, Inventory};
use crate::domain::digest::Digest;
use crate::domain::finding::codes;
use crate::domain::manifest::json::{JsonError, Reader};
use crate::domain::manifest::problems::{Draft, Problems, show};
use crate::domain::manifest::scalar::{Typed, typed};
use crate::domain::manifest::vars::{KeyRules, Standing, Vars};
use crate::domain::manifest::yaml::{Key, Kind, Node, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest list, in bytes: a million devices with a hundred bytes each, and room for variables.
pub const MAX_LIST_BYTES: usize = 256 << 20;
/// The longest name of a group or a host, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// Variables that were read before, so that a list that changes in one place gives the very same values for all others.
#[derive(Debug, Default)]
pub struct Kept {
    known: BTreeMap<(Digest, KeyRules), Arc<Vars>>,
    used: BTreeMap<(Digest, KeyRules), Arc<Vars>>,
}

impl Kept {
    fn value(&mut self, text: &str, rules: &KeyRules, read: impl FnOnce() -> Vars) -> Arc<Vars> {
        let key = (Digest::of(text.as_bytes()), rules.clone());
        if let Some(vars) = self.used.get(&key) {
            return vars.clone();
        }
        let vars = self.known.remove(&key).unwrap_or_else(|| Arc::new(read()));
        self.used.insert(key, vars.clone());
        vars
    }

    /// Forgets what was not used since the last time.
    pub fn sweep(&mut self) {
        self.known = std::mem::take(&mut self.used);
    }
}

/// A list that could be read.
#[derive(Debug)]
pub struct ListBuilder {
    /// Groups and hosts.
    pub builder: Builder,
    /// Nothing that makes it useless, so far.
    pub structure: Problems,
    /// What concerns no host in particular.
    pub loose: Problems,
}

/// Reads a list. `name` is what places in it are called.
pub fn read_list(name: &Arc<str>, bytes: &[u8], rules: &KeyRules, kept: &mut Kept) -> Inventory {
    match list_builder(name, bytes, rules, kept) {
        Ok(ListBuilder { builder, structure, loose }) => Inventory::of(builder, structure, loose),
        Err(findings) => Inventory { findings, ..Inventory::default() },
    }
}

/// Reads a list, or says what makes it useless.
pub fn list_builder(
    name: &Arc<str>,
    bytes: &[u8],
    rules: &KeyRules,
    kept: &mut Kept,
) -> Result<ListBuilder, Vec<Draft>> {
    let mut problems = Problems::new(name);
    let loose = Problems::new(name);
    if bytes.len() > MAX_LIST_BYTES {
        let message = format!("the list has {} bytes; at most {MAX_LIST_BYTES} are read", bytes.len());
        problems.error(Span::default(), codes::TOO_LARGE, message);
        return Err(problems.finish());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        problems.error(Span::default(), codes::BAD_JSON, "the list is not UTF-8");
        return Err(problems.finish());
    };
    let mut list = List { text, name, rules, kept, builder: Builder::default(), problems, loose };
    if let Err(Stop) = list.read() {
        return Err(list.problems.finish());
    }
    let List { builder, problems, mut loose, .. } = list;
    if problems.errors() > 0 {
        return Err(problems.finish());
    }
    for (name, span) in builder.collisions().take(20) {
        let message = format!("`{}` is both a host and a group", show(name));
        let hint = "Ansible gives the host's variables to the group".to_owned();
        loose.warning(span, codes::HOST_NAMED_AS_GROUP, message, Some(hint));
    }
    Ok(ListBuilder { builder, structure: problems, loose })
}

/// The rest cannot be read; why is in the problems.
struct Stop;

impl From<JsonError> for Stop {
    fn from(_: JsonError) -> Self {
        Self
    }
}

struct List<'a> {
    text: &'a str,
    name: &'a Arc<str>,
    rules: &'a KeyRules,
    kept: &'a mut Kept,
    builder: Builder,
    problems: Problems,
    loose: Problems,
}

/// What stands on the top level, before it is read.
#[derive(Default)]
struct Places<'a> {
    groups: Vec<(Key, Reader<'a>)>,
    hostvars: Option<Reader<'a>>,
}

impl<'a> List<'a> {
    fn read(&mut self) -> Result<(), Stop> {
        let places = self.places()?;
        for (key, mut reader) in places.groups {
            self.group(&key, &mut reader)?;
        }
        match places.hostvars {
            Some(mut reader) => self.hostvars(&mut reader),
            None => Ok(()),
        }
    }

    /// Says why the list is no JSON.
    fn told<T>(&mut self, result: Result<T, JsonError>) -> Result<T, Stop> {
        result.map_err(|JsonError { span, message }| {
            let hint = "the list that was accepted last goes on counting";
            self.problems.error_hint(span, codes::BAD_JSON, message, hint);
            Stop
        })
    }

    fn wrong(&mut self, span: Span, message: String) {
        self.problems.error(span, codes::WRONG_TYPE, message);
    }

    /// Looks through the whole text once: groups must be known before variables of their hosts are read.
    fn places(&mut self) -> Result<Places<'a>, Stop> {
        let mut reader = Reader::new(self.text);
        if reader.peek() != Some(b'{') {
            self.problems.error(reader.span(), codes::BAD_JSON, "the list must be an object of groups");
            return Err(Stop);
        }
        let mut places = Places::default();
        let looked = reader.object(|reader, key| {
            if &*key.text != "_meta" {
                places.groups.push((key, *reader));
                return reader.skip();
            }
            if reader.peek() != Some(b'{') {
                return reader.skip();
            }
            reader.object(|reader, key| {
                if &*key.text == "hostvars" {
                    places.hostvars = Some(*reader);
                }
                reader.skip()
            })
        });
        let looked = looked.and_then(|()| reader.end());
        self.told(looked)?;
        Ok(places)
    }

    fn named(&mut self, key: &Key) -> Option<GroupIndex> {
        let name = &*key.text;
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains('/') || name.chars().any(char::is_control) {
            self.problems.error(key.span, codes::BAD_NAME, format!("`{}` is not a group name", show(name)));
            return None;
        }
        match self.builder.group(name, key.span) {
            Ok(group) => Some(group),
            Err(error) => {
                self.problems.error(key.span, codes::TOO_LARGE, error.to_string());
                None
            }
        }
    }

    /// A group: an object, or only its hosts.
    fn group(&mut self, key: &Key, reader: &mut Reader<'a>) -> Result<(), Stop> {
        let Some(group) = self.named(key) else { return Ok(()) };
        match reader.peek() {
            Some(b'[') => self.hosts(group, reader),
            Some(b'{') => reader.object(|reader, field| match &*field.text {
                "hosts" => self.hosts(group, reader),
                "children" => self.children(group, reader),
                "vars" => self.group_vars(group, reader),
                other => {
                    // A mistyped `hosts` would lose devices without a word.
                    let message = format!("a group has no key `{}`", show(other));
                    let hint = "known keys: children, hosts, vars";
                    self.problems.error_hint(field.span, codes::UNKNOWN_KEY, message, hint);
                    Ok(reader.skip()?)
                }
            }),
            _ => {
                let message = format!("the group `{}` must be an object or a list of hosts", show(&key.text));
                self.wrong(reader.span(), message);
                Ok(reader.skip()?)
            }
        }
    }

    /// Calls `each` with every name of a list.
    fn names(&mut self, what: &str, reader: &mut Reader<'a>, mut each: impl FnMut(&mut Self, Key)) -> Result<(), Stop> {
        if reader.peek() != Some(b'[') {
            self.wrong(reader.span(), format!("`{what}` must be a list of names"));
            return Ok(reader.skip()?);
        }
        reader.array(|reader| {
            if reader.peek() != Some(b'"') {
                self.wrong(reader.span(), format!("`{what}` must be a list of names"));
                return Ok(reader.skip()?);
            }
            let (span, text) = reader.string()?;
            each(self, Key { span, text: text.into(), style: crate::domain::manifest::yaml::Style::Double });
            Ok::<(), Stop>(())
        })
    }

    fn hosts(&mut self, group: GroupIndex, reader: &mut Reader<'a>) -> Result<(), Stop> {
        self.names("hosts", reader, |list, key| {
            if key.text.is_empty() || key.text.len() > MAX_NAME_BYTES {
                let message = format!("`{}` is not a host name", show(&key.text));
                return list.problems.error(key.span, codes::BAD_NAME, message);
            }
            list.builder.host(group, &key.text, key.span);
        })
    }

    fn children(&mut self, group: GroupIndex, reader: &mut Reader<'a>) -> Result<(), Stop> {
        self.names("children", reader, |list, key| {
            if let Some(child) = list.named(&key) {
                list.builder.child(group, child);
            }
        })
    }

    fn group_vars(&mut self, group: GroupIndex, reader: &mut Reader<'a>) -> Result<(), Stop> {
        let (node, vars) = self.vars(reader)?;
        if let Kind::Map(map) = &node.kind
            && let Some(Node { kind: Kind::Scalar(scalar), span, .. }) = map.value(PRIORITY)
        {
            match typed(scalar) {
                Typed::Int(number) if i64::try_from(number).is_ok() => self.builder.priority(group, number as i64),
                _ => {
                    let message = "`ansible_group_priority` must be a whole number";
                    self.problems.error(*span, codes::BAD_NUMBER, message);
                }
            }
        }
        self.builder.vars(Entity::Group(group), vars);
        Ok(())
    }

    fn vars(&mut self, reader: &mut Reader<'a>) -> Result<(Node, Arc<Vars>), Stop> {
        let node = reader.node()?;
        let (name, rules) = (self.name, self.rules);
        let text = self.text.get(node.span.start as usize..node.span.end as usize).unwrap_or_default();
        let vars = self.kept.value(text, rules, || Vars::from_node(name, &node, rules, Standing::Open));
        Ok((node, vars))
    }

    fn hostvars(&mut self, reader: &mut Reader<'a>) -> Result<(), Stop> {
        if reader.peek() != Some(b'{') {
            self.wrong(reader.span(), "`hostvars` must be an object of hosts".to_owned());
            return Ok(());
        }
        reader.object(|reader, key| {
            let Some(host) = self.builder.known_host(&key.text) else {
                // Ansible leaves it out too, and says nothing.
                let message = format!("`{}` has variables, and no group lists it", show(&key.text));
                let hint = "a device belongs into a group, such as `ungrouped`".to_owned();
                self.loose.warning(key.span, codes::HOST_IN_NO_GROUP, message, Some(hint));
                return Ok::<(), Stop>(reader.skip()?);
            };
            let start = *reader;
            let begin = reader.span().start as usize;
            if self.text[begin..].starts_with("{}") {
                return Ok(reader.skip()?);
            }
            // Most hosts say what another one said: then nothing is built.
            reader.skip()?;
            let end = reader.offset();
            let text = self.text.get(begin..end).unwrap_or_default();
            let (name, rules) = (self.name, self.rules);
            let vars = self.kept.value(text, rules, || {
                let mut again = start;
                match again.node() {
                    Ok(node) => Vars::from_node(name, &node, rules, Standing::Open),
                    Err(JsonError { span, message }) => {
                        Vars::unreadable(Draft::error(name, span, codes::BAD_JSON, message))
                    }
                }
            });
            let entity = self.builder.entity(host);
            self.builder.vars(entity, vars);
            Ok(())
        })
    }
}
