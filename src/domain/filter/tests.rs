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
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

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
fn what_is_wrong_is_shown_in_the_expression() {
    let cases = [
        "",
        "reproted.cpu == \"MIPS\"",
        "kiosks in groups",
        "reported.cpu = \"MIPS\"",
        "reported.cpu == \"MIPS\" and true",
        "reported.cpu ==",
        "(reported.cpu == \"MIPS\"",
        "reported.cpu == 4",
        "reported.cpu_count == \"4\"",
        "tags.site",
        "tags == \"a\"",
        "groups == \"a\"",
        "tags.site.startswith(\"hk\")",
        "tags.site.startsWith(4)",
        "startsWith(tags.site, \"hk\")",
        "size(tags.site) > 3",
        "tags.site + \"a\" == \"b\"",
        "tags.site in [\"a\", 4]",
        "tags.site.matches(\"(\")",
        "tags.ünï.x == \"a\"",
        "\"ü\" == tags.sité && nothing",
        "in_group(\"nobody\")",
        "(tags.a == \"b\") == true",
        "tags.a == null",
        "{\"a\": 1}",
        "'unfinished",
        "vars.kiosk_enabled",
        "vars == \"a\"",
        "vars[\"a\\u0000b\"] == 1",
        "\"x\" in vars.list",
        "tags.site.deeper == \"a\"",
    ];
    let groups = DynamicGroups::default();
    let shown = cases.iter().fold(String::new(), |mut all, text| {
        let _ = writeln!(all, "{}", show(text, &groups));
        all
    });
    insta::assert_snapshot!(shown, @r#"
    ^
    the filter is empty; write a question about a device, such as `"kiosks" in groups`

    reproted.cpu == "MIPS"
    ^^^^^^^^
    there is no `reproted`; did you mean `reported`?

    kiosks in groups
    ^^^^^^
    there is no `kiosks`; known names: device, stage, device_type, groups, tags, labels, vars, reported, registry; text stands in quotes

    reported.cpu = "MIPS"
                 ^
    `=` is not expected here; write `==` to compare

    reported.cpu == "MIPS" and true
                           ^^^
    `and` is not expected here; write `&&`

    reported.cpu ==
                   ^
    the filter ends before it is complete

    (reported.cpu == "MIPS"
                           ^
    the filter ends before it is complete

    reported.cpu == 4
                    ^
    `reported.cpu` is text, and this is a number; write "4", or `int(reported.cpu)`

    reported.cpu_count == "4"
                          ^^^
    `reported.cpu_count` is a number here, and this is text; compare it with a number, without quotes

    tags.site
    ^^^^^^^^^
    `tags.site` is neither true nor false; compare it with something, or write `has(…)`

    tags == "a"
    ^^^^^^^^^^^
    `tags` is a whole set of attributes; name one of them: `tags.site`

    groups == "a"
    ^^^^^^^^^^^^^
    `groups` is a list and cannot be compared; write `"kiosks" in groups`

    tags.site.startswith("hk")
              ^^^^^^^^^^
    there is no function `startswith`; did you mean `startsWith`?

    tags.site.startsWith(4)
                         ^
    `startsWith` takes text in quotes

    startsWith(tags.site, "hk")
    ^^^^^^^^^^
    `startsWith` is not used like this; write `tags.site.startsWith("hk")`

    size(tags.site) > 3
    ^^^^
    there is no function `size`; known functions: has, in_group, int, startsWith, endsWith, contains, matches

    tags.site + "a" == "b"
    ^^^^^^^^^^^^^^^
    `+` has no meaning in a filter; a filter is made of comparisons with &&, || and !

    tags.site in ["a", 4]
                       ^
    `tags.site` is text, and this is a number; write "4", or `int(tags.site)`

    tags.site.matches("(")
                      ^^^
    this is not a regular expression; unclosed group

    tags.ünï.x == "a"
         ^^^
    `ünï` is not expected here

    "ü" == tags.sité && nothing
                   ^
    `é` is not expected here

    in_group("nobody")
             ^^^^^^^^
    no dynamic group is called `nobody`; fleet.yml names none under `groups:`

    (tags.a == "b") == true
     ^^^^^^^^^^^^^
    this is true or false, and not a value to compare; combine it with && and ||

    tags.a == null
              ^^^^
    `null` has no meaning in a filter; write `!has(…)`

    {"a": 1}
    ^
    a mapping has no meaning in a filter

    'unfinished
    ^
    `'` is not expected here

    vars.kiosk_enabled
    ^^^^^^^^^^^^^^^^^^
    `vars.kiosk_enabled` is neither true nor false; compare it, such as with `== true`, or write `has(…)`

    vars == "a"
    ^^^^^^^^^^^
    `vars` is a whole set of attributes; name one of them: `vars.site`

    vars["a\u0000b"] == 1
         ^^^^^^^^^^
    no attribute has such a name

    "x" in vars.list
           ^^^^^^^^^
    nothing can be in `vars.list`; `in` takes `groups`, a list such as ["a", "b"], or a set of attributes such as `tags`

    tags.site.deeper == "a"
              ^^^^^^
    `tags.site` has nothing below it
    "#);
}

#[test]
fn what_would_drive_the_parser_deep_is_refused_before_it_is_asked() {
    let groups = DynamicGroups::default();
    for text in [
        format!("{}true{}", "(".repeat(5000), ")".repeat(2000)),
        format!("{}true", "!".repeat(5000)),
        format!("tags{}", ".a".repeat(3000)),
        format!("tags{}", "[\"a\"]".repeat(1000)),
        format!("1{}", "+1".repeat(3000)),
        format!("tags.a{}", " in tags.a".repeat(500)),
        format!("true{}", " ? true : true".repeat(300)),
        "[".repeat(8000),
        "a".repeat(MAX_FILTER_BYTES + 1),
    ] {
        assert!(Filter::new(&text, &groups).is_err());
    }
}

#[test]
fn filters_at_the_bounds_are_read_on_a_small_stack() {
    let at_bounds = || {
        let groups = DynamicGroups::default();
        let deep = format!("{}true{}", "(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
        assert!(Filter::new(&deep, &groups).is_ok());
        let knots = format!("{}true{}", "!(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
        assert!(Filter::new(&knots, &groups).is_ok());
        let wide = vec!["tags.a == \"b\""; 400].join(" || ");
        assert!(Filter::new(&wide, &groups).is_ok());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(at_bounds).unwrap().join().unwrap();
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

const WORDS: [&str; 5] = ["", "hk", "hk-1", "MIPS", "7"];

fn word() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&WORDS[..])
}

/// Expressions as people write them, over few enough values that they meet.
fn expression() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(
        &["tags.a", "tags.b", "reported.a", "registry.b", "labels.a", "device", "stage", "vars.a", "vars.b.a"][..],
    );
    let relation = proptest::sample::select(&["==", "!=", "<", "<=", ">", ">="][..]);
    let leaf = prop_oneof![
        (name.clone(), relation.clone(), word())
            .prop_map(|(name, relation, word)| format!("{name} {relation} \"{word}\"")),
        (word(), relation.clone(), name.clone())
            .prop_map(|(word, relation, name)| format!("\"{word}\" {relation} {name}")),
        (name.clone(), relation.clone(), name.clone())
            .prop_map(|(one, relation, other)| format!("{one} {relation} {other}")),
        (name.clone(), proptest::collection::vec(word(), 0..4))
            .prop_map(|(name, words)| format!("{name} in {words:?}")),
        (name.clone(), word()).prop_map(|(name, word)| format!("{name}.startsWith(\"{word}\")")),
        (name.clone(), word()).prop_map(|(name, word)| format!("{name}.endsWith(\"{word}\")")),
        (name.clone(), word()).prop_map(|(name, word)| format!("{name}.contains(\"{word}\")")),
        (name.clone(), word()).prop_map(|(name, word)| format!("{name}.matches(\"^{word}\")")),
        word().prop_map(|word| format!("\"{word}\" in groups")),
        Just("\"a\" in tags".to_owned()),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| format!("!({one})")),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|all| format!("({})", all.join(" && "))),
            proptest::collection::vec(inner, 1..4).prop_map(|all| format!("({})", all.join(" || "))),
        ]
    })
}

fn some_texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(
        proptest::sample::select(&["a", "b"][..]).prop_map(str::to_owned),
        word().prop_map(str::to_owned),
        0..3,
    )
}

/// Variables of few devices that share files, and of a few that have their own.
fn some_variables() -> impl Strategy<Value = Option<Option<Arc<FreeVariables>>>> {
    let file = proptest::sample::select(
        &["a: hk\nb: { a: 7 }\n", "a: '{{ x }}'\nb: hk\n", "a: 7\n", "b: { a: MIPS }\n", "a:\nb: [hk]\n", ""][..],
    );
    let files = proptest::collection::vec(file, 0..3).prop_map(|files| variables(&files));
    proptest::option::weighted(0.9, proptest::option::weighted(0.8, files))
}

fn device() -> impl Strategy<Value = Device> {
    let groups = proptest::collection::btree_set(word().prop_map(str::to_owned), 0..3);
    let stage = proptest::option::of(proptest::option::of(word().prop_map(str::to_owned)));
    let maybe = || proptest::option::weighted(0.8, some_texts());
    (stage, proptest::option::weighted(0.9, groups), maybe(), maybe(), maybe(), some_variables()).prop_map(
        |(stage, groups, tags, reported, operators, vars)| Device {
            name: "hk-1".to_owned(),
            stage,
            groups,
            tags,
            vars,
            reported,
            registry: operators.as_ref().map(registry),
        },
    )
}

/// What the library itself answers; `None` if it fails at something that is not there.
fn by_library(text: &str, device: &Device) -> Option<bool> {
    let mut context = cel::Context::default();
    let none = BTreeMap::new();
    let plain = |all: &BTreeMap<String, String>| -> std::collections::BTreeMap<String, String> { all.clone() };
    let operators: BTreeMap<String, String> = device
        .registry
        .iter()
        .flat_map(|registry| &registry.attributes)
        .map(|(name, one)| (name.to_string(), one.value.clone()))
        .collect();
    let tags = plain(device.tags.as_ref().unwrap_or(&none));
    context.add_variable("tags", tags.clone()).ok()?;
    context.add_variable("labels", tags).ok()?;
    context.add_variable("reported", plain(device.reported.as_ref().unwrap_or(&none))).ok()?;
    context.add_variable("registry", operators).ok()?;
    context.add_variable("device", device.name.clone()).ok()?;
    if let Some(Some(stage)) = &device.stage {
        context.add_variable("stage", stage.clone()).ok()?;
    }
    let groups: Vec<String> = device.groups.iter().flatten().cloned().collect();
    context.add_variable("groups", groups).ok()?;
    match cel::Program::compile(text).ok()?.execute(&context) {
        Ok(cel::Value::Bool(answer)) => Some(answer),
        _ => None,
    }
}

proptest! {
    #[test]
    fn the_library_agrees_wherever_it_has_an_answer(text in expression(), device in device()) {
        let groups = DynamicGroups::default();
        // The library knows nothing of the unknown.
        let known = Device {
            stage: Some(device.stage.clone().flatten()),
            groups: Some(device.groups.clone().unwrap_or_default()),
            tags: Some(device.tags.clone().unwrap_or_default()),
            reported: Some(device.reported.clone().unwrap_or_default()),
            registry: Some(device.registry.clone().unwrap_or_default()),
            ..device
        };
        let filter = Filter::new(&text, &groups).unwrap();
        if let Some(answer) = by_library(&text, &known) {
            prop_assert_eq!(evaluate(&filter.test, &known.facts(), &groups), Answer::from(answer), "{}", text);
        }
    }

    #[test]
    fn the_index_gives_the_answer_that_looking_at_each_device_gives(
        texts in proptest::collection::vec(expression(), 1..4),
        devices in proptest::collection::vec(device(), 0..12),
    ) {
        let named = |(number, device): (usize, Device)| Device { name: format!("hk-{number:03}"), ..device };
        let devices: Vec<Device> = devices.into_iter().enumerate().map(named).collect();
        // Each expression is a group, and the last one names all the others as well.
        let mut all: Vec<(String, String)> =
            texts.iter().enumerate().map(|(number, text)| (format!("g{number}"), text.clone())).collect();
        let names: Vec<String> = all.iter().map(|(path, _)| format!("!in_group(\"{path}\")")).collect();
        all.push(("g0/last".to_owned(), names.join(" || ")));
        let written: Vec<(&str, &str)> = all.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (groups, errors) = dynamic(&written);
        prop_assert_eq!(errors, "");
        let mut builder = Builder::default();
        for device in &devices {
            builder.add(&DeviceId::new(&device.name).unwrap(), &device.facts());
        }
        let index = builder.finish();
        for (path, _) in &all {
            let test = Test::InDynamic(groups.index_of(path).unwrap());
            let selection = index.select(&test, &groups);
            for (number, device) in (0u32..).zip(&devices) {
                let answer = match (selection.yes.contains(number), selection.unknown.contains(number)) {
                    (true, false) => Answer::Yes,
                    (false, true) => Answer::Unknown,
                    (false, false) => Answer::No,
                    (true, true) => panic!("a device is meant or unknown, not both"),
                };
                prop_assert_eq!(answer, evaluate(&test, &device.facts(), &groups), "{}: {}", path, device.name);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z.()\\[\\]{}\"'!&|=<>?:,+`\\\\ 0-9rü\u{0}-]{0,60}") {
        if let Err(error) = Filter::new(&text, &DynamicGroups::default()) {
            prop_assert!(!error.underlined(&text).is_empty());
        }
    }

    #[test]
    fn almost_filters_are_read_or_refused(text in expression(), cut in 0..80usize, put in "[\"'()!&|=.in ]{0,3}") {
        let at = floor(&text, cut);
        let _ = Filter::new(&format!("{}{put}{}", &text[..at], &text[at..]), &DynamicGroups::default());
        let _ = Filter::new(&text[..at], &DynamicGroups::default());
    }
}
