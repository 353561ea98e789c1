//! Every code that a finding can have. `docs/findings.md` is made from this list.

/// A kind of finding. Only the constants of this module exist, so a code that is not documented cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// The stable name, in kebab case.
    pub name: &'static str,
    /// What it means and what follows from it, one sentence.
    pub about: &'static str,
    /// How it comes about.
    pub example: &'static str,
}

macro_rules! codes {
    ($($constant:ident $name:literal $about:literal $example:literal;)*) => {
        $(#[doc = $about] pub const $constant: Code = Code { name: $name, about: $about, example: $example };)*

        /// All codes, by name.
        pub const ALL: &[Code] = &[$($constant),*];
    };
}

codes! {
    ALIAS_BOMB "alias-bomb" "Aliases copy more values than any manifest needs, or refer to themselves." "a: &a [*a]";
    AMBIGUOUS_SERVICE "ambiguous-service" "Two apps of the device have a service of this name." "services: {app: {variables: {A: 1}}}";
    APP_WITHOUT_RELEASES "app-without-releases" "`fleet.yml` lists an app that has no releases." "apps: {kiosk: {}}";
    BAD_COMMAND "bad-command" "A command line cannot be split into words." "command: sh -c 'echo";
    BAD_CRON "bad-cron" "A cron expression cannot be read, or means a day that never comes." "maintenance: {apply: [{cron: \"0 2 30 2 *\", duration: 1h}]}";
    BAD_DATE "bad-date" "A point in time is not written in RFC 3339." "until: tomorrow";
    BAD_FILTER "bad-filter" "A filter of a dynamic group or view cannot be understood; devices are not touched by that." "groups: {boards: 'reported.cpu = \"MIPS\"'}";
    BAD_FROM "bad-from" "A release says that it is reached from none, from itself or from a later one." "requires: {from: []}";
    BAD_IMAGE "bad-image" "The reference of an image cannot be right." "image: Not An Image";
    BAD_JSON "bad-json" "A list of devices is not JSON of the shape of `ansible-inventory --list`; the list that was accepted last goes on counting." "{\"kiosks\": ";
    BAD_MERGE_KEY "bad-merge-key" "`<<` merges something that is not a mapping." "<<: 5";
    BAD_NAME "bad-name" "A name breaks the rule of its kind." "device_type: two words";
    BAD_NUMBER "bad-number" "A number is missing or out of its range." "poll_interval_secs: soon";
    BAD_PATH "bad-path" "A path of the repo cannot be read safely." "releases/../../etc/passwd";
    BAD_PORT "bad-port" "A published port is not of a form that is supported." "ports: [\"80-90:80-90\"]";
    BAD_ROLLOUT "bad-rollout" "A rollout policy, a rule that names one, or a freeze cannot be meant like that. The commit does not count and the one before does, so nothing gets around a policy by breaking it." "rollouts: {careful: {steps: [{min_success: 101%}]}}";
    BAD_VALUE "bad-value" "A value is not one of those that the key takes." "restart: sometimes";
    BAD_VERSION "bad-version" "A version is not a semantic version, or a range cannot be read." "pins: {kiosk: newest}";
    BAD_VOLUME "bad-volume" "A mount is not of a form that is supported." "volumes: [/data]";
    BAD_WINDOW "bad-window" "A maintenance window lacks its times, or is too short or too long." "maintenance: {apply: [{time: 02:00, duration: 0m}]}";
    BIND_MOUNT "bind-mount" "A service would see a path of the host; that is refused." "volumes: [\"/etc:/etc\"]";
    BOTH_BRANCH_KEYS "both-branch-keys" "`branch` and `subscribed_branch` stand in one file." "branch: main\nsubscribed_branch: canary";
    BRANCH_FORM "branch-form" "`branch` is neither a name nor, with what is inherited, `{from: device, allowed: […]}`." "branch: {from: nowhere}";
    COMPLEX_KEY "complex-key" "A key is a list or a mapping." "? [a, b]\n: c";
    COMPOSE_DEPENDENCY "compose-dependency" "A service depends on one that does not exist, or in a circle." "depends_on: [nobody]";
    DEAD_END "dead-end" "No device can be led to a release: all that it is reached from are drafts, invalidated or broken." "requires: {from: [2.0.0]}, where 2.0.0 was invalidated";
    DRAFT_RELEASE "draft-release" "A device is pinned to a release that is a draft." "pins: {kiosk: 2.0.0}";
    DUPLICATE_KEY "duplicate-key" "A mapping has a key twice; the last one counts." "site: bern\nsite: basel";
    EMPTY_INVENTORY "empty-inventory" "The inventory lists no devices; it never means that the fleet is empty." "all: {}";
    ENCRYPTED_FILE "encrypted-file" "A whole file is encrypted with Ansible Vault, so nothing in it can be read." "$ANSIBLE_VAULT;1.1;AES256";
    FILE_TOO_LONG "file-too-long" "A file is longer than the bound on files." "a file of 100 MB";
    GROUP_CYCLE "group-cycle" "A group contains itself." "a: {children: {b: {children: {a: }}}}";
    HANDOVER_CONFLICT "handover-conflict" "A service is to be handed over, but two containers of it cannot run side by side." "ports: [\"80:80\"] beside strategy: hand-over";
    HIDDEN_VARS_FILE "hidden-vars-file" "Another file or folder for the same name comes first, so this one is not read." "group_vars/kiosks.yml beside group_vars/kiosks/";
    HOST_IN_NO_GROUP "host-in-no-group" "A list of devices has variables for a host that no group lists, so it is not a device of the fleet." "{\"_meta\": {\"hostvars\": {\"a\": {}}}}";
    HOST_NAMED_AS_GROUP "host-named-as-group" "A host has the name of a group; its inline variables go to the group, as in Ansible." "web: {hosts: {web: {a: 1}}}";
    IDLE_HOOK "idle-hook" "A hook runs when something changes that `config` does not set, so it never runs." "config: {hooks: {reload-ntp: [files/chrony.conf]}}";
    IMAGE_BY_TAG "image-by-tag" "An image is named by a tag, which can move; `strict` makes this an error." "image: nginx:1.27";
    INTERPOLATION "interpolation" "Compose would replace `$NAME` from the environment of a shell; there is none here." "command: echo $HOME";
    INVALIDATED_RELEASE "invalidated-release" "A device is pinned to a release that was invalidated." "pins: {kiosk: 1.2.0}";
    INVENTORY_IGNORED "inventory-ignored" "`fleet.yml` says that the devices are listed elsewhere, so `inventory.yml` is not read." "inventory: registry";
    INVENTORY_MISSING "inventory-missing" "There is no `inventory.yml`." "an empty repo";
    INVENTORY_UNAVAILABLE "inventory-unavailable" "The devices are listed outside the commit, and no such list is at hand; what counted before goes on counting." "inventory: {http: 'https://cmdb.example/fleet.json'}";
    IRREGULAR_TIME_ZONE "irregular-time-zone" "The clocks of a time zone are set by dates that no rule describes; devices there count with its rule alone." "maintenance: {zone: Asia/Gaza}";
    MISSING_BRANCH "missing-branch" "The remote has no branch of a stage's name; what counted last goes on counting." "git push --delete origin canary";
    MISSING_FILE "missing-file" "A release lacks `release.yml` or `compose.yml`." "releases/kiosk/1.0.0/release.yml alone";
    MISSING_KEY "missing-key" "A key that must be there is not." "hold: {until: 2026-12-01T00:00:00Z}";
    MISSING_OS_IMAGE "missing-os-image" "The OS catalog has no such image, or none for the device's type." "os: nobody-made-it";
    MISSING_RELEASE "missing-release" "The tree of this commit has no release that the pin can mean." "pins: {kiosk: 9.9.9}";
    NEAR_TYPED_KEY "near-typed-key" "A variable is spelled almost like a key that has a meaning." "varaibles: {A: 1}";
    NO_SUCH_GROUP "no-such-group" "A rule of `rollout` names a group that neither the inventory nor `groups` has, so it selects nobody and its devices follow another rule or none." "rollout: [{group: kiosk, policy: careful}]";
    NO_TIME_ZONE "no-time-zone" "A maintenance window says no time zone, and nothing gives it one." "maintenance: {apply: [{time: 02:00, duration: 1h}]}";
    NOT_AN_INVENTORY "not-an-inventory" "A file is something that Ansible would run or ask, not an inventory that can be read." "plugin: aws_ec2";
    NOT_FOR_DEVICE_TYPE "not-for-device-type" "A release does not run on devices of this type." "requires: {device_types: [raspberrypi5]}";
    NOT_REGULAR "not-regular" "A path is a symbolic link or a submodule, which are never followed." "host_vars/kiosk-1.yml -> ../secret";
    NOT_UTF8 "not-utf8" "A file is not UTF-8." "a file in Latin-1";
    OPTION_CONFLICT "option-conflict" "Two keys of a service cannot both hold." "network_mode: host with ports";
    ORPHAN_VARS_FILE "orphan-vars-file" "No device or group of the inventory has this name." "host_vars/long-gone.yml";
    PRIVILEGED "privileged" "A service asks for all rights on the host; that is refused." "privileged: true";
    RELEASE_BROKEN "release-broken" "A device is pinned to a release that has errors of its own." "pins: {kiosk: 1.0.0}";
    RESERVED_NAME "reserved-name" "Names that begin with `BELLWETHER_` or `bellwether.` belong to Bellwether." "variables: {BELLWETHER_DEVICE: x}";
    SECRET "secret" "A secret that a device needs has no value that can be used; the device keeps what it has." "variables: {TOKEN: \"{{ secret('TOKEN') }}\"}";
    SEVERAL_DOCUMENTS "several-documents" "A file holds more than one YAML document." "a: 1\n---\nb: 2";
    SPEC_TOO_LONG "spec-too-long" "The content of a device is larger than a device accepts." "variables of a megabyte";
    STRICT_UNKNOWN_KEY "strict-unknown-key" "`strict` is set, and a vars file has a key without a meaning." "motd: hello";
    SURPRISING_TYPE "surprising-type" "YAML 1.1 makes something else of a plain value than it looks like." "country: NO";
    TEMPLATE "template" "A template cannot be read, or cannot be rendered for a device." "variables: {URL: \"{{ site | nonsense }}\"}";
    TOO_DEEP "too-deep" "A document or a folder is nested deeper than can be meant." "[[[[…]]]]";
    TOO_LARGE "too-large" "A value, a list or a mapping is larger than its bound." "variables: {A: (a megabyte)}";
    TOO_MANY_FINDINGS "too-many-findings" "More was found than is shown." "a file with a thousand mistakes";
    TOO_MANY_NODES "too-many-nodes" "A file has more values than any manifest needs." "a list of five million numbers";
    UNDECLARED_NETWORK "undeclared-network" "A service joins a network that `networks` at the top does not declare." "networks: [backend]";
    UNDECLARED_VOLUME "undeclared-volume" "A service mounts a volume that `volumes` at the top does not declare." "volumes: [\"data:/data\"]";
    UNDEFINED_VARIABLE "undefined-variable" "A template names a variable that the device does not have." "variables: {URL: \"{{ sitee }}\"}";
    UNEXPECTED_FILE "unexpected-file" "A file stands where nothing reads it." "os/image.yaml";
    UNKNOWN_APP "unknown-app" "No app has this name." "pins: {kiosks: latest}";
    UNKNOWN_DEVICE_TYPE "unknown-device-type" "Neither the OS catalog nor any release names this device type." "device_type: raspbery";
    UNKNOWN_FROM "unknown-from" "A release can be reached from a release that the tree does not have." "requires: {from: [0.1.0]}";
    UNKNOWN_KEY "unknown-key" "A mapping with a fixed set of keys has another one." "releese: 1";
    UNKNOWN_SERVICE "unknown-service" "No release in the tree has a service of this name." "services: {brwoser: {}}";
    UNKNOWN_TIME_ZONE "unknown-time-zone" "There is no time zone of this name." "maintenance: {zone: Europe/Zurick}";
    UNREADABLE "unreadable" "The content of a file could not be read." "a damaged Git object";
    UNSIGNED "unsigned" "The newest commit of a stage that asks for signatures has none that counts; the commit before it goes on counting." "git commit without --gpg-sign";
    UNSUPPORTED_KEY "unsupported-key" "A key is known and not applied, so it is refused rather than dropped." "build: .";
    UNSUPPORTED_TAG "unsupported-tag" "A YAML tag has no meaning here." "branch: !secret x";
    URL_CREDENTIALS "url-credentials" "The address of the fleet repo in the controller's configuration has a user or a password in it." "repo: https://ada:secret@git.example/fleet.git";
    VERSION_MISMATCH "version-mismatch" "A release's version is not the name of its folder." "version: 1.0.1 in releases/kiosk/1.0.0/";
    WRONG_FLEET "wrong-fleet" "`fleet.yml` names another fleet than the controller's; the commit never counts." "name: somebody-else";
    WRONG_TYPE "wrong-type" "A value has the wrong shape." "pins: [kiosk]";
    YAML_SYNTAX "yaml-syntax" "A file cannot be read as YAML." "a: [1, 2";
}

/// The text of `docs/findings.md`.
pub fn document() -> String {
    let mut text = String::from(
        "# Findings\n\nWhat `bellwether check` can say about a fleet repo. Each finding has a place, a code and mostly a hint. An error \
         keeps\nwhat it touches on its last assignment and lets everything else go on; a warning changes nothing.\n\n\
         This file is made from `src/domain/finding/codes.rs`; a test fails when it is stale.\n",
    );
    for code in ALL {
        text.push_str(&format!("\n## {}\n\n{}\n\n```text\n{}\n```\n", code.name, code.about, code.example));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_in_kebab_case() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name), "sort the list by name");
        for code in ALL {
            assert!(
                code.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                code.name
            );
        }
    }

    #[test]
    fn the_document_lists_every_code() {
        let kept = include_str!("../../../docs/findings.md");
        assert_eq!(
            kept,
            document(),
            "docs/findings.md is stale: `cargo test --lib write_findings -- --ignored` writes it"
        );
    }

    #[test]
    #[ignore = "writes docs/findings.md"]
    fn write_findings() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings.md");
        std::fs::write(path, document()).expect("docs/ can be written to");
    }
}
