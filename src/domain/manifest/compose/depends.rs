//! What a service depends on.

use super::forms::{parsed, texts};
use super::table::DEPENDENCY;
use crate::domain::ids::ServiceName;
use crate::domain::manifest::problems::Problems;
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Kind, Node};
use crate::domain::spec::{Dependency, Renewal, Until};
use std::collections::BTreeSet;

/// `- name`, or `name: {condition: service_healthy}`; and those that may be missing.
pub(super) fn read(node: &Node, problems: &mut Problems) -> (BTreeSet<Dependency>, BTreeSet<ServiceName>) {
    let (mut all, mut optional) = (BTreeSet::new(), BTreeSet::new());
    if !matches!(node.kind, Kind::Map(_)) {
        for (name, span) in texts(node, "`depends_on`", problems) {
            all.extend(read::parse_name::<ServiceName>(&name, span, problems).map(Dependency::from));
        }
        return (all, optional);
    }
    for field in read::map(node, "`depends_on`", problems).map_or(&[][..], |map| &map.entries) {
        let Some(service) = read::parse_name::<ServiceName>(&field.key.text, field.key.span, problems) else {
            continue;
        };
        let mut dependency = Dependency::from(service);
        let fields = if field.value.is_null() { None } else { DEPENDENCY.fields(&field.value, problems) };
        for field in fields.unwrap_or_default() {
            let value = &field.value;
            match &*field.key.text {
                "condition" => dependency.until = until(value, problems).unwrap_or_default(),
                "restart" if read::boolean(value, "`restart`", problems) == Some(true) => {
                    dependency.renewal = Renewal::Restarted;
                }
                "required" if read::boolean(value, "`required`", problems) == Some(false) => {
                    optional.insert(dependency.service.clone());
                }
                _ => {}
            }
        }
        all.insert(dependency);
    }
    (all, optional)
}

fn until(node: &Node, problems: &mut Problems) -> Option<Until> {
    let hint = "write `service_started`, `service_healthy` or `service_completed_successfully`";
    parsed(node, "a condition", hint, problems, |text| match text {
        "service_started" => Some(Until::Started),
        "service_healthy" => Some(Until::Healthy),
        "service_completed_successfully" => Some(Until::Completed),
        _ => None,
    })
}
