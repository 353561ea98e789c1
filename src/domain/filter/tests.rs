//! What filters mean, what is wrong with others, and that three ways to the answer agree.

use super::check::attribute;
use super::groups::{WrittenGroup, plain_path};
use super::index::Builder;
use super::*;
use crate::domain::desired::FreeVariables;
use crate::domain::fleet::{Registry, RegistryAttribute};
use crate::domain::ids::{Actor, DeviceId};
use crate::domain::manifest::vars::Vars;
use crate::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

mod laws;
mod mistakes;

/// A device that owns what [`Facts`] borrow.
#[derive(Clone, Debug, Default)]
struct Device {
    name: String,
    stage: Option<Option<String>>,
    groups: Option<BTreeSet<String>>,
    tags: Option<BTreeMap<String, String>>,
    vars: Option<Option<Arc<FreeVariables>>>,
    reported: Option<BTreeMap<String, String>>,
    registry: Option<Registry>,
}

impl Device {
    fn facts(&self) -> Facts<'_> {
        Facts {
            device: &self.name,
            stage: self.stage.as_ref().map(Option::as_deref),
            device_type: Some(Some("pi4")),
            groups: self.groups.as_ref(),
            tags: self.tags.as_ref(),
            labels: self.tags.as_ref(),
            vars: self.vars.as_ref().map(Option::as_ref),
            reported: self.reported.as_ref(),
            registry: self.registry.as_ref(),
        }
    }
}

fn texts(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn registry(all: &BTreeMap<String, String>) -> Registry {
    let actor = Actor::new("ada").unwrap();
    let one =
        |value: &String| RegistryAttribute { value: value.clone(), actor: actor.clone(), since: Timestamp::EPOCH };
    Registry {
        attributes: all.iter().map(|(key, value)| (key.parse().unwrap(), one(value))).collect(),
        registered: None,
    }
}

/// Files of variables, from low to high.
fn variables(files: &[&str]) -> Arc<FreeVariables> {
    let read = |text: &&str| Arc::new(Vars::read_free(&"vars.yml".into(), text.as_bytes()));
    Arc::new(FreeVariables::of_files(files.iter().map(read).collect()))
}

const GROUP_FILE: &str = "ntp: pool.example\nmotd: hello\nkiosk: { url: 'https://a.example', volume: 3 }\nlow: 1\n";
const HOST_FILE: &str = r#"
motd: NO
version: 1.10
mode: 017
at: 12:30
day: 2025-10-10
big: 123456789012345678901234567890
quoted: "NO"
nothing:
list: [a, b]
token: "{{ lookup('env', 'TOKEN') }}"
held: !vault |
  $ANSIBLE_VAULT;1.1;AES256
  62313365396662343061393464336163
plain: !unsafe "{{ not a template }}"
nested: { deep: { er: true }, token: "{{ other }}" }
floor-plan: b
"#;

fn kiosk() -> Device {
    Device {
        name: "kiosk-1".to_owned(),
        stage: Some(Some("canary".to_owned())),
        groups: Some(BTreeSet::from(["kiosks".to_owned()])),
        tags: Some(texts(&[("site", "hk-central"), ("floor-plan", "b")])),
        vars: Some(Some(variables(&[GROUP_FILE, HOST_FILE]))),
        reported: Some(texts(&[("cpu", "MIPS"), ("cpu_count", "4"), ("kernel", "6.1.0-rt")])),
        registry: Some(registry(&texts(&[("rack", "7"), ("site", "hk-central")]))),
    }
}

fn check_means(device: &Device, text: &str, expected: Answer) {
    let groups = DynamicGroups::default();
    let filter = Filter::new(text, &groups).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(evaluate(&filter.test, &device.facts(), &groups), expected, "{text}");
}

#[test]
fn a_filter_asks_for_attributes_of_three_sources() {
    for text in [
        "reported.cpu == \"MIPS\" && \"kiosks\" in groups && tags.site.startsWith(\"hk\")",
        "device == 'kiosk-1'",
        "stage in [\"canary\", \"main\"] && device_type != \"pi5\"",
        "tags[\"floor-plan\"] == \"b\" && tags.`floor-plan` < \"c\"",
        "has(tags.site) && \"site\" in tags && !has(tags.nothing)",
        "reported.cpu_count >= 4 && reported.cpu_count < 4.5 && 3 < reported.cpu_count",
        "int(registry.rack) == 7 && int(registry.rack) in [6, 7]",
        "registry.site == tags.site && !(tags.site == reported.cpu)",
        "reported.kernel.contains(\"rt\") && reported.kernel.endsWith(\"rt\") && device.matches(\"^kiosk-[0-9]+$\")",
        "(false || true) && !false && 1 < 2",
        "tags.site == \"hk-central\" // a comment\n && true",
    ] {
        check_means(&kiosk(), text, Answer::Yes);
    }
}

#[test]
fn an_attribute_that_several_sources_say_is_each_ones_own() {
    let said = |who: &str| texts(&[("site", who)]);
    let device = Device {
        reported: Some(said("device")),
        registry: Some(registry(&said("operator"))),
        tags: Some(said("repo")),
        vars: Some(Some(variables(&["site: variable\n"]))),
        ..kiosk()
    };
    let values = [("reported", "device"), ("registry", "operator"), ("tags", "repo"), ("vars", "variable")];
    for (source, _) in values {
        for (other, value) in values {
            let expected = if source == other { Answer::Yes } else { Answer::No };
            check_means(&device, &format!("{source}.site == \"{value}\""), expected);
        }
    }
    // Without its own source an attribute is not there, whoever else says it.
    let quiet = Device { reported: Some(BTreeMap::new()), ..device };
    check_means(&quiet, "has(reported.site)", Answer::No);
    check_means(&quiet, "has(registry.site) && has(tags.site)", Answer::Yes);
    // And nobody is asked without a source.
    assert!(Filter::new("site == \"repo\"", &DynamicGroups::default()).is_err());
}

#[test]
fn a_comparison_with_what_is_not_there_is_false_whichever_way_it_goes() {
    for text in [
        "tags.nothing == \"a\"",
        "tags.nothing != \"a\"",
        "tags.nothing < \"a\"",
        "tags.nothing in [\"a\"]",
        "tags.nothing.startsWith(\"\")",
        "tags.nothing == tags.other",
        "tags.nothing != tags.site",
        "has(tags.nothing)",
        "int(tags.site) == 7",
        "int(tags.site) != 7",
        "\"board\" in groups",
    ] {
        check_means(&kiosk(), text, Answer::No);
        check_means(&kiosk(), &format!("!({text})"), Answer::Yes);
    }
}

#[test]
fn what_nobody_can_know_is_unknown_unless_the_rest_settles_it() {
    let clone = Device { reported: None, registry: None, stage: None, ..kiosk() };
    for (text, expected) in [
        ("reported.cpu == \"MIPS\"", Answer::Unknown),
        ("!(reported.cpu == \"MIPS\")", Answer::Unknown),
        ("has(registry.rack)", Answer::Unknown),
        ("stage == \"canary\"", Answer::Unknown),
        ("reported.cpu == \"MIPS\" && device == \"other\"", Answer::No),
        ("reported.cpu == \"MIPS\" || device == \"kiosk-1\"", Answer::Yes),
        ("reported.cpu == \"MIPS\" && device == \"kiosk-1\"", Answer::Unknown),
        ("reported.cpu == tags.site", Answer::Unknown),
        ("reported.cpu == tags.nothing", Answer::No),
    ] {
        check_means(&clone, text, expected);
    }
}

#[test]
fn variables_count_as_ansible_reads_them() {
    for text in [
        "vars.ntp == \"pool.example\" && vars.ntp.startsWith(\"pool\")",
        "vars.motd == false && vars.motd != \"NO\" && vars.quoted == \"NO\"",
        "vars.version == 1.1 && vars.mode == 15 && vars.at == 750 && vars.day == \"2025-10-10\"",
        "vars.big > 1e20 && int(vars.mode) >= 15 && vars.low in [1, \"one\", true]",
        "vars.kiosk.url.endsWith(\".example\") && vars[\"kiosk\"][\"volume\"] < 4 && vars.nested.deep.er == true",
        "vars[\"floor-plan\"] == tags[\"floor-plan\"] && vars.mode != tags.site",
        "has(vars.kiosk) && has(vars.list) && has(vars.nothing) && \"list\" in vars && vars.list != \"a\"",
        "vars.plain == \"{{ not a template }}\"",
        "!(has(vars.nobody) || vars.nobody == \"a\" || has(vars.kiosk.nobody) || has(vars.low.er) || vars.list == vars.list)",
    ] {
        check_means(&kiosk(), text, Answer::Yes);
    }
    for text in ["vars.motd == \"false\"", "vars.quoted == false", "vars.low > 1", "vars.kiosk.startsWith(\"u\")"] {
        check_means(&kiosk(), text, Answer::No);
    }
}

#[test]
fn encrypted_variables_and_templates_are_there_and_are_never_read() {
    for name in ["vars.held", "vars.token", "vars.nested.token"] {
        check_means(&kiosk(), &format!("has({name})"), Answer::Yes);
        for text in ["== \"\"", "!= \"\"", "> 1", "in [true]", ".contains(\"A\")", ".matches(\"\")", "== vars.held"] {
            let glue = if text.starts_with('.') { "" } else { " " };
            check_means(&kiosk(), &format!("{name}{glue}{text}"), Answer::Unknown);
        }
    }
    check_means(&kiosk(), "vars.token.inner == \"a\"", Answer::Unknown);
    let unreadable = Device { vars: None, ..kiosk() };
    check_means(&unreadable, "has(vars.ntp)", Answer::Unknown);
    let unmanaged = Device { vars: Some(None), ..kiosk() };
    check_means(&unmanaged, "has(vars.ntp) || vars.ntp == \"a\"", Answer::No);
}

fn show(text: &str, groups: &DynamicGroups) -> String {
    match Filter::new(text, groups) {
        Ok(_) => format!("{text}\nfine\n"),
        Err(error) => {
            let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}\n{}{hint}\n", error.underlined(text), error.message)
        }
    }
}

#[test]
fn a_column_is_an_attribute() {
    let name = |text: &str| attribute(text).map(|column| column.name().to_string()).map_err(|error| error.message);
    assert_eq!(name("tags.site"), Ok("tags.site".to_owned()));
    assert_eq!(name("tags[\"floor-plan\"]"), Ok("tags[\"floor-plan\"]".to_owned()));
    assert_eq!(name("groups"), Ok("groups".to_owned()));
    assert_eq!(name("tags"), Err("a column is an attribute, not `tags`".to_owned()));
    assert_eq!(name("sitee"), Err("there is no `sitee`".to_owned()));
}

fn dynamic(all: &[(&str, &str)]) -> (DynamicGroups, String) {
    let written: Vec<WrittenGroup> = all
        .iter()
        .map(|(path, text)| WrittenGroup { path: (*path).into(), text: (*text).into(), description: None })
        .collect();
    let (groups, errors) = DynamicGroups::new(&written);
    let shown = errors.iter().map(|(index, error)| format!("{}: {}\n", written[*index].path, error.message));
    (groups, shown.collect())
}

#[test]
fn dynamic_groups_refine_the_ones_above_and_name_each_other() {
    let (groups, errors) = dynamic(&[
        ("co/cisco/rt", "reported.kernel.contains(\"rt\")"),
        ("co", "tags.site.startsWith(\"hk\")"),
        ("co/cisco", "reported.cpu == \"MIPS\" || in_group(\"other\")"),
        ("other", "device == \"x\""),
    ]);
    assert_eq!(errors, "");
    let inside = |device: &Device, path: &str| {
        let test = Test::InDynamic(groups.index_of(path).unwrap());
        evaluate(&test, &device.facts(), &groups)
    };
    assert_eq!(inside(&kiosk(), "/co/cisco/rt"), Answer::Yes);
    let elsewhere = Device { tags: Some(texts(&[("site", "bern")])), ..kiosk() };
    assert_eq!(inside(&elsewhere, "co/cisco/rt"), Answer::No);
    assert_eq!(inside(&Device { reported: None, ..kiosk() }, "co/cisco/rt"), Answer::Unknown);
    assert_eq!(groups.below("").into_keys().collect::<Vec<_>>(), ["co", "other"]);
    assert_eq!(groups.below("co").into_keys().collect::<Vec<_>>(), ["cisco"]);
    assert_eq!(plain_path("/co//cisco"), None);
    insta::assert_snapshot!(show("in_group(\"co/cisc\")", &groups), @r#"
    in_group("co/cisc")
             ^^^^^^^^^
    no dynamic group is called `co/cisc`; did you mean `co/cisco`?
    "#);
}

#[test]
fn groups_that_refer_to_themselves_are_told_and_their_devices_are_unknown() {
    let (groups, errors) = dynamic(&[
        ("a", "in_group(\"b\")"),
        ("b", "in_group(\"c\")"),
        ("c", "in_group(\"a\")"),
        ("d", "in_group(\"a\")"),
        ("e", "in_group(\"e\")"),
        ("f", "nothing"),
        ("g", "in_group(\"g/h\")"),
        ("g/h", "true"),
    ]);
    insta::assert_snapshot!(errors, @r"
    a: the group refers to itself: a > b > c > a
    b: the group refers to itself: b > c > a > b
    c: the group refers to itself: c > a > b > c
    d: the group `a` refers to itself
    e: the group refers to itself: e > e
    f: there is no `nothing`
    g: the group refers to itself: g > g/h > g
    g/h: the group refers to itself: g/h > g > g/h
    ");
    for path in ["a", "d", "e", "f", "g", "g/h"] {
        let test = Test::InDynamic(groups.index_of(path).unwrap());
        assert_eq!(evaluate(&test, &kiosk().facts(), &groups), Answer::Unknown, "{path}");
    }
}

#[test]
fn groups_that_double_at_each_step_are_asked_once_each() {
    let names: Vec<(String, String)> = (0..30)
        .map(|number| {
            let text = match number {
                0 => "true".to_owned(),
                _ => format!("in_group(\"g{0}\") && in_group(\"g{0}\")", number - 1),
            };
            (format!("g{number}"), text)
        })
        .collect();
    let names: Vec<(&str, &str)> = names.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let (groups, errors) = dynamic(&names);
    assert_eq!(errors, "");
    let test = Test::InDynamic(groups.index_of("g29").unwrap());
    assert_eq!(evaluate(&test, &kiosk().facts(), &groups), Answer::Yes);
    let mut builder = Builder::default();
    builder.add(&"kiosk-1".parse().unwrap(), &kiosk().facts());
    assert_eq!(builder.finish().select(&test, &groups).yes.len(), 1);
}
