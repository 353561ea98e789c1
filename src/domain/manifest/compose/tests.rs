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
    insta::assert_snapshot!(check("healthcheck: {test: curl -f x, interval: 1m30s, retries: 2}\nmem_limit: 64m\ncpus: 0.5\npids_limit: -1"), @r#"web {"image":"IMAGE","healthcheck":{"test":{"shell":"curl -f x"},"interval_nanos":90000000000,"retries":2},"options":{"cpus":500000000,"mem_limit":67108864,"pids_limit":-1}} []"#);
    insta::assert_snapshot!(check("cap_add: [CAP_net_admin]\ninit: true\nread_only: true\nulimits: {nofile: 1024}\ntmpfs: /run:size=1m"), @r#"web {"image":"IMAGE","options":{"cap_add":["NET_ADMIN"],"switches":["init","read_only"],"tmpfs":{"/run":"size=1m"},"ulimits":{"nofile":{"soft":1024,"hard":1024}}}} []"#);
    insta::assert_snapshot!(check("networks: {default: {aliases: [api]}}\nstop_grace_period: 1m\nstop_signal: int\nextra_hosts: [a=10.0.0.1]"), @r#"web {"image":"IMAGE","networks":{"default":{"aliases":["api"]}},"stop_signal":"INT","options":{"extra_hosts":["a:10.0.0.1"],"stop_grace_period_secs":60}} []"#);
    insta::assert_snapshot!(check("deploy: {replicas: 1, resources: {limits: {memory: 1g}}}\nlogging: {options: {max-size: 1m}}"), @r#"web {"image":"IMAGE","options":{"logging":{"options":{"max-size":"1m"}},"mem_limit":1073741824}} []"#);
    insta::assert_snapshot!(check("devices: ['/dev/a', '/dev/b:/dev/c:r']\nsecurity_opt: ['no-new-privileges:true']\nipc: shareable\nprofiles: [debug]"), @r#"web {"image":"IMAGE","options":{"devices":{"/dev/a":{"source":"/dev/a","permissions":"rwm"},"/dev/c":{"source":"/dev/b","permissions":"r"}},"ipc":"shareable","security_opt":["no-new-privileges:true"]}} []"#);
    insta::assert_snapshot!(check("ports: ['8000-8001:9000-9001']\nhealthcheck: {disable: true}\nx-any: {deep: 1}\nexpose: [80]\nattach: false"), @r#"web {"image":"IMAGE","ports":[{"target":9000,"transport":"tcp","published":8000},{"target":9001,"transport":"tcp","published":8001}],"healthcheck":{"test":"off"}} []"#);
}

#[test]
fn what_cannot_be_is_told_in_its_place() {
    insta::assert_snapshot!(check("cpus: many\nmem_limit: 1k\nhealthcheck: {interval: 30, tset: x}\nulimits: {files: 3}"), @r"
    4:11 bad-value: `many` cannot be a number of CPUs (write a number such as 0.5)
    5:16 bad-value: `1k` cannot be a limit of memory (write a size of at least 6m)
    6:33 unknown-key: a health check has no key `tset` (did you mean `test`?)
    6:29 bad-value: `30` cannot be `interval` (write a duration such as 1m30s, of at least a millisecond)
    7:15 bad-value: `files` is not a limit that engines know (write one of: core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack)
    ");
    insta::assert_snapshot!(check("build: .\nenv_file: x.env\nextends: base\ndeploy: {replicas: 2, restart_policy: {}}\nscale: 3"), @r"
    4:5 unsupported-key: `build` is not supported: agents do not build (build in CI, and name the image by digest)
    5:5 unsupported-key: `env_file` is not supported: a release is one file, so that what it runs can be read in one place (write `environment`, or `variables` in vars files)
    6:5 unsupported-key: `extends` is not supported: a release is one file, so that what it runs can be read in one place (use a YAML anchor and `<<`)
    7:27 unsupported-key: `restart_policy` is not supported: there is one place for it (write `restart`, such as `on-failure:5`)
    7:24 bad-value: `2` cannot be the value of this key (write `1`, or leave it out)
    8:12 bad-value: `3` cannot be `scale` (a device runs one container of a service)
    ");
    insta::assert_snapshot!(check("memswap_limit: 1g\ncpus: 1\ncpu_quota: 5\nsecurity_opt: ['seccomp:profile.json']"), @r"
    7:20 bad-value: `seccomp:profile.json` cannot be a security option here (write `no-new-privileges:true`, `apparmor:…`, `label:…` or `seccomp:unconfined`)
    2:3 option-conflict: `cpus` cannot stand together with `cpu_period` or `cpu_quota`
    2:3 option-conflict: `memswap_limit` needs a `mem_limit`
    ");
    insta::assert_snapshot!(check("network_mode: service:web\npull_policy: always\nstop_grace_period: 2h\ndns: [x]\npid: container:x"), @r"
    5:18 bad-value: `always` cannot be a pull policy of an agent (agents bring an image that is missing, and no other; leave it out)
    6:24 bad-value: `2h` cannot be a time for stopping (write a duration such as 1m30s, at most 3600s)
    7:11 bad-value: `x` cannot be a name server (write addresses)
    8:10 bad-value: `container:x` cannot be a namespace of this kind (write host, service:NAME)
    2:3 option-conflict: a service in another one's network has that one's `hostname`, `dns` and `extra_hosts`
    2:3 compose-dependency: these services wait for each other: web
    ");
    insta::assert_snapshot!(check("mem_limit: 1g\ndeploy: {resources: {limits: {memory: 2g}}}\ntmpfs: /data\nvolumes: ['data:/data']"), @r"
    5:43 option-conflict: a key of the service and one of `deploy` say different things about the same limit (keep one of them)
    2:3 option-conflict: two volumes are mounted at `/data`
    ");
    insta::assert_snapshot!(check("environment: {A: '${B:-c}'}\nlabels: {A: '${B}'}"), @r"
    4:22 interpolation: a variable takes the default of `B`, which nothing sets here (set variables of a service with `variables:` in vars files)
    5:17 interpolation: in `labels`: the variable `B` is not set: Compose would take it from the shell, and there is none here (write `$$` for a dollar, and set variables with `variables:` in vars files)
    ");
}

#[test]
fn one_service_has_a_short_form() {
    insta::assert_snapshot!(file(&format!("image: {IMAGE}")), @r#"main {"image":"IMAGE","mounts":{"/data":{"volume":"data"}},"network":"host"} []"#);
    insta::assert_snapshot!(file(&format!("image: {IMAGE}\nports: ['80:80']\nvolumes: ['cache:/cache']")), @r#"main {"image":"IMAGE","ports":[{"target":80,"transport":"tcp","published":80}],"mounts":{"/cache":{"volume":"cache"}}} []"#);
    insta::assert_snapshot!(file(&format!("image: {IMAGE}\nvolumes: {{}}")), @"2:10 wrong-type: `volumes` must be a list, not a mapping");
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

#[test]
fn what_the_specification_has_no_words_for_stands_under_an_extension() {
    insta::assert_snapshot!(check("x-bellwether:\n  locks: /run/lock\n  update: {strategy: hand-over, handover_timeout: 2m}"), @r#"
    web {"image":"IMAGE","update":{"strategy":"hand-over","handover_timeout_secs":120},"lock_folder":"/run/lock"} []
    "#);
    let probes = "x-bellwether:\n  probes:\n    a: {exec: test -e /ok}\n    b: {http: {port: 8080, path: /healthz}, interval: 10s}\n    c: {file: {path: /alive, max_age: 1m}, timeout: 1s, threshold: 1}";
    insta::assert_snapshot!(check(probes), @r#"
    web {"image":"IMAGE","probes":{"a":{"check":{"exec":["test","-e","/ok"]}},"b":{"check":{"http":{"port":8080,"path":"/healthz"}},"interval_secs":10},"c":{"check":{"file":{"path":"/alive","max_age_secs":60}},"timeout_secs":1,"threshold":1}}} []
    "#);
    insta::assert_snapshot!(check("x-bellwether:\n  update: {strategy: blue-green}\n  lock: /x"), @"
    6:7 unknown-key: `x-bellwether` has no key `lock` (did you mean `locks`?)
    5:26 bad-value: `blue-green` cannot be an update strategy (write `download-then-kill`, `kill-then-download`, `delete-then-download` or `hand-over`)
    ");
    insta::assert_snapshot!(check("x-bellwether:\n  probes: {a: {}, b: {http: {path: x}}, c: {exec: ''}}"), @"
    5:19 bad-value: a probe asks one thing (write one of `exec`, `http` and `file`)
    5:40 bad-value: this is not the path of a request (begin it with `/`)
    5:33 missing-key: `http` has no `port`
    5:48 bad-value: `exec` names no program (write a list of words, or a line)
    ");
}

#[test]
fn what_cannot_stand_beside_itself_cannot_be_handed_over() {
    let hand_over = "x-bellwether: {update: {strategy: hand-over}}";
    insta::assert_snapshot!(check(&format!("ports: ['80:80']\n{hand_over}")), @"2:3 handover-conflict: the service `web` cannot be handed over: it publishes port 80 of the host, which only one container can have (two containers of it run side by side meanwhile; take the conflict away, or choose another strategy)");
    insta::assert_snapshot!(check(&format!("ports: ['80']\n{hand_over}")), @r#"web {"image":"IMAGE","ports":[{"target":80,"transport":"tcp"}],"update":{"strategy":"hand-over"}} []"#);
    let two = format!(
        "services:\n  web:\n    image: {IMAGE}\n    {hand_over}\n  side:\n    image: {IMAGE}\n    network_mode: service:web\n"
    );
    insta::assert_snapshot!(file(&two), @"2:3 handover-conflict: the service `web` cannot be handed over: `side` is in its namespace, which goes with the old container (two containers of it run side by side meanwhile; take the conflict away, or choose another strategy)");
}
