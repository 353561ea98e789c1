//! The library, the index and looking at each device agree; no text is too much.

use super::*;
use proptest::prelude::*;

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
