//! The change of the fleet repo that would make what was found on devices the desired state.
//!
//! Each device is taken by itself, and only in its own files. What cannot be said in the repo is listed with the reason. Agents mend
//! at once, so what was found and mended since can be offered as well; it is said to be that.

mod host;

use super::{Becomes, Desk, ProposeError, Whose, Wish, propose};
use crate::domain::desired::{DesiredDevice, Resolver};
use crate::domain::device::canonical::HIDDEN;
use crate::domain::drift::{Difference, Layer, LayerStatus, Verdict};
use crate::domain::ids::{AppName, DeviceId, FilePath, ServiceName, VariableName, Version};
use crate::domain::manifest::release::{Release, ReleaseStatus};
use crate::domain::overview::drift::{DeviceDrift, DriftReport};
use crate::domain::reported::wanted_text;
use crate::domain::snapshot::Snapshot;
use crate::domain::spec::Subject;
use crate::domain::time::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many devices one suggestion takes up. Hundreds of devices that were changed in the same way by hand want a change of their
/// group, which is a decision and no suggestion.
pub const MAX_DEVICES: usize = 500;
/// What a reference to a secret begins with.
const SECRET: &str = "secret:";

/// A suggestion.
#[derive(Debug, Default, Serialize)]
pub struct Suggestion {
    /// What the changed files would make desired, one sentence each.
    pub accepted: Vec<String>,
    /// Differences that the files cannot express.
    pub left: Vec<Left>,
}

/// A difference that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The device.
    pub device: DeviceId,
    /// What differs.
    pub subject: String,
    /// Why the repo cannot say it.
    pub reason: String,
}

/// What is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// What differs now.
    Standing,
    /// What agents have mended already, too.
    AndMended,
}

/// Changes the files on the desk so that what the report found becomes desired.
pub fn suggest(
    desk: &mut Desk<'_>,
    resolver: &mut Resolver,
    report: &DriftReport,
    offered: Offered,
) -> Result<Suggestion, ProposeError> {
    if let Some(finding) = desk.before(resolver).rejection() {
        return Err(ProposeError::DevicesUnknown(Box::new(finding.clone())));
    }
    let releases = resolver.releases(desk.snapshot);
    let mut suggestion = Suggestion::default();
    // What stands comes first, should there be too many.
    let (drifted, others): (Vec<_>, Vec<_>) =
        report.devices.iter().partition(|(_, one)| one.verdict == Verdict::Drifted);
    let mended = others.into_iter().filter(|(_, one)| offered == Offered::AndMended && !one.mended.is_empty());
    for (index, (device, drift)) in drifted.into_iter().chain(mended).enumerate() {
        let mut one = OneDevice { device, offered, suggestion: &mut suggestion };
        if index >= MAX_DEVICES {
            one.left("the device", &format!("a suggestion takes up {MAX_DEVICES} devices; accept these first"));
            continue;
        }
        one.take(desk, resolver, &releases, drift);
    }
    Ok(suggestion)
}

type Releases = BTreeMap<AppName, Vec<Arc<Release>>>;

struct OneDevice<'a> {
    device: &'a DeviceId,
    offered: Offered,
    suggestion: &'a mut Suggestion,
}

/// What a wish is for: what it says, and how to see that it came true.
struct Acceptance {
    /// What is tried, the first that does it counts.
    wishes: Vec<Wish>,
    subject: String,
    sentence: String,
    holds: Holds,
}

/// Whether a difference stands, or what was found has been mended.
#[derive(Clone, Copy, Default)]
struct Since {
    /// When it was found, and mended then; `None` if it stands.
    mended: Option<Timestamp>,
}

impl std::fmt::Display for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.mended {
            Some(at) => write!(f, " (was mended at {at})"),
            None => Ok(()),
        }
    }
}

impl Acceptance {
    fn since(self, since: Since) -> Self {
        let Self { wishes, subject, sentence, holds } = self;
        Self { wishes, subject: format!("{subject}{since}"), sentence: format!("{sentence}{since}"), holds }
    }
}

/// What must be true of the device's content afterwards.
enum Holds {
    Variable { app: AppName, service: ServiceName, name: VariableName, value: Option<String> },
    Release { app: AppName, version: Version },
    Os { version: String },
    Setting { setting: Subject, value: Option<String> },
    Mode { file: FilePath, mode: Option<String> },
}

impl OneDevice<'_> {
    fn left(&mut self, subject: &str, reason: &str) {
        self.suggestion.left.push(Left {
            device: self.device.clone(),
            subject: subject.to_owned(),
            reason: reason.to_owned(),
        });
    }

    fn take(&mut self, desk: &mut Desk<'_>, resolver: &mut Resolver, releases: &Releases, drift: &DeviceDrift) {
        let before = desk.after(resolver);
        let Some(listed) = before.devices.get(self.device).cloned() else {
            return self.left("the device", "these files do not list it");
        };
        if listed.spec.is_none() {
            let reason = listed.problem.clone().unwrap_or_else(|| "its files have findings".to_owned());
            return self.left("the device", &format!("its files have errors: {reason}"));
        }
        for acceptance in self.acceptances(&listed, desk.snapshot, releases, drift) {
            let Acceptance { wishes, subject, sentence, holds } = acceptance;
            let kept = desk.changed.clone();
            let mut reason = String::new();
            let came_true = wishes.into_iter().any(|wish| {
                desk.changed.clone_from(&kept);
                let outcome = propose(desk, &Whose::Device(self.device.clone()), &[wish]);
                match outcome.and_then(|_| self.judge(desk, resolver, &holds)) {
                    Ok(Verdict::InSync) => return true,
                    Ok(_) => reason = "something more specific in the files decides".to_owned(),
                    Err(error) => reason = error.to_string(),
                }
                false
            });
            if came_true {
                self.suggestion.accepted.push(format!("{}: {sentence}", self.device));
            } else {
                desk.changed = kept;
                self.left(&subject, &reason);
            }
        }
    }

    /// Whether the change does what it is for.
    fn judge(&self, desk: &Desk<'_>, resolver: &mut Resolver, holds: &Holds) -> Result<Verdict, ProposeError> {
        let (before, after) = (desk.before(resolver), desk.after(resolver));
        let Some(spec) = after.devices.get(self.device).and_then(|listed| listed.spec.as_ref()) else {
            let finding = after.findings.iter().find(|finding| !before.findings.contains(finding));
            return match finding {
                Some(finding) => Err(ProposeError::Breaks(Box::new(finding.clone()))),
                None => Ok(Verdict::Unknown),
            };
        };
        let is_so = match holds {
            Holds::Variable { app, service, name, value } => {
                let service = spec.spec.apps.get(app).and_then(|app| app.services.get(service));
                service.is_some_and(|service| service.environment.get(name) == value.as_ref())
            }
            Holds::Release { app, version } => spec.spec.apps.get(app).is_some_and(|app| app.release == *version),
            Holds::Os { version } => spec.spec.os.as_ref().is_some_and(|os| os.version.as_str() == version),
            Holds::Setting { setting, value: Some(value) } => {
                wanted_text(&spec.spec.config, setting).as_ref() == Some(value)
            }
            Holds::Setting { setting, value: None } => !spec.spec.config.subjects().contains(setting),
            Holds::Mode { file, mode } => spec.spec.config.files.get(file).map(|file| file.mode.to_string()) == *mode,
        };
        Ok(if is_so { Verdict::InSync } else { Verdict::Drifted })
    }

    fn acceptances(
        &mut self,
        listed: &DesiredDevice,
        snapshot: &Snapshot,
        releases: &Releases,
        drift: &DeviceDrift,
    ) -> Vec<Acceptance> {
        let mut all = Vec::new();
        let mut images: BTreeMap<AppName, (BTreeMap<ServiceName, String>, Since)> = BTreeMap::new();
        let mut standing = BTreeSet::new();
        let offered = self.offered;
        let stand = drift.drift.differences().map(|difference| (difference, Since::default()));
        let mended = drift
            .mended
            .iter()
            .filter(|_| offered == Offered::AndMended)
            .map(|found| (&found.difference, Since { mended: Some(found.at) }));
        for (difference, since) in stand.chain(mended) {
            let subject = format!("{}{since}", difference.subject);
            match difference.layer {
                Layer::Variables => match self.variable(listed, difference) {
                    Ok(acceptance) => all.push(acceptance.since(since)),
                    Err(reason) => self.left(&subject, reason),
                },
                Layer::Apps => match image(difference) {
                    // What stands comes first, and is one release; another one mixed into it would be none.
                    Ok((app, _, _)) if since.mended.is_some() && standing.contains(&app) => {
                        self.left(&subject, "another image of this app differs now; accept that one first");
                    }
                    Ok((app, service, image)) => {
                        if since.mended.is_none() {
                            standing.insert(app.clone());
                        }
                        let (there, last) = images.entry(app).or_default();
                        there.insert(service, image);
                        last.mended = last.mended.max(since.mended);
                    }
                    Err(reason) => self.left(&subject, reason),
                },
                Layer::Os => match os(snapshot, listed, difference) {
                    Some(acceptance) => all.push(acceptance.since(since)),
                    None => self.left(&subject, "the OS catalog has no image of this version for the device"),
                },
                Layer::Host if since.mended.is_some() && host::begins_anew(difference) => {
                    self.left(
                        &subject,
                        "the kernel begins with its own value at each boot; nobody need have written it",
                    );
                }
                Layer::Host => match host::setting(difference) {
                    Ok(acceptance) => all.push(acceptance.since(since)),
                    Err(reason) => self.left(&subject, reason),
                },
                Layer::Spec => self.left(&subject, "the device has not taken its assignment yet; that is no content"),
                Layer::Connectivity => self.left(&subject, "a device that is not heard from found nothing"),
            }
        }
        for (app, (found, since)) in images {
            match matching(listed, &app, &found, releases.get(&app)) {
                Some(release) => all.push(pinned(&app, release).since(since)),
                None => {
                    for (service, image) in found {
                        let reason =
                            format!("no release of `{app}` has {image} there; make one with `bellwether release new`");
                        self.left(&format!("{app}/{service} image{since}"), &reason);
                    }
                }
            }
        }
        for status in drift.drift.layers.iter().filter_map(|(layer, status)| match status {
            LayerStatus::Unknown { reason } => Some((layer.name(), reason.clone())),
            LayerStatus::InSync | LayerStatus::Drifted { .. } => None,
        }) {
            self.left(status.0, &format!("unknown: {}", status.1));
        }
        all
    }

    fn variable(&self, listed: &DesiredDevice, difference: &Difference) -> Result<Acceptance, &'static str> {
        let Difference { layer: _, subject, wanted, found } = difference;
        let parts = subject.split_once(" environment.").and_then(|(service, name)| {
            let (app, service) = service.split_once('/')?;
            Some((AppName::new(app).ok()?, ServiceName::new(service).ok()?, name))
        });
        let Some((app, service, name)) = parts else { return Err("it names no service") };
        let Ok(variable) = VariableName::new(name) else { return Err("the repo cannot have a variable of this name") };
        if name.starts_with("BELLWETHER_") {
            return Err("names that begin with BELLWETHER_ belong to Bellwether");
        }
        let apps = listed.spec.as_ref().map(|sealed| &sealed.spec.apps);
        let now = apps.and_then(|apps| apps.get(&app)?.services.get(&service));
        let is_secret = |value: &String| value.contains(SECRET) || value == HIDDEN;
        if now.is_some_and(|now| now.secret_environment.contains_key(&variable))
            || [wanted, found].into_iter().flatten().any(is_secret)
        {
            return Err("it is a secret, which the repo never holds");
        }
        let named = name_of(listed, &app, &service);
        let path = ["services", &named, "variables", name].map(str::to_owned).to_vec();
        // A line of the device's own goes; what it inherits is covered.
        let becomes = match found {
            Some(value) => vec![Becomes::Text(value.clone())],
            None => vec![Becomes::Inherited, Becomes::Removed],
        };
        let sentence = match found {
            Some(value) => format!("{app}/{service} gets {name}={}", crate::domain::manifest::problems::show(value)),
            None => format!("{app}/{service} loses {name}"),
        };
        Ok(Acceptance {
            wishes: becomes.into_iter().map(|becomes| Wish { path: path.clone(), becomes }).collect(),
            subject: subject.clone(),
            sentence,
            holds: Holds::Variable { app, service, name: variable, value: found.clone() },
        })
    }
}

/// How the device's files name a service: with its app where two apps have one of this name.
fn name_of(listed: &DesiredDevice, app: &AppName, service: &ServiceName) -> String {
    let apps = listed.spec.as_ref().map(|sealed| sealed.spec.apps.values());
    let having = apps.into_iter().flatten().filter(|one| one.services.contains_key(service)).count();
    if having > 1 { format!("{app}/{service}") } else { service.to_string() }
}

/// The image that was found, or why the repo cannot say what was found instead.
fn image(difference: &Difference) -> Result<(AppName, ServiceName, String), &'static str> {
    let Difference { layer: _, subject, wanted, found } = difference;
    let Some((service, field)) = subject.split_once(' ') else {
        return Err(match (wanted, found) {
            (Some(_), None) => "a container that is gone cannot be written down; a release without the service can",
            _ => "a container that nobody asked for cannot be written down; a release with the service can",
        });
    };
    let parts = service
        .split_once('/')
        .and_then(|(app, service)| Some((AppName::new(app).ok()?, ServiceName::new(service).ok()?)));
    match (parts, field, found) {
        (Some((app, service)), "image", Some(image)) => Ok((app, service, image.clone())),
        (_, "state", _) => {
            Err("a service that does not run cannot be written down: the repo says what runs, and only that")
        }
        (None, _, _) => Err("volumes and networks are made and kept by the agent; the repo only names them"),
        (Some(_), _, _) => Err("this is part of the release; make another one with `bellwether release new`"),
    }
}

/// The newest release whose services are those that were found.
fn matching<'a>(
    listed: &DesiredDevice,
    app: &AppName,
    found: &BTreeMap<ServiceName, String>,
    releases: Option<&'a Vec<Arc<Release>>>,
) -> Option<&'a Release> {
    let current = listed.spec.as_ref()?.spec.apps.get(app)?;
    let mut there: BTreeMap<&ServiceName, &str> =
        current.services.iter().map(|(name, service)| (name, service.image.as_str())).collect();
    there.extend(found.iter().map(|(name, image)| (name, image.as_str())));
    let is_it = |release: &&Arc<Release>| {
        let has: BTreeMap<&ServiceName, &str> =
            release.services.iter().map(|(name, service)| (name, service.spec.image.as_str())).collect();
        !release.broken && !matches!(release.status, ReleaseStatus::Invalidated { .. }) && has == there
    };
    releases?.iter().rev().find(is_it).map(Arc::as_ref)
}

fn pinned(app: &AppName, release: &Release) -> Acceptance {
    let version = &release.version;
    Acceptance {
        wishes: vec![Wish {
            path: vec!["pins".to_owned(), app.to_string()],
            becomes: Becomes::Text(version.to_string()),
        }],
        subject: format!("{app} release"),
        sentence: format!("{app} is pinned to {version}"),
        holds: Holds::Release { app: app.clone(), version: version.clone() },
    }
}

/// The image of the catalog that has the version that was found, if only one can be meant.
fn os(snapshot: &Snapshot, listed: &DesiredDevice, difference: &Difference) -> Option<Acceptance> {
    use crate::domain::manifest::os::OsImage;
    let version = difference.found.as_deref()?;
    let own = listed.spec.as_ref()?.spec.device_type.as_ref()?;
    let mut names = BTreeSet::new();
    for (path, entry) in &snapshot.entries {
        let Some(name) = path.strip_prefix("os/").and_then(|rest| rest.strip_suffix(".yml")) else { continue };
        let crate::domain::snapshot::Entry::File { bytes, .. } = entry else { continue };
        let image = OsImage::read(path, name, bytes);
        if !image.broken && image.entries.get(own).is_some_and(|entry| entry.spec.version.as_str() == version) {
            names.insert(name.to_owned());
        }
    }
    let name = names.pop_first().filter(|_| names.is_empty())?;
    Some(Acceptance {
        sentence: format!("the OS is {name} {version}"),
        wishes: vec![Wish { path: vec!["os".to_owned()], becomes: Becomes::Text(name) }],
        subject: difference.subject.clone(),
        holds: Holds::Os { version: version.to_owned() },
    })
}
