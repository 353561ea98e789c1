//! Published ports, in Compose's short and long forms.

use super::forms::text;
use super::table::PORT;
use crate::domain::finding::codes;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Kind, Node};
use crate::domain::spec::{Port, Transport};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

const FORMS: &str =
    "write `8080:80`, `8000-8009:9000-9009`, `127.0.0.1:8080:80/udp` or `{target: 80, published: 8080}`";
/// How many ports one service may publish. Each is a rule of the firewall, and mostly a process.
const MAX_PORTS: usize = 1000;

pub(super) fn read(node: &Node, problems: &mut Problems) -> BTreeSet<Port> {
    let mut ports = BTreeSet::new();
    for item in read::list(node, "`ports`", problems).unwrap_or_default() {
        match item.kind {
            Kind::Map(_) => ports.extend(long(item, problems)),
            Kind::Scalar(_) | Kind::List(_) => ports.extend(short_text(item, problems)),
        }
    }
    if ports.len() > MAX_PORTS {
        let message = format!("the service publishes {} ports; at most {MAX_PORTS} are accepted", ports.len());
        problems.error_hint(node.span, codes::TOO_LARGE, message, "use `network_mode: host`");
        ports.clear();
    }
    ports
}

fn short_text(node: &Node, problems: &mut Problems) -> Vec<Port> {
    let Some(text) = text(node, "a port", problems) else { return Vec::new() };
    short(&text).unwrap_or_else(|| {
        let message = format!("`{}` is not a port that can be published", show(&text));
        problems.error_hint(node.span, codes::BAD_PORT, message, FORMS);
        Vec::new()
    })
}

/// `[[ip:][published]:]target[/transport]`, where both may be ranges of one length.
fn short(text: &str) -> Option<Vec<Port>> {
    let (numbers, transport) = match text.rsplit_once('/') {
        Some((numbers, transport)) => (numbers, self::transport(transport)?),
        None => (text, Transport::Tcp),
    };
    let (rest, target) = match numbers.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, numbers),
    };
    let (host_ip, published) = match rest.map(|rest| rest.rsplit_once(':').ok_or(rest)) {
        None => (None, ""),
        Some(Ok((address, published))) => (Some(ip(address)?), published),
        Some(Err(published)) => (None, published),
    };
    let targets = range(target)?;
    // Nothing before the colon lets the engine choose.
    let published = if published.is_empty() { None } else { Some(range(published)?) };
    if published.as_ref().is_some_and(|published| published.len() != targets.len()) {
        return None;
    }
    let mut published = published.into_iter().flatten();
    Some(targets.map(|target| Port { target, transport, published: published.next(), host_ip }).collect())
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (from, to) = match text.split_once('-') {
        Some((from, to)) => (number(from)?, number(to)?),
        None => (number(text)?, number(text)?),
    };
    (from <= to).then_some(from..=to)
}

fn ip(text: &str) -> Option<IpAddr> {
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// A port number in decimal digits, not zero.
fn number(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number > 0)
}

fn transport(text: &str) -> Option<Transport> {
    match text {
        "tcp" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        _ => None,
    }
}

fn long(node: &Node, problems: &mut Problems) -> Option<Port> {
    let errors = problems.errors();
    let (mut target, mut published, mut transport, mut host_ip) = (None, None, Some(Transport::Tcp), None);
    for field in PORT.fields(node, problems)? {
        let value = &field.value;
        let Some(text) = text(value, "a port", problems) else { continue };
        let fits = match &*field.key.text {
            "target" => {
                target = number(&text);
                target.is_some()
            }
            "published" => {
                published = number(&text);
                published.is_some()
            }
            "mode" => matches!(text.as_str(), "host" | "ingress"),
            "protocol" => {
                transport = self::transport(&text);
                transport.is_some()
            }
            _ => {
                host_ip = ip(&text);
                host_ip.is_some()
            }
        };
        if !fits {
            let message = format!("`{}` cannot be the `{}` of a port", show(&text), field.key.text);
            problems.error_hint(value.span, codes::BAD_PORT, message, FORMS);
        }
    }
    if target.is_none() && problems.errors() == errors {
        read::missing(node.span, "a port", "target", problems);
    }
    Some(Port { target: target?, transport: transport?, published, host_ip })
}
