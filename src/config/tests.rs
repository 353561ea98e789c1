mod lists;
mod remotes;
mod stages;
mod whole;

use super::*;
use crate::git::secret::SecretSource;
use clap::Parser;
use tempfile::TempDir;

/// The flags as a program would have them.
#[derive(Parser)]
struct Program {
    #[command(flatten)]
    flags: ServeFlags,
}

/// One way to start a controller: a file's text, variables and flags.
#[derive(Clone, Copy, Default)]
struct Start<'a> {
    file: Option<&'a str>,
    environment: &'a [(&'a str, &'a str)],
    flags: &'a [&'a str],
}

impl Start<'_> {
    fn inputs(&self, folder: &TempDir) -> Result<Inputs, ConfigError> {
        if let Some(text) = self.file {
            std::fs::write(folder.path().join(FILE_NAME), text).unwrap();
        }
        let flags = Program::try_parse_from([&["serve"], self.flags].concat()).unwrap().flags;
        let variables = self.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Inputs::gather(&flags, &Environment::of(variables), folder.path())
    }

    fn load(&self) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let settings = self.inputs(&folder).and_then(Inputs::settings);
        settings.map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), "/folder"))
    }
}

fn file(text: &str) -> Result<Settings, String> {
    Start { file: Some(text), ..Start::default() }.load()
}

const SMALLEST: &str = "fleet: acme\nrepo: /srv/fleet.git\nstages: [main, production]\n";

fn with(line: &str) -> Result<Settings, String> {
    file(&format!("{SMALLEST}{line}\n"))
}

const WHOLE: &str = "\
fleet: acme
repo: fleet.git
stages:
  - main
  - name: canary
    max_unstaged: 10
    deletion_budget: 0.5%
  - {name: production, max_unstaged: 1%}
data_dir: data
listen: '[::1]:9443'
names: [fleet.example, 192.0.2.7]
tls: {cert: tls/cert.pem, key: /etc/key.pem}
socket: run/bw.sock
operators:
  - name: anna
    key_sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
poll_secs: 30
offline_after_secs: 600
log: {format: json, level: debug}
x-note: left alone
";

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let check = |environment, flags| {
        let text = format!("{SMALLEST}poll_secs: 10\n");
        Start { file: Some(&text), environment, flags }.load().unwrap().poll_secs
    };
    assert_eq!(check(&[], &[]), 10);
    assert_eq!(check(&[("BELLWETHER_POLL_SECS", "20")], &[]), 20);
    assert_eq!(check(&[("BELLWETHER_POLL_SECS", "20")], &["--poll-secs", "30"]), 30);
    assert_eq!(check(&[("BELLWETHER_POLL_SECS", "")], &[]), 10, "an empty variable is not set");
}

#[test]
fn no_file_is_needed() {
    let flags: &[&str] = &["--fleet", "acme", "--stage", "main", "--stage", "production", "--name", "fleet.example"];
    let environment: &[(&str, &str)] =
        &[("BELLWETHER_REPO", "file:///srv/fleet.git"), ("BELLWETHER_STAGES", "ignored")];
    let settings = Start { file: None, environment, flags }.load().unwrap();
    assert_eq!(settings.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>(), ["main", "production"]);
    assert_eq!(settings.repo, RemoteUrl::Local("/srv/fleet.git".into()));
    let environment: &[(&str, &str)] = &[
        ("BELLWETHER_FLEET", "acme"),
        ("BELLWETHER_REPO", "/srv/fleet.git"),
        ("BELLWETHER_STAGES", "main, canary"),
        ("BELLWETHER_NAMES", "a.example,b.example"),
    ];
    let settings = Start { file: None, environment, flags: &[] }.load().unwrap();
    assert_eq!(settings.stages.len(), 2);
    let names = BTreeSet::from(["a.example".to_owned(), "b.example".to_owned()]);
    assert_eq!(settings.certificate, CertificateSource::SelfMade { names });
}

#[test]
fn every_setting_has_a_flag_and_a_variable() {
    let command = <Program as clap::CommandFactory>::command();
    let flags: BTreeSet<String> =
        command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?))).collect();
    for setting in KEYS {
        assert!(flags.contains(&setting.flag()), "{}", setting.flag());
        let variable = setting.variable();
        let environment = [(variable.as_str(), "\0")];
        let folder = tempfile::tempdir().unwrap();
        let inputs = Start { environment: &environment, ..Start::default() }.inputs(&folder).unwrap();
        let effective = inputs.effective().into_iter().find(|one| one.key == setting.key).unwrap();
        assert_eq!((effective.value.as_deref(), effective.origin), (Some("\0"), variable));
    }
}

#[test]
fn every_value_tells_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{SMALLEST}log: {{level: warn}}\n");
    let start = Start {
        file: Some(&text),
        environment: &[("BELLWETHER_POLL_SECS", "20")],
        flags: &["--listen", "127.0.0.1:0"],
    };
    let effective = start.inputs(&folder).unwrap().effective();
    let lines: Vec<String> = effective
        .into_iter()
        .map(|Effective { key, value, origin }| format!("{key} = {} ({origin})", value.as_deref().unwrap_or("-")))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    fleet = acme (bellwether.yml:1:8)
    repo = /srv/fleet.git (bellwether.yml:2:7)
    data_dir = bellwether-data (default)
    listen = 127.0.0.1:0 (--listen)
    socket = - (default)
    tls.cert = - (default)
    tls.key = - (default)
    git.user = x-access-token (default)
    git.token_file = - (default)
    git.ca_file = - (default)
    git.ssh_key_file = - (default)
    git.known_hosts_file = - (default)
    git.ssh_agent = - (default)
    git.timeout_secs = 600 (default)
    git.plain_http = refused (default)
    poll_secs = 20 (BELLWETHER_POLL_SECS)
    offline_after_secs = 300 (default)
    secrets.env = - (default)
    secrets.directory = - (default)
    secrets.identity = - (default)
    forge.repository = - (default)
    forge.api = https://api.github.com (default)
    forge.token_file = - (default)
    forge.app_id = - (default)
    forge.app_key = - (default)
    forge.stages = - (default)
    forge.link = - (default)
    forge.webhook_secret_file = - (default)
    log.format = text (default)
    log.level = warn (bellwether.yml:4:14)
    ");
}

#[test]
fn all_problems_are_told_at_once_each_with_its_place() {
    let text = "\
fleet: two words
repo: https://git.example/fleet.git
stages: [main, main, {name: production, max_unstaged: many}]
listne: 0.0.0.0:1
poll_secs: 0
log: {level: loud}
operators: [{name: anna}]
";
    let start = Start {
        file: Some(text),
        environment: &[("BELLWETHER_LISTEN", "8443"), ("BELLWETHER_POL_SECS", "1"), ("BELLWETHER_SERVICE_HOST", "k8s")],
        flags: &["--offline-after-secs", "soon"],
    };
    insta::assert_snapshot!(start.load().unwrap_err(), @r"
    the configuration cannot be used

    error[bad-number]: `soon` is not a whole number from 1 to 2592000
     --> --offline-after-secs

    error[bad-value]: `8443` is not an address and port
     --> BELLWETHER_LISTEN
      = hint: write numbers, such as 0.0.0.0:8443 for every address, or [::1]:8443

    error[unknown-key]: there is no such environment variable
     --> BELLWETHER_POL_SECS
      = hint: did you mean `BELLWETHER_POLL_SECS`?

    error[bad-name]: `two words` is not a fleet name
     --> bellwether.yml:1:8
      |
    1 | fleet: two words
      |        ^^^^^^^^^
      = hint: a fleet name is 1 to 64 letters, digits, `_`, `.` or `-`, beginning with a letter or digit

    error[duplicate-key]: the stage `main` is listed twice
     --> bellwether.yml:3:16
      |
    3 | stages: [main, main, {name: production, max_unstaged: many}]
      |                ^^^^

    error[bad-number]: `many` is neither a number of devices nor a share
     --> bellwether.yml:3:55
      |
    3 | stages: [main, main, {name: production, max_unstaged: many}]
      |                                                       ^^^^
      = hint: write a whole number such as 5, or a share such as 1% or 0.5%, at most 100%

    error[unknown-key]: the configuration has no key `listne`
     --> bellwether.yml:4:1
      |
    4 | listne: 0.0.0.0:1
      | ^^^^^^
      = hint: did you mean `listen`?

    error[bad-number]: `0` is not a whole number from 1 to 86400
     --> bellwether.yml:5:12
      |
    5 | poll_secs: 0
      |            ^

    error[bad-value]: `loud` is not one of the choices
     --> bellwether.yml:6:14
      |
    6 | log: {level: loud}
      |              ^^^^
      = hint: write one of: error, warn, info, debug, trace

    error[missing-key]: an operator has no `key_sha256`
     --> bellwether.yml:7:13
      |
    7 | operators: [{name: anna}]
      |             ^^^^^^^^^^^

    10 errors
    ");
}

#[test]
fn what_must_be_said_and_is_not_is_told_with_all_ways_to_say_it() {
    insta::assert_snapshot!(Start::default().load().unwrap_err(), @"
    the configuration cannot be used

    error[missing-key]: `fleet` is not set
     --> bellwether.yml
      = hint: write `fleet: …` in the file, or set --fleet or BELLWETHER_FLEET

    error[missing-key]: `repo` is not set
     --> bellwether.yml
      = hint: write `repo: …` in the file, or set --repo or BELLWETHER_REPO

    error[missing-key]: `stages` is not set
     --> bellwether.yml
      = hint: list the branches, least gated first: `stages: [main, canary, production]`

    3 errors
    ");
}

#[test]
fn a_file_that_is_no_yaml_is_told_with_its_place() {
    let error = file("fleet: [acme\n").unwrap_err();
    assert!(error.contains("error[yaml-syntax]") && error.contains("--> bellwether.yml:"), "{error}");
    assert!(error.ends_with("1 error"), "nothing is said about settings that could not be read: {error}");
    let error = file("- a\n").unwrap_err();
    assert!(error.contains("the configuration must be a mapping, not a list"), "{error}");
    let error = file("fleet: a\nfleet: b\n").unwrap_err();
    assert!(error.contains("error[duplicate-key]"), "{error}");
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let start = Start { flags: &["--config", "none.yml"], ..Start::default() };
    assert_eq!(start.load().unwrap_err(), "the configuration /folder/none.yml could not be read");
    let environment = [("BELLWETHER_CONFIG", "/none.yml")];
    let start = Start { environment: &environment, ..Start::default() };
    assert_eq!(start.load().unwrap_err(), "the configuration /none.yml could not be read");
}

/// How a limit is read, and what it allows of 10, 1,000 and 33,333 devices.
fn check_limit(text: &str, expected: &str) {
    let stages = format!("fleet: a\nrepo: /r\nstages: [{{name: main, max_unstaged: {text}}}]\n");
    let shown = match file(&stages) {
        Ok(settings) => {
            let limit = settings.stages[0].max_unstaged;
            format!("{} {} {}", limit.of(10), limit.of(1_000), limit.of(33_333))
        }
        Err(error) => error.lines().nth(2).unwrap_or_default().to_owned(),
    };
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn limits_are_counts_or_shares() {
    check_limit("5", "5 5 5");
    check_limit("0", "0 0 0");
    check_limit("1%", "1 10 333");
    check_limit("0.5%", "1 5 166");
    check_limit("12.34%", "1 123 4113");
    check_limit("'100 %'", "10 1000 33333");
    for text in ["100.01%", "-1", "1.5", "1.234%", ".5%", "5.%", "'%'", "many", "1e3", "99999%"] {
        let shown = text.trim_matches('\'');
        check_limit(text, &format!("error[bad-number]: `{shown}` is neither a number of devices nor a share"));
    }
}

#[test]
fn a_key_that_was_written_down_by_mistake_is_not_repeated() {
    let error = with("operators: [{name: anna, key_sha256: my-secret-key}]").unwrap_err();
    let message = error.lines().find(|line| line.contains("key_sha256` is not")).unwrap();
    assert!(!message.contains("my-secret-key"));
}

#[test]
fn operators_have_a_name_and_a_key_of_their_own() {
    let key = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let operators = |entries: &str| with(&format!("operators: [{entries}]"));
    let settings = operators(&format!("{{name: anna, key_sha256: 'sha256:{key}'}}")).unwrap();
    assert_eq!(settings.operators[&Digest::of(b"")].as_str(), "anna");
    let error = operators(&format!("{{name: a, key_sha256: {key}}}, {{name: b, key_sha256: {key}}}")).unwrap_err();
    assert!(error.contains("two operators have this key"), "{error}");
    let other = key.replace('e', "f");
    let error = operators(&format!("{{name: a, key_sha256: {key}}}, {{name: a, key_sha256: {other}}}")).unwrap_err();
    assert!(error.contains("the operator `a` is listed twice"), "{error}");
}

#[test]
fn a_certificate_needs_its_key() {
    assert!(with("tls: {cert: a.pem}").unwrap_err().contains("`tls.cert` is set without `tls.key`"));
    assert!(with("tls: {key: a.pem}").unwrap_err().contains("`tls.key` is set without `tls.cert`"));
}

#[test]
fn a_socket_that_the_system_cannot_have_is_refused_before_start() {
    let error = with(&format!("data_dir: /{}", "d".repeat(100))).unwrap_err();
    assert!(error.contains("the socket's path would be 117 bytes long; the system takes 107"), "{error}");
    let settings = with(&format!("data_dir: /{}\nsocket: /run/bw.sock", "d".repeat(100))).unwrap();
    assert_eq!(settings.socket, Path::new("/run/bw.sock"));
}

#[test]
fn the_schema_knows_what_the_reader_knows() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let json = |text: &str| {
        let node = crate::domain::manifest::yaml::parse(text.as_bytes()).unwrap().unwrap();
        crate::domain::manifest::scalar::json(&node)
    };
    for text in [WHOLE, SMALLEST] {
        let errors: Vec<String> = validator.iter_errors(&json(text)).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
    }
    for text in [
        "listne: a",
        "tls: {cert: a}",
        "log: {level: loud}",
        "log: {colour: red}",
        "poll_secs: 0",
        "poll_secs: soon",
        "names: a",
        "operators: [{name: anna}]",
        "operators: [{name: anna, key_sha256: abc}]",
        "fleet_name: x",
    ] {
        assert!(!validator.is_valid(&json(text)), "the schema takes {text}");
        assert!(with(text).is_err(), "the reader takes {text}");
    }
    for stages in ["[]", "[{max_unstaged: 1}]", "[{name: main, max_unstaged: -1}]", "[{name: main, gate: 1}]", "main"] {
        let text = format!("fleet: acme\nrepo: /srv/fleet.git\nstages: {stages}\n");
        assert!(!validator.is_valid(&json(&text)), "the schema takes {text}");
        assert!(file(&text).is_err(), "the reader takes {text}");
    }
}
