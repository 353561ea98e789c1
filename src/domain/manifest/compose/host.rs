//! What a service asks of the host and the engine: devices, capabilities, namespaces, the log.

use super::forms::{bad, pairs, parsed, text, texts};
use super::service::checked;
use super::table::{DEVICE, LOGGING};
use crate::domain::ids::ServiceName;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Field, Kind, Node};
use crate::domain::spec::{DeviceNode, Logging, Namespace, Options};
use std::collections::{BTreeMap, BTreeSet};

/// Reads the field, if it is one of these.
pub(super) fn read(options: &mut Options, field: &Field, problems: &mut Problems) -> bool {
    let value = &field.value;
    match &*field.key.text {
        "cap_add" => options.cap_add = capabilities(value, "`cap_add`", problems),
        "cap_drop" => options.cap_drop = capabilities(value, "`cap_drop`", problems),
        "cgroup" => options.cgroup = namespace(value, &["host", "private"], problems),
        "cgroup_parent" => options.cgroup_parent = text(value, "`cgroup_parent`", problems),
        "device_cgroup_rules" => {
            let rules = texts(value, "`device_cgroup_rules`", problems);
            let hint = "write a rule such as `c 188:* rmw`";
            options.device_cgroup_rules =
                checked(rules, "a rule for devices", hint, problems, device_rule).into_iter().collect();
        }
        "devices" => options.devices = devices(value, problems),
        "group_add" => {
            options.group_add = texts(value, "`group_add`", problems).into_iter().map(|(group, _)| group).collect();
        }
        "ipc" => {
            options.ipc = namespace(value, &["host", "none", "private", "shareable", "service:NAME"], problems);
        }
        "pid" if value.is_null() => {}
        "pid" => options.pid = namespace(value, &["host", "service:NAME"], problems),
        "runtime" => {
            let takes = |text: &str| ServiceName::new(text).is_ok().then(|| text.to_owned());
            options.runtime = parsed(value, "a runtime", "write its name in the engine", problems, takes);
        }
        "security_opt" => {
            let all = texts(value, "`security_opt`", problems);
            let hint = "write `no-new-privileges:true`, `apparmor:…`, `label:…` or `seccomp:unconfined`";
            options.security_opt =
                checked(all, "a security option here", hint, problems, security).into_iter().collect();
        }
        "sysctls" => {
            for pair in pairs(value, "`sysctls`", problems) {
                options.sysctls.insert(pair.key, pair.value.unwrap_or_default());
            }
        }
        "userns_mode" => options.userns_mode = namespace(value, &["host"], problems),
        "uts" => options.uts = namespace(value, &["host"], problems),
        _ => return false,
    }
    true
}

fn capabilities(node: &Node, what: &str, problems: &mut Problems) -> BTreeSet<String> {
    let fits = |name: &str| {
        (2..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'0'..=b'9'))
    };
    let names = checked(texts(node, what, problems), "a capability", "write a name such as NET_ADMIN", problems, fits);
    let bare = |name: String| {
        let name = name.to_ascii_uppercase();
        name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)
    };
    names.into_iter().map(bare).collect()
}

/// One of these namespaces; `service:NAME` stands for any service.
fn namespace(node: &Node, takes: &[&str], problems: &mut Problems) -> Option<Namespace> {
    let hint = format!("write {}", takes.join(", "));
    parsed(node, "a namespace of this kind", &hint, problems, |text| {
        if let Some(service) = text.strip_prefix("service:") {
            return service.parse().ok().filter(|_| takes.contains(&"service:NAME")).map(Namespace::Service);
        }
        let namespace = match text {
            "host" => Namespace::Host,
            "none" => Namespace::None,
            "private" => Namespace::Private,
            "shareable" => Namespace::Shareable,
            _ => return None,
        };
        takes.contains(&text).then_some(namespace)
    })
}

/// `type major:minor rights`.
fn device_rule(text: &str) -> bool {
    let number = |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let mut words = text.split(' ');
    let (Some(kind), Some(numbers), Some(rights), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    matches!(kind, "a" | "b" | "c")
        && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
        && permissions(rights).is_some()
}

fn permissions(text: &str) -> Option<String> {
    let fits = (1..=3).contains(&text.len()) && text.chars().all(|c| matches!(c, 'r' | 'w' | 'm'));
    fits.then(|| text.to_owned())
}

fn security(text: &str) -> bool {
    let (key, value) = text.split_once(['=', ':']).unwrap_or((text, ""));
    match key {
        "no-new-privileges" | "apparmor" | "label" => true,
        "seccomp" => matches!(value, "unconfined" | "builtin"),
        _ => false,
    }
}

fn devices(node: &Node, problems: &mut Problems) -> BTreeMap<String, DeviceNode> {
    const HINT: &str = "write `/dev/ttyUSB0`, `/dev/ttyUSB0:/dev/modem` or `/dev/ttyUSB0:/dev/modem:rw`";
    let mut all = BTreeMap::new();
    for item in read::list(node, "`devices`", problems).unwrap_or_default() {
        let (source, target, rights) = match item.kind {
            Kind::Map(_) => long_device(item, problems),
            Kind::Scalar(_) | Kind::List(_) => {
                let Some(line) = text(item, "a device", problems) else { continue };
                let mut parts = line.splitn(3, ':').map(str::to_owned);
                (parts.next(), parts.next(), parts.next())
            }
        };
        let source = source.unwrap_or_default();
        // As Compose does, a second part of rights alone is not a path.
        let (target, rights) = match (target, rights) {
            (Some(target), None) if permissions(&target).is_some() => (None, Some(target)),
            parts => parts,
        };
        let target = target.unwrap_or_else(|| source.clone());
        let rights = permissions(&rights.unwrap_or_else(|| "rwm".to_owned()));
        let is_path = |path: &str| path.starts_with('/') && !path.contains("..") && !path.chars().any(char::is_control);
        match rights {
            Some(permissions) if is_path(&source) && is_path(&target) => {
                all.insert(target, DeviceNode { source, permissions });
            }
            _ => bad(item.span, format!("`{}` cannot be a device of the host", show(&source)), HINT, problems),
        }
    }
    all
}

fn long_device(node: &Node, problems: &mut Problems) -> (Option<String>, Option<String>, Option<String>) {
    let (mut source, mut target, mut rights) = (None, None, None);
    for field in DEVICE.fields(node, problems).unwrap_or_default() {
        let text = text(&field.value, "a device", problems);
        match &*field.key.text {
            "source" => source = text,
            "target" => target = text,
            _ => rights = text,
        }
    }
    (source, target, rights)
}

/// Driver and options of the log.
pub(super) fn logging(node: &Node, problems: &mut Problems) -> Option<Logging> {
    let mut logging = Logging::default();
    for field in LOGGING.fields(node, problems)? {
        match &*field.key.text {
            "driver" => {
                let takes = |text: &str| ServiceName::new(text).is_ok().then(|| text.to_owned());
                logging.driver = parsed(&field.value, "a log driver", "write its name in the engine", problems, takes);
            }
            _ => {
                for pair in pairs(&field.value, "`options`", problems) {
                    logging.options.insert(pair.key, pair.value.unwrap_or_default());
                }
            }
        }
    }
    (logging != Logging::default()).then_some(logging)
}
