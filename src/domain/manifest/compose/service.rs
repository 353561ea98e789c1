//! One service of a Compose file.

use super::forms::{bad, one_or_many, pairs, parsed, text, texts};
use super::table::SERVICE;
use super::units::nanos;
use super::words::split;
use super::{HostRights, Service, depends, health, host, mounts, network, own, ports, resources};
use crate::domain::finding::codes;
use crate::domain::ids::VariableName;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Setting};
use crate::domain::manifest::vars::Strictness;
use crate::domain::manifest::yaml::{Field, Kind, Node, Span};
use crate::domain::spec::{MAX_STOP_GRACE_SECS, Network, Restart, ServiceSpec, Switch};
use std::collections::{BTreeMap, BTreeSet};

/// How strictly a file is read, and what it may ask of the host.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What becomes of things that are allowed but doubtful.
    pub strictness: Strictness,
    /// What services may have of the host.
    pub rights: &'a HostRights,
}

pub(super) fn read(span: Span, node: &Node, rules: Rules<'_>, problems: &mut Problems) -> Option<Service> {
    let mut service = Service::new(span);
    let fields = SERVICE.fields(node, problems)?;
    for field in &fields {
        if !basic(&mut service, field, rules, problems)
            && !resources::read(&mut service.spec.options, field, problems)
            && !host::read(&mut service.spec.options, field, problems)
        {
            other(&mut service, field, problems);
        }
    }
    own::read(node, &mut service.spec, problems);
    service.written = written(node);
    resources::check(&service.spec.options, span, problems);
    check(&service.spec, span, problems);
    if service.spec.image.is_empty() {
        if !matches!(&node.kind, Kind::Map(map) if map.value("image").is_some()) {
            read::missing(span, "the service", "image", problems);
        }
        return None;
    }
    Some(service)
}

fn written(node: &Node) -> Vec<Field> {
    let Kind::Map(map) = &node.kind else { return Vec::new() };
    let counts = |field: &&Field| !field.key.text.starts_with("x-") || &*field.key.text == own::KEY;
    map.entries.iter().filter(counts).cloned().collect()
}

/// What the service runs, and how it is reached.
fn basic(service: &mut Service, field: &Field, rules: Rules<'_>, problems: &mut Problems) -> bool {
    let (value, spec) = (&field.value, &mut service.spec);
    match &*field.key.text {
        "image" => spec.image = self::image(value, rules.strictness, problems).unwrap_or_default(),
        "entrypoint" => spec.entrypoint = command(value, "`entrypoint`", problems),
        "command" => spec.command = command(value, "`command`", problems),
        "environment" => service.environment = environment(value, problems),
        "restart" => spec.restart = restart(value, problems).unwrap_or_default(),
        "ports" => spec.ports = ports::read(value, problems),
        "volumes" => mounts::read(value, rules.rights, spec, problems),
        "tmpfs" => mounts::tmpfs(value, spec, problems),
        "labels" => spec.labels = labels(value, problems),
        "user" => spec.user = text(value, "`user`", problems).filter(|user| !user.is_empty()),
        "working_dir" => spec.working_dir = working_dir(value, problems),
        "network_mode" => {
            let network = network::mode(value, problems);
            spec.network = network.clone().unwrap_or_default();
            service.names_network_mode = network.is_some();
        }
        "networks" => spec.networks = network::attachments(value, problems),
        "depends_on" => (spec.depends_on, service.optional) = depends::read(value, problems),
        "healthcheck" => spec.healthcheck = health::read(value, problems),
        "privileged" => switch(spec, value, Switch::Privileged, problems),
        "profiles" => service.profiles = profiles(value, problems),
        _ => return false,
    }
    if &*field.key.text == "privileged" && spec.options.switches.contains(&Switch::Privileged) {
        rules.rights.check_privileged(value.span, problems);
    }
    true
}

/// How its process is run and stopped.
fn other(service: &mut Service, field: &Field, problems: &mut Problems) {
    let (value, spec) = (&field.value, &mut service.spec);
    match &*field.key.text {
        "annotations" => spec.options.annotations = map(value, "an annotation", problems),
        "dns" => {
            let hint = "write addresses";
            let servers = one_or_many(value, "`dns`", problems);
            spec.options.dns =
                checked(servers, "a name server", hint, problems, |text| text.parse::<std::net::IpAddr>().is_ok());
        }
        "dns_opt" => spec.options.dns_opt = plain(texts(value, "`dns_opt`", problems)),
        "dns_search" => spec.options.dns_search = plain(one_or_many(value, "`dns_search`", problems)),
        "domainname" => spec.options.domainname = parsed(value, "a domain", HOST_NAME, problems, host_name),
        "extra_hosts" => spec.options.extra_hosts = network::extra_hosts(value, problems),
        "hostname" => spec.options.hostname = parsed(value, "a host name", HOST_NAME, problems, host_name),
        "init" => switch(spec, value, Switch::Init, problems),
        "logging" => spec.options.logging = host::logging(value, problems),
        "oom_kill_disable" => switch(spec, value, Switch::OomKillDisable, problems),
        "read_only" => switch(spec, value, Switch::ReadOnly, problems),
        "stdin_open" => switch(spec, value, Switch::StdinOpen, problems),
        "tty" => switch(spec, value, Switch::Tty, problems),
        "pull_policy" => {
            let takes = |text: &str| matches!(text, "missing" | "if_not_present").then_some(());
            let hint = "agents bring an image that is missing, and no other; leave it out";
            parsed(value, "a pull policy of an agent", hint, problems, takes);
        }
        "scale" => {
            let takes = |text: &str| (text == "1").then_some(());
            parsed(value, "`scale`", "a device runs one container of a service", problems, takes);
        }
        "stop_grace_period" => spec.options.stop_grace_period_secs = grace(value, problems),
        "stop_signal" => {
            let hint = "write a signal such as SIGINT";
            spec.stop_signal = parsed(value, "a signal", hint, problems, signal);
        }
        _ => {}
    }
}

const HOST_NAME: &str = "write letters, digits, `-` and `.`, at most 253";

fn host_name(text: &str) -> Option<String> {
    let fits = (1..=253).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    fits.then(|| text.to_owned())
}

fn signal(text: &str) -> Option<String> {
    let name = text.to_ascii_uppercase();
    let is_number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let bare = name.strip_prefix("SIG").unwrap_or(&name);
    let is_name = (2..=12).contains(&bare.len())
        && bare.starts_with(|c: char| c.is_ascii_uppercase())
        && bare.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-'));
    (is_number || is_name).then_some(name)
}

/// Seconds, rounded up: engines count in whole ones.
fn grace(node: &Node, problems: &mut Problems) -> Option<u32> {
    let hint = format!("write a duration such as 1m30s, at most {MAX_STOP_GRACE_SECS}s");
    parsed(node, "a time for stopping", &hint, problems, |text| {
        let secs = nanos(text)?.div_ceil(1_000_000_000);
        u32::try_from(secs).ok().filter(|secs| *secs <= MAX_STOP_GRACE_SECS)
    })
}

fn switch(spec: &mut ServiceSpec, node: &Node, switch: Switch, problems: &mut Problems) {
    if read::boolean(node, "this", problems) == Some(true) {
        spec.options.switches.insert(switch);
    }
}

fn plain(texts: Vec<(String, Span)>) -> Vec<String> {
    texts.into_iter().map(|(text, _)| text).collect()
}

/// Those that a rule takes; the others become errors.
pub(super) fn checked(
    texts: Vec<(String, Span)>,
    what: &str,
    hint: &str,
    problems: &mut Problems,
    takes: impl Fn(&str) -> bool,
) -> Vec<String> {
    for (text, span) in texts.iter().filter(|(text, _)| !takes(text)) {
        bad(*span, format!("`{}` cannot be {what}", show(text)), hint, problems);
    }
    plain(texts)
}

/// A mapping whose values are text; what has none has an empty one.
pub(super) fn map(node: &Node, what: &str, problems: &mut Problems) -> BTreeMap<String, String> {
    pairs(node, what, problems).into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default())).collect()
}

fn profiles(node: &Node, problems: &mut Problems) -> BTreeSet<String> {
    let takes = |name: &str| crate::domain::ids::ServiceName::new(name).is_ok();
    checked(texts(node, "`profiles`", problems), "a profile", "write letters, digits, `_`, `.` or `-`", problems, takes)
        .into_iter()
        .collect()
}

/// Keys that cannot both hold.
fn check(spec: &ServiceSpec, span: Span, problems: &mut Problems) {
    let options = &spec.options;
    let mut conflict = |message: &str| problems.error(span, codes::OPTION_CONFLICT, message.to_owned());
    if spec.network != Network::App {
        if !spec.ports.is_empty() {
            conflict("`ports` and `network_mode` cannot stand together");
        }
        if !spec.networks.is_empty() {
            conflict("`networks` and `network_mode` cannot stand together");
        }
    }
    if let Network::Service(_) = spec.network {
        let has_names = options.hostname.is_some() || !options.dns.is_empty() || !options.extra_hosts.is_empty();
        if has_names || !options.dns_opt.is_empty() || !options.dns_search.is_empty() {
            conflict("a service in another one's network has that one's `hostname`, `dns` and `extra_hosts`");
        }
    }
    let twice = |path: &&String| {
        let is_lock_folder = spec.lock_folder.as_ref() == Some(*path);
        let places = [
            spec.mounts.contains_key(*path),
            spec.binds.contains_key(*path),
            options.tmpfs.contains_key(*path),
            is_lock_folder,
        ];
        places.into_iter().filter(|is_there| *is_there).count() > 1
    };
    if let Some(path) = spec.mounts.keys().chain(spec.binds.keys()).find(twice) {
        conflict(&format!("two volumes are mounted at `{}`", show(path)));
    }
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
pub(super) fn command(node: &Node, what: &str, problems: &mut Problems) -> Option<Vec<String>> {
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
    for pair in pairs(node, "`labels`", problems) {
        add(&pair.key, pair.value.unwrap_or_default(), pair.span, problems);
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
