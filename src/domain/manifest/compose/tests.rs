//! What of a Compose file is taken, and what is refused.

use super::{HostRights, Rules, read};
use crate::domain::manifest::problems::Problems;
use crate::domain::manifest::vars::Strictness;
use std::fmt::Write as _;

const IMAGE: &str = "example.com/web@sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn read_with(rights: &HostRights, text: &str, problems: &mut Problems) -> super::Compose {
    read(text.as_bytes(), Rules { strictness: Strictness::Lenient, rights }, problems)
}

/// The services as JSON, or the findings; `body` are the keys of the service `web` besides its image, each on a line.
fn check(body: &str) -> String {
    let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
    file(&format!("services:\n  web:\n    image: {IMAGE}\n{body}volumes: {{data: , other: }}\n"))
}

fn file(text: &str) -> String {
    let mut problems = Problems::new(&"compose.yml".into());
    let compose = read_with(&HostRights::default(), text, &mut problems);
    let mut shown = String::new();
    let found = problems.finish();
    for draft in &found {
        let hint = draft.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
        let _ =
            writeln!(shown, "{}:{} {}: {}{hint}", draft.span.line, draft.span.column, draft.code.name, draft.message);
    }
    if found.is_empty() {
        for (name, service) in &compose.services {
            let json = serde_json::to_string(&service.spec).expect("a spec can be written as JSON");
            let variables: Vec<String> = service
                .environment
                .iter()
                .map(|(name, setting)| format!("{name}={}", setting.value.as_deref().unwrap_or("?")))
                .collect();
            let _ = writeln!(shown, "{name} {} [{}]", json.replace(IMAGE, "IMAGE"), variables.join(" "));
        }
    }
    shown.trim_end().to_owned()
}

#[test]
fn commands_are_lines_or_words() {
    insta::assert_snapshot!(check("command: sh -c 'echo $$HOME'\nentrypoint: [/tini, '--', 5]"), @r#"
    web {"image":"IMAGE","entrypoint":["/tini","--","5"],"command":["sh","-c","echo $HOME"]} []
    "#);
    insta::assert_snapshot!(check("command: sh -c 'echo"), @"4:14 bad-command: `command` cannot be split into words: a quote is not closed");
    insta::assert_snapshot!(check("command: echo $HOME"), @"4:14 interpolation: in `command`: the variable `HOME` is not set: Compose would take it from the shell, and there is none here (write `$$` for a dollar, and set variables with `variables:` in vars files)");
    insta::assert_snapshot!(check("command: []\nentrypoint: null"), @r#"
    web {"image":"IMAGE","command":[]} []
    "#);
}

#[test]
fn environments_are_mappings_or_lists() {
    insta::assert_snapshot!(check("environment: {A: 1.10, B: yes, C: 'x=y', D: ''}"), @r#"
    web {"image":"IMAGE"} [A=1.10 B=yes C=x=y D=]
    "#);
    insta::assert_snapshot!(check("environment: [A=1, B=x=y, C=]"), @r#"
    web {"image":"IMAGE"} [A=1 B=x=y C=]
    "#);
    insta::assert_snapshot!(check("environment: {A: , 1B: x, BELLWETHER_X: y, C: [1]}"), @"
    4:19 interpolation: `A` has no value: Compose would take it from the shell, and there is none here (give it a value, or take it away)
    4:24 bad-name: `1B` is not a variable name (a variable name is a letter or `_`, then letters, digits or `_`, at most 256 in all)
    4:31 reserved-name: `BELLWETHER_X` begins with `BELLWETHER_`, which belongs to Bellwether
    4:51 wrong-type: a variable must be text, not a list
    ");
    insta::assert_snapshot!(check("environment: [A, B=1, B=2]"), @"
    4:19 interpolation: `A` has no value: Compose would take it from the shell, and there is none here (give it a value, or take it away)
    4:27 duplicate-key: the variable `B` is set twice
    ");
}

#[test]
fn ports_have_short_and_long_forms() {
    insta::assert_snapshot!(check("ports: ['8080:80', 443, '127.0.0.1:53:53/udp', '[::1]:1:2', ':90', 12:30]"), @r#"
    web {"image":"IMAGE","ports":[{"target":2,"transport":"tcp","published":1,"host_ip":"::1"},{"target":30,"transport":"tcp","published":12},{"target":53,"transport":"udp","published":53,"host_ip":"127.0.0.1"},{"target":80,"transport":"tcp","published":8080},{"target":90,"transport":"tcp"},{"target":443,"transport":"tcp"}]} []
    "#);
    insta::assert_snapshot!(check("ports: [{target: 80, published: '8080', protocol: udp, host_ip: 0.0.0.0}]"), @r#"
    web {"image":"IMAGE","ports":[{"target":80,"transport":"udp","published":8080,"host_ip":"0.0.0.0"}]} []
    "#);
    insta::assert_snapshot!(check("ports: ['80-90:80-90', '0:80', '70000', 'x', '80/sctp', {published: 1}, {target: 80, mode: host}]"), @r"
    4:28 bad-port: `0:80` is not a port that can be published (write `8080:80`, `8000-8009:9000-9009`, `127.0.0.1:8080:80/udp` or `{target: 80, published: 8080}`)
    4:36 bad-port: `70000` is not a port that can be published (write `8080:80`, `8000-8009:9000-9009`, `127.0.0.1:8080:80/udp` or `{target: 80, published: 8080}`)
    4:45 bad-port: `x` is not a port that can be published (write `8080:80`, `8000-8009:9000-9009`, `127.0.0.1:8080:80/udp` or `{target: 80, published: 8080}`)
    4:50 bad-port: `80/sctp` is not a port that can be published (write `8080:80`, `8000-8009:9000-9009`, `127.0.0.1:8080:80/udp` or `{target: 80, published: 8080}`)
    4:61 missing-key: a port has no `target`
    ");
}

#[test]
fn volumes_are_named_and_paths_of_the_host_are_refused() {
    insta::assert_snapshot!(check("volumes: ['data:/data/', 'other://x//y:ro', {type: volume, source: data, target: /z, read_only: true}]"), @r#"
    web {"image":"IMAGE","mounts":{"/data":{"volume":"data"},"/x/y":{"volume":"other","access":"read-only"},"/z":{"volume":"data","access":"read-only"}}} []
    "#);
    insta::assert_snapshot!(check("volumes: ['/etc:/etc', './x:/x', '~/x:/x', {type: bind, source: /run, target: /run}]"), @r"
    4:15 bind-mount: `/etc` would give the service a part of the host (use a named volume; or let the controller's configuration allow it: `host_paths` of the stage)
    4:28 bind-mount: `./x` is not an absolute path of the host (a release has no files beside it on a device; use a named volume)
    4:38 bind-mount: `~/x` is not an absolute path of the host (a release has no files beside it on a device; use a named volume)
    4:48 bind-mount: `/run` would give the service a part of the host (use a named volume; or let the controller's configuration allow it: `host_paths` of the stage)
    ");
    insta::assert_snapshot!(check("volumes: [/anonymous, 'data:relative', 'data:/a/../b', 'data:/x:z', {type: tmpfs, target: /t}, 'data:/a', 'data:/a']"), @r"
    4:15 bad-volume: `/anonymous` is not a volume that can be mounted (write `data:/data`, `data:/data:ro` or `{type: volume, source: data, target: /data}`)
    4:27 bad-volume: `relative` is not a volume that can be mounted (write `data:/data`, `data:/data:ro` or `{type: volume, source: data, target: /data}`)
    4:44 bad-volume: `/a/../b` is not a volume that can be mounted (write `data:/data`, `data:/data:ro` or `{type: volume, source: data, target: /data}`)
    4:60 bad-volume: `data:/x:z` is not a volume that can be mounted (write `data:/data`, `data:/data:ro` or `{type: volume, source: data, target: /data}`)
    4:111 bad-volume: two volumes are mounted at `/a`
    ");
    insta::assert_snapshot!(check("volumes: ['nobody:/data']"), @"2:3 undeclared-volume: the service `web` mounts the volume `nobody`, which is not declared (add `nobody:` under `volumes:` at the top level)");
}

#[test]
fn the_other_keys_are_read() {
    insta::assert_snapshot!(check("restart: on-failure:3\nlabels: [a=b, c]\nuser: 1000:1000\nworking_dir: /srv\nnetwork_mode: host\nx-note: kept out"), @r#"
    web {"image":"IMAGE","restart":{"on-failure":3},"labels":{"a":"b","c":""},"user":"1000:1000","working_dir":"/srv","network":"host"} []
    "#);
    insta::assert_snapshot!(check("labels: {a: 1, b: }\nrestart: 'no'\nnetworks: [default]\nprivileged: false"), @r#"
    web {"image":"IMAGE","restart":"no","labels":{"a":"1","b":""}} []
    "#);
    insta::assert_snapshot!(check("restart: no\nnetworks: {backend: }"), @"2:3 undeclared-network: the service `web` joins the network `backend`, which is not declared (add `backend:` under `networks:` at the top level)");
}

#[test]
fn what_is_not_supported_is_named() {
    insta::assert_snapshot!(check("privileged: true"), @"4:17 privileged: the service asks for all rights on the host (name what it needs with `cap_add` and `devices`; or let the controller's configuration allow it: `privileged` of the stage)");
    insta::assert_snapshot!(check("healthcheck: {test: x}\ncap_add: [ALL]\ncommnad: x\nrestart: sometimes\nnetwork_mode: bridge"), @r#"
    6:5 unknown-key: a service has no key `commnad` (did you mean `command`?)
    7:14 bad-value: `sometimes` is not a restart policy (write `always`, `unless-stopped`, `on-failure`, `on-failure:5` or `"no"`)
    8:19 bad-value: `bridge` cannot be a network mode (write `host`, `none` or `service:NAME`, or leave it out)
    "#);
    insta::assert_snapshot!(check("network_mode: host\nports: ['80:80']"), @"2:3 option-conflict: `ports` and `network_mode` cannot stand together");
    insta::assert_snapshot!(check("labels: {bellwether.device: x}\nworking_dir: srv"), @"
    4:14 reserved-name: `bellwether.device` begins with `bellwether.`, which belongs to Bellwether
    5:18 bad-value: `srv` is not an absolute path
    ");
    insta::assert_snapshot!(check("depends_on: {nobody: {condition: service_healthy}}"), @"2:3 compose-dependency: the service `web` depends on `nobody`, which does not exist (name a service of this file)");
}

#[test]
fn whole_files_are_checked() {
    insta::assert_snapshot!(file(""), @"0:0 missing-key: the Compose file has no `services`");
    insta::assert_snapshot!(file("services: {}"), @"1:11 missing-key: `services` names no service");
    insta::assert_snapshot!(file("version: '3'\nservices: {web: {image: 'nginx:1.27'}, db: {}}\nsecrets: {}\nvolums: {}"), @r"
    3:1 unsupported-key: `secrets` is not supported: secrets do not belong into a release (set a variable to `secret('NAME')` in vars files)
    4:1 unknown-key: a Compose file has no key `volums` (did you mean `volumes`?)
    2:25 image-by-tag: `nginx:1.27` is named by a tag, which can move (name it by digest: `name@sha256:…`)
    2:40 missing-key: the service has no `image`
    ");
    insta::assert_snapshot!(file("services: {web: {image: 'Not An Image'}, a b: {image: x}}\nvolumes: {v: {driver: nfs}}\nnetworks: {default: {name: n}, other: }"), @r"
    1:25 bad-image: `Not An Image` is not the reference of an image (write `registry/name@sha256:` and 64 hexadecimal digits)
    1:42 bad-name: `a b` is not a service name (a service name is 1 to 63 letters, digits, `_`, `.` or `-`, beginning with a letter or digit)
    1:55 image-by-tag: `x` is named by a tag, which can move (name it by digest: `name@sha256:…`)
    2:23 bad-value: `nfs` cannot be the value of this key (write `local`, or leave it out)
    ");
    insta::assert_snapshot!(file("services: {a: {image: 'x@sha256:0'}}"), @"1:23 bad-image: `x@sha256:0` is not the reference of an image (write `registry/name@sha256:` and 64 hexadecimal digits)");
    let circle = format!(
        "services: {{a: {{image: {IMAGE}, depends_on: [b]}}, b: {{image: {IMAGE}, depends_on: [a]}}, c: {{image: {IMAGE}}}}}"
    );
    insta::assert_snapshot!(file(&circle), @"1:12 compose-dependency: these services wait for each other: a, b");
}

#[test]
fn what_a_service_asks_of_its_container_is_read() {
    insta::assert_snapshot!(check("healthcheck: {test: curl -f x, interval: 1m30s, retries: 2}\nmem_limit: 64m\ncpus: 0.5\npids_limit: -1"), @"");
    insta::assert_snapshot!(check("cap_add: [CAP_net_admin]\ninit: true\nread_only: true\nulimits: {nofile: 1024}\ntmpfs: /run:size=1m"), @"");
    insta::assert_snapshot!(check("networks: {default: {aliases: [api]}}\nstop_grace_period: 1m\nstop_signal: int\nextra_hosts: [a=10.0.0.1]"), @"");
    insta::assert_snapshot!(check("deploy: {replicas: 1, resources: {limits: {memory: 1g}}}\nlogging: {options: {max-size: 1m}}"), @"");
    insta::assert_snapshot!(check("devices: ['/dev/a', '/dev/b:/dev/c:r']\nsecurity_opt: ['no-new-privileges:true']\nipc: shareable\nprofiles: [debug]"), @"");
    insta::assert_snapshot!(check("ports: ['8000-8001:9000-9001']\nhealthcheck: {disable: true}\nx-any: {deep: 1}\nexpose: [80]\nattach: false"), @"");
}

#[test]
fn what_cannot_be_is_told_in_its_place() {
    insta::assert_snapshot!(check("cpus: many\nmem_limit: 1k\nhealthcheck: {interval: 30, tset: x}\nulimits: {files: 3}"), @"");
    insta::assert_snapshot!(check("build: .\nenv_file: x.env\nextends: base\ndeploy: {replicas: 2, restart_policy: {}}\nscale: 3"), @"");
    insta::assert_snapshot!(check("memswap_limit: 1g\ncpus: 1\ncpu_quota: 5\nsecurity_opt: ['seccomp:profile.json']"), @"");
    insta::assert_snapshot!(check("network_mode: service:web\npull_policy: always\nstop_grace_period: 2h\ndns: [x]\npid: container:x"), @"");
    insta::assert_snapshot!(check("mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2g}}}\ntmpfs: /data\nvolumes: ['data:/data']"), @"");
    insta::assert_snapshot!(check("environment: {A: '${B:-c}'}\nlabels: {A: '${B}'}"), @"");
}

#[test]
fn one_service_has_a_short_form() {
    insta::assert_snapshot!(file(&format!("image: {IMAGE}")), @"");
    insta::assert_snapshot!(file(&format!("image: {IMAGE}\nports: ['80:80']\nvolumes: ['cache:/cache']")), @"");
    insta::assert_snapshot!(file(&format!("image: {IMAGE}\nvolumes: {{}}")), @"");
}

#[test]
fn the_host_is_reached_only_where_that_is_allowed() {
    let rights = HostRights { host_paths: ["/run/dbus".to_owned()].into(), privileged: super::Privileged::Allowed };
    let found = |text: &str| {
        let mut problems = Problems::new(&"compose.yml".into());
        read_with(&rights, &format!("services: {{web: {{image: {IMAGE}, {text}}}}}"), &mut problems);
        problems.finish().into_iter().map(|draft| draft.message).collect::<Vec<_>>()
    };
    assert_eq!(
        found("privileged: true, volumes: ['/run/dbus/socket:/run/dbus/socket', '/run/dbus:/x:ro,rslave']"),
        [""; 0]
    );
    assert_eq!(found("volumes: ['/run/dbus-too:/x']"), ["`/run/dbus-too` would give the service a part of the host"]);
    assert_eq!(
        found("volumes: ['/run/dbus/../shadow:/x']"),
        ["`/run/dbus/../shadow` is not an absolute path of the host"]
    );
}

proptest::proptest! {
    #[test]
    fn every_file_is_read_or_refused(text in "(services|image|web|ports|deploy|x|volumes|[0-9]|[:{}\\[\\], \n'$-]){0,60}") {
        file(&text);
    }
}
