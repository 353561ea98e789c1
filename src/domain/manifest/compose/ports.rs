//! Published ports, in Compose's short and long forms.

use super::service::text;
use crate::domain::finding::codes;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read::{self, Extensions, Keys};
use crate::domain::manifest::yaml::{Kind, Node};
use crate::domain::spec::{Port, Transport};
use std::collections::BTreeSet;
use std::net::IpAddr;

const FORMS: &str =
    "write `8080:80`, `127.0.0.1:8080:80/udp` or `{target: 80, published: 8080}`; ranges are not supported";

pub(super) fn read(node: &Node, problems: &mut Problems) -> BTreeSet<Port> {
    let mut ports = BTreeSet::new();
    for item in read::list(node, "`ports`", problems).unwrap_or_default() {
        let port = match item.kind {
            Kind::Map(_) => long(item, problems),
            Kind::Scalar(_) | Kind::List(_) => short_text(item, problems),
        };
        ports.extend(port);
    }
    ports
}

fn short_text(node: &Node, problems: &mut Problems) -> Option<Port> {
    let text = text(node, "a port", problems)?;
    let port = short(&text);
    if port.is_none() {
        let message = format!("`{}` is not a port that can be published", show(&text));
        problems.error_hint(node.span, codes::BAD_PORT, message, FORMS);
    }
    port
}

/// `[[ip:][published]:]target[/transport]`.
fn short(text: &str) -> Option<Port> {
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
    // Nothing before the colon lets the engine choose.
    let published = if published.is_empty() { None } else { Some(number(published)?) };
    Some(Port { target: number(target)?, transport, published, host_ip })
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
    const KEYS: Keys = Keys {
        what: "a port",
        known: &["target", "published", "protocol", "host_ip"],
        later: &["mode", "name", "app_protocol"],
        extensions: Extensions::Ignored,
    };
    let errors = problems.errors();
    let (mut target, mut published, mut transport, mut host_ip) = (None, None, Some(Transport::Tcp), None);
    for field in read::fields(node, &KEYS, problems)? {
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
