//! The same with real containers: two devices on one engine, which is killed as well.

use super::chance::Chance;
use super::fleet::{Engine, Fleet, STAGES, Victim};
use crate::harness::engine::Engine as RealEngine;
use crate::harness::process::Running;
use bellwether::domain::generation::Order;
use bellwether::domain::ids::DeviceId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DEVICES: [&str; 2] = ["kill-one", "kill-two"];
/// The longest wait for a strike: bringing two images and starting two containers takes a second or two.
const SOON: Duration = Duration::from_millis(700);
/// How often somebody is struck in each of the two scenes.
const STRIKES: usize = 5;

/// What was made: device, service and image, each with the engine's ids of the containers.
type Made = BTreeMap<(String, String, String), BTreeSet<String>>;

#[test]
fn killed_agents_and_a_killed_engine_make_no_container_twice() {
    let Some(engine) = RealEngine::start("kill") else { return };
    let registry = engine.registry();
    let ([old, new, _], [worker, _]) = (&registry.web, &registry.worker);
    let (old, new, worker) = (old.by_digest(), new.by_digest(), worker.by_digest());
    let mut chance = Chance::of(1);
    let devices: BTreeSet<DeviceId> = DEVICES.iter().map(|name| DeviceId::new(name).expect("a device name")).collect();
    let files = fleet_files(&old, &worker);
    let mut fleet = Fleet::new("kill-docker", &borrowed(&files), devices, Engine::Docker(engine.docker_socket()));
    let mut watch = Watch::new(&engine);

    fleet.start_controller();
    fleet.until_ready();
    fleet.start_agents();
    strike(&mut fleet, &mut chance, &mut watch);
    settle(&mut fleet, Order::FIRST, "the containers run");
    watch.look();

    fleet.repo.commit("Release shop 1.1.0", &borrowed(&release("1.1.0", &new, &worker)));
    fleet.repo.push(STAGES[0]);
    fleet.refresh();
    strike(&mut fleet, &mut chance, &mut watch);
    engine.crash();
    strike(&mut fleet, &mut chance, &mut watch);
    engine.restart();
    watch.follow_events();
    strike(&mut fleet, &mut chance, &mut watch);
    settle(&mut fleet, Order::FIRST.next(), "the release runs");
    watch.look();
    fleet.stop();

    let mut wanted = BTreeSet::new();
    for device in DEVICES {
        for (service, image) in [("web", &old), ("web", &new), ("worker", &worker)] {
            wanted.insert((device.to_owned(), service.to_owned(), image.clone()));
        }
    }
    let made = watch.made();
    assert_eq!(made.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    let twice: Vec<_> = made.iter().filter(|(_, ids)| ids.len() != 1).collect();
    assert!(twice.is_empty(), "made more than once: {twice:#?}");
}

fn strike(fleet: &mut Fleet, chance: &mut Chance, watch: &mut Watch<'_>) {
    for _ in 0..STRIKES {
        let victim = match chance.below(5) {
            0 => Victim::Controller,
            1 => Victim::Everybody,
            _ => Victim::Agent(DeviceId::new(chance.one_of::<&str>(&DEVICES)).expect("a device name")),
        };
        let moment = chance.moment(SOON);
        fleet.wait_for(&victim, moment);
        fleet.kill(&victim, chance);
        watch.look();
    }
}

fn settle(fleet: &mut Fleet, order: Order, what: &str) {
    fleet.until_settled(what, |_, rows| rows.iter().all(|row| row.assigned == Some(order)));
}

/// Who counts containers: the engine's own events, and what is there after each strike. Events of a killed engine are lost, so
/// neither would be enough alone.
struct Watch<'a> {
    engine: &'a RealEngine,
    events: Vec<Running>,
    seen: Made,
}

impl<'a> Watch<'a> {
    fn new(engine: &'a RealEngine) -> Self {
        let mut watch = Self { engine, events: Vec::new(), seen: Made::new() };
        watch.follow_events();
        watch
    }

    /// Follows the events of this start of the engine, from its first one.
    fn follow_events(&mut self) {
        let mut command = self.engine.docker_command();
        command.args(["events", "--since", "1", "--filter", "type=container", "--filter", "event=create"]);
        command.args(["--format", "{{json .}}"]);
        self.events.push(Running::start("events", command));
    }

    fn look(&mut self) {
        const ONE: &str = r#"{{.Id}} {{index .Config.Labels "bellwether.device"}} {{index .Config.Labels "bellwether.service"}} {{.Config.Image}}"#;
        // A dead engine shows nothing, and a container may go between the two questions.
        let ids =
            self.engine.try_docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", "label=bellwether.device"]);
        for id in ids.unwrap_or_default().lines() {
            let one = self.engine.try_docker(&["inspect", "--format", ONE, id]).unwrap_or_default();
            let words: Vec<&str> = one.split(' ').collect();
            if let [id, device, service, image] = words[..] {
                note(&mut self.seen, device, service, image, id);
            }
        }
    }

    fn made(&self) -> Made {
        let mut made = self.seen.clone();
        for events in &self.events {
            for line in events.log().lines() {
                // The last words of a broken stream are no event.
                let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
                let attribute = |name: &str| event["Actor"]["Attributes"][name].as_str();
                let (Some(device), Some(service)) = (attribute("bellwether.device"), attribute("bellwether.service"))
                else {
                    continue;
                };
                let image = attribute("image").expect("a container has an image");
                note(&mut made, device, service, image, event["Actor"]["ID"].as_str().expect("a container has an id"));
            }
        }
        made
    }
}

fn note(made: &mut Made, device: &str, service: &str, image: &str, id: &str) {
    let key = (device.to_owned(), service.to_owned(), image.to_owned());
    made.entry(key).or_default().insert(id.to_owned());
}

type Files = Vec<(String, String)>;

fn fleet_files(web: &str, worker: &str) -> Files {
    let hosts: String = DEVICES.iter().map(|device| format!("    {device}:\n")).collect();
    let mut files = vec![
        ("fleet.yml".to_owned(), "name: lindenhof\n".to_owned()),
        ("inventory.yml".to_owned(), format!("all:\n  hosts:\n{hosts}")),
        ("group_vars/all.yml".to_owned(), format!("branch: {}\npins:\n  shop: latest\n", STAGES[0])),
    ];
    files.extend(release("1.0.0", web, worker));
    files
}

fn release(version: &str, web: &str, worker: &str) -> Files {
    let compose = format!(
        "services:\n  web:\n    image: {web}\n    volumes:\n      - data:/data\n  worker:\n    image: {worker}\nvolumes:\n  data:\n"
    );
    let folder = format!("releases/shop/{version}");
    vec![(format!("{folder}/release.yml"), format!("version: {version}\n")), (format!("{folder}/compose.yml"), compose)]
}

fn borrowed(files: &Files) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}
