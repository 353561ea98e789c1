//! Where the fleet repo is, and what it takes to get there.

use super::*;

const REMOTE: &str = "fleet: acme\nstages: [main]\n";

#[test]
fn a_remote_behind_https_takes_its_token_from_a_file_or_a_variable() {
    let file = format!(
        "{REMOTE}repo: https://git.example/fleet.git\ngit: {{user: deploy, token_file: token, ca_file: /ca.pem}}\n"
    );
    let settings = self::file(&file).unwrap();
    assert_eq!(settings.repo.to_string(), "https://git.example/fleet.git");
    let access = settings.access;
    assert_eq!((access.user.as_deref(), access.ca_file.as_deref()), (Some("deploy"), Some(Path::new("/ca.pem"))));
    assert!(matches!(access.token, Some(SecretSource::File(path)) if path.ends_with("token")));

    let plain = format!("{REMOTE}repo: https://git.example/fleet.git\n");
    let environment = [("BELLWETHER_GIT_TOKEN", "bw-canary")];
    let start = Start { file: Some(&plain), environment: &environment, ..Start::default() };
    let settings = start.load().unwrap();
    assert!(matches!(settings.access.token, Some(SecretSource::Text(_))));
    let folder = tempfile::tempdir().unwrap();
    let inputs = start.inputs(&folder).unwrap();
    let shown = format!("{settings:?} {inputs:?} {:?}", inputs.effective());
    assert!(!shown.contains("bw-canary"), "{shown}");

    let both = Start { flags: &["--git-token-file", "token"], ..start };
    insta::assert_snapshot!(both.load().unwrap_err(), @r"
    the configuration cannot be used

    error[bad-value]: `git.token_file` and BELLWETHER_GIT_TOKEN both say the token
     --> BELLWETHER_GIT_TOKEN
      = hint: say it once

    1 error
    ");
}

#[test]
fn a_remote_behind_ssh_needs_a_key_and_the_hosts_key() {
    let ssh = |git: &str| file(&format!("{REMOTE}repo: git@git.example:acme/fleet.git\n{git}"));
    insta::assert_snapshot!(ssh("").unwrap_err(), @r"
    the configuration cannot be used

    error[missing-key]: an ssh address needs `git: {known_hosts_file: …}`
     --> bellwether.yml:3:7
      |
    3 | repo: git@git.example:acme/fleet.git
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: `ssh-keyscan HOST` prints the line; compare its fingerprint with what the host's operator publishes before you trust it

    1 error
    ");
    insta::assert_snapshot!(ssh("git: {known_hosts_file: known}\n").unwrap_err(), @r"
    the configuration cannot be used

    error[missing-key]: an ssh address needs `git: {ssh_key_file: …}` or `git: {ssh_agent: …}`
     --> bellwether.yml:3:7
      |
    3 | repo: git@git.example:acme/fleet.git
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: make a key for this controller alone with `ssh-keygen -t ed25519 -N '' -f FILE`, and register it with read access

    1 error
    ");
    insta::assert_snapshot!(ssh("git: {known_hosts_file: 'a$b', ssh_key_file: key}\n").unwrap_err(), @r#"
    the configuration cannot be used

    error[missing-key]: an ssh address needs `git: {known_hosts_file: …}`
     --> bellwether.yml:3:7
      |
    3 | repo: git@git.example:acme/fleet.git
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: `ssh-keyscan HOST` prints the line; compare its fingerprint with what the host's operator publishes before you trust it

    error[bad-value]: the path "/folder/a$b" cannot be given to ssh: it has a quote, a `$`, a backslash or a control character
     --> bellwether.yml:4:25
      |
    4 | git: {known_hosts_file: 'a$b', ssh_key_file: key}
      |                         ^^^^^

    2 errors
    "#);
    let access = ssh("git: {known_hosts_file: known, ssh_agent: /run/agent}\n").unwrap().access;
    assert!(access.known_hosts.unwrap().ends_with("known") && access.ssh_key.is_none());
}

#[test]
fn addresses_that_would_show_credentials_or_send_them_in_clear_are_refused() {
    let repo = |address: &str| file(&format!("{REMOTE}repo: {address}\n")).unwrap_err();
    let shown = repo("https://ada:bw-canary@git.example/fleet.git");
    assert!(!shown.contains("bw-canary"), "not even the line where it stands is shown: {shown}");
    insta::assert_snapshot!(shown, @r"
    the configuration cannot be used

    error[url-credentials]: the address of the fleet repo has a user or a password in it
     --> bellwether.yml:3:7
      = hint: addresses are shown in logs and process lists: put the token in a file and name it with `git: {token_file: …}`, and the user with `git: {user: …}`

    1 error
    ");
    insta::assert_snapshot!(repo("http://127.0.0.1:3000/fleet.git"), @r"
    the configuration cannot be used

    error[bad-value]: http:// without TLS is refused
     --> bellwether.yml:3:7
      |
    3 | repo: http://127.0.0.1:3000/fleet.git
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: use https://; for tests on one machine there is `git: {plain_http: this-machine}`

    1 error
    ");
    insta::assert_snapshot!(repo("http://git.example/fleet.git"), @r"
    the configuration cannot be used

    error[bad-value]: http:// without TLS is for this machine only, and git.example is another
     --> bellwether.yml:3:7
      |
    3 | repo: http://git.example/fleet.git
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: use https://

    1 error
    ");
    assert!(with("git: {plain_http: this-machine}").is_ok());
}
