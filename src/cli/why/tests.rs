//! Answers from real repositories, without a controller.

use super::super::render::bare;
use super::*;
use crate::git::history::History;

/// A fleet with something of everything that can be asked about.
fn fleet() -> History {
    let mut history = History::new();
    let compose = "services:\n  web:\n    image: web:1\n    environment: { URL: http://compose, LANG: en }\n";
    for (version, state) in
        [("1.0.0", ""), ("1.1.0", "draft: true\n"), ("2.0.0", "invalidated: { reason: eats the disk }\n")]
    {
        history.write(&format!("releases/app/{version}/release.yml"), &format!("version: {version}\n{state}"));
        history.write(&format!("releases/app/{version}/compose.yml"), compose);
    }
    history.write("fleet.yml", "name: acme\n");
    history
        .write("inventory.yml", "all:\n  children:\n    kiosks: { hosts: { kiosk-1: { motd: inline }, kiosk-2: } }\n");
    history.write("group_vars/kiosks.yml", "variables:\n  URL: http://group\n  UNUSED_HERE: x\n");
    history.commit("Anna", "group_vars/all.yml", "branch: main\nmotd: hello\npins: { app: latest }\n");
    history.commit(
        "Ben",
        "host_vars/kiosk-1.yml",
        "variables: { URL: http://host }\nconfig: { poll_interval_secs: 30 }\n",
    );
    history.commit("Cleo", "group_vars/all.yml", "branch: canary\nmotd: hello\npins: { app: latest }\n");
    history
}

fn args(history: &History, device: &str, key: Option<&str>, rev: Option<&str>) -> Args {
    Args {
        device: device.parse().expect("a name"),
        key: key.map(str::to_owned),
        repo: Some(history.folder().to_owned()),
        rev: rev.map(str::to_owned),
        list: ListArgs::default(),
    }
}

/// The values that an answer shows, or the error with its hint.
fn values_of(args: &Args, known: &Known) -> anyhow::Result<Vec<Explained>> {
    let all = known.explanation.as_ref().expect("a clone explains or fails");
    Ok(match &args.key {
        None => all.values.clone(),
        Some(key) => selected(all, key)?.into_iter().cloned().collect(),
    })
}

fn answer(args: &Args) -> anyhow::Result<String> {
    let known = from_clone(args, None)?;
    let values = values_of(args, &known)?;
    Ok(text(args, &known, &values.iter().collect::<Vec<_>>(), None))
}

fn check(history: &History, device: &str, key: Option<&str>) -> String {
    let shown =
        answer(&args(history, device, key, None)).unwrap_or_else(|error| super::super::fault::render_error(&error));
    bare(&shown.replace(&history.folder().display().to_string(), "/fleet"))
}

#[test]
fn every_value_says_where_it_is_written_who_changed_it_last_and_what_it_overrode() {
    insta::assert_snapshot!(check(&fleet(), "kiosk-1", None), @r"
    device kiosk-1, commit 347c0024
    groups, later ones win: all, kiosks

    KEY                               VALUE            FROM                                  LAST CHANGED
    app.release                       1.0.0            releases/app/1.0.0/release.yml:1:10   ef38d2e0 Anna, 2026-09-21
    app/web.environment.LANG          en               releases/app/1.0.0/compose.yml:4:41   ef38d2e0 Anna, 2026-09-21
    app/web.environment.UNUSED_HERE   x                group_vars/kiosks.yml:3:3             ef38d2e0 Anna, 2026-09-21
    app/web.environment.URL           http://host      host_vars/kiosk-1.yml:1:14            492a9a2d Ben, 2026-09-21
      overrides                       http://group     group_vars/kiosks.yml:2:3             ef38d2e0 Anna, 2026-09-21
      overrides                       http://compose   releases/app/1.0.0/compose.yml:4:20   ef38d2e0 Anna, 2026-09-21
    app/web.image                     web:1            releases/app/1.0.0/compose.yml:3:5    ef38d2e0 Anna, 2026-09-21
    branch                            canary           group_vars/all.yml:1:9                347c0024 Cleo, 2026-09-21
    config.poll_interval_secs         30               host_vars/kiosk-1.yml:2:11            492a9a2d Ben, 2026-09-21
    pins.app                          latest           group_vars/all.yml:3:9                ef38d2e0 Anna, 2026-09-21
      picks                           1.0.0
      passes over                     2.0.0            invalidated: eats the disk
      passes over                     1.1.0            a draft
    vars.motd                         inline           inventory.yml:3:35                    ef38d2e0 Anna, 2026-09-21
      overrides                       hello            group_vars/all.yml:2:1                ef38d2e0 Anna, 2026-09-21

    what it waits for is unknown: only a controller knows
    ");
}

#[test]
fn what_is_not_committed_yet_is_said_and_counts() {
    let history = fleet();
    history.write("host_vars/kiosk-1.yml", "variables: { URL: http://new }\nconfig: { poll_interval_secs: 30 }\n");
    insta::assert_snapshot!(check(&history, "kiosk-1", Some("URL")), @r"
    device kiosk-1, commit 347c0024
    groups, later ones win: all, kiosks

    KEY                       VALUE            FROM                                  LAST CHANGED
    app/web.environment.URL   http://new       host_vars/kiosk-1.yml:1:14            not committed yet
      overrides               http://group     group_vars/kiosks.yml:2:3             ef38d2e0 Anna, 2026-09-21
      overrides               http://compose   releases/app/1.0.0/compose.yml:4:20   ef38d2e0 Anna, 2026-09-21
    ");
    // A revision is the commit and nothing else.
    let shown = answer(&args(&history, "kiosk-1", Some("URL"), Some("HEAD"))).expect("an answer");
    assert!(!shown.contains("http://new"), "{shown}");
    let before = answer(&args(&history, "kiosk-1", Some("branch"), Some("HEAD^"))).expect("an answer");
    insta::assert_snapshot!(bare(&before), @r"
    device kiosk-1, commit 492a9a2d
    groups, later ones win: all, kiosks

    KEY      VALUE   FROM                     LAST CHANGED
    branch   main    group_vars/all.yml:1:9   ef38d2e0 Anna, 2026-09-21
    ");
}

#[test]
fn a_key_is_meant_as_people_write_it() {
    let history = fleet();
    let keys = |key: &str| -> String {
        let args = args(&history, "kiosk-1", Some(key), None);
        let known = from_clone(&args, None).expect("an answer");
        let found = values_of(&args, &known).expect("a value");
        found.into_iter().map(|one| one.key).collect::<Vec<_>>().join(" ")
    };
    for (key, expected) in [
        ("branch", "branch"),
        ("subscribed_branch", "branch"),
        ("pins", "pins.app"),
        ("pins.app", "pins.app"),
        ("URL", "app/web.environment.URL"),
        ("variables.URL", "app/web.environment.URL"),
        ("services.web.variables.URL", "app/web.environment.URL"),
        ("services.app/web.variables.URL", "app/web.environment.URL"),
        ("app/web.environment.URL", "app/web.environment.URL"),
        ("app/web", "app/web.environment.LANG app/web.environment.UNUSED_HERE app/web.environment.URL app/web.image"),
        ("image", "app/web.image"),
        ("services.web.image", "app/web.image"),
        ("services.app/web.image", "app/web.image"),
        ("config", "config.poll_interval_secs"),
        ("motd", "vars.motd"),
        ("vars.motd", "vars.motd"),
    ] {
        assert_eq!(keys(key), expected, "{key}");
    }
}

#[test]
fn a_mistyped_key_or_device_is_told_what_was_probably_meant() {
    let history = fleet();
    insta::assert_snapshot!(check(&history, "kiosk-1", Some("varaibles.URL")), @r"
    error: device kiosk-1 has no value for varaibles.URL
    hint: did you mean `variables.URL`?
    ");
    insta::assert_snapshot!(check(&history, "kiosk-1", Some("mtod")), @r"
    error: device kiosk-1 has no value for mtod
    hint: did you mean `motd`?
    ");
    insta::assert_snapshot!(check(&history, "kiosk-1", Some("nothing like it")), @r"
    error: device kiosk-1 has no value for nothing like it
    hint: `bellwether why kiosk-1` shows every key
    ");
    insta::assert_snapshot!(check(&history, "kiosk-l", None), @r"
    error: device kiosk-l is not in the inventory of work tree /fleet
    hint: did you mean `kiosk-1`?
    ");
    insta::assert_snapshot!(check(&history, "elsewhere", None), @r"
    error: device elsewhere is not in the inventory of work tree /fleet
    hint: name another commit with `--rev`
    ");
}

#[test]
fn a_variable_that_no_service_gets_is_found_where_it_is_written() {
    let history = fleet();
    history.write("host_vars/kiosk-2.yml", "pins: null\n");
    insta::assert_snapshot!(check(&history, "kiosk-2", Some("variables.URL")), @r"
    device kiosk-2, commit 347c0024
    groups, later ones win: all, kiosks

    KEY             VALUE          FROM                        LAST CHANGED
    variables.URL   http://group   group_vars/kiosks.yml:2:3   ef38d2e0 Anna, 2026-09-21
    ");
}

#[test]
fn all_variables_can_be_asked_for_whether_a_service_gets_them_or_not() {
    let history = fleet();
    let keys = |device: &str, key: &str| -> String {
        let args = args(&history, device, Some(key), None);
        let known = from_clone(&args, None).expect("an answer");
        let found = values_of(&args, &known).expect("a value");
        found.into_iter().map(|one| one.key).collect::<Vec<_>>().join(" ")
    };
    let given = "app/web.environment.LANG app/web.environment.UNUSED_HERE app/web.environment.URL";
    assert_eq!(keys("kiosk-1", "variables"), given);
    for key in ["environment", "services.web.variables", "app/web.environment"] {
        assert_eq!(keys("kiosk-1", key), given, "{key}");
    }
    for key in ["services", "services.web", "services.app/web", "app/web"] {
        assert_eq!(keys("kiosk-1", key), format!("{given} app/web.image"), "{key}");
    }
    history.write("host_vars/kiosk-2.yml", "pins: null\n");
    for key in ["variables", "environment"] {
        assert_eq!(keys("kiosk-2", key), "variables.UNUSED_HERE variables.URL", "{key}");
    }
    assert_eq!(keys("kiosk-2", "URL"), "variables.URL");
}

#[test]
fn what_files_of_releases_and_images_say_is_shown_key_by_key_where_it_stands() {
    let mut history = fleet();
    history.write("os/edge.yml", "pi:\n  version: 2026.1\n  url: https://images.example/edge.raucb\n");
    history.write("host_vars/kiosk-2.yml", "os: edge\ndevice_type: pi\npins: { app: 1.2.0 }\nprofiles: [show]\n");
    history.write("releases/app/1.2.0/release.yml", "version: 1.2.0\n");
    let compose = "x-usual: &usual { restart: unless-stopped }\nservices:\n  web:\n    <<: *usual\n    image: web:2\n    ports: ['80:8080']\n    volumes: [data:/data]\n    command: serve --all\n    healthcheck:\n      test: [CMD, ok]\n      interval: 30s\n    environment: { LANG: en }\n    x-note: nobody\n    x-bellwether: { locks: /locks }\n  hidden: { image: 'x:1', profiles: [other] }\nvolumes: { data: }\n";
    history.write("releases/app/1.2.0/compose.yml", compose);
    insta::assert_snapshot!(check(&history, "kiosk-2", Some("services")), @r#"
    device kiosk-2, commit 347c0024
    groups, later ones win: all, kiosks

    KEY                               VALUE            FROM                                   LAST CHANGED
    app/web.command                   serve --all      releases/app/1.2.0/compose.yml:8:5     not committed yet
    app/web.environment.LANG          en               releases/app/1.2.0/compose.yml:12:20   not committed yet
    app/web.environment.UNUSED_HERE   x                group_vars/kiosks.yml:3:3              ef38d2e0 Anna, 2026-09-21
    app/web.environment.URL           http://group     group_vars/kiosks.yml:2:3              ef38d2e0 Anna, 2026-09-21
    app/web.healthcheck.interval      30s              releases/app/1.2.0/compose.yml:11:7    not committed yet
    app/web.healthcheck.test          ["CMD","ok"]     releases/app/1.2.0/compose.yml:10:7    not committed yet
    app/web.image                     web:2            releases/app/1.2.0/compose.yml:5:5     not committed yet
    app/web.ports                     ["80:8080"]      releases/app/1.2.0/compose.yml:6:5     not committed yet
    app/web.restart                   unless-stopped   releases/app/1.2.0/compose.yml:1:19    not committed yet
    app/web.volumes                   ["data:/data"]   releases/app/1.2.0/compose.yml:7:5     not committed yet
    app/web.x-bellwether.locks        /locks           releases/app/1.2.0/compose.yml:14:21   not committed yet
    "#);
    insta::assert_snapshot!(check(&history, "kiosk-2", Some("os")), @r"
    device kiosk-2, commit 347c0024
    groups, later ones win: all, kiosks

    KEY          VALUE                               FROM                        LAST CHANGED
    os           edge                                host_vars/kiosk-2.yml:1:5   not committed yet
    os.url       https://images.example/edge.raucb   os/edge.yml:3:3             not committed yet
    os.version   2026.1                              os/edge.yml:2:3             not committed yet
    ");
    history.commit("Dora", "releases/app/1.2.0/compose.yml", compose);
    let shown = check(&history, "kiosk-2", Some("services.web.healthcheck"));
    assert!(shown.contains("app/web.healthcheck.interval") && shown.contains("Dora, "), "{shown}");
    // What Compose has a key for, and the file leaves out.
    let shown = check(&history, "kiosk-2", Some("services.web.user"));
    insta::assert_snapshot!(shown, @r"
    error: releases/app/1.2.0/compose.yml says nothing of services.web.user, so what is usual holds
    hint: `bellwether why kiosk-2 app` shows what release 1.2.0 says
    ");
    // Where no service is, and where something else was meant.
    for key in ["other/web.image", "services.other.restart", "services.web.variable.URL", "app/web.imagine"] {
        let shown = check(&history, "kiosk-2", Some(key));
        assert!(shown.contains("has no value"), "{shown}");
    }
}

#[test]
fn encrypted_values_stay_closed_in_every_form_of_the_answer() {
    let history = fleet();
    let digits = "6138".repeat(20);
    let secret = format!("!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  {digits}\n  6535\n");
    history.write("group_vars/kiosks.yml", &format!("token: {secret}version: 1.10\n"));
    history.write("host_vars/kiosk-1.yml", "token: own\nvariables: { URL: \"{{ version }} {{ token }}\" }\n");
    insta::assert_snapshot!(check(&history, "kiosk-1", Some("vars")), @r#"
    device kiosk-1, commit 347c0024
    groups, later ones win: all, kiosks

    KEY            VALUE                FROM                        LAST CHANGED
    vars.motd      inline               inventory.yml:3:35          ef38d2e0 Anna, 2026-09-21
      overrides    hello                group_vars/all.yml:2:1      ef38d2e0 Anna, 2026-09-21
    vars.token     own                  host_vars/kiosk-1.yml:1:1   not committed yet
      overrides    !vault (encrypted)   group_vars/kiosks.yml:1:1   not committed yet
    vars.version   1.10                 group_vars/kiosks.yml:5:1   not committed yet
    "#);
    insta::assert_snapshot!(check(&history, "kiosk-1", Some("URL")), @r#"
    device kiosk-1, commit 347c0024
    groups, later ones win: all, kiosks

    KEY                       VALUE                       FROM                                  LAST CHANGED
    app/web.environment.URL   1.10 own                    host_vars/kiosk-1.yml:2:14            not committed yet
      template                {{ version }} {{ token }}
      uses token              own                         host_vars/kiosk-1.yml:1:8
      uses version            1.10                        group_vars/kiosks.yml:5:10
      overrides               http://compose              releases/app/1.0.0/compose.yml:4:20   ef38d2e0 Anna, 2026-09-21
    "#);
    history.write("host_vars/kiosk-2.yml", "variables: { URL: \"{{ token }}\" }\n");
    insta::assert_snapshot!(check(&history, "kiosk-2", Some("URL")), @r#"
    device kiosk-2, commit 347c0024
    groups, later ones win: all, kiosks
    gets nothing new from this commit: host_vars/kiosk-2.yml:1:23: `token`: the variable is encrypted with ansible-vault; Bellwether does not decrypt it

    KEY                       VALUE                FROM                                  LAST CHANGED
    app/web.environment.URL   {{ token }}          host_vars/kiosk-2.yml:1:14            not committed yet
      template                {{ token }}
      uses token              !vault (encrypted)   group_vars/kiosks.yml:2:3
      overrides               http://compose       releases/app/1.0.0/compose.yml:4:20   ef38d2e0 Anna, 2026-09-21
    "#);
    for device in ["kiosk-1", "kiosk-2"] {
        let args = args(&history, device, None, None);
        let known = from_clone(&args, None).expect("an answer");
        let values = values_of(&args, &known).expect("values");
        let values: Vec<&Explained> = values.iter().collect();
        let json = serde_json::to_string(&view(&args, &known, values.clone())).expect("JSON");
        for shown in [text(&args, &known, &values, None), markdown(&args, &known, &values), json] {
            assert!(shown.contains("(encrypted)"), "{shown}");
            assert!(!shown.contains("ANSIBLE_VAULT") && !shown.contains("61386138"), "{shown}");
        }
    }
}

#[test]
fn a_device_whose_file_is_broken_is_explained_as_far_as_it_goes() {
    let history = fleet();
    history.write("host_vars/kiosk-2.yml", "variables: [\n");
    insta::assert_snapshot!(check(&history, "kiosk-2", Some("pins")), @r"
    device kiosk-2, commit 347c0024
    groups, later ones win: all, kiosks
    gets nothing new from this commit: host_vars/kiosk-2.yml:1:12: unclosed bracket '['

    KEY             VALUE    FROM                         LAST CHANGED
    pins.app        latest   group_vars/all.yml:3:9       ef38d2e0 Anna, 2026-09-21
      picks         1.0.0
      passes over   2.0.0    invalidated: eats the disk
      passes over   1.1.0    a draft
    ");
}

#[test]
fn an_answer_for_programs_and_one_for_merge_requests() {
    let history = fleet();
    let args = args(&history, "kiosk-1", Some("pins"), None);
    let known = from_clone(&args, None).expect("an answer");
    let values = values_of(&args, &known).expect("values");
    let values: Vec<&Explained> = values.iter().collect();
    insta::assert_snapshot!(markdown(&args, &known, &values), @r"
    ## Device kiosk-1, commit 347c0024

    - groups, later ones win: all, kiosks

    | Key | Value | From | Last changed |
    | --- | --- | --- | --- |
    | pins.app | latest | group\_vars/all.yml:3:9 | ef38d2e0 Anna, 2026-09-21 |
    |   picks | 1.0.0 |  |  |
    |   passes over | 2.0.0 | invalidated: eats the disk |  |
    |   passes over | 1.1.0 | a draft |  |
    ");
    let json = serde_json::to_value(view(&args, &known, values)).expect("JSON");
    insta::assert_snapshot!(format!("{json:#}"), @r#"
    {
      "commit": "347c0024119ea83666cb140c93aa04503691f4fc",
      "device": "kiosk-1",
      "groups": [
        "kiosks"
      ],
      "inventory": null,
      "problem": null,
      "registry": null,
      "reported": null,
      "stage": null,
      "standing": null,
      "values": [
        {
          "changed": {
            "at": "2026-09-21T14:14:20Z",
            "author": "Anna",
            "commit": "ef38d2e0cea18d87575bcccdeb582d3fdfa96979",
            "kind": "commit"
          },
          "key": "pins.app",
          "picked": {
            "passed_over": [
              {
                "release": "2.0.0",
                "why": "invalidated: eats the disk"
              },
              {
                "release": "1.1.0",
                "why": "a draft"
              }
            ],
            "release": "1.0.0"
          },
          "place": {
            "column": 9,
            "file": "group_vars/all.yml",
            "line": 3
          },
          "value": "latest"
        }
      ],
      "waits": null
    }
    "#);
}

#[test]
fn a_folder_without_any_commit_is_explained_too() {
    let history = History::new();
    history.write("inventory.yml", "all: { hosts: { a: { branch: main } } }\n");
    history.write("fleet.yml", "name: acme\n");
    insta::assert_snapshot!(check(&history, "a", None), @r"
    device a
    groups, later ones win: all, ungrouped

    KEY      VALUE   FROM                 LAST CHANGED
    branch   main    inventory.yml:1:30

    what it waits for is unknown: only a controller knows
    ");
}
