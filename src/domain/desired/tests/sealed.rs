//! Nothing that Ansible Vault encrypted is shown, whatever is wrong with it.

use super::super::explain;
use super::snapshot;
use crate::domain::desired::Resolver;
use crate::domain::finding::{Finding, render_findings};

/// Digits of ciphertext, two lines as Vault breaks them.
const DIGITS: &str = "61386133613861336138613361386133613861336138613361386133613861336138613361386133";
const LAST: &str = "3464653135";

/// Encrypted values in every place where something can be wrong with them, in every way of writing them down.
fn files() -> Vec<(&'static str, String)> {
    let block =
        |indent: &str| format!("!vault |\n{indent}$ANSIBLE_VAULT;1.1;AES256\n{indent}{DIGITS}\n{indent}{LAST}\n");
    let quoted = format!("\"$ANSIBLE_VAULT;1.1;AES256\\n{DIGITS}\\n{LAST}\\n\"");
    vec![
        // The place of a block is its first line; a key that stands twice is found where it stands.
        ("host_vars/a.yml", format!("branch: {}variables:\n  TOKEN: {}", block("  "), block("    "))),
        ("host_vars/b.yml", format!("{{ tags: {{ a: !vault {quoted} }}, branch: {quoted}, motd: x, motd: y }}\n")),
        ("host_vars/c.yml", format!("$ANSIBLE_VAULT;1.1;AES256\n{DIGITS}\n{LAST}\n")),
        ("group_vars/kiosks.yml", format!("pins:\n  {quoted}: x\n")),
        ("group_vars/gateways.yml", format!("labels: !vault\n  - {DIGITS}\n  - {LAST} [\n")),
    ]
}

fn findings() -> Vec<Finding> {
    let files = files();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    Resolver::default().resolve(&snapshot(&files)).findings.clone()
}

#[track_caller]
fn shows_nothing(text: &str) {
    for closed in ["$ANSIBLE_VAULT", &DIGITS[..16], LAST] {
        assert!(!text.contains(closed), "{closed} is in\n{text}");
    }
}

#[test]
fn findings_about_encrypted_values_show_neither_their_lines_nor_their_text() {
    let findings = findings();
    shows_nothing(&render_findings(&findings));
    shows_nothing(&serde_json::to_string(&findings).expect("JSON"));
    insta::assert_snapshot!(render_findings(&findings), @r#"
    error[wrong-type]: `labels` must be a mapping, not a list
     --> group_vars/gateways.yml:2:3
      = affects: c

    error[bad-name]: `!vault (encrypted)` is not a app name
     --> group_vars/kiosks.yml:2:3
      = hint: a app name is 1 to 63 letters, digits, `_`, `.` or `-`, beginning with a letter or digit
      = affects: a, b

    error[bad-version]: `x` is neither a version nor a range
     --> group_vars/kiosks.yml:2:128
      = hint: write `latest`, a version such as `1.4.2`, or a range such as `^1.4` or `>=1.2, <2`
      = affects: a, b

    error[unsupported-tag]: the tag `!vault` has no meaning for `branch`
     --> host_vars/a.yml:2:3
      = affects: a

    error[unsupported-tag]: the tag `!vault` has no meaning for a variable
     --> host_vars/a.yml:7:5
      = affects: a

    error[unsupported-tag]: the tag `!vault` has no meaning for a tag
     --> host_vars/b.yml:1:21
      = affects: b

    error[bad-name]: `!vault (encrypted)` is not a stage name
     --> host_vars/b.yml:1:156
      = hint: a stage name is a branch name of 1 to 128 letters, digits, `_`, `.`, `/` or `-`, without `..`, `//` or `.lock`
      = affects: b

    error[duplicate-key]: the key `motd` stands here and again further down
     --> host_vars/b.yml:1:281
      = hint: keep one of them
      = affects: b

    error[encrypted-file]: the file is encrypted with Ansible Vault as a whole
     --> host_vars/c.yml:1:1
      = hint: encrypt single values with `ansible-vault encrypt_string`, or use `secret('NAME')`
      = affects: c

    9 errors
    "#);
}

#[test]
fn explanations_show_that_a_value_is_encrypted_and_nothing_of_it() {
    let all = format!(
        "branch: main\ntoken: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  {DIGITS}\n  {LAST}\nlist: [1.10, !vault \"{DIGITS}\"]\nversion: 1.10\npins: {{ app: 1.0.0 }}\nvariables:\n  USES: \"{{{{ version }}}} {{{{ token | default('') }}}}\"\n"
    );
    let files = [("group_vars/all.yml", all.as_str()), ("host_vars/a.yml", "token: mine\n")];
    let explanation = explain(&snapshot(&files), &"a".parse().expect("a device")).expect("it is listed");
    shows_nothing(&serde_json::to_string(&explanation).expect("JSON"));
    let mut text = String::new();
    for value in &explanation.values {
        text.push_str(&format!("{} = {} at {}\n", value.key, value.value, value.place));
        value.uses.iter().for_each(|used| text.push_str(&format!("  uses {} = {}\n", used.name, used.value)));
        value.overridden.iter().for_each(|one| text.push_str(&format!("  overrides {}\n", one.value)));
    }
    insta::assert_snapshot!(text, @r"
    app.release = 1.0.0 at releases/app/1.0.0/release.yml:1:10
    app/web.environment.FROM = compose at releases/app/1.0.0/compose.yml:4:19
    app/web.environment.USES = {{ version }} {{ token | default('') }} at group_vars/all.yml:10:3
      uses token = mine
      uses version = 1.10
    app/web.image = example.com/web@sha256:0000000000000000000000000000000000000000000000000000000000000000 at releases/app/1.0.0/compose.yml:3:5
    branch = main at group_vars/all.yml:1:9
    pins.app = 1.0.0 at group_vars/all.yml:8:9
    vars.list = [1.10,!vault (encrypted)] at group_vars/all.yml:6:1
    vars.token = mine at host_vars/a.yml:1:1
      overrides !vault (encrypted)
    vars.version = 1.10 at group_vars/all.yml:7:1
    ");
}
