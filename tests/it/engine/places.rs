//! Where services stand: behind their own network, on the host's, with a whole init system in them.

use super::keys::{spec as of_compose, whole};
use super::{Device, app, name, port, spec, volume};
use crate::harness::engine::Engine as RealEngine;
use crate::harness::process::{eventually, output_of};
use crate::harness::run::run;
use bellwether::domain::spec::{ServiceSpec, Transport};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

/// What is asked of a web server.
const QUESTION: &str = "GET /version HTTP/1.0\r\n\r\n";

#[test]
fn only_published_ports_are_reachable_from_outside_an_app() {
    let Some(real) = RealEngine::start("outside") else { return };
    let real: &'static RealEngine = Box::leak(Box::new(real));
    let device = Device::on(real, "it-outside");
    let neighbour = real.neighbour();
    let web = |image: usize, ports: &[u16]| ServiceSpec {
        ports: ports.iter().map(|published| port(8080, Transport::Tcp, Some(*published), None)).collect(),
        ..ServiceSpec::of_image(&real.registry().web[image].by_digest())
    };
    device.converge(&spec([("open", web(0, &[18_401])), ("shut", web(1, &[]))]));
    let address = |service: &str| {
        let each = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        real.docker(&["inspect", "--format", each, &device.container(service)])
    };
    // It is there, and its own app reaches it.
    let ask = format!("echo -e '{}' | nc shut 8080", QUESTION.replace('\r', "\\r").replace('\n', "\\n"));
    let within = || real.try_docker(&["exec", &device.container("open"), "/bin/sh", "-c", &ask]).ok();
    let answer = eventually("it answers its own app", || within().filter(|answer| !answer.is_empty()));
    assert!(answer.ends_with("web 1.1.0"), "{answer}");
    // The way there is open, for what is published.
    let answer = eventually("the neighbour is served", || neighbour.ask("10.96.0.1", 18_401, QUESTION).ok());
    assert!(answer.ends_with("web 1.0.0\n"), "{answer}");
    let answer = neighbour.ask(&address("shut"), 8080, QUESTION);
    assert_eq!(answer, Err("no answer".to_owned()), "from another machine");
    // Nor from a container of somebody else on the same engine.
    real.docker(&["network", "create", "stranger"]);
    let image = real.registry().worker[0].by_digest();
    real.docker(&["run", "--detach", "--name", "stranger", "--network", "stranger", &image]);
    let ask = ask.replace("nc shut", &format!("nc -w 2 {}", address("shut")));
    let answer = real.try_docker(&["exec", "stranger", "/bin/sh", "-c", &ask]).unwrap_or_default();
    assert_eq!(answer, "", "from a foreign container");
}

#[test]
fn an_app_of_one_service_has_the_hosts_network_and_its_data() {
    let Some(device) = Device::new("it-single") else { return };
    let [old, new] = &device.real.registry().worker;
    let of = |image: &str| of_compose(&whole(&format!("image: {image}\n")));
    device.converge(&of(&old.by_digest()));
    let container = || device.container("main");
    let mode = device.real.docker(&["inspect", "--format", "{{.HostConfig.NetworkMode}}", &container()]);
    assert_eq!(mode, "host");
    device.real.docker(&["exec", &container(), "/bin/sh", "-c", "echo kept > /data/file"]);
    let before = container();
    device.converge(&of(&new.by_digest()));
    assert_ne!(container(), before, "it was updated");
    assert_eq!(device.real.docker(&["exec", &container(), "/bin/cat", "/data/file"]), "kept");
    assert!(device.look(&of(&new.by_digest())).apps[&app()].volumes.contains(&volume("data")));
}

/// What makes systemd run in a service without all rights; docs/compose.md shows the same.
const SYSTEMD: &str = "\
services:
  box:
    image: IMAGE
    cap_add: [SYS_ADMIN]
    cgroup: private
    tmpfs: [/run, /run/lock, /tmp]
    tty: true
    stop_signal: SIGRTMIN+3
    stop_grace_period: 30s
";

/// The same with a path of the host in place of the right.
const SYSTEMD_ON_HOST_PATH: &str = "\
services:
  box:
    image: IMAGE
    cgroup: private
    tmpfs: [/run, /run/lock, /tmp]
    tty: true
    stop_signal: SIGRTMIN+3
    stop_grace_period: 30s
    volumes: ['/sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd']
";

/// With all rights it needs neither.
pub(super) const SYSTEMD_WITH_ALL_RIGHTS: &str = "\
services:
  box:
    image: IMAGE
    privileged: true
    tmpfs: [/run, /run/lock, /tmp]
    tty: true
    stop_signal: SIGRTMIN+3
    stop_grace_period: 30s
";

#[test]
fn systemd_runs_in_a_service_without_all_rights_and_shuts_down_in_order() {
    let Some(device) = Device::new("it-systemd") else { return };
    // Hosts of the second version of control groups have nothing at that path, and need none.
    let has_path = Path::new("/sys/fs/cgroup/systemd").is_dir();
    let texts = [Some(SYSTEMD), Some(SYSTEMD_ON_HOST_PATH).filter(|_| has_path)];
    texts.into_iter().flatten().for_each(|text| boot_systemd(&device, text, "0"));
}

/// Runs systemd in the service `box` of a Compose file, shuts it down in order, which ends with this status, and has it started again.
pub(super) fn boot_systemd(device: &Device, text: &str, status: &str) {
    let image = systemd_image(device.real);
    let pinned = device.real.registry().worker[0].by_digest();
    let mut wanted = of_compose(&whole(&text.replace("IMAGE", &pinned)));
    // It was made here, so no registry has a digest of it.
    let services = &mut wanted.apps.get_mut(&app()).expect("the app").services;
    services.get_mut(&name("box")).expect("the service").image.clone_from(&image);
    device.converge(&wanted);
    let container = device.container("box");
    let inside = |words: &[&str]| device.real.try_docker(&[&["exec", container.as_str()], words].concat());
    let state = eventually("systemd is up", || inside(&["systemctl", "is-system-running"]).ok());
    assert_eq!(state, "running");
    // systemd is up when its unit was started, which is before the unit has written.
    eventually("its unit ran", || inside(&["cat", "/run/ready"]).ok().filter(|text| text == "ready"));
    device.real.docker(&["stop", "--time", "120", &container]);
    let end = device.real.docker(&["inspect", "--format", "{{.State.ExitCode}}", &container]);
    assert_eq!(end, status, "the signal shuts it down, nobody has to kill it");
    // A service that ended is started again, and is not made anew.
    assert_eq!(device.converge(&wanted), ["start web/box"]);
    assert_eq!(device.container("box"), container);
}

/// An image with the systemd of this machine and one unit.
fn systemd_image(real: &RealEngine) -> String {
    image_with_systemd(real, "it-systemd:1", &[], &[])
}

/// The same with more programs and files of this machine in it, each at a path of its own.
pub(super) fn image_with_systemd(
    real: &RealEngine,
    image: &str,
    programs: &[(&Path, &str)],
    more: &[(&str, &str)],
) -> String {
    let root = run().scratch("systemd");
    for folder in
        ["usr/bin", "usr/lib64", "usr/lib/systemd/system", "etc/systemd/system", "tmp", "run", "proc", "sys", "dev"]
    {
        std::fs::create_dir_all(root.join(folder)).expect("make a folder of the image");
    }
    for (link, to) in [("lib", "usr/lib"), ("bin", "usr/bin"), ("lib64", "usr/lib64")] {
        symlink(to, root.join(link)).expect("link a folder");
    }
    let copy = |from: &Path| {
        let to = root.join(from.strip_prefix("/").expect("an absolute path"));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder of the image");
        std::fs::copy(from, to).map(drop)
    };
    let own = ["/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-shutdown", "/usr/bin/systemctl"];
    let own = own.map(|program| (Path::new(program), &program[1..]));
    for (program, place) in own.iter().chain(programs) {
        let to = root.join(place);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder of the image");
        std::fs::copy(program, to).expect("copy a program");
        let libraries = output_of(run().command("ldd").arg(program)).expect("list its libraries");
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(library)).expect("copy a library");
        }
    }
    let busybox = output_of(run().command("sh").args(["-c", "command -v busybox"])).expect("find busybox");
    std::fs::copy(busybox, root.join("usr/bin/busybox")).expect("copy busybox");
    for command in ["sh", "sleep", "cat"] {
        symlink("busybox", root.join("usr/bin").join(command)).expect("link a command");
    }
    let units = ["basic", "sysinit", "shutdown", "umount", "final", "halt"].map(|target| format!("{target}.target"));
    for unit in units.iter().map(String::as_str).chain(["systemd-halt.service"]) {
        // A newer systemd may do without one of them.
        let _ = copy(&Path::new("/usr/lib/systemd/system").join(unit));
    }
    let unit = "[Service]\nExecStart=/bin/sh -c 'echo ready > /run/ready; exec sleep 86400'\n";
    let files = [
        ("etc/systemd/system/ours.service", unit),
        ("etc/systemd/system/default.target", "[Unit]\nRequires=ours.service\nAfter=ours.service\n"),
        ("etc/os-release", "ID=test\n"),
        ("etc/machine-id", ""),
        ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
    ];
    for (path, text) in files.iter().chain(more) {
        let to = root.join(path);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder of the image");
        std::fs::write(to, text).expect("write a file of the image");
    }
    let mut tar = run().command("tar");
    let mut tar = tar.arg("-C").arg(&root).args(["-c", "."]).stdout(Stdio::piped()).spawn().expect("start tar");
    let changes = ["CMD [\"/lib/systemd/systemd\"]", "ENV container=docker"];
    let mut import = real.docker_command();
    import.arg("import").args(changes.iter().flat_map(|change| ["--change", change])).args(["-", image]);
    output_of(import.stdin(tar.stdout.take().expect("stdout was piped"))).expect("import an image");
    assert!(tar.wait().expect("wait for tar").success(), "tar packs the image");
    image.to_owned()
}
