//! One service of a Compose file.

use super::words::{dollars, split};
use super::{Service, keys, mounts, ports};
use crate::domain::finding::codes;
use crate::domain::ids::{ServiceName, VariableName};
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys, Setting};
use crate::domain::manifest::vars::Strictness;
use crate::domain::manifest::yaml::{Field, Kind, Node, Span};
use crate::domain::spec::{Network, Restart, ServiceSpec};
use std::collections::{BTreeMap, BTreeSet};

/// Text as Compose reads it: `$$` is a dollar, a variable of the shell is refused.
pub(super) fn text(node: &Node, what: &str, problems: &mut Problems) -> Option<String> {
    let text = read::text(node, what, problems)?;
    let plain = dollars(text);
    if plain.is_none() {
        let message = format!("{what} refers to a variable of the shell, and there is none here");
        let hint = "write `$$` for a dollar, and set variables with `variables:` in vars files";
        problems.error_hint(node.span, codes::INTERPOLATION, message, hint);
    }
    plain
}

pub(super) fn read(field: &Field, strictness: Strictness, problems: &mut Problems) -> Option<Service> {
    let node = &field.value;
    let mut service = Service { span: field.key.span, spec: ServiceSpec::of_image(""), environment: BTreeMap::new() };
    let spec = &mut service.spec;
    let mut image = None;
    for field in read::fields(node, &keys::SERVICE, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "image" => image = self::image(value, strictness, problems),
            "entrypoint" => spec.entrypoint = command(value, "`entrypoint`", problems),
            "command" => spec.command = command(value, "`command`", problems),
            "environment" => service.environment = environment(value, problems),
            "restart" => spec.restart = restart(value, problems).unwrap_or_default(),
            "ports" => spec.ports = ports::read(value, problems),
            "volumes" => spec.mounts = mounts::read(value, problems),
            "labels" => spec.labels = labels(value, problems),
            "user" => spec.user = text(value, "`user`", problems).filter(|user| !user.is_empty()),
            "working_dir" => spec.working_dir = working_dir(value, problems),
            "network_mode" => spec.network = network(value, problems).unwrap_or_default(),
            "networks" => networks(value, problems),
            "depends_on" => spec.depends_on = depends_on(value, problems),
            _ => {
                if read::boolean(value, "`privileged`", problems) == Some(true) {
                    problems.error(value.span, codes::PRIVILEGED, "the service asks for all rights on the host");
                }
            }
        }
    }
    if spec.network != Network::App && !spec.ports.is_empty() {
        let message = "`ports` and `network_mode` cannot stand together";
        problems.error(field.key.span, codes::OPTION_CONFLICT, message);
    }
    if image.is_none() && !matches!(&node.kind, Kind::Map(map) if map.value("image").is_some()) {
        read::missing(field.key.span, "the service", "image", problems);
    }
    service.spec.image = image?;
    Some(service)
}

fn image(node: &Node, strictness: Strictness, problems: &mut Problems) -> Option<String> {
    let text = text(node, "`image`", problems)?;
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text.as_str(), None),
    };
    let name_fits = !name.is_empty()
        && name.len() <= 255
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':'))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let digest_fits = digest.is_none_or(|digest| digest.parse::<crate::domain::digest::Digest>().is_ok());
    if !name_fits || !digest_fits {
        let message = format!("`{}` is not the reference of an image", show(&text));
        let hint = "write `registry/name@sha256:` and 64 hexadecimal digits";
        problems.error_hint(node.span, codes::BAD_IMAGE, message, hint);
        return None;
    }
    if digest.is_none() {
        let message = format!("`{}` is named by a tag, which can move", show(&text));
        let hint = "name it by digest: `name@sha256:…`";
        match strictness {
            Strictness::Strict => problems.error_hint(node.span, codes::IMAGE_BY_TAG, message, hint),
            Strictness::Lenient => problems.warning(node.span, codes::IMAGE_BY_TAG, message, Some(hint.to_owned())),
        }
    }
    Some(text)
}

/// A command line, or its words.
fn command(node: &Node, what: &str, problems: &mut Problems) -> Option<Vec<String>> {
    match &node.kind {
        _ if node.is_null() => None,
        Kind::List(_) => {
            let errors = problems.errors();
            let words: Vec<String> =
                read::list(node, what, problems)?.iter().filter_map(|word| text(word, what, problems)).collect();
            (problems.errors() == errors).then_some(words)
        }
        Kind::Scalar(_) | Kind::Map(_) => match split(&text(node, what, problems)?) {
            Ok(words) => Some(words),
            Err(error) => {
                problems.error(node.span, codes::BAD_COMMAND, format!("{what} cannot be split into words: {error}"));
                None
            }
        },
    }
}

/// `NAME: value`, or `- NAME=value`.
fn environment(node: &Node, problems: &mut Problems) -> BTreeMap<VariableName, Setting<String>> {
    let mut all = BTreeMap::new();
    let mut add = |name: &str, span: Span, value: Option<String>, problems: &mut Problems| {
        let Some(name) = read::parse_name::<VariableName>(name, span, problems) else { return };
        if name.as_str().starts_with("BELLWETHER_") {
            let message = format!("`{name}` begins with `BELLWETHER_`, which belongs to Bellwether");
            return problems.error(span, codes::RESERVED_NAME, message);
        }
        let again = value.is_some() && all.insert(name.clone(), Setting { span, value }).is_some();
        if again {
            problems.error(span, codes::DUPLICATE_KEY, format!("the variable `{name}` is set twice"));
        }
    };
    match &node.kind {
        _ if node.is_null() => {}
        Kind::Map(_) => {
            for field in read::map(node, "`environment`", problems).map_or(&[][..], |map| &map.entries) {
                let value = if field.value.is_null() {
                    from_shell(&field.key.text, field.key.span, problems);
                    None
                } else {
                    text(&field.value, "a variable", problems)
                };
                add(&field.key.text, field.key.span, value, problems);
            }
        }
        Kind::List(_) | Kind::Scalar(_) => {
            for item in read::list(node, "`environment`", problems).unwrap_or_default() {
                let Some(line) = text(item, "a variable", problems) else { continue };
                match line.split_once('=') {
                    Some((name, value)) => add(name, item.span, Some(value.to_owned()), problems),
                    None => from_shell(&line, item.span, problems),
                }
            }
        }
    }
    all
}

fn from_shell(name: &str, span: Span, problems: &mut Problems) {
    let message =
        format!("`{}` has no value: Compose would take it from the shell, and there is none here", show(name));
    problems.error_hint(span, codes::INTERPOLATION, message, "give it a value, or take it away");
}

fn restart(node: &Node, problems: &mut Problems) -> Option<Restart> {
    let text = text(node, "`restart`", problems)?;
    let restart = match text.as_str() {
        "always" => Some(Restart::Always),
        "unless-stopped" => Some(Restart::UnlessStopped),
        "no" => Some(Restart::No),
        "on-failure" => Some(Restart::OnFailure(0)),
        other => other.strip_prefix("on-failure:").and_then(|times| times.parse().ok()).map(Restart::OnFailure),
    };
    if restart.is_none() {
        let message = format!("`{}` is not a restart policy", show(&text));
        let hint = "write `always`, `unless-stopped`, `on-failure`, `on-failure:5` or `\"no\"`";
        problems.error_hint(node.span, codes::BAD_VALUE, message, hint);
    }
    restart
}

/// `key: value`, or `- key=value`.
fn labels(node: &Node, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut add = |key: &str, value: String, span: Span, problems: &mut Problems| {
        if key.is_empty() || key.len() > 256 || key.chars().any(char::is_control) {
            return problems.error(span, codes::BAD_NAME, format!("`{}` is not the key of a label", show(key)));
        }
        if key == "bellwether" || key.starts_with("bellwether.") {
            let message = format!("`{}` begins with `bellwether.`, which belongs to Bellwether", show(key));
            return problems.error(span, codes::RESERVED_NAME, message);
        }
        all.insert(key.to_owned(), value);
    };
    match &node.kind {
        _ if node.is_null() => {}
        Kind::Map(_) => {
            for field in read::map(node, "`labels`", problems).map_or(&[][..], |map| &map.entries) {
                let value =
                    if field.value.is_null() { Some(String::new()) } else { text(&field.value, "a label", problems) };
                if let Some(value) = value {
                    add(&field.key.text, value, field.key.span, problems);
                }
            }
        }
        Kind::List(_) | Kind::Scalar(_) => {
            for item in read::list(node, "`labels`", problems).unwrap_or_default() {
                let Some(line) = text(item, "a label", problems) else { continue };
                let (key, value) = line.split_once('=').unwrap_or((&line, ""));
                add(key, value.to_owned(), item.span, problems);
            }
        }
    }
    all
}

fn working_dir(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = text(node, "`working_dir`", problems)?;
    if !text.starts_with('/') {
        let message = format!("`{}` is not an absolute path", show(&text));
        problems.error(node.span, codes::BAD_VALUE, message);
        return None;
    }
    Some(text)
}

fn network(node: &Node, problems: &mut Problems) -> Option<Network> {
    let text = text(node, "`network_mode`", problems)?;
    match text.as_str() {
        "host" => Some(Network::Host),
        "none" => Some(Network::None),
        _ => {
            let message = format!("`{}` is not a network mode that is supported", show(&text));
            problems.error_hint(node.span, codes::BAD_VALUE, message, "write `host` or `none`, or leave it out");
            None
        }
    }
}

/// Only the app's own network.
fn networks(node: &Node, problems: &mut Problems) {
    let names: Vec<(&str, Span)> = match &node.kind {
        Kind::Map(map) => map.entries.iter().map(|field| (&*field.key.text, field.key.span)).collect(),
        Kind::List(_) | Kind::Scalar(_) => read::list(node, "`networks`", problems)
            .unwrap_or_default()
            .iter()
            .filter_map(|item| Some((read::text(item, "a network", problems)?, item.span)))
            .collect(),
    };
    for (name, span) in names {
        if name != "default" {
            let message = format!("the network `{}` is not supported yet", show(name));
            problems.error_hint(
                span,
                codes::UNSUPPORTED_KEY,
                message,
                "services of an app share its `default` network",
            );
        }
    }
}

/// `- name`, or `name: {condition: service_started}`.
fn depends_on(node: &Node, problems: &mut Problems) -> BTreeSet<ServiceName> {
    const KEYS: Keys = Keys {
        what: "a dependency",
        known: &["condition"],
        later: &["restart", "required"],
        extensions: Extensions::Unknown,
    };
    let mut all = BTreeSet::new();
    match &node.kind {
        Kind::Map(_) => {
            for field in read::map(node, "`depends_on`", problems).map_or(&[][..], |map| &map.entries) {
                all.extend(read::parse_name::<ServiceName>(&field.key.text, field.key.span, problems));
                if field.value.is_null() {
                    continue;
                }
                for condition in read::fields(&field.value, &KEYS, problems).unwrap_or_default() {
                    let Some(text) = text(&condition.value, "`condition`", problems) else { continue };
                    if text != "service_started" {
                        let message = format!("the condition `{}` is not supported yet", show(&text));
                        problems.error_hint(
                            condition.value.span,
                            codes::UNSUPPORTED_KEY,
                            message,
                            "write `service_started`",
                        );
                    }
                }
            }
        }
        Kind::List(_) | Kind::Scalar(_) => {
            for item in read::list(node, "`depends_on`", problems).unwrap_or_default() {
                all.extend(read::name::<ServiceName>(item, "a service", problems));
            }
        }
    }
    all
}
