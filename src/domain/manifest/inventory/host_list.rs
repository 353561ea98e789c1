//! An inventory that is only names: `a.example,b.example:2222,`.

use super::builder::{Builder, Entity, GroupIndex};
use super::document::port_node;
use super::{UNGROUPED, address};
use crate::domain::manifest::vars::Vars;
use crate::domain::manifest::yaml::Span;
use std::sync::Arc;

/// An inventory that is only names.
#[derive(Clone, Copy, Debug)]
pub struct HostList;

impl HostList {
    /// Adds the names to an inventory. There are no ranges here: brackets are part of a name, unless an address stands in them.
    pub fn read(list: &str, builder: &mut Builder) {
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let whole = address::Target { pattern: text, port: None };
            let target = address::parsed(text).filter(|target| !target.pattern.contains('['));
            let address::Target { pattern, port } = target.unwrap_or(whole);
            if builder.known_host(pattern).is_some() {
                continue;
            }
            let host = builder.host(GroupIndex(UNGROUPED), pattern, Span::default());
            if let Some(port) = port {
                let vars = Vars::free(&"-i".into(), &port_node(port, Span::default()));
                builder.vars(Entity::Host(host), Arc::new(vars));
            }
        }
    }
}
