//! Volumes of a service, in Compose's short and long forms. Only named volumes; a path of the host is refused.

use super::service::text;
use crate::domain::finding::codes;
use crate::domain::ids::VolumeName;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys};
use crate::domain::manifest::yaml::{Kind, Node, Span};
use crate::domain::spec::{Access, Mount};
use std::collections::BTreeMap;

const FORMS: &str = "write `data:/data`, `data:/data:ro` or `{type: volume, source: data, target: /data}`";

pub(super) fn read(node: &Node, problems: &mut Problems) -> BTreeMap<String, Mount> {
    let mut mounts = BTreeMap::new();
    for item in read::list(node, "`volumes`", problems).unwrap_or_default() {
        let mount = match item.kind {
            Kind::Map(_) => long(item, problems),
            Kind::Scalar(_) | Kind::List(_) => short(item, problems),
        };
        let Some((target, mount)) = mount else { continue };
        if mounts.insert(target.clone(), mount).is_some() {
            let message = format!("two volumes are mounted at `{}`", show(&target));
            problems.error(item.span, codes::BAD_VOLUME, message);
        }
    }
    mounts
}

fn bad(span: Span, shown: &str, problems: &mut Problems) {
    let message = format!("`{}` is not a volume that can be mounted", show(shown));
    problems.error_hint(span, codes::BAD_VOLUME, message, FORMS);
}

fn short(node: &Node, problems: &mut Problems) -> Option<(String, Mount)> {
    let text = text(node, "a volume", problems)?;
    let mut parts = text.split(':');
    let (source, target, mode) = (parts.next()?, parts.next(), parts.next());
    let access = match mode {
        None | Some("rw") => Some(Access::ReadWrite),
        Some("ro") => Some(Access::ReadOnly),
        Some(_) => None,
    };
    match (target, access, parts.next()) {
        (Some(target), Some(access), None) => mount(source, target, access, node.span, problems),
        _ => {
            bad(node.span, &text, problems);
            None
        }
    }
}

fn long(node: &Node, problems: &mut Problems) -> Option<(String, Mount)> {
    const KEYS: Keys = Keys {
        what: "a volume",
        known: &["type", "source", "target", "read_only"],
        later: &["bind", "volume", "tmpfs", "image", "consistency"],
        extensions: Extensions::Ignored,
    };
    let errors = problems.errors();
    let (mut source, mut target, mut access) = (None, None, Access::ReadWrite);
    for field in read::fields(node, &KEYS, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "type" => match text(value, "`type`", problems)?.as_str() {
                "volume" => {}
                "bind" => refuse_bind(value.span, "a path of the host", problems),
                other => bad(value.span, other, problems),
            },
            "source" => source = text(value, "`source`", problems),
            "target" => target = text(value, "`target`", problems),
            _ => {
                if read::boolean(value, "`read_only`", problems) == Some(true) {
                    access = Access::ReadOnly;
                }
            }
        }
    }
    if problems.errors() > errors {
        return None;
    }
    match (source, target) {
        (Some(source), Some(target)) => mount(&source, &target, access, node.span, problems),
        _ => {
            problems.error_hint(node.span, codes::MISSING_KEY, "a volume needs `source` and `target`", FORMS);
            None
        }
    }
}

fn refuse_bind(span: Span, shown: &str, problems: &mut Problems) {
    let message = format!("`{}` would give the service a part of the host", show(shown));
    problems.error_hint(span, codes::BIND_MOUNT, message, "use a named volume");
}

fn mount(source: &str, target: &str, access: Access, span: Span, problems: &mut Problems) -> Option<(String, Mount)> {
    if source.starts_with(['/', '.', '~']) {
        refuse_bind(span, source, problems);
        return None;
    }
    let Some(target) = absolute(target) else {
        bad(span, target, problems);
        return None;
    };
    let volume = read::parse_name::<VolumeName>(source, span, problems)?;
    Some((target, Mount { volume, access }))
}

/// The path as the engine reports it back: absolute, without a slash at the end, `.` or `..`.
fn absolute(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').filter(|part| !part.is_empty()).collect();
    let fits = !parts.is_empty() && parts.iter().all(|part| !matches!(*part, "." | ".."));
    (fits && !path.chars().any(char::is_control)).then(|| format!("/{}", parts.join("/")))
}
