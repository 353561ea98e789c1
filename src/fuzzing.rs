//! Entry points for bytes from outside, one function each: the fuzzer calls them with what it makes up, and an ordinary test with
//! the corpus. They must come to an end whatever they are given; where more can be said of the answer, they say it.

use crate::domain::acts::enroll::{EnrollRequest, enroll};
use crate::domain::acts::report::{Recorded, report};
use crate::domain::desired::{Desired, FreeVariables, InventorySource, Resolver};
use crate::domain::device::ledger::Ledger;
use crate::domain::device::local::{Ask, MAX_LOG_LINES, requests};
use crate::domain::device::locks::{Lock, LockText, Place};
use crate::domain::device::machine::{About, Machine, Moment, Pace};
use crate::domain::digest::Digest;
use crate::domain::filter::index::Builder;
use crate::domain::filter::{Answer, DynamicGroups, Facts, Filter, evaluate};
use crate::domain::finding::{Finding, render_findings};
use crate::domain::fleet::FleetState;
use crate::domain::forge::bound::Bound;
use crate::domain::forge::check::{Annotation, Outcome};
use crate::domain::forge::comment::{Placement, Seen, marked, place};
use crate::domain::ids::{CommitId, DeviceId};
use crate::domain::manifest::inventory::pattern::{select, terms};
use crate::domain::manifest::inventory::{Builder as InventoryBuilder, Kept, read_list};
use crate::domain::manifest::vars::{KeyRules, Vars};
use crate::domain::manifest::yaml::Span;
use crate::domain::manifest::{scalar, yaml};
use crate::domain::plan::gate::StagePlan;
use crate::domain::reported::Report;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::protocol::v1::envelope::{Trust, offer, sign_payload};
use ed25519_dalek::SigningKey;
use std::sync::Arc;

/// A way in for bytes from outside.
pub type Target = fn(&[u8]);

/// Every way in, by name. The corpus of each is in `fuzz/corpus/<name>`.
pub const TARGETS: &[(&str, Target)] = &[
    ("compose", compose),
    ("enroll", enrollment),
    ("envelope", envelope),
    ("filter", filter),
    ("fleet", fleet),
    ("inventory", inventory),
    ("ledger", ledger),
    ("list", list),
    ("local", local),
    ("os", os),
    ("pattern", host_pattern),
    ("plan", plan),
    ("release", release),
    ("report", reported),
    ("template", template),
    ("vars", vars),
    ("yaml", yaml_document),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// The files around the one that is made up, so that what it says is followed to the end.
const AROUND: &[(&str, &[u8])] = &[
    ("fleet.yml", b"name: acme\ndefaults: { branch: main }\n"),
    ("inventory.yml", b"all: { children: { g: { hosts: { a: , b: } } } }\n"),
    ("group_vars/all.yml", b"motd: hello\npins: { app: latest }\ndevice_type: pi\nos: image\n"),
    ("host_vars/a.yml", b"variables: { A: 1 }\nservices: { web: { variables: { B: null } } }\n"),
    ("releases/app/1.0.0/release.yml", b"version: 1.0.0\nrequires: { device_types: [pi] }\n"),
    ("releases/app/1.0.0/compose.yml", b"services: { web: { image: 'web:1', environment: { A: 0, B: 1 } } }\n"),
    ("os/image.yml", b"pi: { version: 1 }\n"),
];

/// A plan that somebody else's run has left, as `post` reads it: what is written because of it stays within what forges take.
fn plan(bytes: &[u8]) {
    #[derive(serde::Deserialize)]
    struct Posted {
        commit: CommitId,
        #[serde(flatten)]
        plan: StagePlan,
        findings: Vec<Finding>,
    }
    let Ok(Posted { commit, plan, findings }) = serde_json::from_slice::<Posted>(bytes) else { return };
    let stage = plan.stage.as_str();
    let bound = Bound { commit: &commit, stage: &plan.stage };
    assert!(bound.fits(&commit, stage).is_ok(), "a plan fits the commit and the branch that it is of");
    assert!(bound.fits(&commit, "another/branch").is_err() || stage == "another/branch");
    let outcome = Outcome { findings: &findings, held: plan.held.len(), unknown: 0 };
    let (annotations, left_out) = outcome.annotations("fleet/");
    assert_eq!(annotations.len() + left_out, findings.len(), "nothing is left out unsaid");
    for one in &annotations {
        let Annotation { path, line, title, message, .. } = one;
        let acts = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(*line > 0 && path.len() < 5_000 && title.chars().count() <= 255 && message.len() < 65_536);
        assert!(!acts(path) && !acts(title) && !acts(message), "nothing of it acts on a terminal");
    }
    let text = marked("plan", stage, "text");
    assert_eq!(text.matches("-->").count(), 1, "a mark is one comment, whatever the stage is called");
    let seen = [Seen { id: 1, author: "us", body: &text }];
    assert_eq!(place("plan", stage, "text", "us", &seen), Placement::Keep(1), "what was written is found again");
}

/// A commit whose file at this path is made up.
fn resolved(path: &str, bytes: &[u8]) {
    let around = AROUND.iter().copied().filter(|(other, _)| *other != path);
    let snapshot = Snapshot::of_files(around.chain([(path, bytes)]));
    let mut resolver = Resolver::default();
    let desired = resolver.resolve(&snapshot);
    agrees_with_itself(&desired);
    assert_eq!(*desired, *Resolver::default().resolve(&snapshot), "a commit means the same each time");
    for device in desired.devices.keys().take(3) {
        let explanation = resolver.explain(&snapshot, device).expect("a device that is listed can be explained");
        for value in &explanation.values {
            assert!(explanation.selected(&value.key).contains(&value), "{} is found by its own key", value.key);
        }
    }
}

fn agrees_with_itself(desired: &Desired) {
    assert!(desired.findings.is_sorted(), "findings are sorted");
    assert!(desired.rejection().is_none() || desired.devices.is_empty(), "a commit that is rejected means no devices");
    for (device, one) in &desired.devices {
        assert!(one.spec.is_some() || one.problem.is_some(), "{device} has content or a problem");
    }
    // People and forges read them; what is shown of a made-up file must be made too.
    assert_eq!(render_findings(&desired.findings).is_empty(), desired.findings.is_empty());
}

fn inventory(bytes: &[u8]) {
    resolved("inventory.yml", bytes);
}

/// A list of devices that was fetched: whoever reads it again, and whoever has read others before, reads the same.
fn list(bytes: &[u8]) {
    let name = "https://cmdb.example/fleet.json".into();
    let around = AROUND.iter().copied().filter(|(path, _)| !["fleet.yml", "inventory.yml"].contains(path));
    let fleet: (&str, &[u8]) = (
        "fleet.yml",
        b"name: acme\ndefaults: { branch: main }\ninventory: { http: 'https://cmdb.example/fleet.json' }\n",
    );
    let snapshot = Snapshot::of_files(around.chain([fleet]));
    let mut kept = Kept::default();
    let mut read = || InventorySource::Given(Arc::new(read_list(&name, bytes, &KeyRules::default(), &mut kept)));
    let (first, again) = (read(), read());
    let mut resolver = Resolver::default();
    let desired = resolver.resolve_with(&snapshot, &first);
    agrees_with_itself(&desired);
    assert_eq!(*desired, *resolver.resolve_with(&snapshot, &again), "a list means the same each time");
    for device in desired.devices.keys().take(3) {
        assert!(resolver.explain_with(&snapshot, &first, device).is_some(), "a device that is listed can be explained");
    }
}

fn vars(bytes: &[u8]) {
    resolved("host_vars/a.yml", bytes);
}

fn fleet(bytes: &[u8]) {
    resolved("fleet.yml", bytes);
}

fn release(bytes: &[u8]) {
    resolved("releases/app/1.0.0/release.yml", bytes);
}

fn compose(bytes: &[u8]) {
    resolved("releases/app/1.0.0/compose.yml", bytes);
}

fn os(bytes: &[u8]) {
    resolved("os/image.yml", bytes);
}

/// The text of a value, as a file of a device has it.
fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let text = serde_json::to_string(text).expect("text can be said in JSON");
    resolved("host_vars/a.yml", format!("greeting: hi\nvariables: {{ A: {text} }}\n").as_bytes());
}

/// What somebody asks of devices. Looking at one and asking the index of it come to the same.
fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let groups = DynamicGroups::default();
    let filter = match Filter::new(text, &groups) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(!error.underlined(text).is_empty(), "what is wrong is shown in the expression");
            return;
        }
    };
    let tags = [("site", "hk-1"), ("floor", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let vars = Vars::read_free(&"vars.yml".into(), b"a: 1\nb: NO\nc: { d: text }\ne: '{{ x }}'\n");
    let vars = Arc::new(FreeVariables::of_files(vec![Arc::new(vars)]));
    let facts =
        Facts { device: "a", stage: Some(None), tags: Some(&tags), vars: Some(Some(&vars)), ..Facts::default() };
    let mut builder = Builder::default();
    builder.add(&device(), &facts);
    let selection = builder.finish().select(&filter.test, &groups);
    let answer = match (selection.yes.is_empty(), selection.unknown.is_empty()) {
        (false, _) => Answer::Yes,
        (true, false) => Answer::Unknown,
        (true, true) => Answer::No,
    };
    assert_eq!(answer, evaluate(&filter.test, &facts, &groups), "the index answers as looking at the device does");
}

/// What somebody limits a list of hosts to.
fn host_pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut builder = InventoryBuilder::default();
    for (group, host) in [("web", "web-1"), ("web", "web-2.example"), ("db", "db-1"), ("all", "web-1")] {
        let Ok(group) = builder.group(group, Span::default()) else { return };
        builder.host(group, host, Span::default());
    }
    let Ok(graph) = builder.finish() else { return };
    if let Ok(hosts) = select(&graph, &terms(text)) {
        let different: std::collections::BTreeSet<usize> = hosts.iter().copied().collect();
        assert_eq!(different.len(), hosts.len(), "each host is selected once");
        assert!(hosts.iter().all(|host| *host < graph.hosts.len()), "only hosts that there are");
    }
}

fn yaml_document(bytes: &[u8]) {
    if let Ok(Some(node)) = yaml::parse(bytes) {
        let value = scalar::json(&node);
        assert_eq!(value, scalar::json(&node), "a document means the same each time");
        assert!(serde_json::to_string(&value).is_ok(), "what YAML says can be said in JSON");
    }
}

fn device() -> DeviceId {
    DeviceId::new("a").expect("a letter is a name")
}

/// What a device fetches: nobody but the controller has signed it.
fn envelope(bytes: &[u8]) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let fleet = "acme".parse().expect("a word is a name");
    let trust = Trust { fleet, device: device(), key: key.verifying_key() };
    assert!(offer(bytes, &trust, None).is_err(), "nothing that is made up carries the fleet's signature");
    // The same as a payload that is signed, which only gets further.
    let signed = serde_json::to_vec(&sign_payload(bytes, &key)).expect("an envelope has only string keys");
    if let Ok(held) = offer(&signed, &trust, None) {
        assert_eq!(held.mark.digest, held.spec.digest, "what is accepted has the digest that it states");
    }
}

/// What a device says of itself.
fn reported(bytes: &[u8]) {
    let Ok(said) = serde_json::from_slice::<Report>(bytes) else { return };
    let mut state = FleetState::default();
    if let Ok(Recorded::Newer(changes)) = report(&state, &device(), said.clone(), Timestamp::EPOCH) {
        state.apply(&changes);
        let again = report(&state, &device(), said, Timestamp::EPOCH);
        assert_eq!(again, Ok(Recorded::Stale), "a report that comes twice is recorded once");
    }
}

/// What a device asks that nobody knows.
fn enrollment(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<EnrollRequest>(bytes) else { return };
    let mut state = FleetState::default();
    if let Ok((changes, _)) = enroll(&state, &request, Timestamp::EPOCH) {
        state.apply(&changes);
        assert!(state.devices.contains_key(&request.device), "whoever is let in is known");
    }
}

/// What a crash or a worn flash may have left of a ledger.
fn ledger(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // As it is, and as the body of a file whose first line fits it.
    let whole = format!("bellwether-ledger 1 {}\n{text}\n", Digest::of(bytes));
    for text in [text, &whole] {
        if let Ok(ledger) = Ledger::parse(text) {
            assert_eq!(Ledger::parse(&ledger.to_text()).as_ref(), Ok(&ledger), "a ledger is read as it was written");
        }
    }
}

/// What an application on a device asks of the agent, or writes into a lock file.
fn local(bytes: &[u8]) {
    let about = About { device: device(), branch: None, attributes: Default::default() };
    let now = Moment { wall: Timestamp::EPOCH, steady_millis: 0 };
    let (mut machine, _) = Machine::start(about, Pace::default(), Ledger::default(), "0".repeat(32), now);
    let asks = [requests::health(bytes), requests::purge(bytes), Ok(Ask::Check)];
    for ask in asks.into_iter().flatten() {
        let event = machine.asked(ask.clone(), now.wall);
        assert!(event.is_err() || ask == Ask::Check, "nothing is assigned that could be told of or purged");
        if let Ok(event) = event {
            machine = machine.step(event, now).0;
        }
    }
    assert!(serde_json::to_string(&machine.status()).is_ok(), "what is known can be said in JSON");
    if let Ok(asked) = requests::lock(bytes) {
        let text = asked.text.to_text();
        assert_eq!(LockText::parse(text.as_bytes()), Ok(asked.text), "a lock is read as it was written");
    }
    if let Ok(asked) = requests::logs(&String::from_utf8_lossy(bytes)) {
        assert!((1..=MAX_LOG_LINES).contains(&asked.lines));
    }
    let lock = Lock::of_file(Place::Device, None, Ok(bytes));
    assert!(lock.trouble.is_none() || lock.scope.len() == 3, "what nobody understands holds everything");
    assert!(lock.describe(now.wall).chars().all(|one| !one.is_control()), "and is shown on one line");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn corpus(name: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        files
    }

    #[test]
    fn the_corpus_comes_to_an_end_at_every_way_in() {
        for (name, target) in TARGETS {
            let files = corpus(name);
            assert!(!files.is_empty(), "fuzz/corpus/{name} has no seeds");
            for file in files {
                target(&std::fs::read(&file).expect("a seed can be read"));
            }
        }
    }

    #[test]
    fn every_way_in_takes_what_belongs_to_the_others() {
        for (_, target) in TARGETS {
            for (other, _) in TARGETS {
                for file in corpus(other) {
                    target(&std::fs::read(&file).expect("a seed can be read"));
                }
            }
        }
    }

    #[test]
    fn the_folders_of_the_corpus_are_the_ways_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let found = std::fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("a folder").file_name());
        let mut found: Vec<String> = found.map(|name| name.to_string_lossy().into_owned()).collect();
        found.sort();
        assert_eq!(found, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }
}
