//! Every key of a Compose file against a real engine, from the file's text on: applying it twice changes nothing, and a change of
//! the key is seen as exactly that difference.

use super::{Device, app, name};
use bellwether::domain::device::action::Why;
use bellwether::domain::device::steps::app_steps;
use bellwether::domain::ids::ServiceName;
use bellwether::domain::manifest::compose::{Compose, HostRights, Privileged, Rules, read};
use bellwether::domain::manifest::problems::Problems;
use bellwether::domain::manifest::vars::Strictness;
use bellwether::domain::spec::{AppSpec, DeviceSpec};
use bellwether::ports::engine::perform;
use std::collections::BTreeMap;

/// A key that this engine keeps, and the fields in which a container without it differs.
pub(super) const KEPT: &[(&str, &str)] = &[
    ("command: ['-c', 'exec sleep 86405']\nentrypoint: /bin/sh", "entrypoint, command"),
    ("environment: {A: b c}", "environment.A"),
    ("labels: [a=b]", "labels.a"),
    ("user: '65534'", "user"),
    ("working_dir: /tmp", "working_dir"),
    ("restart: on-failure:3", "restart"),
    ("restart: unless-stopped", "restart"),
    ("restart: 'no'", "restart"),
    ("ports: ['18301-18302:80-81', '127.0.0.1:18303:82/udp']", "ports"),
    ("cap_add: [net_admin, CAP_SYS_TIME]", "cap_add"),
    ("cap_drop: [ALL]", "cap_drop"),
    ("cgroup: private", "cgroup"),
    ("cgroup: host", "cgroup"),
    ("cpu_period: 50000\ncpu_quota: 25000", "cpu_period, cpu_quota"),
    ("cpu_shares: 512", "cpu_shares"),
    ("cpus: 0.25", "cpus"),
    ("cpuset: '0'", "cpuset"),
    (
        "deploy: {resources: {limits: {cpus: '0.5', memory: 64m, pids: 50}, reservations: {memory: 32m}}}",
        "cpus, mem_limit, mem_reservation, pids_limit",
    ),
    ("device_cgroup_rules: ['c 188:* rmw']", "device_cgroup_rules"),
    ("devices: ['/dev/null:/dev/nothing:rw']", "devices./dev/nothing"),
    ("dns: [192.0.2.1, 192.0.2.2]", "dns"),
    ("dns_opt: ['ndots:2']", "dns_opt"),
    ("dns_search: example.com", "dns_search"),
    ("domainname: example.com", "domainname"),
    ("extra_hosts: {printer: 192.0.2.9}", "extra_hosts"),
    ("group_add: ['1234']", "group_add"),
    (
        "healthcheck: {test: 'true', interval: 1m30s, timeout: 5s, retries: 2, start_period: 10s}",
        "healthcheck.interval_nanos, healthcheck.retries, healthcheck.start_interval_nanos, healthcheck.start_period_nanos, healthcheck.test.shell, healthcheck.timeout_nanos",
    ),
    (
        "healthcheck: {test: [CMD, /bin/sh, -c, 'exit 0']}",
        "healthcheck.interval_nanos, healthcheck.retries, healthcheck.start_interval_nanos, healthcheck.start_period_nanos, healthcheck.test.command, healthcheck.timeout_nanos",
    ),
    ("hostname: kiosk", "hostname"),
    ("init: true", "switches"),
    ("ipc: shareable", "ipc"),
    ("ipc: host", "ipc"),
    ("logging: {driver: json-file, options: {max-size: 1m, max-file: 2}}", "logging.driver, logging.options"),
    ("logging: {options: {max-size: 1m}}", "logging.options"),
    ("mem_limit: 64m", "mem_limit"),
    ("mem_limit: 64m\nmemswap_limit: 128m", "mem_limit, memswap_limit"),
    ("mem_reservation: 32m", "mem_reservation"),
    ("mem_swappiness: 10", "mem_swappiness"),
    ("network_mode: host", "network"),
    ("network_mode: none", "network"),
    ("networks: {back: {aliases: [api], ipv4_address: 10.97.3.7}}", "networks.back"),
    ("networks: [default, inside]", "networks.default, networks.inside"),
    ("networks: {default: {aliases: [web-too]}}", "networks.default"),
    ("oom_score_adj: 500", "oom_score_adj"),
    ("pid: host", "pid"),
    ("pids_limit: 100", "pids_limit"),
    ("read_only: true", "switches"),
    ("runtime: runc", "runtime"),
    ("security_opt: ['seccomp:unconfined', 'no-new-privileges:true']", "security_opt"),
    // By itself the engine would add `label=disable` to a container with the host's processes.
    ("pid: host\nsecurity_opt: ['label:role:r', 'no-new-privileges=1']", "pid, security_opt"),
    ("pid: host\nsecurity_opt: ['label:disable']", "pid, security_opt"),
    ("shm_size: 16m", "shm_size"),
    ("stdin_open: true\ntty: true", "switches"),
    ("stop_grace_period: 90s", "stop_grace_period_secs"),
    ("stop_signal: SIGKILL", "stop_signal"),
    ("sysctls: {net.core.somaxconn: 1024}", "sysctls.net.core.somaxconn"),
    ("tmpfs: ['/run', '/scratch:size=1m,mode=1777']", "tmpfs./run, tmpfs./scratch"),
    ("volumes: [{type: tmpfs, target: /scratch, tmpfs: {size: 1m, mode: 1770}}]", "tmpfs./scratch"),
    ("ulimits: {nofile: {soft: 512, hard: 1024}, core: 0}", "ulimits.core, ulimits.nofile"),
    ("userns_mode: host", "userns_mode"),
    ("uts: host", "uts"),
    ("volumes: ['data:/data', 'data:/again:ro,nocopy']", "mounts./again, mounts./data"),
    (
        "volumes: ['/tmp:/host:ro', {type: bind, source: /usr, target: /usr2, bind: {create_host_path: false}}]",
        "binds./host, binds./usr2",
    ),
];

/// Keys that this engine drops or refuses, and a part of what it says.
const REFUSED: &[(&str, &str)] = &[
    ("annotations: {a: b}", "the engine does not keep annotations.a"),
    ("healthcheck: {test: 'true', start_interval: 1s}", "the engine does not keep healthcheck.start_interval_nanos"),
    ("runtime: no-such-runtime", "no-such-runtime"),
    ("cap_add: [NO_SUCH_RIGHT]", "NO_SUCH_RIGHT"),
];

pub(super) fn compose(device: &Device, body: &str) -> Compose {
    let run = "trap 'exit 0' TERM; sleep 86400 & wait";
    let image = device.real.registry().worker[0].by_digest();
    let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let command =
        if body.contains("command:") { String::new() } else { format!("    command: ['/bin/sh', '-c', \"{run}\"]\n") };
    let text = format!(
        "services:\n  app:\n    image: {image}\n{command}{body}\nvolumes: {{data: }}\nnetworks:\n  inside: {{internal: true}}\n  \
         back: {{ipam: {{config: [{{subnet: 10.97.3.0/24, gateway: 10.97.3.1}}]}}}}\n"
    );
    whole(&text)
}

pub(super) fn whole(text: &str) -> Compose {
    let paths = ["/tmp", "/usr", "/sys/fs/cgroup/systemd"].map(str::to_owned);
    let rights = HostRights { host_paths: paths.into(), privileged: Privileged::Allowed };
    let mut problems = Problems::new(&"compose.yml".into());
    let compose = read(text.as_bytes(), Rules { strictness: Strictness::Strict, rights: &rights }, &mut problems);
    let found = problems.finish();
    assert!(found.is_empty(), "{text}\n{found:#?}");
    compose
}

pub(super) fn spec(compose: &Compose) -> DeviceSpec {
    let service = |(name, service): (&ServiceName, &bellwether::domain::manifest::compose::Service)| {
        let environment = &service.environment;
        let value = |value: &Option<String>| value.clone().unwrap_or_default();
        let environment = environment.iter().map(|(name, setting)| (name.clone(), value(&setting.value))).collect();
        let spec = bellwether::domain::spec::ServiceSpec { environment, ..service.spec.clone() };
        (name.clone(), spec)
    };
    let app_spec = AppSpec {
        release: "1.0.0".parse().expect("a version"),
        services: compose.services.iter().map(service).collect(),
        volumes: compose.volumes.clone(),
        networks: compose.networks.clone(),
    };
    DeviceSpec { apps: BTreeMap::from([(app(), app_spec)]), ..DeviceSpec::default() }
}

#[test]
fn every_key_is_kept_and_its_change_is_seen_as_that_change() {
    let Some(device) = Device::new("it-keys") else { return };
    let plain = spec(&compose(&device, ""));
    device.converge(&plain);
    for (body, fields) in KEPT {
        let wanted = spec(&compose(&device, body));
        for (way, spec) in [("to", &wanted), ("back from", &plain)] {
            let actions = device.converge(spec);
            let why = Why::Differs(fields.split(", ").map(str::to_owned).collect());
            // The one key that the engine can always change while the container runs.
            let done = if *fields == "restart" { "adjust" } else { "remove" };
            let reason = format!("{done} web/app ({why})");
            let is_reason =
                |action: &&String| action.starts_with("remove web/app") || action.starts_with("adjust web/app");
            let shown: Vec<&String> = actions.iter().filter(is_reason).collect();
            assert_eq!(shown, [&reason], "{way} {body}: {actions:#?}");
            assert_eq!(device.apply(spec), [""; 0], "{way} {body}: a second turn changes nothing");
        }
    }
}

#[test]
fn what_the_engine_does_not_keep_is_an_error_that_names_it() {
    let Some(device) = Device::new("it-drops") else { return };
    check_refused(&device, REFUSED);
}

/// Tries each key, and finds it refused with these words and nothing of it left.
pub(super) fn check_refused(device: &Device, keys: &[(&str, &str)]) {
    for (body, wanted) in keys {
        let spec = spec(&compose(device, body));
        let steps = app_steps(&spec, &device.look(&spec));
        let said: Vec<String> = steps
            .iter()
            .filter_map(|step| super::wait_for(perform(&device.engine, step).expect("it concerns the engine")).err())
            .map(|error| error.to_string())
            .collect();
        assert!(said.first().is_some_and(|error| error.contains(wanted)), "{body}: {said:#?}");
        assert!(device.container("app").is_empty(), "{body}: nothing is left of it");
    }
}

#[test]
fn what_the_engine_adds_to_a_privileged_service_is_no_difference() {
    let Some(device) = Device::new("it-rights") else { return };
    let spec = spec(&compose(&device, "privileged: true"));
    // Made, but not started: a machine that lacks a right itself, as many test machines do, cannot give it to a container.
    assert_eq!(device.make(&spec), ["start web/app"]);
}

/// `web` shares the network and memory of `base`; `late` waits until `base` is healthy, and `job` has run.
const STORY: &str = "
services:
  base:
    image: IMAGE
    command: ['/bin/sh', '-c', \"trap 'exit 0' TERM; sleep 86400 & wait\"]
    ipc: shareable
    healthcheck: {test: 'test -e /ready', interval: 1s, timeout: 5s, retries: 600}
  job: {image: IMAGE, restart: 'no', command: ['/bin/sh', '-c', 'exit 0']}
  late:
    image: IMAGE
    command: ['/bin/sh', '-c', \"trap 'exit 0' TERM; sleep 86400 & wait\"]
    depends_on:
      base: {condition: service_healthy, restart: true}
      job: {condition: service_completed_successfully}
  web:
    image: IMAGE
    command: ['/bin/sh', '-c', \"trap 'exit 0' TERM; sleep 86400 & wait\"]
    network_mode: service:base
    ipc: service:base
    pid: service:base
";

#[test]
fn services_wait_for_each_other_and_follow_each_other() {
    let Some(device) = Device::new("it-waits") else { return };
    let text = STORY.replace("IMAGE", &device.real.registry().worker[0].by_digest());
    let spec = spec(&whole(&text));
    let first = device.apply(&spec);
    assert!(
        first.contains(&"start web/web".to_owned()) && !first.contains(&"create web/late".to_owned()),
        "{first:#?}"
    );
    let waits = || -> Vec<String> {
        let waits = bellwether::domain::device::steps::waits(&spec, &device.look(&spec));
        waits.iter().map(|wait| format!("{} waits for {}", wait.subject, wait.what)).collect()
    };
    assert!(waits().contains(&"web/late waits for base to be healthy".to_owned()), "{:?}", waits());
    device.real.docker(&["exec", &device.container("base"), "/bin/busybox", "touch", "/ready"]);
    crate::harness::process::eventually("nothing waits for what is not there", || {
        (app_steps(&spec, &device.look(&spec)).len() == 2).then_some(())
    });
    assert_eq!(device.converge(&spec), ["create web/late", "start web/late"]);
    assert_eq!(waits(), [""; 0]);
    let mut changed = spec.clone();
    let services = &mut changed.apps.get_mut(&app()).expect("it is there").services;
    services.get_mut(&name("base")).expect("it is there").user = Some("0".to_owned());
    let actions = device.apply(&changed);
    let removals: Vec<&str> =
        actions.iter().map(String::as_str).filter(|action| action.starts_with("remove")).collect();
    let expected =
        ["remove web/web (follows base)", "remove web/late (follows base)", "remove web/base (user changed)"];
    assert_eq!(removals, expected, "{actions:#?}");
}
