//! The bytes of specs are pinned: if one of these tests fails, every device in the field would be assigned anew.

use super::*;
use crate::domain::secret::{Piece, SecretText};
use crate::domain::window::Window;
use std::net::{IpAddr, Ipv4Addr};

/// A service that sets every field to something else than its default.
fn every_field_of_a_service() -> ServiceSpec {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let volume = |name: &str| name.parse().expect("a volume name");
    ServiceSpec {
        image: format!("registry.example.com/player@{}", Digest::of(b"player")),
        entrypoint: Some(texts(&["/bin/tini", "--"])),
        command: Some(texts(&["play", "--loop", "a \"b\" ü"])),
        environment: [("TZ", "Europe/Zurich"), ("EMPTY", "")]
            .map(|(name, value)| (name.parse().expect("a variable name"), value.to_owned()))
            .into(),
        secret_environment: BTreeMap::new(),
        restart: Restart::OnFailure(5),
        ports: [
            Port {
                target: 80,
                transport: Transport::Tcp,
                published: Some(8080),
                host_ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            },
            Port { target: 53, transport: Transport::Udp, published: None, host_ip: None },
        ]
        .into(),
        mounts: [
            (
                "/data".to_owned(),
                Mount { volume: volume("data"), access: Access::ReadWrite, seeding: Seeding::FromImage },
            ),
            (
                "/content".to_owned(),
                Mount { volume: volume("content"), access: Access::ReadOnly, seeding: Seeding::FromImage },
            ),
        ]
        .into(),
        labels: [("org.example.role".to_owned(), "screen".to_owned())].into(),
        user: Some("1000:1000".to_owned()),
        working_dir: Some("/srv".to_owned()),
        network: Network::Host,
        depends_on: [Dependency::from("sync".parse::<ServiceName>().expect("a service name"))].into(),
        ..ServiceSpec::of_image("")
    }
}

fn every_field() -> DeviceSpec {
    let volume = |name: &str| name.parse().expect("a volume name");
    let services = [
        ("player", every_field_of_a_service()),
        (
            "sync",
            ServiceSpec { network: Network::None, restart: Restart::UnlessStopped, ..ServiceSpec::of_image("sync:1") },
        ),
        ("once", ServiceSpec { restart: Restart::No, ..ServiceSpec::of_image("once:1") }),
    ];
    let app = AppSpec {
        release: "1.10.0-rc.1+build.5".parse().expect("a version"),
        services: services.map(|(name, service)| (name.parse().expect("a service name"), service)).into(),
        volumes: [volume("data"), volume("content")].into(),
        networks: BTreeMap::new(),
    };
    DeviceSpec {
        schema: SPEC_SCHEMA,
        device_type: Some("raspberrypi4".parse().expect("a device type")),
        apps: [("signage".parse().expect("an app name"), app)].into(),
        os: Some(OsSpec {
            name: "lindenhof-os".to_owned(),
            version: "2026.10.2".parse().expect("a version"),
            url: Some("https://images.example.com/pi4.raucb".to_owned()),
            digest: Some(Digest::of(b"image")),
            size_bytes: None,
            transfer: Transfer::Download,
        }),
        config: DeviceConfig {
            poll_interval_secs: Some(30),
            persistent_logging: Some(false),
            extra: [("x-note".to_owned(), "kept".to_owned())].into(),
            ..DeviceConfig::default()
        },
        maintenance: Maintenance::default(),
    }
}

fn windows() -> DeviceSpec {
    let window = |opens: &str, minutes: u32, zone: &str| Window {
        opens: opens.parse().expect("a schedule"),
        minutes: minutes.try_into().expect("a length"),
        zone: zone.parse().expect("a rule"),
    };
    let maintenance = Maintenance {
        download: [window("0 20 * * *", 600, "STD-1DST,M3.5.0,M10.5.0/3")].into_iter().collect(),
        apply: [window("30 3 1,15 * *", 45, "STD-8"), window("0 2 * * 1-5", 120, "STD-1DST,M3.5.0,M10.5.0/3")]
            .into_iter()
            .collect(),
    };
    DeviceSpec { maintenance, ..DeviceSpec::default() }
}

fn host() -> DeviceSpec {
    let name = |text: &str| text.parse().expect("a path");
    let secret = SecretText(vec![
        Piece::Text("token=".to_owned()),
        Piece::Secret {
            reference: "secret:TOKEN@0123456789abcdef".parse().expect("a reference"),
            encoding: Default::default(),
        },
    ]);
    let files = [
        (name("motd"), HostFile { content: "Welcome\n".to_owned(), ..HostFile::default() }),
        (name("app/key"), HostFile { secret_content: Some(secret), mode: FileMode::PRIVATE, ..HostFile::default() }),
    ];
    let trigger = |text: &str| text.parse().expect("a trigger");
    let config = DeviceConfig {
        hostname: Some("kiosk-7.example".parse().expect("a name")),
        time_zone: Some("Europe/Zurich".parse().expect("a zone")),
        sysctl: [("net.ipv4.ip_forward".parse().expect("a name"), "1".to_owned())].into(),
        files: files.into(),
        hooks: [("reload".parse().expect("a name"), [trigger("files/app"), trigger("sysctl")].into())].into(),
        ..DeviceConfig::default()
    };
    DeviceSpec { config, ..DeviceSpec::default() }
}

/// One line per spec: name, digest, payload.
fn golden() -> String {
    let mut text = String::new();
    for (name, spec) in
        [("default", DeviceSpec::default()), ("every-field", every_field()), ("windows", windows()), ("host", host())]
    {
        let sealed = SealedSpec::seal(spec);
        text.push_str(&format!("{name} {} {}\n", sealed.digest, sealed.payload));
    }
    text
}

#[test]
fn payload_bytes_and_digests_are_what_they_have_always_been() {
    assert_eq!(
        golden(),
        include_str!("../../../tests/golden/specs.txt"),
        "this would retarget every device in the field"
    );
}

#[test]
fn a_sealed_spec_opens_to_what_was_sealed() {
    for spec in [DeviceSpec::default(), every_field(), windows(), host()] {
        let sealed = SealedSpec::seal(spec);
        assert_eq!(SealedSpec::open(&sealed.payload), Ok(sealed));
    }
}

#[test]
fn payloads_that_this_build_cannot_run_are_refused() {
    assert_eq!(SealedSpec::open(r#"{"schema":2,"new":true}"#), Err(SpecError::NewerSchema { schema: 2 }));
    for payload in ["", "{}", "[]", r#"{"schema":1,"unknown":0}"#, r#"{"schema":"1"}"#] {
        assert!(matches!(SealedSpec::open(payload), Err(SpecError::Malformed { .. })), "{payload}");
    }
    let long = format!(r#"{{"schema":1}}{}"#, " ".repeat(MAX_SPEC_BYTES));
    assert_eq!(SealedSpec::open(&long), Err(SpecError::TooLong { size: long.len() }));
}

#[test]
fn security_options_that_mean_the_same_are_one_and_an_engine_may_add_labels() {
    let options = |all: &[&str]| Options {
        security_opt: all.iter().map(|option| (*option).to_owned()).collect(),
        ..Options::default()
    };
    let same = |one: &[&str], other: &[&str]| options(one).normalised() == options(other).normalised();
    assert!(same(&["no-new-privileges:true"], &["no-new-privileges"]));
    assert!(same(&["label:user:u", "seccomp:unconfined"], &["seccomp=unconfined", "label=user:u"]));
    assert!(!same(&["no-new-privileges:false"], &["no-new-privileges"]));
    assert!(!same(&["label=user:u"], &["label=role:u"]));
    let found = |wanted: &Options, found: &[&str]| options(found).only_said(&wanted.said()).normalised();
    let unlabelled = options(&["apparmor:unconfined"]).normalised();
    assert_eq!(found(&unlabelled, &["apparmor=unconfined", "label=disable"]), unlabelled);
    let labelled = options(&["label:role:r"]).normalised();
    assert_ne!(found(&labelled, &["label=disable"]), labelled);
}
