//! Memory, CPUs and other limits.

use super::forms::{bad, parsed};
use super::network::only;
use super::table::{DEPLOY, LIMITS, RESERVATIONS, RESOURCES, ULIMIT};
use super::units::{bytes, cpus};
use crate::domain::finding::codes;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Field, Kind, Node, Span};
use crate::domain::spec::{Options, Ulimit};
use std::collections::BTreeMap;

const SIZE: &str = "write a size such as 64m or 1.5g";
const WHOLE: &str = "write a whole number";
/// The least that engines take for a limit of memory, in bytes.
const MIN_MEMORY: u64 = 6 << 20;
/// Names of limits that engines take.
const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads the field, if it is one of these.
pub(super) fn read(options: &mut Options, field: &Field, problems: &mut Problems) -> bool {
    let value = &field.value;
    match &*field.key.text {
        "cpu_period" => options.cpu_period = number(value, "`cpu_period`", problems),
        "cpu_quota" => options.cpu_quota = number(value, "`cpu_quota`", problems),
        "cpu_shares" => options.cpu_shares = number(value, "`cpu_shares`", problems),
        "cpus" => set(&mut options.cpus, share(value, problems), value.span, problems),
        "cpuset" => {
            options.cpuset = parsed(value, "a list of CPUs", "write a list such as 0-2,4", problems, |text| {
                let fits = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b','));
                (fits && text.starts_with(|c: char| c.is_ascii_digit())).then(|| text.to_owned())
            });
        }
        "mem_limit" => set(&mut options.mem_limit, memory(value, problems), value.span, problems),
        "mem_reservation" => set(&mut options.mem_reservation, size(value, problems), value.span, problems),
        "mem_swappiness" => {
            let percent = read::number(value, "`mem_swappiness`", 0..=100, problems);
            options.mem_swappiness = percent.and_then(|percent| u8::try_from(percent).ok());
        }
        "memswap_limit" => {
            let hint = "write a size such as 128m, or -1 for no limit";
            options.memswap_limit = parsed(value, "a limit of memory and swap", hint, problems, |text| match text {
                "-1" => Some(-1),
                text => i64::try_from(bytes(text)?).ok(),
            });
        }
        "oom_score_adj" => {
            let hint = "write a whole number from -1000 to 1000";
            options.oom_score_adj = parsed(value, "`oom_score_adj`", hint, problems, |text| {
                text.parse().ok().filter(|adjustment| (-1000..=1000).contains(adjustment))
            });
        }
        "pids_limit" => set(&mut options.pids_limit, pids(value, problems), value.span, problems),
        "shm_size" => options.shm_size = size(value, problems),
        "ulimits" => options.ulimits = ulimits(value, problems),
        "deploy" => deploy(options, value, problems),
        _ => return false,
    }
    true
}

/// Two keys that mean the same have to say the same.
fn set<T: PartialEq>(place: &mut Option<T>, value: Option<T>, span: Span, problems: &mut Problems) {
    if place.is_some() && value.is_some() && *place != value {
        let message = "a key of the service and one of `deploy` say different things about the same limit";
        problems.error_hint(span, codes::OPTION_CONFLICT, message, "keep one of them");
    }
    if value.is_some() {
        *place = value;
    }
}

fn number(node: &Node, what: &str, problems: &mut Problems) -> Option<u64> {
    parsed(node, what, WHOLE, problems, |text| text.parse().ok().filter(|number| i64::try_from(*number).is_ok()))
}

fn share(node: &Node, problems: &mut Problems) -> Option<u64> {
    parsed(node, "a number of CPUs", "write a number such as 0.5", problems, cpus)
}

fn size(node: &Node, problems: &mut Problems) -> Option<u64> {
    parsed(node, "a size", SIZE, problems, bytes)
}

fn memory(node: &Node, problems: &mut Problems) -> Option<u64> {
    let hint = "write a size of at least 6m";
    parsed(node, "a limit of memory", hint, problems, |text| {
        bytes(text).filter(|bytes| *bytes == 0 || *bytes >= MIN_MEMORY)
    })
}

fn pids(node: &Node, problems: &mut Problems) -> Option<i64> {
    parsed(node, "a number of processes", "write a whole number, or -1 for no limit", problems, |text| {
        text.parse::<i64>().ok().filter(|limit| *limit >= -1)
    })
}

fn ulimits(node: &Node, problems: &mut Problems) -> BTreeMap<String, Ulimit> {
    let mut all = BTreeMap::new();
    for field in read::map(node, "`ulimits`", problems).map_or(&[][..], |map| &map.entries) {
        let (name, value) = (&*field.key.text, &field.value);
        if !ULIMITS.contains(&name) {
            let message = format!("`{}` is not a limit that engines know", show(name));
            bad(field.key.span, message, &format!("write one of: {}", ULIMITS.join(", ")), problems);
            continue;
        }
        let limit = match &value.kind {
            Kind::Map(_) => long_ulimit(value, problems),
            Kind::Scalar(_) | Kind::List(_) => ulimit(value, problems).map(|limit| Ulimit { soft: limit, hard: limit }),
        };
        all.extend(limit.map(|limit| (name.to_owned(), limit)));
    }
    all
}

fn ulimit(node: &Node, problems: &mut Problems) -> Option<i64> {
    parsed(node, "a limit", "write a whole number, or -1 for none", problems, |text| {
        text.parse::<i64>().ok().filter(|limit| *limit >= -1)
    })
}

fn long_ulimit(node: &Node, problems: &mut Problems) -> Option<Ulimit> {
    let errors = problems.errors();
    let (mut soft, mut hard) = (None, None);
    for field in ULIMIT.fields(node, problems)? {
        let place = if &*field.key.text == "soft" { &mut soft } else { &mut hard };
        *place = ulimit(&field.value, problems);
    }
    for (key, limit) in [("soft", soft), ("hard", hard)] {
        if limit.is_none() && problems.errors() == errors {
            read::missing(node.span, "a limit", key, problems);
        }
    }
    let limit = Ulimit { soft: soft?, hard: hard? };
    if limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard) {
        bad(node.span, "`soft` is above `hard`".to_owned(), "lower `soft`, or raise `hard`", problems);
    }
    Some(limit)
}

fn deploy(options: &mut Options, node: &Node, problems: &mut Problems) {
    if node.is_null() {
        return;
    }
    for field in DEPLOY.fields(node, problems).unwrap_or_default() {
        match &*field.key.text {
            "mode" => only(&field.value, "replicated", problems),
            "replicas" => only(&field.value, "1", problems),
            _ => {
                for field in RESOURCES.fields(&field.value, problems).unwrap_or_default() {
                    let section = if &*field.key.text == "limits" { LIMITS } else { RESERVATIONS };
                    for part in section.fields(&field.value, problems).unwrap_or_default() {
                        deployed(options, &field.key.text, part, problems);
                    }
                }
            }
        }
    }
}

fn deployed(options: &mut Options, section: &str, field: &Field, problems: &mut Problems) {
    let (value, span) = (&field.value, field.value.span);
    match (section, &*field.key.text) {
        ("limits", "cpus") => set(&mut options.cpus, share(value, problems), span, problems),
        ("limits", "memory") => set(&mut options.mem_limit, memory(value, problems), span, problems),
        ("limits", "pids") => set(&mut options.pids_limit, pids(value, problems), span, problems),
        _ => set(&mut options.mem_reservation, size(value, problems), span, problems),
    }
}

/// What engines refuse to combine.
pub(super) fn check(options: &Options, span: Span, problems: &mut Problems) {
    let mut conflict = |message: &str| problems.error(span, codes::OPTION_CONFLICT, message);
    let is_some = |number: Option<u64>| number.is_some_and(|number| number > 0);
    if is_some(options.cpus) && (is_some(options.cpu_period) || is_some(options.cpu_quota)) {
        conflict("`cpus` cannot stand together with `cpu_period` or `cpu_quota`");
    }
    let limit = options.mem_limit.filter(|limit| *limit > 0);
    if limit.zip(options.mem_reservation).is_some_and(|(limit, reservation)| reservation > limit) {
        conflict("`mem_reservation` is above `mem_limit`");
    }
    match (options.memswap_limit.filter(|swap| *swap > 0), limit) {
        (Some(_), None) => conflict("`memswap_limit` needs a `mem_limit`"),
        (Some(swap), Some(limit)) if u64::try_from(swap).is_ok_and(|swap| swap < limit) => {
            conflict("`memswap_limit` is below `mem_limit`; it counts memory and swap together");
        }
        _ => {}
    }
}
