//! Networks: of the app, and how services take part in them.

use super::forms::{bad, one_or_many, parsed, text, texts};
use super::table::{ATTACHMENT, IPAM, IPAM_CONFIG, NETWORK};
use crate::domain::ids::{NetworkName, ServiceName};
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Kind, Node, Span};
use crate::domain::spec::{Attachment, Network, NetworkSpec, NetworkSwitch, Subnet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// `host`, `none` or `service:name`.
pub(super) fn mode(node: &Node, problems: &mut Problems) -> Option<Network> {
    let hint = "write `host`, `none` or `service:NAME`, or leave it out";
    parsed(node, "a network mode", hint, problems, |text| match text {
        "host" => Some(Network::Host),
        "none" => Some(Network::None),
        text => text.strip_prefix("service:")?.parse::<ServiceName>().ok().map(Network::Service),
    })
}

/// Networks that a service joins. Joining `default` alone is the same as saying nothing.
pub(super) fn attachments(node: &Node, problems: &mut Problems) -> BTreeMap<NetworkName, Attachment> {
    let mut all = BTreeMap::new();
    if let Kind::Map(_) = node.kind {
        for field in read::map(node, "`networks`", problems).map_or(&[][..], |map| &map.entries) {
            let attachment = attachment(&field.value, problems);
            all.extend(network_name(&field.key.text, field.key.span, problems).map(|name| (name, attachment)));
        }
    } else {
        for (name, span) in texts(node, "`networks`", problems) {
            all.extend(network_name(&name, span, problems).map(|name| (name, Attachment::default())));
        }
    }
    crate::domain::device::canonical::networks_of(all)
}

fn network_name(text: &str, span: Span, problems: &mut Problems) -> Option<NetworkName> {
    read::parse_name(text, span, problems)
}

fn attachment(node: &Node, problems: &mut Problems) -> Attachment {
    let mut attachment = Attachment::default();
    let fields = if node.is_null() { None } else { ATTACHMENT.fields(node, problems) };
    for field in fields.unwrap_or_default() {
        let value = &field.value;
        match &*field.key.text {
            "ipv4_address" => {
                let hint = "write an address such as 10.20.0.5";
                attachment.ipv4_address = parsed(value, "an IPv4 address", hint, problems, |text| text.parse().ok());
            }
            "ipv6_address" => {
                let hint = "write an address such as fd00::5";
                attachment.ipv6_address = parsed(value, "an IPv6 address", hint, problems, |text| text.parse().ok());
            }
            _ => {
                for (alias, span) in texts(value, "`aliases`", problems) {
                    if ServiceName::new(&alias).is_err() {
                        let message = format!("`{}` cannot be another name of a service", show(&alias));
                        bad(span, message, "write letters, digits, `_`, `.` or `-`", problems);
                    }
                    attachment.aliases.insert(alias);
                }
            }
        }
    }
    attachment
}

/// Top-level `networks`: those that are declared, and those of them that are not plain.
pub(super) fn declared(
    node: &Node,
    problems: &mut Problems,
) -> (BTreeSet<NetworkName>, BTreeMap<NetworkName, NetworkSpec>) {
    let (mut names, mut specs) = (BTreeSet::new(), BTreeMap::new());
    if node.is_null() {
        return (names, specs);
    }
    for field in read::map(node, "`networks`", problems).map_or(&[][..], |map| &map.entries) {
        let spec = if field.value.is_null() { NetworkSpec::default() } else { network(&field.value, problems) };
        let Some(name) = network_name(&field.key.text, field.key.span, problems) else { continue };
        names.insert(name.clone());
        if spec != NetworkSpec::default() {
            specs.insert(name, spec);
        }
    }
    (names, specs)
}

fn network(node: &Node, problems: &mut Problems) -> NetworkSpec {
    let mut spec = NetworkSpec::default();
    for field in NETWORK.fields(node, problems).unwrap_or_default() {
        let value = &field.value;
        match &*field.key.text {
            "driver" => only(value, "bridge", problems),
            "internal" if read::boolean(value, "`internal`", problems) == Some(true) => {
                spec.switches.insert(NetworkSwitch::Internal);
            }
            "enable_ipv6" if read::boolean(value, "`enable_ipv6`", problems) == Some(true) => {
                spec.switches.insert(NetworkSwitch::EnableIpv6);
            }
            "ipam" => spec.subnets = ipam(value, problems),
            _ => {}
        }
    }
    spec
}

/// A key that takes one value only.
pub(super) fn only(node: &Node, value: &str, problems: &mut Problems) {
    parsed(node, "the value of this key", &format!("write `{value}`, or leave it out"), problems, |text| {
        (text == value).then_some(())
    });
}

fn ipam(node: &Node, problems: &mut Problems) -> Vec<Subnet> {
    let mut subnets = Vec::new();
    for field in IPAM.fields(node, problems).unwrap_or_default() {
        match &*field.key.text {
            "driver" => only(&field.value, "default", problems),
            _ => {
                let ranges = read::list(&field.value, "`config`", problems).unwrap_or_default();
                subnets.extend(ranges.iter().filter_map(|range| subnet(range, problems)));
            }
        }
    }
    subnets
}

fn subnet(node: &Node, problems: &mut Problems) -> Option<Subnet> {
    let (mut subnet, mut gateway, mut ip_range) = (None, None, None);
    for field in IPAM_CONFIG.fields(node, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "gateway" => {
                let hint = "write an address such as 10.20.0.1";
                gateway = parsed(value, "an address", hint, problems, |text| {
                    text.parse::<IpAddr>().ok().map(|address| address.to_string())
                });
            }
            key => {
                let hint = "write a range such as 10.20.0.0/24";
                let range = parsed(value, "a range of addresses", hint, problems, cidr);
                if key == "subnet" { subnet = range } else { ip_range = range }
            }
        }
    }
    if subnet.is_none() {
        read::missing(node.span, "an address range", "subnet", problems);
    }
    Some(Subnet { subnet: subnet?, gateway, ip_range })
}

/// `address/bits`, without bits set beyond the prefix: engines would write it differently.
fn cidr(text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    match address.parse().ok()? {
        IpAddr::V4(address) if (1..=32).contains(&bits) => {
            let host = address.to_bits().checked_shl(bits).unwrap_or(0);
            (host == 0).then(|| format!("{address}/{bits}"))
        }
        IpAddr::V6(address) if (1..=128).contains(&bits) => {
            let host = address.to_bits().checked_shl(bits).unwrap_or(0);
            (host == 0).then(|| format!("{address}/{bits}"))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// `name: address`, or `- name:address` or `name=address`, as `name:address`.
pub(super) fn extra_hosts(node: &Node, problems: &mut Problems) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut add = |name: &str, address: &str, span: Span, problems: &mut Problems| {
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let is_address = address == "host-gateway" || address.parse::<IpAddr>().is_ok();
        if name.is_empty() || name.contains(|c: char| c.is_control() || c == ' ') || !is_address {
            let message = format!("`{}` cannot be a host with its address", show(&format!("{name}:{address}")));
            return bad(span, message, "write `name:10.0.0.1` or `name:host-gateway`", problems);
        }
        all.insert(format!("{name}:{address}"));
    };
    if let Kind::Map(_) = node.kind {
        for field in read::map(node, "`extra_hosts`", problems).map_or(&[][..], |map| &map.entries) {
            for (address, span) in one_or_many(&field.value, "an address", problems) {
                add(&field.key.text, &address, span, problems);
            }
        }
        return all;
    }
    if node.is_null() {
        return all;
    }
    for item in read::list(node, "`extra_hosts`", problems).unwrap_or_default() {
        let Some(line) = text(item, "a host", problems) else { continue };
        let (name, address) = line.split_once('=').or_else(|| line.split_once(':')).unwrap_or((&line, ""));
        add(name, address, item.span, problems);
    }
    all
}
