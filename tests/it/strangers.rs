//! What others have on a device's engine survives the device's whole life: from its first service until it leaves the fleet.

use crate::harness::engine::Engine;
use crate::harness::fleet::{Fleet, On, outcome};
use crate::harness::process::{BELLWETHER_AGENT, eventually, program};
use bellwether::domain::overview::device::DeviceDetail;

const DEVICE: &str = "host-of-strangers";
const WELL: &str = "trap 'exit 0' TERM; sleep 86400 & wait";

fn release(image: &str, line: &str) -> Vec<(String, String)> {
    // What ends stays ended, so the next look sees it, however fast the machine is.
    let service = format!(
        "    image: {image}\n    restart: 'no'\n    command: [/bin/sh, -c, \"{line}\"]\n    volumes: [data:/data]\n"
    );
    let compose = format!("services:\n  app:\n{service}volumes: {{ data: }}\n");
    [
        ("fleet.yml", "name: acme\n".to_owned()),
        ("inventory.yml", format!("all:\n  hosts:\n    {DEVICE}:\n")),
        ("group_vars/all.yml", "branch: main\npins: { web: 1.0.0 }\n".to_owned()),
        ("releases/web/1.0.0/release.yml", "version: 1.0.0\n".to_owned()),
        ("releases/web/1.0.0/compose.yml", compose),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .to_vec()
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect()
}

/// Strangers of every kind: some without labels, some whose labels are nearly ours.
fn let_strangers_in(engine: &Engine) {
    let image = engine.registry().worker[1].by_tag();
    let labels =
        ["--label", "bellwether.owner=acme", "--label", "bellwether.device=somebody", "--label", "bellwether.app=web"];
    for (kind, suffix, labels) in [
        ("volume", "plain", &[][..]),
        ("volume", "labelled", &labels),
        ("network", "plain", &[]),
        ("network", "labelled", &labels),
    ] {
        engine.docker(&[&[kind, "create"], labels, &[&format!("stranger-{suffix}")]].concat());
    }
    for (suffix, labels) in [("plain", &[][..]), ("labelled", &labels)] {
        let name = format!("stranger-{suffix}");
        let volume = format!("{name}:/data");
        let words = ["--name", &name, "--network", &name, "--volume", &volume, &image];
        engine.docker(&[&["run", "--detach"], labels, &words].concat());
        engine.docker(&["exec", &name, "/bin/sh", "-c", "echo his own > /data/file"]);
    }
    engine.docker(&[&["create", "--name", "stranger-asleep"], &labels[..], &[&image]].concat());
    engine.docker(&["tag", &image, "stranger/image:1"]);
}

/// Everything of theirs, in so much detail that whatever is done to it shows.
fn strangers(engine: &Engine) -> String {
    let each = "{{.Id}} {{.Name}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}";
    let mut lines =
        vec![engine.docker(&["inspect", "--format", each, "stranger-plain", "stranger-labelled", "stranger-asleep"])];
    for name in ["stranger-plain", "stranger-labelled"] {
        lines.push(engine.docker(&["volume", "inspect", name]));
        lines.push(engine.docker(&["network", "inspect", name]));
        lines.push(engine.docker(&["exec", name, "/bin/cat", "/data/file"]));
    }
    let image = engine.registry().worker[1].by_tag();
    lines.push(engine.docker(&["image", "inspect", "--format", "{{.Id}} {{.RepoTags}}", &image, "stranger/image:1"]));
    lines.join("\n")
}

#[test]
fn strangers_survive_every_step_of_a_devices_life() {
    let Some(engine) = Engine::start("strangers") else { return };
    let engine: &'static Engine = Box::leak(Box::new(engine));
    let web = engine.registry().web.each_ref().map(|image| image.by_digest());
    let_strangers_in(engine);
    let before = strangers(engine);
    let mut lived_through = Vec::new();
    let mut check = |step: &'static str| {
        assert_eq!(strangers(engine), before, "after {step}");
        lived_through.push(step);
    };

    let stages = "stages: [{name: main, soak_secs: 3}, canary, production]\n";
    let mut fleet = Fleet::configured("strangers", On::Engine(engine), stages, &borrowed(&release(&web[0], WELL)));
    fleet.enroll(&[DEVICE]);
    fleet.settled(&[DEVICE]);
    check("the first services");

    fleet.push("main", "Update", &borrowed(&release(&web[1], WELL)));
    fleet.settled_on("main", &[DEVICE]);
    check("an update");

    fleet.push("main", "Break it", &borrowed(&release(&web[1], "exit 3")));
    eventually("the device goes back", || {
        fleet.try_get::<DeviceDetail>(&format!("/v1/devices/{DEVICE}")).ok()?.failure.map(drop)
    });
    check("going back");

    fleet.push("main", "Update again", &borrowed(&release(&web[2], WELL)));
    fleet.settled_on("main", &[DEVICE]);
    eventually("an image that nobody needs is gone", || engine.try_docker(&["image", "inspect", &web[0]]).err());
    check("clearing up images");

    let state = fleet.state_dir(DEVICE);
    let agent = |arguments: &[&str]| {
        let mut command = program(BELLWETHER_AGENT);
        command.args(arguments).arg("--state-dir").arg(&state);
        let (code, out, error) = outcome(&mut command);
        assert_eq!(code, Some(0), "{error}");
        out
    };
    let own = fleet.containers(DEVICE)["web/app"].clone();
    agent(&["purge", "web/data", "--yes"]);
    eventually("the service is made anew", || {
        fleet.containers(DEVICE).get("web/app").is_some_and(|id| *id != own).then_some(())
    });
    fleet.settled(&[DEVICE]);
    check("a purge");

    fleet.agents.get_mut(DEVICE).expect("it runs").terminate();
    let socket = engine.docker_socket().display().to_string();
    let out = agent(&["leave", "--yes", "--remove", "--forget", "--engine", "docker", "--docker-socket", &socket]);
    assert!(out.contains("Removed web/app.") && out.contains("Kept volume data of web"), "{out}");
    assert!(fleet.containers(DEVICE).is_empty());
    check("leaving");
    insta::assert_snapshot!(lived_through.join(", "), @"the first services, an update, going back, clearing up images, a purge, leaving");
}
