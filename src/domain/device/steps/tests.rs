//! Which steps follow from what is there, where services wait for and follow each other.

use super::*;
use crate::domain::reported::{Health, ServiceState};
use crate::domain::spec::{
    AppSpec, Dependency, HealthCheck, HealthTest, Network, NetworkSpec, NetworkSwitch, Renewal, Restart, Until,
};
use crate::ports::engine::fake::FakeEngine;
use insta::assert_snapshot;

fn name(text: &str) -> ServiceName {
    text.parse().expect("a service name")
}

/// `app` needs `db` to be healthy, and `job` to have run; `side` is in `app`'s network.
fn spec() -> DeviceSpec {
    let checked = HealthCheck { test: Some(HealthTest::Shell("true".to_owned())), ..HealthCheck::default() };
    let depends = |service: &str, until| Dependency { service: name(service), until, renewal: Renewal::Kept };
    let services = [
        (
            "app",
            ServiceSpec {
                depends_on: [depends("db", Until::Healthy), depends("job", Until::Completed)].into(),
                ..ServiceSpec::of_image("app:1")
            },
        ),
        ("db", ServiceSpec { healthcheck: Some(checked), ..ServiceSpec::of_image("db:1") }),
        ("job", ServiceSpec { restart: Restart::No, ..ServiceSpec::of_image("job:1") }),
        ("side", ServiceSpec { network: Network::Service(name("app")), ..ServiceSpec::of_image("side:1") }),
    ];
    let services = services.map(|(service, spec)| (name(service), spec)).into();
    let (volumes, networks) = Default::default();
    let app = AppSpec { release: "1.0.0".parse().expect("a version"), services, volumes, networks };
    DeviceSpec { apps: [(app_name(), app)].into(), ..DeviceSpec::default() }
}

fn app_name() -> AppName {
    "web".parse().expect("an app name")
}

/// Carries out every step, and shows them, and what waits then.
fn turn(engine: &mut FakeEngine, spec: &DeviceSpec) -> String {
    let look = |engine: &FakeEngine| engine.look(&images(spec));
    let mut shown = Vec::new();
    for step in app_steps(spec, &look(engine)) {
        engine.perform(&step).unwrap_or_else(|error| panic!("{step}: {error}"));
        shown.push(step.to_string());
    }
    for Wait { subject, what, outlook } in waits(spec, &look(engine)) {
        shown.push(format!("{subject} waits for {what}: {outlook:?}"));
    }
    if shown.is_empty() { "nothing to do".to_owned() } else { shown.join("\n") }
}

fn set(engine: &mut FakeEngine, service: &str, state: ServiceState, health: Health) {
    let found = engine.apps.get_mut(&app_name()).and_then(|app| app.services.get_mut(&name(service)));
    let found = found.expect("the service is there");
    (found.state, found.health) = (state, health);
}

#[test]
fn services_wait_for_health_and_for_the_end_of_others() {
    let (mut engine, spec) = (FakeEngine::default(), spec());
    assert_snapshot!(turn(&mut engine, &spec), @r"
    create network of web
    pull app:1
    pull db:1
    pull job:1
    pull side:1
    create web/db
    start web/db
    create web/job
    start web/job
    web/app waits for job to run to its end: Open
    web/side waits for app to be started: Open
    ");
    set(&mut engine, "db", ServiceState::Running, Health::Starting);
    assert_snapshot!(turn(&mut engine, &spec), @r"
    web/db waits for its health check: Open
    web/app waits for db to be healthy: Open
    web/app waits for job to run to its end: Open
    web/side waits for app to be started: Open
    ");
    set(&mut engine, "db", ServiceState::Running, Health::Unhealthy);
    set(&mut engine, "job", ServiceState::Exited(3), Health::Unchecked);
    assert_snapshot!(turn(&mut engine, &spec), @r"
    web/app waits for db to be healthy: Bleak
    web/app waits for job to run to its end: Bleak
    web/side waits for app to be started: Open
    ");
    set(&mut engine, "db", ServiceState::Running, Health::Healthy);
    set(&mut engine, "job", ServiceState::Exited(0), Health::Unchecked);
    assert_snapshot!(turn(&mut engine, &spec), @r"
    create web/app
    start web/app
    create web/side
    start web/side
    ");
    assert_snapshot!(turn(&mut engine, &spec), @"nothing to do");
}

#[test]
fn a_service_in_another_ones_network_follows_it() {
    let (mut engine, mut spec) = (FakeEngine::default(), spec());
    turn(&mut engine, &spec);
    set(&mut engine, "job", ServiceState::Exited(0), Health::Unchecked);
    turn(&mut engine, &spec);
    let web = spec.apps.get_mut(&app_name()).expect("the app is there");
    web.services.get_mut(&name("app")).expect("the service is there").options.mem_limit = Some(64 << 20);
    assert_snapshot!(turn(&mut engine, &spec), @r"
    remove web/side (follows app)
    remove web/app (mem_limit changed)
    create web/app
    start web/app
    create web/side
    start web/side
    ");
}

#[test]
fn a_network_that_changes_is_made_anew_with_all_that_are_in_it() {
    let (mut engine, mut spec) = (FakeEngine::default(), spec());
    turn(&mut engine, &spec);
    set(&mut engine, "job", ServiceState::Exited(0), Health::Unchecked);
    turn(&mut engine, &spec);
    let web = spec.apps.get_mut(&app_name()).expect("the app is there");
    let inside = NetworkSpec { switches: [NetworkSwitch::Internal].into(), subnets: Vec::new() };
    web.networks.insert(NetworkName::default_of_app(), inside);
    assert_snapshot!(turn(&mut engine, &spec), @r"
    remove web/side (follows app)
    remove web/app (network default changed)
    remove web/job (network default changed)
    remove web/db (network default changed)
    remove network of web
    create network of web
    create web/db
    start web/db
    create web/job
    start web/job
    web/app waits for job to run to its end: Open
    web/side waits for app to be started: Open
    ");
}
