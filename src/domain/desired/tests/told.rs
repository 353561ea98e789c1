//! What `why` tells of values that were taken away, and of what Compose fills in.

use super::*;
use crate::domain::desired::{Explained, Explanation};

fn explained(files: &[(&str, &str)], device: &str) -> Explanation {
    let device = DeviceId::new(device).expect("a name");
    Resolver::default().explain(&snapshot(files), &device).expect("it is listed")
}

/// The values that a key names, each with what it came to, what it uses, and what it overrode.
fn told(explanation: &Explanation, key: &str) -> String {
    let mut text = String::new();
    for Explained { key, value, place, rendered, uses, overridden, .. } in explanation.selected(key) {
        let _ = write!(text, "{key}: {value} ({place})");
        if let Some(rendered) = rendered {
            let _ = write!(text, " is {rendered}");
        }
        uses.iter().for_each(|one| {
            let _ = write!(text, "; {}={} ({})", one.name, one.value, one.place);
        });
        overridden.iter().for_each(|one| {
            let _ = write!(text, "; overrides {} ({})", one.value, one.place);
        });
        text.push('\n');
    }
    text
}

#[test]
fn a_mapping_that_was_taken_away_is_told_with_the_null_that_did_it() {
    let files = [
        (
            "group_vars/all.yml",
            "branch: main\npins: {app: latest, other: 1.0.0}\nvariables: {A: all, FROM: all}\ntags: {site: bern}\n",
        ),
        ("group_vars/kiosks.yml", "pins: null\nvariables: null\ntags: null\n"),
        ("host_vars/a.yml", "pins: {app: 1.0.0}\nvariables: {B: host}\n"),
    ];
    let a = explained(&files, "a");
    insta::assert_snapshot!(["pins", "variables", "tags"].map(|key| told(&a, key)).concat(), @r#"
    pins.app: 1.0.0 (host_vars/a.yml:1:8); overrides (removed) (group_vars/kiosks.yml:1:7); overrides latest (group_vars/all.yml:2:8)
    pins.other: (removed) (group_vars/kiosks.yml:1:7); overrides 1.0.0 (group_vars/all.yml:2:21)
    app/web.environment.A: (removed) (group_vars/kiosks.yml:2:12); overrides all (group_vars/all.yml:3:13)
    app/web.environment.B: host (host_vars/a.yml:2:13)
    app/web.environment.FROM: compose (releases/app/1.0.0/compose.yml:4:19); overrides (removed) (group_vars/kiosks.yml:2:12); overrides all (group_vars/all.yml:3:21)
    tags.site: (removed) (group_vars/kiosks.yml:3:7); overrides bern (group_vars/all.yml:4:8)
    "#);
    // Where no mapping was taken away, nothing is told of one.
    assert!(!told(&explained(&files, "c"), "pins").contains("removed"));
}

#[test]
fn services_that_were_taken_away_are_told_too() {
    let services = "services: {web: {variables: {A: all, B: all}}, app/web: {variables: {C: all}}}\n";
    let files = |own: &'static str| {
        [
            ("group_vars/all.yml", format!("branch: main\npins: {{app: latest}}\n{services}")),
            ("host_vars/a.yml", own.to_owned()),
        ]
    };
    for own in [
        "services: null\n",
        "services: {web: null, app/web: {variables: null}}\n",
        "services: {web: {variables: {A: host}}}\n",
    ] {
        let files = files(own);
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let all = explained(&files, "a");
        // Whatever is told, the value that is told last is the one that the service gets.
        let desired = Resolver::default().resolve(&snapshot(&files));
        let spec = desired.devices.values().next().and_then(|device| device.spec.clone()).expect("a has a spec");
        let services = spec.spec.apps.values().flat_map(|app| app.services.values());
        let gets: Vec<String> =
            services.flat_map(|one| one.environment.iter().map(|(name, value)| format!("{name}={value}"))).collect();
        let told_last: Vec<String> = all
            .selected("environment")
            .into_iter()
            .filter(|one| one.value != crate::domain::desired::REMOVED)
            .filter_map(|one| Some(format!("{}={}", one.key.rsplit('.').next()?, one.value)))
            .collect();
        assert_eq!(told_last, gets, "{own}");
        if own.starts_with("services: {web: null") {
            insta::assert_snapshot!(told(&all, "environment"), @r#"
            app/web.environment.A: (removed) (host_vars/a.yml:1:12); overrides all (group_vars/all.yml:3:30)
            app/web.environment.B: (removed) (host_vars/a.yml:1:12); overrides all (group_vars/all.yml:3:38)
            app/web.environment.C: (removed) (host_vars/a.yml:1:23); overrides all (group_vars/all.yml:3:70)
            app/web.environment.FROM: compose (releases/app/1.0.0/compose.yml:4:19)
            "#);
        }
    }
}

#[test]
fn what_compose_fills_in_is_shown_filled_in_with_its_source() {
    let compose = "services:\n  web:\n    image: \"example.com/web:${TAG:-1.${MINOR:-4}}\"\n    command: [run, '--port=${PORT:-80}', $$HOME]\n    \
                   environment: {LEVEL: '${LEVEL-info}', PLAIN: x}\n    networks: [front]\n  \
                   job: {image: 'job:1', environment: ['MODE=${MODE:-fast}']}\n\
                   networks:\n  front: {internal: true, driver: '${DRIVER:-bridge}'}\nvolumes:\n  data:\n";
    let files =
        [("group_vars/all.yml", "branch: main\npins: {app: latest}\n"), ("releases/app/1.0.0/compose.yml", compose)];
    let all = explained(&files, "a");
    insta::assert_snapshot!(told(&all, "app"), @r#"
    app.networks.front.driver: ${DRIVER:-bridge} (releases/app/1.0.0/compose.yml:9:27) is bridge; DRIVER=bridge (releases/app/1.0.0/compose.yml:9:27)
    app.networks.front.internal: true (releases/app/1.0.0/compose.yml:9:11)
    app.release: 1.0.0 (releases/app/1.0.0/release.yml:1:10)
    app.volumes.data: {} (releases/app/1.0.0/compose.yml:11:3)
    app/job.environment.MODE: ${MODE:-fast} (releases/app/1.0.0/compose.yml:7:39) is fast; MODE=fast (releases/app/1.0.0/compose.yml:7:39)
    app/job.image: job:1 (releases/app/1.0.0/compose.yml:7:9)
    app/web.command: ["run","--port=${PORT:-80}","$$HOME"] (releases/app/1.0.0/compose.yml:4:5) is ["run","--port=80","$HOME"]; PORT=80 (releases/app/1.0.0/compose.yml:4:5)
    app/web.environment.LEVEL: ${LEVEL-info} (releases/app/1.0.0/compose.yml:5:19) is info; LEVEL=info (releases/app/1.0.0/compose.yml:5:19)
    app/web.environment.PLAIN: x (releases/app/1.0.0/compose.yml:5:43)
    app/web.image: example.com/web:${TAG:-1.${MINOR:-4}} (releases/app/1.0.0/compose.yml:3:5) is example.com/web:1.4; TAG=1.4 (releases/app/1.0.0/compose.yml:3:5); MINOR=4 (releases/app/1.0.0/compose.yml:3:5)
    app/web.networks: ["front"] (releases/app/1.0.0/compose.yml:6:5)
    "#);
    insta::assert_snapshot!(told(&all, "networks.front"), @r#"
    app.networks.front.driver: ${DRIVER:-bridge} (releases/app/1.0.0/compose.yml:9:27) is bridge; DRIVER=bridge (releases/app/1.0.0/compose.yml:9:27)
    app.networks.front.internal: true (releases/app/1.0.0/compose.yml:9:11)
    "#);
    assert!(told(&all, "volumes").starts_with("app.volumes.data"), "{}", told(&all, "volumes"));
}
