//! An inventory as one file, whatever it was read from: groups inside groups, each written where it is first named, with the values
//! that stood beside names. Values keep their texts, so that typed keys read in them what was written.

use super::graph::{Graph, GraphGroup};
use super::{ALL, PRIORITY};
use crate::domain::manifest::ansible_value::key_text;
use crate::domain::manifest::scalar::{Typed, typed};
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::yaml::{Field, Key, Scalar, Span, Style, write};
use std::fmt::Write as _;
use std::sync::Arc;

impl Graph {
    /// The inventory as one file: groups, hosts, and what was written of them inline.
    pub fn written(&self) -> String {
        let (groups, hosts) = (vec![false; self.groups.len()], vec![false; self.hosts.len()]);
        let mut writing = Writing { graph: self, groups, hosts, text: String::new() };
        writing.group(ALL, 0);
        writing.text
    }
}

struct Writing<'a> {
    graph: &'a Graph,
    /// Which groups were written.
    groups: Vec<bool>,
    /// Which hosts were written with their variables.
    hosts: Vec<bool>,
    text: String,
}

impl Writing<'_> {
    /// Recursion is bounded by the number of groups, which have no circles.
    fn group(&mut self, group: usize, indent: usize) {
        let known = &self.graph.groups[group];
        self.name(&known.name, indent);
        if std::mem::replace(&mut self.groups[group], true) {
            return self.text.push_str(":\n");
        }
        self.text.push_str(":\n");
        let vars = effective(&known.vars);
        let vars = vars.into_iter().filter(|field| &*field.key.text != PRIORITY).collect::<Vec<_>>();
        if known.priority != 1 || !vars.is_empty() {
            self.line("vars:", indent + 2);
            if known.priority != 1 {
                let _ = writeln!(self.text, "{:1$}{PRIORITY}: {2}", "", indent + 4, known.priority);
            }
            self.fields(&vars, indent + 4);
        }
        let hosts = self.own_hosts(group, known);
        if !hosts.is_empty() {
            self.line("hosts:", indent + 2);
            hosts.into_iter().for_each(|host| self.host(host, indent + 4));
        }
        if !known.children.is_empty() {
            self.line("children:", indent + 2);
            known.children.iter().for_each(|&child| self.group(child, indent + 4));
        }
    }

    /// Hosts of `all` stand in other groups too, at least in `ungrouped`.
    fn own_hosts(&self, group: usize, known: &GraphGroup) -> Vec<usize> {
        if group == ALL { Vec::new() } else { known.hosts.clone() }
    }

    fn host(&mut self, host: usize, indent: usize) {
        let known = &self.graph.hosts[host];
        self.name(&known.name, indent);
        self.text.push_str(":\n");
        if !std::mem::replace(&mut self.hosts[host], true) {
            self.fields(&effective(&known.vars), indent + 2);
        }
    }

    fn fields(&mut self, fields: &[&Field], indent: usize) {
        for field in fields {
            let _ = write!(self.text, "{:indent$}", "");
            write::key(&field.key, &mut self.text);
            self.text.push(':');
            write::field(&field.value, indent, &mut self.text);
        }
    }

    fn line(&mut self, words: &str, indent: usize) {
        let _ = writeln!(self.text, "{:indent$}{words}", "");
    }

    /// A name, which is text whatever it looks like.
    fn name(&mut self, name: &Arc<str>, indent: usize) {
        let plain = Scalar { text: (&**name).into(), style: Style::Plain };
        let begins = name.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/'));
        let is_text = begins && matches!(typed(&plain), Typed::Text(_));
        let style = if is_text { Style::Plain } else { Style::Single };
        let _ = write!(self.text, "{:indent$}", "");
        write::key(&Key { span: Span::default(), text: plain.text, style }, &mut self.text);
    }
}

/// What several sources say together, where a later one replaces an earlier one as a whole, in the order of first mention.
fn effective(vars: &[Arc<Vars>]) -> Vec<&Field> {
    let mut fields: Vec<&Field> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for field in vars.iter().flat_map(|vars| &vars.free) {
        match places.entry(key_text(&field.key)) {
            std::collections::btree_map::Entry::Occupied(place) => fields[*place.get()] = field,
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(fields.len());
                fields.push(field);
            }
        }
    }
    fields
}
