//! From texts to settings, and what is said when that does not work.

use super::*;

fn file(text: &str) -> Result<Fragment, SettingsError> {
    Fragment::from_json(text, Path::new("/etc/agent.json"))
}

fn environment(pairs: &[(&str, &str)]) -> Result<Fragment, SettingsError> {
    Fragment::from_environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn check(text: &str, variables: &[(&str, &str)], expected: &str) {
    let answer = file(text)
        .and_then(|file| Ok(Inputs::of([file, environment(variables)?])))
        .and_then(|inputs| inputs.settings())
        .map(|settings| format!("{settings:?}"))
        .unwrap_or_else(|error| error.to_string());
    assert_eq!(answer, expected);
}

#[test]
fn nothing_at_all_is_a_device_that_is_enrolled_already() {
    let settings = Inputs::default().settings().expect("defaults");
    assert_eq!(
        settings.engine,
        EngineKind::Docker { socket: "/var/run/docker.sock".into(), images: ImageSettings::default() }
    );
    assert_eq!((settings.enrollment, settings.os, settings.pace), (None, OsKind::None, Pace::default()));
}

#[test]
fn the_environment_goes_before_the_file() {
    let file = file(r#"{"engine": "simulated", "poll_interval_secs": 5, "attributes": {"site": "zurich"}}"#);
    let environment = environment(&[("BELLWETHER_AGENT_POLL_INTERVAL_SECS", "7"), ("HOME", "/root")]);
    let settings = Inputs::of([file.expect("a file"), environment.expect("an environment")]).settings();
    let settings = settings.expect("settings");
    assert_eq!((settings.engine, settings.pace.poll_interval_secs), (EngineKind::Simulated, 7));
    assert_eq!(settings.attributes["site"], "zurich");
}

#[test]
fn every_error_names_its_source() {
    check("{", &[], "/etc/agent.json is not a configuration: EOF while parsing an object at line 1 column 1");
    check(r#"{"engin": "docker"}"#, &[], r#"/etc/agent.json names the setting "engin", which does not exist"#);
    check(r#"{"engine": []}"#, &[], "/etc/agent.json is not a configuration: engine is neither a text nor a number");
    check(
        r#"{"engine": "podman"}"#,
        &[],
        r#"engine from /etc/agent.json cannot be used: "podman" is neither docker nor simulated"#,
    );
    check(
        "{}",
        &[("BELLWETHER_AGENT_LOOK_INTERVAL_SECS", "0")],
        "look_interval_secs from the environment cannot be used: 0 is not from 1 to 86400",
    );
    check(
        "{}",
        &[("BELLWETHER_AGENT_ENGINES", "docker")],
        r#"the environment names the setting "BELLWETHER_AGENT_ENGINES", which does not exist"#,
    );
    check(r#"{"token": "bwt1_00"}"#, &[], "token is of no use without server");
    check(
        r#"{"server": "http://a"}"#,
        &[],
        "server from /etc/agent.json cannot be used: it does not begin with https://",
    );
    check(r#"{"server": "https://a"}"#, &[], "server is of no use without token or ca_file: whom to believe");
}

#[test]
fn a_token_that_cannot_be_read_is_not_shown() {
    let text = r#"{"server": "https://a", "token": "bwt1_0102030405ff_5ec2e7"}"#;
    check(text, &[], "token from /etc/agent.json cannot be used: a token has 4 parts between `_`, this has 3");
    assert!(!format!("{:?}", file(text)).contains("5ec2e7"));
}

#[test]
fn mirrors_are_listed_by_registry_in_their_order() {
    let file = file(
        r#"{"registry_mirrors": "ghcr.io=site:5000/ghcr, docker.io=site:5000,ghcr.io=other", "parallel_pulls": 4}"#,
    );
    let settings = Inputs::of([file.expect("a file")]).settings().expect("settings");
    let EngineKind::Docker { images, .. } = settings.engine else { panic!("it is the default engine") };
    assert_eq!(images.mirrors["ghcr.io"], ["site:5000/ghcr", "other"]);
    assert_eq!(images.mirrors["docker.io"], ["site:5000"]);
    assert_eq!(images.parallel_pulls, 4);
    let start = "from /etc/agent.json cannot be used";
    let mirrors = "is not written REGISTRY=HOST[:PORT][/PREFIX]";
    for bad in ["ghcr.io", "ghcr.io=", "ghcr.io=https://site", "=site"] {
        let text = format!(r#"{{"registry_mirrors": "{bad}"}}"#);
        check(&text, &[], &format!("registry_mirrors {start}: {bad:?} {mirrors}"));
    }
    check(r#"{"parallel_pulls": 0}"#, &[], &format!("parallel_pulls {start}: 0 is not from 1 to 16"));
}
