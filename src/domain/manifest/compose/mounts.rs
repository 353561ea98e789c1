//! Volumes of a service, in Compose's short and long forms: named ones, file systems in memory, and paths of the host.

use super::forms::{absolute, one_or_many, parsed, text};
use super::rights::HostRights;
use super::table::{BIND, TMPFS, VOLUME, VOLUME_OPTIONS};
use super::units::bytes;
use crate::domain::finding::codes;
use crate::domain::ids::VolumeName;
use crate::domain::manifest::problems::{Problems, show};
use crate::domain::manifest::read;
use crate::domain::manifest::yaml::{Kind, Node, Span};
use crate::domain::spec::{Access, Bind, HostPath, Mount, Seeding, ServiceSpec};

const FORMS: &str = "write `data:/data`, `data:/data:ro` or `{type: volume, source: data, target: /data}`";

/// One mount before it is known which kind it is.
#[derive(Default)]
struct Asked {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    access: Access,
    seeding: Seeding,
    host_path: HostPath,
    propagation: Option<String>,
    tmpfs: Vec<String>,
}

pub(super) fn read(node: &Node, rights: &HostRights, spec: &mut ServiceSpec, problems: &mut Problems) {
    for item in read::list(node, "`volumes`", problems).unwrap_or_default() {
        let errors = problems.errors();
        let asked = match item.kind {
            Kind::Map(_) => long(item, problems),
            Kind::Scalar(_) | Kind::List(_) => short(item, problems),
        };
        if let Some(asked) = asked.filter(|_| problems.errors() == errors) {
            mount(asked, item.span, rights, spec, problems);
        }
    }
}

fn bad(span: Span, shown: &str, problems: &mut Problems) {
    let message = format!("`{}` is not a volume that can be mounted", show(shown));
    problems.error_hint(span, codes::BAD_VOLUME, message, FORMS);
}

fn short(node: &Node, problems: &mut Problems) -> Option<Asked> {
    let text = text(node, "a volume", problems)?;
    let mut parts = text.split(':');
    let mut asked = Asked { source: parts.next().map(str::to_owned), ..Asked::default() };
    asked.target = parts.next().map(str::to_owned);
    for option in parts.next().unwrap_or("rw").split(',') {
        match option {
            "rw" => asked.access = Access::ReadWrite,
            "ro" => asked.access = Access::ReadOnly,
            "nocopy" => asked.seeding = Seeding::Empty,
            other => match propagation(other) {
                Some(propagation) => asked.propagation = Some(propagation),
                None => asked.target = None,
            },
        }
    }
    if asked.target.is_none() || parts.next().is_some() {
        bad(node.span, &text, problems);
        return None;
    }
    Some(asked)
}

fn propagation(text: &str) -> Option<String> {
    matches!(text, "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave").then(|| text.to_owned())
}

fn long(node: &Node, problems: &mut Problems) -> Option<Asked> {
    let mut asked = Asked::default();
    for field in VOLUME.fields(node, problems)? {
        let value = &field.value;
        match &*field.key.text {
            "type" => asked.kind = text(value, "`type`", problems),
            "source" => asked.source = text(value, "`source`", problems),
            "target" => asked.target = text(value, "`target`", problems),
            "bind" => bind_options(&mut asked, value, problems),
            "tmpfs" => tmpfs_options(&mut asked, value, problems),
            "volume" => {
                for field in VOLUME_OPTIONS.fields(value, problems).unwrap_or_default() {
                    if read::boolean(&field.value, "`nocopy`", problems) == Some(true) {
                        asked.seeding = Seeding::Empty;
                    }
                }
            }
            _ => {
                if read::boolean(value, "`read_only`", problems) == Some(true) {
                    asked.access = Access::ReadOnly;
                }
            }
        }
    }
    Some(asked)
}

fn bind_options(asked: &mut Asked, node: &Node, problems: &mut Problems) {
    for field in BIND.fields(node, problems).unwrap_or_default() {
        match &*field.key.text {
            "propagation" => {
                let hint = "write `rprivate`, `rshared` or `rslave`, or the same without the `r`";
                asked.propagation = parsed(&field.value, "a propagation", hint, problems, propagation);
            }
            _ => {
                if read::boolean(&field.value, "`create_host_path`", problems) == Some(false) {
                    asked.host_path = HostPath::Required;
                }
            }
        }
    }
}

fn tmpfs_options(asked: &mut Asked, node: &Node, problems: &mut Problems) {
    for field in TMPFS.fields(node, problems).unwrap_or_default() {
        let value = &field.value;
        let option = match &*field.key.text {
            "size" => {
                parsed(value, "a size", "write a size such as 64m", problems, bytes).map(|size| format!("size={size}"))
            }
            _ => parsed(value, "rights", "write them in octal, such as 1770", problems, |text| {
                let fits = (3..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
                fits.then(|| format!("mode={text}"))
            }),
        };
        asked.tmpfs.extend(option);
    }
}

fn mount(asked: Asked, span: Span, rights: &HostRights, spec: &mut ServiceSpec, problems: &mut Problems) {
    let Asked { kind, source, target, access, seeding, host_path, propagation, tmpfs } = asked;
    let is_path = |source: &String| source.starts_with(['/', '.', '~']);
    let kind = kind.unwrap_or_else(|| {
        let kind = if source.as_ref().is_some_and(is_path) { "bind" } else { "volume" };
        kind.to_owned()
    });
    let Some(target) = target else {
        return problems.error_hint(span, codes::MISSING_KEY, "a volume needs a `target`", FORMS);
    };
    let Some(path) = absolute(&target).filter(|path| path != "/") else { return bad(span, &target, problems) };
    let is_taken = match kind.as_str() {
        "tmpfs" => spec.options.tmpfs.insert(path.clone(), tmpfs.join(",")).is_some(),
        "bind" => {
            let source = source.unwrap_or_default();
            let Some(source) = absolute(&source) else {
                let message = format!("`{}` is not an absolute path of the host", show(&source));
                let hint = "a release has no files beside it on a device; use a named volume";
                return problems.error_hint(span, codes::BIND_MOUNT, message, hint);
            };
            rights.check_path(&source, span, problems);
            let propagation = propagation.filter(|name| !matches!(name.as_str(), "private" | "rprivate"));
            spec.binds.insert(path.clone(), Bind { source, access, host_path, propagation }).is_some()
        }
        "volume" => {
            let Some(source) = source else {
                return problems.error_hint(span, codes::MISSING_KEY, "a volume needs a `source`", FORMS);
            };
            let Some(volume) = read::parse_name::<VolumeName>(&source, span, problems) else { return };
            spec.mounts.insert(path.clone(), Mount { volume, access, seeding }).is_some()
        }
        other => return bad(span, other, problems),
    };
    if is_taken {
        let message = format!("two volumes are mounted at `{}`", show(&path));
        problems.error(span, codes::BAD_VOLUME, message);
    }
}

/// `tmpfs: /run` or `/run:size=64m`, or a list of them.
pub(super) fn tmpfs(node: &Node, spec: &mut ServiceSpec, problems: &mut Problems) {
    for (line, span) in one_or_many(node, "`tmpfs`", problems) {
        let (path, options) = line.split_once(':').unwrap_or((&line, ""));
        match absolute(path).filter(|path| path != "/") {
            Some(path) => {
                spec.options.tmpfs.insert(path, options.to_owned());
            }
            None => bad(span, &line, problems),
        }
    }
}
