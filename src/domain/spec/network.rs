//! How services are connected.

use super::is_default;
use crate::domain::ids::ServiceName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// How a service is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Networks of the app, where services find each other by name.
    #[default]
    App,
    /// The host's network.
    Host,
    /// No network.
    None,
    /// The network of another service of the app, as if both were one container.
    Service(ServiceName),
}

/// How a service takes part in one of the app's networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// Names besides the service's own by which others find it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aliases: BTreeSet<String>,
    /// A fixed address; the network needs a subnet for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipv4_address: Option<Ipv4Addr>,
    /// A fixed address; the network needs a subnet for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipv6_address: Option<Ipv6Addr>,
}

/// A bridge network of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// What is switched on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub switches: BTreeSet<NetworkSwitch>,
    /// Address ranges; none lets the engine choose one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub subnets: Vec<Subnet>,
}

/// Something that is on or off about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkSwitch {
    /// It has IPv6 too.
    EnableIpv6,
    /// Nothing leaves it and nothing reaches it from outside.
    Internal,
}

/// One address range of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// In CIDR form, such as `10.20.0.0/24`.
    pub subnet: String,
    /// The host's address in it; `None` lets the engine choose.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gateway: Option<String>,
    /// The part of it from which services get addresses; `None` is all of it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ip_range: Option<String>,
}
