//! What is known of one device, source by source.

use super::{Attribute, Source, Value};
use crate::domain::desired::FreeVariables;
use crate::domain::fleet::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of one device. Each source is `None` where nobody can know it here, which is not the same as empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The device's name.
    pub device: &'a str,
    /// The stage that owns it: unknown, none, or this one.
    pub stage: Option<Option<&'a str>>,
    /// The kind of hardware: unknown, none, or this one.
    pub device_type: Option<Option<&'a str>>,
    /// Groups of the inventory.
    pub groups: Option<&'a BTreeSet<String>>,
    /// `tags` in Git.
    pub tags: Option<&'a BTreeMap<String, String>>,
    /// `labels` in Git.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Free variables in Git: unknown, none, or these.
    pub vars: Option<Option<&'a Arc<FreeVariables>>>,
    /// What the device says.
    pub reported: Option<&'a BTreeMap<String, String>>,
    /// What operators say.
    pub registry: Option<&'a Registry>,
}

/// What looking for an attribute comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is this.
    Value(Value),
    /// It is not there.
    Absent,
    /// It is there and cannot be read: encrypted, or a template, which may hold a secret.
    Closed,
    /// Nobody here can know.
    Unknown,
}

impl<'a> Facts<'a> {
    /// Looks for one attribute.
    pub fn find(&self, attribute: &Attribute) -> Found {
        let name = &*attribute.name;
        let text = |text: &str| Value::Text(text.into());
        let found = match attribute.source {
            Source::Reported => self.reported.map(|all| all.get(name).map(|value| text(value))),
            Source::Registry => self.registry.map(|all| all.attributes.get(name).map(|one| text(&one.value))),
            Source::Tags => self.tags.map(|all| all.get(name).map(|value| text(value))),
            Source::Labels => self.labels.map(|all| all.get(name).map(|value| text(value))),
            Source::Variables => {
                return match self.vars {
                    None => Found::Unknown,
                    Some(None) => Found::Absent,
                    Some(Some(vars)) => vars.find(name),
                };
            }
            Source::Device => match name {
                "device" => Some(Some(text(self.device))),
                "stage" => self.stage.map(|stage| stage.map(text)),
                "device_type" => self.device_type.map(|device_type| device_type.map(text)),
                _ => Some(None),
            },
        };
        match found {
            Some(Some(value)) => Found::Value(value),
            Some(None) => Found::Absent,
            None => Found::Unknown,
        }
    }

    /// Every attribute that is there, in no particular order. Variables are not among them: there may be very many, and nobody
    /// asks for most.
    pub fn visit(&self, mut visit: impl FnMut(Source, &'a str, &'a str)) {
        for (name, value) in self.reported.into_iter().flatten() {
            visit(Source::Reported, name, value);
        }
        for (name, one) in self.registry.iter().flat_map(|registry| &registry.attributes) {
            visit(Source::Registry, name.as_str(), &one.value);
        }
        for (name, value) in self.tags.into_iter().flatten() {
            visit(Source::Tags, name, value);
        }
        for (name, value) in self.labels.into_iter().flatten() {
            visit(Source::Labels, name, value);
        }
        for (name, value) in [("stage", self.stage), ("device_type", self.device_type)] {
            if let Some(Some(value)) = value {
                visit(Source::Device, name, value);
            }
        }
    }

    /// Which names of a source nobody here can know: all, or these of [`Source::Device`].
    pub fn unknown(&self, mut visit: impl FnMut(Unknown)) {
        let sources = [
            (Source::Reported, self.reported.is_none()),
            (Source::Registry, self.registry.is_none()),
            (Source::Tags, self.tags.is_none()),
            (Source::Labels, self.labels.is_none()),
            (Source::Variables, self.vars.is_none()),
        ];
        for (source, unknown) in sources {
            if unknown {
                visit(Unknown::Source(source));
            }
        }
        if self.stage.is_none() {
            visit(Unknown::Stage);
        }
        if self.device_type.is_none() {
            visit(Unknown::DeviceType);
        }
        if self.groups.is_none() {
            visit(Unknown::Groups);
        }
    }
}

/// Something that nobody here can know of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// All that this source says.
    Source(Source),
    /// Which stage owns it.
    Stage,
    /// What kind of hardware it is.
    DeviceType,
    /// In which groups of the inventory it is.
    Groups,
}

impl Unknown {
    /// What is unknown when an attribute is.
    pub fn of(attribute: &Attribute) -> Option<Self> {
        match attribute.source {
            Source::Device => match &*attribute.name {
                "stage" => Some(Self::Stage),
                "device_type" => Some(Self::DeviceType),
                _ => None,
            },
            source => Some(Self::Source(source)),
        }
    }
}
