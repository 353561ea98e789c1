//! The Docker engine against a real one: what was applied is what is read back, field by field, and nothing else is touched.

mod foreign;
mod images;
mod keys;
mod places;
mod podman;
mod unit;
mod updates;

use crate::harness::engine::Engine as RealEngine;
use crate::harness::process::{eventually, output_of};
use bellwether::agent::engine::docker::DockerEngine;
use bellwether::domain::device::action::Action;
use bellwether::domain::device::steps::{Observed, all_differences, app_steps, images};
use bellwether::domain::ids::{AppName, DeviceId, NetworkName, ServiceName, VolumeName};
use bellwether::domain::reported::ServiceState;
use bellwether::domain::spec::{
    Access, AppSpec, DeviceSpec, Mount, Network, NetworkSpec, Port, Restart, Seeding, ServiceSpec, Transport,
};
use bellwether::ports::engine::{Engine, EngineError, perform};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

/// One device on the shared engine. Each test has a name of its own, so that tests can run side by side.
struct Device {
    real: &'static RealEngine,
    engine: DockerEngine,
    name: String,
}

impl Device {
    fn new(name: &str) -> Option<Self> {
        RealEngine::shared().map(|real| Self::on(real, name))
    }

    fn on(real: &'static RealEngine, name: &str) -> Self {
        Self { real, engine: engine_of(real, name), name: name.to_owned() }
    }

    fn look(&self, spec: &DeviceSpec) -> Observed {
        wait_for(self.engine.look(&images(spec))).expect("the engine answers")
    }

    /// One turn, as the agent takes it; the actions that it took.
    fn apply(&self, spec: &DeviceSpec) -> Vec<String> {
        let steps = app_steps(spec, &self.look(spec));
        for step in &steps {
            let answer = perform(&self.engine, step).expect("it concerns the engine");
            wait_for(answer).unwrap_or_else(|error| panic!("{step}: {error}"));
        }
        steps.iter().map(Action::to_string).collect()
    }

    /// Applies a spec, and holds it to the law: a second look finds nothing to do.
    fn converge(&self, spec: &DeviceSpec) -> Vec<String> {
        let actions = self.apply(spec);
        let observed = self.look(spec);
        let differences = all_differences(spec, Some(&observed), None);
        assert!(differences.is_empty(), "after {actions:#?}: {differences:#?}");
        actions
    }

    /// Does everything but start; what is left to do then.
    fn make(&self, spec: &DeviceSpec) -> Vec<String> {
        let steps = app_steps(spec, &self.look(spec));
        for step in steps.iter().filter(|step| !matches!(step, Action::StartService { .. })) {
            let answer = perform(&self.engine, step).expect("it concerns the engine");
            wait_for(answer).unwrap_or_else(|error| panic!("{step}: {error}"));
        }
        app_steps(spec, &self.look(spec)).iter().map(Action::to_string).collect()
    }

    /// The engine's id of a service's container.
    fn container(&self, service: &str) -> String {
        let device = format!("label=bellwether.device={}", self.name);
        let service = format!("label=bellwether.service={service}");
        self.real.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &device, "--filter", &service])
    }

    fn state(&self, spec: &DeviceSpec, service: &str) -> ServiceState {
        self.look(spec).apps[&app()].services[&name(service)].state
    }
}

impl Drop for Device {
    /// Leaves the shared engine as it was; volumes are this test's own, nobody else's data.
    fn drop(&mut self) {
        let label = format!("label=bellwether.device={}", self.name);
        let lines = |arguments: &[&str]| -> Vec<String> {
            self.real.try_docker(arguments).unwrap_or_default().lines().map(str::to_owned).collect()
        };
        let removals = [
            (["ps", "--all"].as_slice(), ["rm", "--force", "--volumes"].as_slice()),
            (&["network", "ls"], &["network", "rm"]),
            (&["volume", "ls"], &["volume", "rm"]),
        ];
        for (list, remove) in removals {
            for one in lines(&[list, &["--quiet", "--filter", label.as_str()]].concat()) {
                let _ = self.real.try_docker(&[remove, &[one.as_str()]].concat());
            }
        }
    }
}

fn engine_of(real: &RealEngine, device: &str) -> DockerEngine {
    let device = DeviceId::new(device).expect("a device name");
    DockerEngine::connect(&real.docker_socket(), &"acme".parse().expect("a fleet name"), &device).expect("a socket")
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
    runtime.block_on(future)
}

fn app() -> AppName {
    "web".parse().expect("an app name")
}

fn name(service: &str) -> ServiceName {
    service.parse().expect("a service name")
}

fn volume(name: &str) -> VolumeName {
    name.parse().expect("a volume name")
}

/// One app with these services and the volumes that they mount.
fn spec(services: impl IntoIterator<Item = (&'static str, ServiceSpec)>) -> DeviceSpec {
    let services: BTreeMap<ServiceName, ServiceSpec> =
        services.into_iter().map(|(service, spec)| (name(service), spec)).collect();
    let volumes = services.values().flat_map(|spec| spec.mounts.values()).map(|mount| mount.volume.clone()).collect();
    let release = "1.0.0".parse().expect("a version");
    DeviceSpec {
        apps: BTreeMap::from([(app(), AppSpec { release, services, volumes, networks: BTreeMap::new() })]),
        ..DeviceSpec::default()
    }
}

fn worker(real: &RealEngine) -> ServiceSpec {
    ServiceSpec::of_image(&real.registry().worker[0].by_digest())
}

fn texts(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

fn port(target: u16, transport: Transport, published: Option<u16>, host_ip: Option<&str>) -> Port {
    Port { target, transport, published, host_ip: host_ip.map(|ip| ip.parse().expect("an address")) }
}

/// An image that supplies everything that an image can: it is made from the worker's.
fn rich_image(real: &RealEngine) -> String {
    let source = real.docker(&["create", &real.registry().worker[0].by_tag()]);
    let mut export = real.docker_command().args(["export", &source]).stdout(Stdio::piped()).spawn().expect("export");
    let changes = [
        r#"ENTRYPOINT ["/bin/sh", "-c"]"#,
        r#"CMD ["trap 'exit 0' TERM; sleep 86400 & wait"]"#,
        "ENV PATH=/bin",
        "ENV MODE=image",
        "ENV EMPTY=",
        "ENV EQUALS=a=b",
        "LABEL vendor=acme",
        "LABEL bellwether.note=ours",
        "USER 1000:1000",
        "WORKDIR /data",
        "VOLUME /scratch",
        "EXPOSE 9000",
    ];
    let mut import = real.docker_command();
    import.arg("import");
    for change in changes {
        import.args(["--change", change]);
    }
    import.args(["-", "rich:1"]).stdin(export.stdout.take().expect("stdout was piped"));
    output_of(&mut import).expect("import an image");
    export.wait().expect("wait for the export");
    real.docker(&["rm", &source]);
    "rich:1".to_owned()
}

/// Every field of a service, alone and set to something unusual, over a plain image and over a rich one.
///
/// `command` is a command that keeps running under the image's own entry point.
fn variations(image: &str, command: &[&str]) -> Vec<(&'static str, ServiceSpec)> {
    let plain = || ServiceSpec::of_image(image);
    let run = "trap 'exit 0' TERM; sleep 86400 & wait";
    let environment = [
        ("MODE", "mine"),
        ("EMPTY", ""),
        ("SPACES", " a  b "),
        ("EQUALS", "=x="),
        ("LINES", "one\ntwo"),
        ("UNICODE", "grüezi"),
    ];
    let environment = environment.map(|(name, value)| (name.parse().expect("a variable name"), value.to_owned()));
    let labels = [("vendor", "mine"), ("com.example/x", ""), ("note", "a=b, c")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mount = |name: &str, access| Mount { volume: volume(name), access, seeding: Seeding::FromImage };
    vec![
        ("nothing but the image", plain()),
        ("command", ServiceSpec { command: texts(command), ..plain() }),
        ("entrypoint", ServiceSpec { entrypoint: texts(&["/bin/sh", "-c", run]), ..plain() }),
        (
            "entrypoint and command",
            ServiceSpec { entrypoint: texts(&["/bin/sh", "-c"]), command: texts(&[run, "", "$HOME \"x\""]), ..plain() },
        ),
        (
            "an empty entrypoint",
            ServiceSpec { entrypoint: texts(&[]), command: texts(&["/bin/sh", "-c", run]), ..plain() },
        ),
        ("environment", ServiceSpec { environment: environment.into(), ..plain() }),
        ("labels", ServiceSpec { labels: labels.into(), ..plain() }),
        ("user", ServiceSpec { user: Some("65534".to_owned()), ..plain() }),
        ("an empty user", ServiceSpec { user: Some(String::new()), ..plain() }),
        ("working_dir", ServiceSpec { working_dir: Some("/tmp".to_owned()), ..plain() }),
        ("restart unless-stopped", ServiceSpec { restart: Restart::UnlessStopped, ..plain() }),
        ("restart on-failure", ServiceSpec { restart: Restart::OnFailure(0), ..plain() }),
        ("restart on-failure:3", ServiceSpec { restart: Restart::OnFailure(3), ..plain() }),
        ("restart no", ServiceSpec { restart: Restart::No, ..plain() }),
        (
            "ports",
            ServiceSpec {
                ports: BTreeSet::from([
                    port(8080, Transport::Tcp, Some(18_201), None),
                    port(8080, Transport::Tcp, Some(18_202), Some("127.0.0.1")),
                    port(8080, Transport::Udp, Some(18_201), Some("0.0.0.0")),
                    port(8081, Transport::Tcp, None, None),
                ]),
                ..plain()
            },
        ),
        (
            "mounts",
            ServiceSpec {
                mounts: BTreeMap::from([
                    ("/data".to_owned(), mount("data", Access::ReadWrite)),
                    ("/etc/settings".to_owned(), mount("settings", Access::ReadOnly)),
                    ("/scratch".to_owned(), mount("scratch", Access::ReadWrite)),
                    ("/again/".to_owned(), mount("data", Access::ReadOnly)),
                ]),
                ..plain()
            },
        ),
        ("the host's network", ServiceSpec { network: Network::Host, ..plain() }),
        ("no network", ServiceSpec { network: Network::None, ..plain() }),
    ]
}

#[test]
fn what_was_applied_is_what_is_read_back() {
    let Some(device) = Device::new("it-law") else { return };
    hold_to_the_law(&device);
}

/// Applies every variation over every image twice.
fn hold_to_the_law(device: &Device) {
    let [first, second] = &device.real.registry().worker;
    device.converge(&spec([("app", ServiceSpec::of_image(&second.by_tag()))]));
    let run = "trap 'exit 0' TERM; sleep 86401 & wait";
    let plain = ["/bin/sh", "-c", run];
    let images =
        [(first.by_digest(), plain.as_slice()), (second.by_tag(), plain.as_slice()), (rich_image(device.real), &[run])];
    for (image, command) in images {
        for (title, service) in variations(&image, command) {
            let spec = spec([("app", service)]);
            let actions = device.converge(&spec);
            assert!(!actions.is_empty(), "{title} over {image} changes nothing");
            assert_eq!(device.apply(&spec), [""; 0], "{title} over {image}: a second turn changes nothing");
        }
    }
}

#[test]
fn only_what_changed_is_made_anew_and_the_reason_is_told() {
    let Some(device) = Device::new("it-change") else { return };
    let before = spec([("app", worker(device.real)), ("db", worker(device.real))]);
    device.converge(&before);
    let kept = device.container("db");
    let mut changed = worker(device.real);
    changed.environment = BTreeMap::from([("GREETING".parse().expect("a variable name"), "hello".to_owned())]);
    let actions = device.converge(&spec([("app", changed), ("db", worker(device.real))]));
    let expected = ["remove web/app (environment GREETING changed)", "create web/app", "start web/app"];
    assert_eq!(actions, expected);
    assert_eq!(device.container("db"), kept, "the other service was not touched");
}

#[test]
fn what_somebody_did_by_hand_is_seen_and_mended() {
    let Some(device) = Device::new("it-hand") else { return };
    let spec = spec([("app", worker(device.real))]);
    device.converge(&spec);
    let container = device.container("app");
    let kept = |actions: &[&str]| {
        assert_eq!(device.converge(&spec), actions);
        assert_eq!(device.container("app"), container, "it was not made anew");
    };
    let listens = || device.real.try_docker(&["exec", &container, "/bin/busybox", "pidof", "sleep"]).ok();
    eventually("it listens to signals", listens);
    device.real.docker(&["stop", &container]);
    assert_eq!(device.state(&spec, "app"), ServiceState::Exited(0));
    kept(&["start web/app"]);
    device.real.docker(&["pause", &container]);
    kept(&["start web/app"]);
    device.real.docker(&["rename", &container, "it-hand-renamed"]);
    kept(&[]);
    let network = format!("label=bellwether.device={}", device.name);
    let network = device.real.docker(&["network", "ls", "--quiet", "--filter", &network]);
    device.real.docker(&["network", "disconnect", &network, &container]);
    let anew = |reason: &str| [format!("remove web/app ({reason})"), "create web/app".into(), "start web/app".into()];
    assert_eq!(device.converge(&spec), anew("network changed"));
    let container = device.container("app");
    device.real.docker(&["update", "--restart", "no", &container]);
    assert_eq!(device.converge(&spec), ["adjust web/app (restart changed)"]);
    assert_eq!(device.container("app"), container, "the engine can change that while it runs");
    device.real.docker(&["rm", "--force", &device.container("app")]);
    assert_eq!(device.converge(&spec), ["create web/app", "start web/app"]);
    device.real.docker(&["rm", "--force", &device.container("app")]);
    device.real.docker(&["network", "rm", &network]);
    assert_eq!(device.converge(&spec), ["create network of web", "create web/app", "start web/app"]);
}

#[test]
fn data_survives_changes_and_the_app_and_nothing_else_is_left() {
    let Some(device) = Device::new("it-data") else { return };
    keep_data(&device);
}

fn keep_data(device: &Device) {
    let image = rich_image(device.real);
    let mounts = BTreeMap::from([(
        "/data".to_owned(),
        Mount { volume: volume("data"), access: Access::ReadWrite, seeding: Seeding::FromImage },
    )]);
    let with = |user: &str| {
        spec([(
            "app",
            ServiceSpec { user: Some(user.to_owned()), mounts: mounts.clone(), ..ServiceSpec::of_image(&image) },
        )])
    };
    // The image's own volume has no name; others on this engine have such volumes too, so it is asked for by its id.
    let nameless = || {
        let format = "{{range .Mounts}}{{if eq .Destination \"/scratch\"}}{{.Name}}{{end}}{{end}}";
        device.real.docker(&["inspect", "--format", format, &device.container("app")])
    };
    device.converge(&with("0"));
    device.real.docker(&["exec", &device.container("app"), "/bin/sh", "-c", "echo kept > /data/file"]);
    device.converge(&with("0:0"));
    let read = || device.real.docker(&["exec", &device.container("app"), "/bin/cat", "/data/file"]);
    assert_eq!(read(), "kept");
    let nameless = nameless();
    device.real.docker(&["volume", "inspect", &nameless]);
    device.converge(&DeviceSpec::default());
    device.real.try_docker(&["volume", "inspect", &nameless]).expect_err("it went with its container");
    device.converge(&with("0"));
    assert_eq!(read(), "kept");
}

#[test]
fn services_of_an_app_find_each_other_by_name_and_ports_are_published() {
    let Some(device) = Device::new("it-names") else { return };
    find_each_other(&device);
}

fn find_each_other(device: &Device) {
    let mut front = ServiceSpec::of_image(&device.real.registry().web[0].by_digest());
    front.ports = BTreeSet::from([port(8080, Transport::Tcp, Some(18_211), Some("127.0.0.1"))]);
    let spec = spec([("front", front), ("worker", worker(device.real))]);
    device.converge(&spec);
    let answer = eventually("the port is published", || device.real.http_get(18_211, "/version").ok());
    assert!(answer.ends_with("web 1.0.0\n"), "{answer}");
    let ask = "printf 'GET /version HTTP/1.0\\r\\n\\r\\n' | nc front 8080";
    let ask = format!("exec 2>/dev/null; {}", ask.replace("printf", "/bin/busybox printf"));
    let answer = device.real.docker(&["exec", &device.container("worker"), "/bin/sh", "-c", &ask]);
    assert!(answer.ends_with("web 1.0.0"), "{answer}");
}

#[test]
fn what_belongs_to_others_is_not_touched() {
    let Some(device) = Device::new("it-mine") else { return };
    let Some(other) = Device::new("it-other") else { return };
    leave_others_alone(&device, &other);
}

fn leave_others_alone(device: &Device, other: &Device) {
    let image = device.real.registry().worker[0].by_digest();
    let spec = spec([("app", worker(device.real))]);
    device.converge(&spec);
    other.converge(&spec);
    device.real.docker(&["run", "--detach", "--name", "it-stranger", "--label", "bellwether.app=web", &image]);
    device.converge(&DeviceSpec::default());
    assert!(device.container("app").is_empty());
    assert!(other.look(&spec).apps.contains_key(&app()));
    assert_eq!(other.apply(&spec), [""; 0]);
    assert_eq!(device.real.docker(&["inspect", "--format", "{{.State.Running}}", "it-stranger"]), "true");
    device.real.docker(&["rm", "--force", "it-stranger"]);
}

#[test]
fn a_name_that_somebody_took_is_not_taken_from_him() {
    let Some(device) = Device::new("it-taken") else { return };
    respect_a_name(&device);
}

fn respect_a_name(device: &Device) {
    let spec = spec([("app", worker(device.real))]);
    device.converge(&spec);
    let taken = device.real.docker(&["inspect", "--format", "{{.Name}}", &device.container("app")]);
    let taken = taken.trim_start_matches('/').to_owned();
    device.real.docker(&["rm", "--force", &device.container("app")]);
    device.real.docker(&["create", "--name", &taken, &device.real.registry().worker[0].by_digest()]);
    let create = &app_steps(&spec, &device.look(&spec))[0];
    let answer = wait_for(perform(&device.engine, create).expect("it concerns the engine"));
    assert_eq!(answer, Err(EngineError::NotOwned { kind: "container", name: taken.clone() }));
    device.real.docker(&["rm", &taken]);
    device.converge(&spec);
}

#[test]
fn an_operation_that_was_cut_off_is_safe_to_repeat() {
    let Some(device) = Device::new("it-twice") else { return };
    repeat_each_step(&device);
}

fn repeat_each_step(device: &Device) {
    let mounts = BTreeMap::from([(
        "/data".to_owned(),
        Mount { volume: volume("data"), access: Access::ReadWrite, seeding: Seeding::FromImage },
    )]);
    let spec = spec([("app", ServiceSpec { mounts, ..worker(device.real) })]);
    let steps = app_steps(&spec, &device.look(&spec));
    for step in &steps {
        for _ in 0..2 {
            let answer = perform(&device.engine, step).expect("it concerns the engine");
            wait_for(answer).unwrap_or_else(|error| panic!("{step} again: {error}"));
        }
    }
    assert_eq!(device.apply(&spec), [""; 0]);
    let gone = DeviceSpec::default();
    for step in &app_steps(&gone, &device.look(&gone)) {
        for _ in 0..2 {
            wait_for(perform(&device.engine, step).expect("it concerns the engine")).expect("again is success");
        }
    }
    assert_eq!(device.apply(&gone), [""; 0]);
}

#[test]
fn what_the_engine_refuses_is_told() {
    let Some(device) = Device::new("it-refused") else { return };
    let registry = device.real.registry();
    let nowhere = format!("{}@sha256:{}", registry.worker[0].name, "0".repeat(64));
    let answer = wait_for(device.engine.pull(&nowhere)).expect_err("there is no such image");
    assert!(
        matches!(&answer, EngineError::NoSuchImage { image, reason } if *image == nowhere && reason.contains("not found")),
        "{answer}"
    );
    let spec = spec([("app", ServiceSpec { working_dir: Some("relative".to_owned()), ..worker(device.real) })]);
    wait_for(device.engine.pull(&registry.worker[0].by_digest())).expect("pulled");
    wait_for(device.engine.create_network(&app(), &NetworkName::default_of_app(), &NetworkSpec::default()))
        .expect("made");
    let service = &spec.apps[&app()].services[&name("app")];
    let answer = wait_for(device.engine.create_service(&app(), &name("app"), service)).expect_err("it is not absolute");
    assert!(matches!(&answer, EngineError::Failed { attempted: "create", .. }), "{answer}");
}

#[test]
fn an_engine_that_crashed_does_not_answer_and_is_used_again_when_it_is_back() {
    let Some(real) = RealEngine::start("agent") else { return };
    let engine = engine_of(&real, "it-crash");
    let spec = spec([("app", worker(&real))]);
    let look = || wait_for(engine.look(&images(&spec)));
    for step in &app_steps(&spec, &look().expect("it answers")) {
        wait_for(perform(&engine, step).expect("it concerns the engine")).expect("performed");
    }
    real.crash();
    assert!(matches!(look(), Err(EngineError::Unavailable { .. })));
    real.restart();
    let observed = look().expect("it answers again");
    assert_eq!(all_differences(&spec, Some(&observed), None), []);
}
