//! A whole file, and the least that can be said.

use super::*;

#[test]
fn a_whole_file_is_read_with_paths_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    std::fs::write(folder.path().join("etc/controller.yml"), WHOLE).unwrap();
    let start = Start { flags: &["--config", "etc/controller.yml"], ..Start::default() };
    let settings = start.inputs(&folder).unwrap().settings().unwrap();
    let shown = format!("{settings:#?}").replace(folder.path().to_str().unwrap(), "/folder");
    insta::assert_snapshot!(shown, @r#"
    Settings {
        fleet: "acme",
        repo: Local(
            "/folder/etc/fleet.git",
        ),
        access: Access {
            user: None,
            token: None,
            ca_file: None,
            ssh_key: None,
            known_hosts: None,
            ssh_agent: None,
            timeout: 600s,
        },
        signers: {},
        stages: [
            StagePolicy {
                name: "main",
                max_unstaged: Limit {
                    at_least: 5,
                    per_ten_thousand: 100,
                },
                deletion_budget: Limit {
                    at_least: 1,
                    per_ten_thousand: 100,
                },
                host: HostRights {
                    host_paths: {},
                    privileged: Refused,
                },
                soak_secs: 0,
                promotion: Any,
            },
            StagePolicy {
                name: "canary",
                max_unstaged: Limit {
                    at_least: 10,
                    per_ten_thousand: 0,
                },
                deletion_budget: Limit {
                    at_least: 1,
                    per_ten_thousand: 50,
                },
                host: HostRights {
                    host_paths: {},
                    privileged: Refused,
                },
                soak_secs: 0,
                promotion: Any,
            },
            StagePolicy {
                name: "production",
                max_unstaged: Limit {
                    at_least: 1,
                    per_ten_thousand: 100,
                },
                deletion_budget: Limit {
                    at_least: 1,
                    per_ten_thousand: 100,
                },
                host: HostRights {
                    host_paths: {},
                    privileged: Refused,
                },
                soak_secs: 0,
                promotion: Any,
            },
        ],
        data_dir: "/folder/etc/data",
        listen: [::1]:9443,
        socket: "/folder/etc/run/bw.sock",
        certificate: Files {
            certificate: "/folder/etc/tls/cert.pem",
            key: "/etc/key.pem",
        },
        operators: {
            sha256:e3b0c44298fc: "anna",
        },
        poll_secs: 30,
        offline_after_secs: 600,
        log: LogSettings {
            format: Json,
            level: Debug,
        },
        secrets: Sources {
            environment: None,
            directory: None,
            identity: None,
        },
        lists: [],
        forge: None,
    }
    "#);
}

#[test]
fn little_must_be_said() {
    insta::assert_snapshot!(format!("{:#?}", file(SMALLEST).unwrap()), @r#"
    Settings {
        fleet: "acme",
        repo: Local(
            "/srv/fleet.git",
        ),
        access: Access {
            user: None,
            token: None,
            ca_file: None,
            ssh_key: None,
            known_hosts: None,
            ssh_agent: None,
            timeout: 600s,
        },
        signers: {},
        stages: [
            StagePolicy {
                name: "main",
                max_unstaged: Limit {
                    at_least: 5,
                    per_ten_thousand: 100,
                },
                deletion_budget: Limit {
                    at_least: 1,
                    per_ten_thousand: 100,
                },
                host: HostRights {
                    host_paths: {},
                    privileged: Refused,
                },
                soak_secs: 0,
                promotion: Any,
            },
            StagePolicy {
                name: "production",
                max_unstaged: Limit {
                    at_least: 5,
                    per_ten_thousand: 100,
                },
                deletion_budget: Limit {
                    at_least: 1,
                    per_ten_thousand: 100,
                },
                host: HostRights {
                    host_paths: {},
                    privileged: Refused,
                },
                soak_secs: 0,
                promotion: Any,
            },
        ],
        data_dir: "bellwether-data",
        listen: 0.0.0.0:8443,
        socket: "bellwether-data/bellwether.sock",
        certificate: SelfMade {
            names: {},
        },
        operators: {},
        poll_secs: 15,
        offline_after_secs: 300,
        log: LogSettings {
            format: Text,
            level: Info,
        },
        secrets: Sources {
            environment: None,
            directory: None,
            identity: None,
        },
        lists: [],
        forge: None,
    }
    "#);
}
