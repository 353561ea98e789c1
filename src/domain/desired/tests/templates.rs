//! Templates and secrets in values of typed keys.

use super::{Resolver, resolved, show, snapshot};
use crate::domain::desired::{SecretState, SecretTable};
use crate::domain::secret::KeyedDigest;

#[test]
fn each_device_renders_its_own_values() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: '{{ app_version }}'}\napp_version: 1.0.0\nsite: bern\n\
          variables: {URL: 'https://{{ site }}.example/{{ inventory_hostname }}', V: '{{ v }}'}\nv: '1.10'\n"),
        ("group_vars/kiosks.yml", "variables: {GROUPS: \"{{ group_names | join(' ') }}\"}\nv: 'NO'\n"),
        ("host_vars/b.yml", "site: basel\n"),
    ]), @r"
    a: main app 1.0.0 web[FROM=compose GROUPS=kiosks URL=https://bern.example/a V=NO]
    b: main app 1.0.0 web[FROM=compose GROUPS=kiosks URL=https://basel.example/b V=NO]
    c: main app 1.0.0 web[FROM=compose URL=https://bern.example/c V=1.10]
    ");
}

#[test]
fn variables_may_be_templates_that_refer_to_others() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\nhost: 'www.{{ domain }}'\ndomain: '{{ site }}.example'\nsite: bern\n\
          debug: '{{ flag }}'\nflag: NO\nvariables: {HOST: '{{ host }}', DEBUG: '{% if debug %}on{% else %}off{% endif %}'}\n"),
    ]), @r#"
    group_vars/all.yml:7:7: warning surprising-type: `NO` without quotes is false in YAML 1.1 (write "NO" for the text, or false for what it is)
    a: main app 1.0.0 web[DEBUG=off FROM=compose HOST=www.bern.example]
    b: main app 1.0.0 web[DEBUG=off FROM=compose HOST=www.bern.example]
    c: main app 1.0.0 web[DEBUG=off FROM=compose HOST=www.bern.example]
    "#);
}

#[test]
fn circles_and_slips_are_findings_where_the_value_stands() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\nsite: bern\n"),
        ("host_vars/a.yml", "a: '{{ b }}'\nb: '{{ a }}'\nvariables: {A: 'x {{ a }}'}\n"),
        ("host_vars/b.yml", "tags: {where: \"{{ sitee }}\"}\n"),
        ("host_vars/c.yml", "inner: '{{ siet }}'\nvariables: {A: '{{ inner }}', B: '{{ site | uper }}'}\n"),
    ]), @r"
    host_vars/a.yml:3:22: error template: `a`: the variables refer to each other in a circle: a -> b -> a in `b` (host_vars/a.yml:2) in `a` (host_vars/a.yml:1) [a]
    host_vars/b.yml:1:19: error undefined-variable: `sitee` is not defined (did you mean `site`?) [b]
    host_vars/c.yml:2:20: error template: `inner`: `siet` is not defined in `inner` (host_vars/c.yml:1); did you mean `site`? [c]
    host_vars/c.yml:2:45: error template: templates have no filter `uper` [c]
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: main (keeps what it has)
    ");
}

#[test]
fn a_branch_that_is_not_taken_may_name_what_is_not_there() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\nbad: '{{ nowhere }}'\n\
          variables: {A: '{% if false %}{{ bad }}{{ gone }}{% endif %}ok'}\n"),
    ]), @r"
    a: main app 1.0.0 web[A=ok FROM=compose]
    b: main app 1.0.0 web[A=ok FROM=compose]
    c: main app 1.0.0 web[A=ok FROM=compose]
    ");
}

#[test]
fn a_rendered_value_is_checked_like_one_that_was_written() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: '{{ v }}'}\nv: newest\nlabels: {site: '{{ s }}'}\ns: two words\n"),
        ("host_vars/c.yml", "v: 1.0.0\ns: bern\nbranch: '{{ s }}'\n"),
    ]), @r"
    group_vars/all.yml:2:13: error bad-version: `newest` is neither a version nor a range (write `latest`, a version such as `1.4.2`, or a range such as `^1.4` or `>=1.2, <2`) [a b]
    group_vars/all.yml:4:16: error bad-name: `two words` cannot be a label (write 1 to 63 letters, digits, `_`, `.`, `/` or `-`, with a letter or digit at both ends) [a b]
    host_vars/c.yml:3:9: error template: `branch` cannot be a template [c]
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: ? (keeps what it has)
    ");
}

#[test]
fn what_is_marked_unsafe_is_not_a_template_and_what_is_in_a_vault_is_not_read() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\nraw: !unsafe '{{ x }}'\nvariables: {A: '{{ raw }}'}\n"),
        ("host_vars/c.yml", "key: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132\nvariables: {B: '{{ key }}'}\n"),
    ]), @r"
    host_vars/c.yml:4:20: error template: `key`: the variable is encrypted with ansible-vault; Bellwether does not decrypt it [c]
    a: main app 1.0.0 web[A={{ x }} FROM=compose]
    b: main app 1.0.0 web[A={{ x }} FROM=compose]
    c: main (keeps what it has)
    ");
}

/// What is known of the secret `T`.
fn with(state: SecretState) -> String {
    let table = SecretTable::Asked([("T".parse().expect("a name"), state)].into());
    let files = snapshot(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\ntoken: \"{{ secret('T') }}\"\n"),
        ("host_vars/c.yml", "variables: {AUTH: 'Bearer {{ token }}'}\n"),
    ]);
    let desired = Resolver::default().resolve_knowing(&files, &table);
    let mut text = show(&desired);
    for (name, device) in &desired.devices {
        for (secret, text_of) in device.spec.iter().flat_map(|spec| {
            spec.spec.apps.values().flat_map(|app| app.services.values()).flat_map(|one| &one.secret_environment)
        }) {
            text.push_str(&format!("{name} {secret}={text_of}\n"));
        }
    }
    text
}

/// A peer's failure: an empty secret is deployed.
#[test]
fn a_secret_without_a_value_is_an_error_of_its_users_alone() {
    insta::assert_snapshot!(with(SecretState::Empty), @r"
    host_vars/c.yml:1:19: error secret: the secret `T` is empty (give it a value where it is kept) [c]
    a: main app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main (keeps what it has)
    ");
    insta::assert_snapshot!(with(SecretState::Missing), @r"
    host_vars/c.yml:1:19: error secret: no provider has the secret `T` (give it a value where the controller looks: `secrets` in its configuration) [c]
    a: main app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main (keeps what it has)
    ");
    insta::assert_snapshot!(with(SecretState::Unavailable("the folder is not mounted".into())), @r"
    host_vars/c.yml:1:19: error secret: the secret `T` is not available now: the folder is not mounted (what the device has stays until it is) [c]
    a: main app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main (keeps what it has)
    ");
}

#[test]
fn a_secret_with_a_value_is_a_reference_in_the_spec() {
    insta::assert_snapshot!(with(SecretState::Known(KeyedDigest::from_bytes([7; 8]))), @r"
    a: main app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main app 1.0.0 web[FROM=compose]
    c AUTH=Bearer secret:T@0707070707070707
    ");
    insta::assert_snapshot!(with(SecretState::Unasked), @r"
    a: main app 1.0.0 web[FROM=compose]
    b: main app 1.0.0 web[FROM=compose]
    c: main app 1.0.0 web[FROM=compose]
    c AUTH=Bearer secret:T
    ");
}

/// A rotation changes exactly the devices that hold the secret.
#[test]
fn a_changed_secret_changes_its_holders_and_nobody_else() {
    let files = snapshot(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\n"),
        ("host_vars/c.yml", "variables: {AUTH: \"{{ secret('T') }}\"}\n"),
        ("host_vars/a.yml", "variables: {AUTH: \"{{ secret('U') }}\"}\n"),
    ]);
    let name = |text: &str| text.parse().expect("a name");
    let table = |byte| {
        let digest = |byte| SecretState::Known(KeyedDigest::from_bytes([byte; 8]));
        SecretTable::Asked([(name("T"), digest(byte)), (name("U"), digest(9))].into())
    };
    let mut warm = Resolver::default();
    let (before, after) = (warm.resolve_knowing(&files, &table(1)), warm.resolve_knowing(&files, &table(2)));
    assert_eq!(after, Resolver::default().resolve_knowing(&files, &table(2)));
    let changed: Vec<&str> = before
        .devices
        .iter()
        .filter(|(device, one)| one.spec != after.devices[*device].spec)
        .map(|(device, _)| device.as_str())
        .collect();
    assert_eq!(changed, ["c"]);
}

#[test]
fn secrets_stand_in_variables_alone() {
    insta::assert_snapshot!(resolved(&[
        ("group_vars/all.yml", "branch: main\npins: {app: latest}\ntags: {t: \"{{ secret('T') }}\"}\n"),
    ]), @r#"
    group_vars/all.yml:3:11: error secret: a tag cannot hold the secret `T` (secrets can stand in `variables` and in contents of `config.files`) [a b c]
    a: main (keeps what it has)
    b: main (keeps what it has)
    c: main (keeps what it has)
    "#);
}
